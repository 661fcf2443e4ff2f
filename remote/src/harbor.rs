//! Services of [`narrowboat_actor`] by name on other nodes, as skynet's harbor has them.
//!
//! A service offers a type of message under a name; whatever is on the same bus calls it there. Where
//! several services offer one name, each message goes to one of them.
//!
//! ```
//! use narrowboat::actor::{Handle, Service, System, Turn};
//! use narrowboat::remote::{Bus, harbor};
//! use serde::{Deserialize, Serialize};
//! use std::time::Duration;
//!
//! #[derive(Serialize, Deserialize)]
//! struct Add(u64);
//! struct Counter(u64);
//! impl Service for Counter {}
//! impl Handle<Add> for Counter {
//!     type Reply = u64;
//!     fn handle(turn: &mut Turn<Self>, Add(n): Add) -> u64 {
//!         turn.0 += n;
//!         turn.0
//!     }
//! }
//!
//! let bus = Bus::local(); // or, on each node, Bus::connect("nats://...")
//! let counter = System::new().spawn(Counter(40));
//! let _offer = harbor::offer::<_, Add>(&bus, "counter.add", &counter)?;
//!
//! let remote = harbor::Remote::<Add, u64>::new(&bus, "counter.add")?;
//! assert_eq!(remote.call(&Add(2), Duration::from_secs(5))?, 42);
//! remote.send(&Add(1))?; // without a reply
//! # Ok::<(), narrowboat::remote::Error>(())
//! ```

use crate::bus::Bus;
use crate::error::Error;
use crate::request::Request;
use crate::sender::Sender;
use narrowboat_actor::{Address, Handle};
use narrowboat_chan::{self as chan, bounded, select};
use narrowboat_runtime::spawn;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

/// Where the subjects of services are.
const PREFIX: &str = "service";

/// The group of all services of one name.
const GROUP: &str = "services";

/// A service under a name. It is offered until this is dropped.
///
/// ```
/// # use narrowboat::{actor::*, remote::{Bus, Error, harbor}};
/// # struct Echo;
/// # impl Service for Echo {}
/// # impl Handle<u8> for Echo {
/// #     type Reply = u8;
/// #     fn handle(_: &mut Turn<Self>, n: u8) -> u8 { n }
/// # }
/// let bus = Bus::local();
/// let echo = System::new().spawn(Echo);
/// let offer: harbor::Offer = harbor::offer::<_, u8>(&bus, "echo", &echo)?;
/// drop(offer); // soon, nothing answers any more
/// # Ok::<(), Error>(())
/// ```
#[must_use = "the service is offered until this is dropped"]
pub struct Offer {
    _until_dropped: chan::Sender<()>,
}

impl fmt::Debug for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Offer").finish_non_exhaustive()
    }
}

/// Offers a service under a name, words between dots, for messages of one type.
///
/// Messages that are sent are put into the mailbox in the order in which they come. Calls are not
/// behind them: a call may overtake another one, and what its own caller has sent before.
///
/// # Errors
/// If the name is none, or the server does not take the subscription.
///
/// ```
/// # use narrowboat::{actor::*, remote::{Bus, Error, harbor}};
/// # struct Echo;
/// # impl Service for Echo {}
/// # impl Handle<u8> for Echo {
/// #     type Reply = u8;
/// #     fn handle(_: &mut Turn<Self>, n: u8) -> u8 { n }
/// # }
/// # let (bus, echo) = (Bus::local(), System::new().spawn(Echo));
/// let _offer = harbor::offer::<_, u8>(&bus, "echo", &echo)?;
/// assert!(harbor::offer::<_, u8>(&bus, "two words", &echo).is_err());
/// # Ok::<(), Error>(())
/// ```
#[track_caller]
pub fn offer<S, M>(bus: &Bus, name: &str, address: &Address<S>) -> Result<Offer, Error>
where
    S: Handle<M>,
    M: DeserializeOwned + Send + 'static,
    S::Reply: Serialize,
{
    let requests = bus.service::<M, S::Reply>(&subject(name), GROUP)?;
    let (until_dropped, dropped) = bounded::<()>(0);
    let address = address.clone();
    spawn(move || {
        loop {
            select! {
                recv(requests.channel()) -> request => match request {
                    // Its caller waits for its time-out.
                    Ok(Err(_)) => {}
                    Ok(Ok(request)) => serve(&address, request),
                    Err(_) => return,
                },
                recv(dropped) -> _ => return,
            }
        }
    });
    Ok(Offer { _until_dropped: until_dropped })
}

