//! Durable streams: messages that are kept until they are acknowledged.

use crate::codec::Codec;
use crate::error::Error;
use crate::local;
#[cfg(feature = "nats")]
use crate::nats;
use crate::receiver::Receiver;
use crate::sender::encode;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
#[cfg(feature = "nats")]
use std::sync::Arc;
use std::time::{Duration, Instant};

/// For how long [`Stream::send`] and [`Delivery::ack`] wait for the server, which may be starting
/// anew.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long a sender waits before it tries a full stream again.
const FULL_PAUSE: Duration = Duration::from_millis(5);

/// How a stream is made.
///
/// ```
/// use narrowboat::remote::{Bus, StreamOptions};
///
/// let options = StreamOptions { max_messages: 100, ..StreamOptions::default() };
/// let jobs = Bus::local().stream::<String>("jobs", options)?;
/// # let _ = jobs;
/// # Ok::<(), narrowboat::remote::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct StreamOptions {
    /// How many messages it keeps. A send to a full stream fails with [`Error::Full`].
    pub max_messages: u64,
    /// How many messages all receivers together may have without an acknowledgement.
    pub max_unacknowledged: usize,
    /// After this time without an acknowledgement a message is delivered again, since its receiver
    /// may be gone. (In one process it is delivered again when it is dropped, and not before.)
    pub ack_wait: Duration,
    /// Whether the server keeps the messages in its memory alone, so that they end with it.
    pub in_memory: bool,
}

impl Default for StreamOptions {
    fn default() -> StreamOptions {
        StreamOptions {
            max_messages: 100_000,
            max_unacknowledged: 1_000,
            ack_wait: Duration::from_secs(30),
            in_memory: false,
        }
    }
}

/// Work that is kept until it is done: each message goes to one receiver, on whatever node, and stays
/// in the stream until that has [acknowledged](Delivery::ack) it.
///
/// ```
/// use narrowboat::remote::{Bus, StreamOptions};
///
/// let bus = Bus::local();
/// let jobs = bus.stream::<String>("jobs", StreamOptions::default())?;
/// jobs.send(&"sweep".to_string())?; // kept from here on
///
/// let job = jobs.receiver()?.recv()?;
/// assert_eq!(*job, "sweep");
/// job.ack()?; // done
/// # Ok::<(), narrowboat::remote::Error>(())
/// ```
pub struct Stream<T> {
    pub(crate) codec: Codec,
    pub(crate) limit: usize,
    pub(crate) kind: Kind,
    pub(crate) message: PhantomData<fn(T) -> T>,
}

#[derive(Clone)]
pub(crate) enum Kind {
    Local(local::Stream),
    #[cfg(feature = "nats")]
    Nats(Arc<nats::Stream>),
}

/// Receives the messages of a [`Stream`].
pub type StreamReceiver<T> = Receiver<Delivery<T>>;

impl<T> Stream<T> {
    /// Adds a message, and waits until the stream has it.
    ///
    /// If the connection breaks meanwhile, the message is sent again, with the number that lets the
    /// server see that it is the same.
    ///
    /// # Errors
    /// [`Error::Full`] if the stream has as many messages as it may have: nothing was sent then. The
    /// same holds for a message that cannot be serialised or is too large. [`Error::Timeout`] if the
    /// server has not said for 30 seconds that it has the message: it may have it.
    ///
    /// ```
    /// use narrowboat::remote::{Bus, Error, StreamOptions};
    ///
    /// let options = StreamOptions { max_messages: 1, ..StreamOptions::default() };
    /// let jobs = Bus::local().stream::<u8>("jobs", options)?;
    /// jobs.send(&1)?;
    /// assert_eq!(jobs.send(&2), Err(Error::Full));
    /// # Ok::<(), Error>(())
    /// ```
    #[track_caller]
    pub fn send(&self, message: &T) -> Result<(), Error>
    where
        T: Serialize,
    {
        let payload = encode(self.codec, self.limit, message)?;
        self.add(payload, Instant::now() + PATIENCE)
    }

    /// As [`send`](Stream::send), but waits for at most `timeout` while the stream is full, or the
    /// server does not answer.
    ///
    /// # Errors
    /// As for `send`. [`Error::Full`] if the stream was so all the time, and [`Error::Timeout`] if the
    /// server has not answered in time.
    ///
    /// ```
    /// use narrowboat::remote::{Bus, Error, StreamOptions};
    /// use std::time::Duration;
    ///
    /// let options = StreamOptions { max_messages: 1, ..StreamOptions::default() };
    /// let jobs = Bus::local().stream::<u8>("jobs", options)?;
    /// jobs.send_timeout(&1, Duration::from_secs(5))?;
    /// assert_eq!(jobs.send_timeout(&2, Duration::from_millis(10)), Err(Error::Full));
    /// # Ok::<(), Error>(())
    /// ```
    #[track_caller]
    pub fn send_timeout(&self, message: &T, timeout: Duration) -> Result<(), Error>
    where
        T: Serialize,
    {
        let payload = encode(self.codec, self.limit, message)?;
        let deadline = Instant::now() + timeout;
        loop {
            match self.add(payload.clone(), deadline) {
                Err(Error::Full) if Instant::now() < deadline => narrowboat_runtime::sleep(FULL_PAUSE),
                result => return result,
            }
        }
    }

