//! The right to a service's state.

use crate::address::Address;
use crate::call;
use crate::cell::{Cell, Job, Resumed, Wait};
use crate::envelope::Origin;
use crate::error::CallError;
use crate::info::ServiceId;
use crate::run;
use crate::service::{Handle, Service};
use crate::system::System;
use std::any::Any;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A service's state in the hands of the handler that has the turn. It derefs to the state.
///
/// What waits by [`call`](Turn::call) or [`wait`](Turn::wait) gives up the turn meanwhile, so other
/// messages may change the state. No reference to the state can live across them.
///
/// ```
/// use narrowboat::actor::{Address, CallError, Handle, Service, System, Turn};
///
/// struct Shop { stock: Address<Stock>, sold: u32 }
/// struct Stock(u32);
/// impl Service for Shop {}
/// impl Service for Stock {}
///
/// struct Take;
/// impl Handle<Take> for Stock {
///     type Reply = bool;
///     fn handle(turn: &mut Turn<Self>, _: Take) -> bool {
///         let some = turn.0 > 0;
///         turn.0 = turn.0.saturating_sub(1);
///         some
///     }
/// }
///
/// struct Buy;
/// impl Handle<Buy> for Shop {
///     type Reply = Result<u32, CallError>;
///     fn handle(turn: &mut Turn<Self>, _: Buy) -> Result<u32, CallError> {
///         let stock = turn.stock.clone();
///         // While this waits, the shop serves others.
///         if turn.call(&stock, Take)? {
///             turn.sold += 1;
///         }
///         Ok(turn.sold)
///     }
/// }
///
/// let system = System::new();
/// let stock = system.spawn(Stock(1));
/// let shop = system.spawn(Shop { stock, sold: 0 });
/// assert_eq!(shop.call(Buy)?, Ok(1));
/// assert_eq!(shop.call(Buy)?, Ok(1));
/// # Ok::<(), CallError>(())
/// ```
pub struct Turn<S: Service> {
    pub(crate) cell: Arc<Cell<S>>,
    pub(crate) life: u32,
    pub(crate) job: Job,
    /// `None` while the handler waits, and after the life of its turn has ended.
    pub(crate) state: Option<Box<S>>,
    pub(crate) stops: bool,
}

/// The payload of the unwinding that ends a handler whose service has ended.
struct EndOfLife;

/// Whether a handler has unwound because its service had ended.
pub(crate) fn is_end_of_life(payload: &(dyn Any + Send)) -> bool {
    payload.is::<EndOfLife>()
}

impl<S: Service> Turn<S> {
    /// Calls a service and waits for its reply, without the turn.
    ///
    /// It does not return if the calling service ends or starts anew meanwhile: then the handler
    /// unwinds.
    ///
    /// # Errors
    /// If the called service has ended, or ends or fails before it replies.
    #[track_caller]
    pub fn call<T, M>(&mut self, target: &Address<T>, message: M) -> Result<T::Reply, CallError>
    where
        T: Handle<M>,
        M: Send + 'static,
    {
        self.call_until(target, message, None, Location::caller())
    }

    /// As [`call`](Turn::call), for at most `timeout`.
    ///
    /// # Errors
    /// As for `call`; and [`CallError::Timeout`]. The called service may still handle the message.
    ///
    /// ```
    /// # use narrowboat::actor::*;
    /// # use std::time::Duration;
    /// # struct Slow;
    /// # impl Service for Slow {}
    /// # struct Work;
    /// # impl Handle<Work> for Slow {
    /// #     type Reply = ();
    /// #     fn handle(turn: &mut Turn<Self>, _: Work) {
    /// #         turn.wait(|| narrowboat::sleep(Duration::from_secs(5)));
    /// #     }
    /// # }
    /// struct Ask(Address<Slow>);
    /// # struct Asker;
    /// # impl Service for Asker {}
    /// impl Handle<Ask> for Asker {
    ///     type Reply = Result<(), CallError>;
    ///     fn handle(turn: &mut Turn<Self>, Ask(slow): Ask) -> Self::Reply {
    ///         turn.call_timeout(&slow, Work, Duration::from_millis(10))
    ///     }
    /// }
    /// # let system = System::new();
    /// # let (slow, asker) = (system.spawn(Slow), system.spawn(Asker));
    /// assert_eq!(asker.call(Ask(slow))?, Err(CallError::Timeout));
    /// # Ok::<(), CallError>(())
    /// ```
    #[track_caller]
    pub fn call_timeout<T, M>(
        &mut self,
        target: &Address<T>,
        message: M,
        timeout: Duration,
    ) -> Result<T::Reply, CallError>
    where
        T: Handle<M>,
        M: Send + 'static,
    {
        self.call_until(target, message, Some(Instant::now() + timeout), Location::caller())
    }

