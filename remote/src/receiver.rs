//! The receiving end of a subject.

use crate::error::Error;
use narrowboat_chan as chan;
use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Receives the messages of a subject. Clones share them: each message goes to one of the clones.
///
/// Each message is a `Result`: one that cannot be decoded, and the news that some were dropped,
/// arrive as errors, and the next messages follow. When the last clone is dropped, the bus forgets
/// the receiver.
///
/// ```
/// use narrowboat::remote::Bus;
///
/// let bus = Bus::local();
/// let rx = bus.receiver::<String>("greetings")?;
/// bus.sender::<String>("greetings")?.send(&"hello".to_string())?;
/// assert_eq!(rx.recv()?, "hello");
/// # Ok::<(), narrowboat::remote::Error>(())
/// ```
pub struct Receiver<T> {
    channel: chan::Receiver<Result<T, Error>>,
    /// What ends with the last clone.
    _subscription: Arc<dyn Any + Send + Sync>,
}

impl<T> Receiver<T> {
    pub(crate) fn new(
        channel: chan::Receiver<Result<T, Error>>,
        subscription: impl Any + Send + Sync,
    ) -> Receiver<T> {
        Receiver { channel, _subscription: Arc::new(subscription) }
    }

    /// Waits for a message.
    ///
    /// # Errors
    /// If the message cannot be decoded, or some were dropped; the next ones follow. `Closed` if no
    /// message can come any more.
    ///
    /// ```
    /// use narrowboat::remote::{Bus, Error};
    ///
    /// let bus = Bus::local();
    /// let numbers = bus.receiver::<u8>("numbers")?;
    /// bus.sender::<&str>("numbers")?.send(&"seven")?;
    /// assert!(matches!(numbers.recv(), Err(Error::Decode(_))));
    /// # Ok::<(), Error>(())
    /// ```
    #[track_caller]
    pub fn recv(&self) -> Result<T, Error> {
        self.channel.recv().unwrap_or(Err(Error::Closed))
    }

    /// As [`recv`](Receiver::recv), for at most `timeout`.
    ///
    /// # Errors
    /// As for `recv`, and [`Error::Timeout`].
    ///
    /// ```
    /// use narrowboat::remote::{Bus, Error};
    /// use std::time::Duration;
    ///
    /// let bus = Bus::local();
    /// let rx = bus.receiver::<u8>("silence")?;
    /// assert_eq!(rx.recv_timeout(Duration::from_millis(1)), Err(Error::Timeout));
    /// # Ok::<(), Error>(())
    /// ```
    #[track_caller]
    pub fn recv_timeout(&self, timeout: Duration) -> Result<T, Error> {
        self.channel
            .recv_timeout(timeout)
            .unwrap_or_else(|error| Err(if error.is_timeout() { Error::Timeout } else { Error::Closed }))
    }

    /// The channel, for `select!`. It is closed when nothing can send any more: in one process, when
    /// the bus and its senders are gone.
    ///
    /// ```
    /// use narrowboat::{remote::Bus, select, time};
    /// use std::time::Duration;
    ///
    /// let bus = Bus::local();
    /// let rx = bus.receiver::<u8>("silence")?;
    /// select! {
    ///     recv(rx.channel()) -> message => panic!("{message:?}"),
    ///     recv(time::after(Duration::from_millis(1))) -> _ => {}
    /// }
    /// # Ok::<(), narrowboat::remote::Error>(())
    /// ```
    pub fn channel(&self) -> &chan::Receiver<Result<T, Error>> {
        &self.channel
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Receiver<T> {
        Receiver { channel: self.channel.clone(), _subscription: self._subscription.clone() }
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").finish_non_exhaustive()
    }
}
