//! Handles of services.

use crate::call;
use crate::cell::Cell;
use crate::envelope::{Envelope, Origin, Question};
use crate::error::{CallError, SendError};
use crate::info::{ServiceId, ServiceInfo};
use crate::run;
use crate::service::{Handle, Service};
use crate::table::AnyService;
use narrowboat_chan::time::{AfterFunc, after_func};
use narrowboat_runtime::park::checkpoint;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The address of a service. Clones are of the same service.
///
/// A service that has neither an address, a name nor a supervisor is dropped when it has nothing
/// more to do. (One whose state has its own address is not: it ends by
/// [`stop`](crate::Turn::stop) or [`kill`](Address::kill).)
///
/// ```
/// # use narrowboat::actor::*;
/// # struct Echo;
/// # impl Service for Echo {}
/// # impl Handle<u32> for Echo {
/// #     type Reply = u32;
/// #     fn handle(_: &mut Turn<Self>, n: u32) -> u32 { n }
/// # }
/// let echo: Address<Echo> = System::new().spawn(Echo);
/// assert_eq!(echo.call(7)?, 7);
/// # Ok::<(), CallError>(())
/// ```
pub struct Address<S: Service> {
    pub(crate) cell: Arc<Cell<S>>,
}

impl<S: Service> Address<S> {
    pub(crate) fn new(cell: Arc<Cell<S>>) -> Address<S> {
        Address { cell }
    }

    /// Puts a message into the mailbox, and starts a goroutine if the service is at rest.
    pub(crate) fn deliver(&self, envelope: Box<dyn Envelope<S>>) -> Result<(), Box<dyn Envelope<S>>> {
        checkpoint();
        if let Some(work) = self.cell.deliver(envelope)? {
            run::start(&self.cell, work);
        }
        Ok(())
    }

    /// Sends a message. The reply of its handler is dropped.
    ///
    /// It does not wait. Messages of one sender are begun in the order of their sends.
    ///
    /// # Errors
    /// The message, if the service has ended.
    ///
    /// ```
    /// # use narrowboat::actor::*;
    /// # struct Sum(u32);
    /// # impl Service for Sum {}
    /// # impl Handle<u32> for Sum {
    /// #     type Reply = u32;
    /// #     fn handle(turn: &mut Turn<Self>, n: u32) -> u32 { turn.0 += n; turn.0 }
    /// # }
    /// let sum = System::new().spawn(Sum(0));
    /// sum.send(1)?;
    /// sum.send(2)?;
    /// assert_eq!(sum.call(3)?, 6);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn send<M>(&self, message: M) -> Result<(), SendError<M>>
    where
        S: Handle<M>,
        M: Send + 'static,
    {
        call::send(self, message, Origin::default())
    }

    /// Sends a message after some time. Dropping the timer does not stop it.
    ///
    /// ```
    /// # use narrowboat::{actor::*, chan};
    /// # use std::time::Duration;
    /// # struct Bell(chan::Sender<()>);
    /// # impl Service for Bell {}
    /// # struct Ring;
    /// # impl Handle<Ring> for Bell {
    /// #     type Reply = ();
    /// #     fn handle(turn: &mut Turn<Self>, _: Ring) { turn.0.send(()).unwrap() }
    /// # }
    /// # let (tx, rung) = chan::bounded(1);
    /// let bell = System::new().spawn(Bell(tx));
    /// bell.send_after(Duration::from_millis(1), Ring);
    /// rung.recv()?;
    /// # Ok::<(), chan::RecvError>(())
    /// ```
    pub fn send_after<M>(&self, time: Duration, message: M) -> AfterFunc
    where
        S: Handle<M>,
        M: Send + 'static,
    {
        let address = self.clone();
        let mut message = Some(message);
        after_func(time, move || {
            // Empty if the timer was set again. The service may have ended.
            let _ = message.take().map(|message| address.send(message));
        })
    }

    /// Sends a message and waits for the reply. In a handler, prefer [`Turn::call`](crate::Turn::call):
    /// this one keeps the turn of the calling service.
    ///
    /// # Errors
    /// If the service has ended, or ends or fails before it replies.
    ///
    /// ```
    /// # use narrowboat::actor::*;
    /// # struct Echo;
    /// # impl Service for Echo {}
    /// # impl Handle<u32> for Echo {
    /// #     type Reply = u32;
    /// #     fn handle(_: &mut Turn<Self>, n: u32) -> u32 { n }
    /// # }
    /// let echo = System::new().spawn(Echo);
    /// assert_eq!(echo.call(7), Ok(7));
    /// echo.kill();
    /// assert_eq!(echo.call(7), Err(CallError::Ended));
    /// ```
    #[track_caller]
    pub fn call<M>(&self, message: M) -> Result<S::Reply, CallError>
    where
        S: Handle<M>,
        M: Send + 'static,
    {
        call::reply_until(&call::ask(self, message, Origin::default())?, None)
    }