fn serve<S, M>(address: &Address<S>, request: Request<M, S::Reply>)
where
    S: Handle<M>,
    M: Send + 'static,
    S::Reply: Serialize,
{
    let (message, answer) = request.split();
    if !answer.is_wanted() {
        // The service may have ended; nothing waits for it to say so.
        let _ = address.send(message);
        return;
    }
    let address = address.clone();
    spawn(move || {
        // Without a reply the answer is dropped, which tells the caller. It may be gone, too.
        if let Ok(reply) = address.call(message) {
            let _ = answer.reply(&reply);
        }
    });
}

fn subject(name: &str) -> String {
    format!("{PREFIX}.{name}")
}

/// A service on this or another node that takes messages of type `M` and replies with `R`.
///
/// ```
/// use narrowboat::remote::{Bus, Error, harbor::Remote};
/// use std::time::Duration;
///
/// let nothing = Remote::<u8, u8>::new(&Bus::local(), "nothing")?;
/// assert_eq!(nothing.call(&1, Duration::from_secs(5)), Err(Error::NoReceiver));
/// # Ok::<(), Error>(())
/// ```
pub struct Remote<M, R> {
    bus: Bus,
    subject: String,
    sender: Sender<M>,
    types: PhantomData<fn(M) -> R>,
}

impl<M: Serialize, R: DeserializeOwned> Remote<M, R> {
    /// The service of this name. Whether there is one shows at a call.
    ///
    /// # Errors
    /// If the name is none.
    ///
    /// ```
    /// use narrowboat::remote::{Bus, harbor::Remote};
    /// assert!(Remote::<u8, u8>::new(&Bus::local(), "").is_err());
    /// ```
    pub fn new(bus: &Bus, name: &str) -> Result<Remote<M, R>, Error> {
        let subject = subject(name);
        let sender = bus.sender(&subject)?;
        Ok(Remote { bus: bus.clone(), subject, sender, types: PhantomData })
    }

    /// Calls it. In a handler of a service, do that within [`Turn::wait`](narrowboat_actor::Turn::wait).
    ///
    /// # Errors
    /// [`Error::NoReceiver`] if nothing is offered under the name, [`Error::NoReply`] if the service
    /// has ended or fails before it replies; [`Error::Timeout`], and what the connection says.
    ///
    /// ```
    /// # use narrowboat::{actor::*, remote::{Bus, Error, harbor}};
    /// # struct Echo;
    /// # impl Service for Echo {}
    /// # impl Handle<u8> for Echo {
    /// #     type Reply = u8;
    /// #     fn handle(_: &mut Turn<Self>, n: u8) -> u8 { n }
    /// # }
    /// # let (bus, echo) = (Bus::local(), System::new().spawn(Echo));
    /// let _offer = harbor::offer::<_, u8>(&bus, "echo", &echo)?;
    /// let remote = harbor::Remote::<u8, u8>::new(&bus, "echo")?;
    /// let timeout = std::time::Duration::from_secs(5);
    /// assert_eq!(remote.call(&7, timeout), Ok(7));
    /// echo.kill();
    /// assert_eq!(remote.call(&7, timeout), Err(Error::NoReply));
    /// # Ok::<(), Error>(())
    /// ```
    #[track_caller]
    pub fn call(&self, message: &M, timeout: Duration) -> Result<R, Error> {
        self.bus.request(&self.subject, message, timeout)
    }

    /// Sends it a message, which may be lost as any other of a bus.
    ///
    /// # Errors
    /// If the message cannot be serialised or is too large, or the bus is closed.
    ///
    /// ```
    /// # use narrowboat::remote::{Bus, harbor::Remote};
    /// let nothing = Remote::<u8, u8>::new(&Bus::local(), "nothing")?;
    /// nothing.send(&1)?; // lost
    /// # Ok::<(), narrowboat::remote::Error>(())
    /// ```
    #[track_caller]
    pub fn send(&self, message: &M) -> Result<(), Error> {
        self.sender.send(message)
    }
}

impl<M, R> Clone for Remote<M, R> {
    fn clone(&self) -> Remote<M, R> {
        let (bus, subject) = (self.bus.clone(), self.subject.clone());
        Remote { bus, subject, sender: self.sender.clone(), types: PhantomData }
    }
}

impl<M, R> fmt::Debug for Remote<M, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").field("subject", &self.subject).finish_non_exhaustive()
    }
}
