//! Services that are started anew when they fail.

use crate::address::Address;
use crate::error::NameTaken;
use crate::info::ServiceId;
use crate::report::Report;
use crate::service::Service;
use crate::system::{Shared, System};
use crate::table::AnyService;
use narrowboat_chan::{Receiver, Sender, bounded};
use narrowboat_runtime::lock::Mutex;
use narrowboat_runtime::park::checkpoint;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::mem;
use std::sync::{Arc, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

/// Starts its services anew when they fail: one for one, as Erlang calls it, so that the others go
/// on. It owns them: they end when it is dropped.
///
/// If they fail too often, it gives up: it ends all of them, and [`gave_up`](Supervisor::gave_up)
/// says so. What supervises the supervisor then builds a new one, or ends the program.
///
/// ```
/// use narrowboat::actor::{CallError, Handle, Service, System, Turn};
/// use std::time::Duration;
///
/// struct Divider(u32);
/// impl Service for Divider {}
/// impl Handle<u32> for Divider {
///     type Reply = u32;
///     fn handle(turn: &mut Turn<Self>, n: u32) -> u32 {
///         turn.0 += 1;
///         100 / n
///     }
/// }
///
/// let system = System::new();
/// let supervisor = system.supervisor(3, Duration::from_secs(5));
/// let divider = supervisor.spawn(|| Divider(0));
/// assert_eq!(divider.call(0), Err(CallError::Failed)); // it panics
/// assert_eq!(divider.call(5), Ok(20)); // a new one, at the same address
/// ```
#[must_use = "its services end when it is dropped"]
pub struct Supervisor(Arc<Inner>);

struct Inner {
    system: Arc<Shared>,
    /// How many restarts are permitted within the time.
    restarts: u32,
    within: Duration,
    state: Mutex<State>,
    gave_up: Receiver<GaveUp>,
}

struct State {
    /// The latest restarts.
    times: VecDeque<Instant>,
    services: HashMap<ServiceId, Arc<dyn AnyService>>,
    /// `None` once it has given up.
    alive: Option<Sender<GaveUp>>,
}

/// A supervisor has given up.
///
/// ```
/// let system = narrowboat::actor::System::new();
/// let supervisor = system.supervisor(3, std::time::Duration::from_secs(5));
/// assert!(supervisor.gave_up().try_recv().is_err()); // not yet
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct GaveUp {
    /// The service that failed last.
    pub service: ServiceId,
    /// How many restarts there were within the time that it looks at.
    pub restarts: u32,
}

impl fmt::Display for GaveUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "service {} failed after {} restarts", self.service, self.restarts)
    }
}

impl std::error::Error for GaveUp {}

/// What a service knows of its supervisor.
pub(crate) struct Supervision<S> {
    supervisor: Weak<Inner>,
    make: Box<dyn Fn() -> S + Send + Sync>,
}

impl<S: Service> Supervision<S> {
    /// A new state.
    pub(crate) fn make(&self) -> S {
        (self.make)()
    }

    /// Counts a restart. If it is one too many, or the supervisor is gone, ends the services of the
    /// supervisor and returns false.
    pub(crate) fn permits_restart(&self, id: ServiceId) -> bool {
        let Some(supervisor) = self.supervisor.upgrade() else { return false };
        let mut state = supervisor.state();
        let Some(alive) = &state.alive else { return false };
        let alive = alive.clone();
        let now = Instant::now();
        let within = supervisor.within;
        while state.times.front().is_some_and(|&time| now.saturating_duration_since(time) > within) {
            state.times.pop_front();
        }
        if state.times.len() < supervisor.restarts as usize {
            state.times.push_back(now);
            return true;
        }
        let restarts = supervisor.restarts;
        state.alive = None;
        let services = mem::take(&mut state.services);
        drop(state);
        services.values().for_each(|service| service.end());
        supervisor.system.report(&Report::GaveUp { id, restarts });
        let _ = alive.try_send(GaveUp { service: id, restarts });
        false
    }