    fn call_until<T, M>(
        &mut self,
        target: &Address<T>,
        message: M,
        deadline: Option<Instant>,
        at: &'static Location<'static>,
    ) -> Result<T::Reply, CallError>
    where
        T: Handle<M>,
        M: Send + 'static,
    {
        let session = self.cell.next_session();
        let origin = Origin { source: Some(self.cell.id), session };
        let reply = call::ask(target, message, origin)?;
        let closer: Box<dyn crate::cell::Closer> = Box::new(reply.clone());
        let wait = Wait { session, target: Some(target.id()), at, closer: Some(closer) };
        self.without_turn(wait, || call::reply_until(&reply, deadline))
    }

    /// Waits in `f` without the turn: for a socket, a channel, some time, or whatever else blocks.
    ///
    /// It does not return if the service ends or starts anew meanwhile: then the handler unwinds
    /// when `f` has returned.
    ///
    /// ```
    /// # use narrowboat::actor::*;
    /// use narrowboat::time;
    /// use std::time::Duration;
    ///
    /// struct Clock(u32);
    /// # impl Service for Clock {}
    /// struct Tick;
    /// impl Handle<Tick> for Clock {
    ///     type Reply = u32;
    ///     fn handle(turn: &mut Turn<Self>, _: Tick) -> u32 {
    ///         turn.wait(|| time::sleep(Duration::from_millis(1)));
    ///         turn.0 += 1;
    ///         turn.0
    ///     }
    /// }
    /// assert_eq!(System::new().spawn(Clock(0)).call(Tick), Ok(1));
    /// ```
    #[track_caller]
    pub fn wait<R>(&mut self, f: impl FnOnce() -> R) -> R {
        let session = self.cell.next_session();
        self.without_turn(Wait { session, target: None, at: Location::caller(), closer: None }, f)
    }

    /// Runs `f` between giving up the turn and taking it again.
    fn without_turn<R>(&mut self, wait: Wait, f: impl FnOnce() -> R) -> R {
        if std::thread::panicking() {
            // A destructor during unwinding: the state is in no condition to be handed on, and to
            // unwind from here would abort.
            return f();
        }
        let session = wait.session;
        let state = self.state.take().unwrap_or_else(|| leave());
        match self.cell.give_up(self.life, state, wait) {
            Ok(None) => {}
            Ok(Some(work)) => run::start(&self.cell, work),
            Err(()) => leave(),
        }
        // A panic goes on when the turn has come again, so that it fails the service as any other.
        let result = catch_unwind(AssertUnwindSafe(f));
        self.state = match self.cell.resume(self.life, session, self.job) {
            Resumed::Now(state) => Some(state),
            // The channel is dropped unused when the life of the turn ends.
            Resumed::Later(state) => Some(state.recv().unwrap_or_else(|_| leave())),
            Resumed::Never => leave(),
        };
        result.unwrap_or_else(|payload| resume_unwind(payload))
    }

    /// The service's own address.
    ///
    /// ```
    /// # use narrowboat::actor::*;
    /// # struct Me;
    /// # impl Service for Me {}
    /// # struct Which;
    /// impl Handle<Which> for Me {
    ///     type Reply = Address<Me>;
    ///     fn handle(turn: &mut Turn<Self>, _: Which) -> Address<Me> {
    ///         turn.address()
    ///     }
    /// }
    /// # let me = System::new().spawn(Me);
    /// assert_eq!(me.call(Which)?, me);
    /// # Ok::<(), CallError>(())
    /// ```
    pub fn address(&self) -> Address<S> {
        Address::new(self.cell.clone())
    }

    /// The service's system.
    ///
    /// ```
    /// # use narrowboat::actor::*;
    /// # struct Parent;
    /// # struct Child;
    /// # impl Service for Parent {}
    /// # impl Service for Child {}
    /// # struct Spawn;
    /// impl Handle<Spawn> for Parent {
    ///     type Reply = Address<Child>;
    ///     fn handle(turn: &mut Turn<Self>, _: Spawn) -> Address<Child> {
    ///         turn.system().spawn(Child)
    ///     }
    /// }
    /// # let parent = System::new().spawn(Parent);
    /// # parent.call(Spawn)?;
    /// # Ok::<(), CallError>(())
    /// ```
    pub fn system(&self) -> System {
        System::of(self.cell.system.clone())
    }

