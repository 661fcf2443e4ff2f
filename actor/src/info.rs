//! What a service and a system say of themselves.

use std::fmt;
use std::panic::Location;
use std::time::Duration;

/// The number of a service in its system, never used again. It is shown as skynet shows addresses:
/// `:0000000a`.
///
/// ```
/// # use narrowboat::actor::*;
/// # struct Idler;
/// # impl Service for Idler {}
/// let system = System::new();
/// let (first, second) = (system.spawn(Idler), system.spawn(Idler));
/// assert!(first.id() < second.id());
/// assert_eq!(first.id().to_string(), ":00000001");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ServiceId(pub(crate) u64);

impl fmt::Display for ServiceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, ":{:08x}", self.0)
    }
}

/// What a service counts.
#[derive(Clone, Copy, Default)]
pub(crate) struct Figures {
    pub(crate) handled: u64,
    pub(crate) busy: Duration,
    pub(crate) longest: Duration,
    pub(crate) longest_mailbox: usize,
    pub(crate) failures: u32,
    pub(crate) restarts: u32,
}

/// What a service has done and does, from [`Address::service_info`](crate::Address::service_info).
///
/// ```
/// # use narrowboat::actor::*;
/// # struct Idler;
/// # impl Service for Idler {}
/// # impl Handle<u8> for Idler {
/// #     type Reply = ();
/// #     fn handle(_: &mut Turn<Self>, _: u8) {}
/// # }
/// let idler = System::new().spawn(Idler);
/// idler.call(1)?;
/// idler.call(2)?; // the first has been counted when this is handled
/// let info = idler.service_info();
/// assert!(info.handled >= 1 && info.mailbox == 0);
/// println!("{:?} for each message", info.mean());
/// # Ok::<(), CallError>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServiceInfo {
    /// Its number.
    pub id: ServiceId,
    /// Its name, if it has one.
    pub name: Option<String>,
    /// The name of its type.
    pub kind: &'static str,
    /// Whether it has ended.
    pub ended: bool,
    /// How many messages wait, and handlers that go on after a wait.
    pub mailbox: usize,
    /// How many there were at most.
    pub longest_mailbox: usize,
    /// How many messages it has handled.
    pub handled: u64,
    /// For how long its turns have lasted, all together. A handler that waits in a call has no turn.
    pub busy: Duration,
    /// How long the longest turn was.
    pub longest: Duration,
    /// How many handlers have panicked.
    pub failures: u32,
    /// How often it was started anew.
    pub restarts: u32,
    /// The type of the message that it handles now, and for how long the turn has lasted.
    pub busy_with: Option<(&'static str, Duration)>,
    /// Bytes of the service, its mailbox and its state, without what messages and state have on the
    /// heap.
    pub memory: usize,
    /// The handlers that wait without the turn.
    pub waiting: Vec<WaitingCall>,
}

impl ServiceInfo {
    /// The mean time of a message; 0 before the first.
    ///
    /// ```
    /// # use narrowboat::actor::*;
    /// # struct Idler;
    /// # impl Service for Idler {}
    /// let idler = System::new().spawn(Idler);
    /// assert!(idler.service_info().mean().is_zero());
    /// ```
    pub fn mean(&self) -> Duration {
        let nanos = self.busy.as_nanos() / u128::from(self.handled.max(1));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// A handler that waits without the turn, in [`ServiceInfo::waiting`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WaitingCall {
    /// The number of the wait among those of its service.
    pub session: u32,
    /// The service that it calls, if it is a call.
    pub target: Option<ServiceId>,
    /// For how long it has waited.
    pub since: Duration,
    /// The line of source.
    pub at: &'static Location<'static>,
}

/// What a system has, from [`System::info`](crate::System::info).
///
/// ```
/// let system = narrowboat::actor::System::new();
/// assert_eq!(system.info().services, 0);
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct SystemInfo {
    /// How many services there are.
    pub services: usize,
    /// How many messages wait in their mailboxes.
    pub mailbox: usize,
    /// How many messages they have handled.
    pub handled: u64,
    /// For how long their turns have lasted.
    pub busy: Duration,
    /// How many handlers wait without a turn.
    pub waiting: usize,
    /// What [`ServiceInfo::memory`] is, all together.
    pub memory: usize,
}