    /// The service has ended.
    pub(crate) fn forget(&self, id: ServiceId) {
        if let Some(supervisor) = self.supervisor.upgrade() {
            let forgotten = supervisor.state().services.remove(&id);
            drop(forgotten);
        }
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Supervisor {
    pub(crate) fn new(system: Arc<Shared>, restarts: u32, within: Duration) -> Supervisor {
        let (alive, gave_up) = bounded(1);
        let state = State { times: VecDeque::new(), services: HashMap::new(), alive: Some(alive) };
        Supervisor(Arc::new(Inner { system, restarts, within, state: Mutex::new(state), gave_up }))
    }

    /// Starts a service. `make` makes its state, now and after each failure.
    ///
    /// `make` runs in the place of the service, so the messages wait meanwhile. A panic in it is one
    /// more failure.
    ///
    /// # Panics
    /// If `make` panics at the first time.
    ///
    /// ```
    /// # use narrowboat::actor::*;
    /// # struct Idler;
    /// # impl Service for Idler {}
    /// # let system = System::new();
    /// let supervisor = system.supervisor(3, std::time::Duration::from_secs(5));
    /// let idler = supervisor.spawn(|| Idler);
    /// assert!(idler.restart());
    /// ```
    pub fn spawn<S: Service>(&self, make: impl Fn() -> S + Send + Sync + 'static) -> Address<S> {
        self.start(None, make).expect("it has no name")
    }

    /// As [`spawn`](Supervisor::spawn), with a name.
    ///
    /// # Errors
    /// If another service of the system has that name.
    ///
    /// # Panics
    /// If `make` panics at the first time.
    ///
    /// ```
    /// # use narrowboat::actor::*;
    /// # struct Idler;
    /// # impl Service for Idler {}
    /// # let system = System::new();
    /// let supervisor = system.supervisor(3, std::time::Duration::from_secs(5));
    /// let idler = supervisor.spawn_named("idler", || Idler)?;
    /// assert_eq!(system.find("idler"), Some(idler));
    /// # Ok::<(), NameTaken>(())
    /// ```
    pub fn spawn_named<S: Service>(
        &self,
        name: &str,
        make: impl Fn() -> S + Send + Sync + 'static,
    ) -> Result<Address<S>, NameTaken> {
        self.start(Some(name), make)
    }

    fn start<S: Service>(
        &self,
        name: Option<&str>,
        make: impl Fn() -> S + Send + Sync + 'static,
    ) -> Result<Address<S>, NameTaken> {
        checkpoint();
        let supervision = Arc::new(Supervision { supervisor: Arc::downgrade(&self.0), make: Box::new(make) });
        let state = supervision.make();
        let address = System::of(self.0.system.clone()).start(name, state, Some(supervision))?;
        let mut inner = self.0.state();
        if inner.alive.is_some() {
            inner.services.insert(address.id(), address.cell.clone());
            // It may have ended before it was entered.
            if address.cell.snapshot().ended {
                inner.services.remove(&address.id());
            }
        } else {
            drop(inner);
            address.kill();
        }
        Ok(address)
    }

    /// A channel that has a message once the supervisor has given up.
    ///
    /// ```
    /// # use narrowboat::actor::*;
    /// # struct Bad;
    /// # impl Service for Bad {}
    /// # struct Work;
    /// # impl Handle<Work> for Bad {
    /// #     type Reply = ();
    /// #     fn handle(_: &mut Turn<Self>, _: Work) { panic!("as ever") }
    /// # }
    /// # let system = System::builder().on_report(|_| ()).build();
    /// let supervisor = system.supervisor(1, std::time::Duration::from_secs(5));
    /// let bad = supervisor.spawn(|| Bad);
    /// bad.call(Work).unwrap_err();
    /// bad.call(Work).unwrap_err();
    /// assert_eq!(supervisor.gave_up().recv().unwrap().restarts, 1);
    /// assert_eq!(bad.call(Work), Err(CallError::Ended));
    /// ```
    pub fn gave_up(&self) -> &Receiver<GaveUp> {
        &self.0.gave_up
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.alive = None;
        let services = mem::take(&mut state.services);
        drop(state);
        services.values().for_each(|service| service.end());
    }
}

impl fmt::Debug for Supervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let services = self.0.state().services.len();
        f.debug_struct("Supervisor").field("services", &services).finish_non_exhaustive()
    }
}