    /// The service that has sent the message, if it was sent by one with [`call`](Turn::call) or
    /// [`send`](Turn::send).
    ///
    /// ```
    /// # use narrowboat::actor::*;
    /// # struct Me;
    /// # impl Service for Me {}
    /// # struct Which;
    /// impl Handle<Which> for Me {
    ///     type Reply = Option<ServiceId>;
    ///     fn handle(turn: &mut Turn<Self>, _: Which) -> Self::Reply {
    ///         turn.source()
    ///     }
    /// }
    /// # let me = System::new().spawn(Me);
    /// assert_eq!(me.call(Which)?, None); // from outside
    /// # Ok::<(), CallError>(())
    /// ```
    pub fn source(&self) -> Option<ServiceId> {
        self.job.origin.source
    }

    /// The number of the call among those of its source; 0 if no service waits for a reply.
    ///
    /// ```
    /// # use narrowboat::actor::*;
    /// # struct Me;
    /// # impl Service for Me {}
    /// # struct Which;
    /// impl Handle<Which> for Me {
    ///     type Reply = u32;
    ///     fn handle(turn: &mut Turn<Self>, _: Which) -> Self::Reply {
    ///         turn.session()
    ///     }
    /// }
    /// # let me = System::new().spawn(Me);
    /// assert_eq!(me.call(Which)?, 0); // from outside
    /// # Ok::<(), CallError>(())
    /// ```
    pub fn session(&self) -> u32 {
        self.job.origin.session
    }

    /// Sends a message in the name of this service, without waiting.
    ///
    /// # Errors
    /// The message, if the service has ended.
    ///
    /// ```
    /// # use narrowboat::actor::*;
    /// # struct Me(u32);
    /// # impl Service for Me {}
    /// struct CountDown;
    /// impl Handle<CountDown> for Me {
    ///     type Reply = ();
    ///     fn handle(turn: &mut Turn<Self>, _: CountDown) {
    ///         let me = turn.address();
    ///         turn.0 -= 1;
    ///         match turn.0 {
    ///             0 => turn.stop(),
    ///             _ => turn.send(&me, CountDown).expect("it has not ended"),
    ///         }
    ///     }
    /// }
    /// # let me = System::new().spawn(Me(3));
    /// # me.send(CountDown).unwrap();
    /// ```
    pub fn send<T, M>(&self, target: &Address<T>, message: M) -> Result<(), crate::SendError<M>>
    where
        T: Handle<M>,
        M: Send + 'static,
    {
        call::send(target, message, Origin { source: Some(self.cell.id), session: 0 })
    }

    /// Ends the service when this message has been handled and answered. A supervisor does not start
    /// it anew.
    ///
    /// ```
    /// # use narrowboat::actor::*;
    /// # struct Me;
    /// # impl Service for Me {}
    /// struct Goodbye;
    /// impl Handle<Goodbye> for Me {
    ///     type Reply = &'static str;
    ///     fn handle(turn: &mut Turn<Self>, _: Goodbye) -> Self::Reply {
    ///         turn.stop();
    ///         "goodbye"
    ///     }
    /// }
    /// # let me = System::new().spawn(Me);
    /// assert_eq!(me.call(Goodbye)?, "goodbye");
    /// assert!(me.call(Goodbye).is_err());
    /// # Ok::<(), CallError>(())
    /// ```
    pub fn stop(&mut self) {
        self.stops = true;
    }
}

/// Ends the calling handler, whose service has ended or has been started anew.
#[cold]
fn leave() -> ! {
    if cfg!(panic = "abort") {
        // An unwinding would end the program. The goroutine waits for ever instead.
        let _ = narrowboat_chan::never::<()>().recv();
    }
    resume_unwind(Box::new(EndOfLife))
}

impl<S: Service> Deref for Turn<S> {
    type Target = S;

    fn deref(&self) -> &S {
        self.state.as_deref().expect("the service of this handler has ended")
    }
}

impl<S: Service> DerefMut for Turn<S> {
    fn deref_mut(&mut self) -> &mut S {
        self.state.as_deref_mut().expect("the service of this handler has ended")
    }
}

impl<S: Service> fmt::Debug for Turn<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Turn").field("service", &self.cell.id).finish_non_exhaustive()
    }
}