    /// As [`call`](Address::call), for at most `timeout`.
    ///
    /// # Errors
    /// As for `call`; and [`CallError::Timeout`]. The service may still handle the message.
    ///
    /// ```
    /// # use narrowboat::actor::*;
    /// # use std::time::Duration;
    /// # struct Slow;
    /// # impl Service for Slow {}
    /// # impl Handle<()> for Slow {
    /// #     type Reply = ();
    /// #     fn handle(_: &mut Turn<Self>, _: ()) { narrowboat::sleep(Duration::from_secs(5)) }
    /// # }
    /// let slow = System::new().spawn(Slow);
    /// assert_eq!(slow.call_timeout((), Duration::from_millis(5)), Err(CallError::Timeout));
    /// ```
    #[track_caller]
    pub fn call_timeout<M>(&self, message: M, timeout: Duration) -> Result<S::Reply, CallError>
    where
        S: Handle<M>,
        M: Send + 'static,
    {
        let deadline = Instant::now() + timeout;
        call::reply_until(&call::ask(self, message, Origin::default())?, Some(deadline))
    }

    /// Asks the service for [`Service::info`], as a message among the others.
    ///
    /// # Errors
    /// As for [`call`](Address::call).
    ///
    /// ```
    /// # use narrowboat::actor::*;
    /// struct Idler;
    /// impl Service for Idler {
    ///     fn info(&self) -> String { "idle".into() }
    /// }
    /// assert_eq!(System::new().spawn(Idler).ask_info()?, "idle");
    /// # Ok::<(), CallError>(())
    /// ```
    #[track_caller]
    pub fn ask_info(&self) -> Result<String, CallError> {
        let (reply, answer) = narrowboat_chan::bounded(1);
        self.deliver(Box::new(Question { reply })).map_err(|_| CallError::Ended)?;
        call::reply_until(&answer, None).map(|answer| answer.info)
    }

    /// What the service does and has done. It is not asked, so this does not wait.
    ///
    /// ```
    /// # use narrowboat::actor::*;
    /// # struct Idler;
    /// # impl Service for Idler {}
    /// let info = System::new().spawn(Idler).service_info();
    /// assert_eq!((info.mailbox, info.handled, info.busy_with), (0, 0, None));
    /// ```
    pub fn service_info(&self) -> ServiceInfo {
        checkpoint();
        self.cell.snapshot()
    }

    /// Ends the service at once. The messages that it has not begun are dropped, and whatever waits
    /// for a reply gets an error. A handler that waits in a call unwinds; one that runs goes on to
    /// its next wait, or to its end. A supervisor does not start it anew.
    ///
    /// ```
    /// # use narrowboat::actor::*;
    /// # struct Idler;
    /// # impl Service for Idler {}
    /// let idler = System::new().spawn(Idler);
    /// idler.kill();
    /// assert!(idler.service_info().ended);
    /// ```
    pub fn kill(&self) {
        checkpoint();
        self.cell.end();
    }

    /// Starts the service anew, as after a panic: with a new state, the same address, and the
    /// messages that were not begun. Its supervisor counts it as a failure. Returns false if it has
    /// no supervisor, or has ended.
    ///
    /// ```
    /// # use narrowboat::actor::*;
    /// # struct Idler;
    /// # impl Service for Idler {}
    /// assert!(!System::new().spawn(Idler).restart()); // it has no supervisor
    /// ```
    pub fn restart(&self) -> bool {
        checkpoint();
        self.cell.clone().restart()
    }

    /// The service's number.
    ///
    /// ```
    /// # use narrowboat::actor::*;
    /// # struct Idler;
    /// # impl Service for Idler {}
    /// assert_eq!(System::new().spawn(Idler).id().to_string(), ":00000001");
    /// ```
    pub fn id(&self) -> ServiceId {
        self.cell.id
    }

    /// The service's name, if it has one.
    ///
    /// ```
    /// # use narrowboat::actor::*;
    /// # struct Idler;
    /// # impl Service for Idler {}
    /// assert_eq!(System::new().spawn_named("idler", Idler)?.name(), Some("idler"));
    /// # Ok::<(), NameTaken>(())
    /// ```
    pub fn name(&self) -> Option<&str> {
        self.cell.name.as_deref()
    }
}

impl<S: Service> Clone for Address<S> {
    fn clone(&self) -> Address<S> {
        Address { cell: self.cell.clone() }
    }
}

/// Addresses are equal if they are of the same service.
impl<S: Service> PartialEq for Address<S> {
    fn eq(&self, other: &Address<S>) -> bool {
        Arc::ptr_eq(&self.cell, &other.cell)
    }
}

impl<S: Service> Eq for Address<S> {}

impl<S: Service> Hash for Address<S> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.cell).hash(state);
    }
}

impl<S: Service> fmt::Debug for Address<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut address = f.debug_struct("Address");
        address.field("id", &self.cell.id);
        if let Some(name) = &self.cell.name {
            address.field("name", name);
        }
        address.finish()
    }
}