    #[track_caller]
    fn add(&self, payload: Vec<u8>, deadline: Instant) -> Result<(), Error> {
        match &self.kind {
            // In one process nothing has to be waited for.
            Kind::Local(stream) => stream.add(payload, deadline),
            #[cfg(feature = "nats")]
            Kind::Nats(stream) => stream.add(payload, deadline),
        }
    }

    /// A receiver. Several, on several nodes, share the messages.
    ///
    /// It holds back the stream: a message comes when the one before it was received, and not more
    /// than [`StreamOptions::max_unacknowledged`] are out.
    ///
    /// # Errors
    /// If the server says so.
    ///
    /// ```
    /// use narrowboat::{remote::{Bus, StreamOptions}, select};
    ///
    /// let jobs = Bus::local().stream::<u8>("jobs", StreamOptions::default())?;
    /// let receiver = jobs.receiver()?;
    /// jobs.send(&7)?;
    /// select! {
    ///     recv(receiver.channel()) -> job => job??.ack()?,
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn receiver(&self) -> Result<StreamReceiver<T>, Error>
    where
        T: DeserializeOwned + Send + 'static,
    {
        match &self.kind {
            Kind::Local(stream) => Ok(stream.receiver(self.codec)),
            #[cfg(feature = "nats")]
            Kind::Nats(stream) => stream.receiver(self.codec),
        }
    }

    /// How many messages are in it: those that wait, and those that were not acknowledged yet.
    ///
    /// # Errors
    /// If the server does not say so.
    ///
    /// ```
    /// use narrowboat::remote::{Bus, StreamOptions};
    ///
    /// let jobs = Bus::local().stream::<u8>("jobs", StreamOptions::default())?;
    /// jobs.send(&7)?;
    /// assert_eq!(jobs.count()?, 1);
    /// # Ok::<(), narrowboat::remote::Error>(())
    /// ```
    #[track_caller]
    pub fn count(&self) -> Result<u64, Error> {
        match &self.kind {
            Kind::Local(stream) => Ok(stream.count()),
            #[cfg(feature = "nats")]
            Kind::Nats(stream) => stream.count(PATIENCE),
        }
    }
}

/// A message of a stream. It derefs to the message. If it is dropped without
/// [`ack`](Delivery::ack), it is delivered again.
///
/// ```
/// use narrowboat::remote::{Bus, StreamOptions};
///
/// let jobs = Bus::local().stream::<u8>("jobs", StreamOptions::default())?;
/// jobs.send(&7)?;
/// let receiver = jobs.receiver()?;
/// drop(receiver.recv()?); // a worker that fails
/// assert_eq!(*receiver.recv()?, 7);
/// # Ok::<(), narrowboat::remote::Error>(())
/// ```
pub struct Delivery<T> {
    message: T,
    ticket: Ticket,
}

/// The right to acknowledge a message.
pub(crate) enum Ticket {
    Local(local::Ticket),
    #[cfg(feature = "nats")]
    Nats(nats::Ticket),
}

impl<T> Delivery<T> {
    pub(crate) fn new(message: T, ticket: Ticket) -> Delivery<T> {
        Delivery { message, ticket }
    }

    /// Says that the message is done with, and waits until the stream has forgotten it.
    ///
    /// # Errors
    /// [`Error::Timeout`] if the server does not confirm that within 30 seconds, or another error of
    /// the connection: then the message may be delivered again.
    ///
    /// ```
    /// use narrowboat::remote::{Bus, StreamOptions};
    ///
    /// let jobs = Bus::local().stream::<u8>("jobs", StreamOptions::default())?;
    /// jobs.send(&7)?;
    /// jobs.receiver()?.recv()?.ack()?;
    /// assert_eq!(jobs.count()?, 0);
    /// # Ok::<(), narrowboat::remote::Error>(())
    /// ```
    #[track_caller]
    pub fn ack(self) -> Result<(), Error> {
        match self.ticket {
            Ticket::Local(ticket) => {
                ticket.ack();
                Ok(())
            }
            #[cfg(feature = "nats")]
            Ticket::Nats(ticket) => ticket.ack(PATIENCE),
        }
    }
}

impl<T> Deref for Delivery<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.message
    }
}

impl<T: fmt::Debug> fmt::Debug for Delivery<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery").field("message", &self.message).finish_non_exhaustive()
    }
}

impl<T> Clone for Stream<T> {
    fn clone(&self) -> Stream<T> {
        Stream { codec: self.codec, limit: self.limit, kind: self.kind.clone(), message: PhantomData }
    }
}

impl<T> fmt::Debug for Stream<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").finish_non_exhaustive()
    }
}
