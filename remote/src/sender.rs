//! The sending end of a subject.

use crate::codec::Codec;
use crate::error::Error;
use narrowboat_chan as chan;
use serde::Serialize;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

/// Sends messages to a subject.
///
/// A message is handed to a goroutine of the bus by a bounded channel. While the connection is
/// broken or slow the channel fills, and a send waits.
///
/// ```
/// use narrowboat::remote::Bus;
///
/// let bus = Bus::local();
/// let rx = bus.receiver::<u32>("numbers")?;
/// let tx = bus.sender::<u32>("numbers")?;
/// tx.send(&7)?;
/// assert_eq!(rx.recv(), Ok(7));
/// # Ok::<(), narrowboat::remote::Error>(())
/// ```
pub struct Sender<T: ?Sized> {
    subject: Arc<str>,
    codec: Codec,
    limit: usize,
    channel: chan::Sender<Outgoing>,
    message: PhantomData<fn(&T)>,
}

/// A message that is ready to be sent: from [`Sender::encode`], for [`Sender::channel`].
///
/// ```
/// let bus = narrowboat::remote::Bus::local();
/// let outgoing = bus.sender::<u8>("numbers")?.encode(&7)?;
/// assert_eq!(outgoing.len(), 1); // the text "7"
/// # Ok::<(), narrowboat::remote::Error>(())
/// ```
pub struct Outgoing(pub(crate) Order);

/// What the goroutine of a bus is told.
pub(crate) enum Order {
    Publish {
        subject: Arc<str>,
        payload: Vec<u8>,
    },
    /// An answer: the payload, or none if the request was dropped.
    Reply {
        to: crate::request::ReplyTo,
        payload: Option<Vec<u8>>,
    },
    /// To say when the server has everything that was sent before.
    Flush(chan::Sender<Result<(), Error>>),
}

impl<T: Serialize + ?Sized> Sender<T> {
    pub(crate) fn new(
        subject: &str,
        codec: Codec,
        limit: usize,
        channel: chan::Sender<Outgoing>,
    ) -> Sender<T> {
        Sender { subject: subject.into(), codec, limit, channel, message: PhantomData }
    }

    /// Sends a message. Waits while there is no room in the channel of the bus.
    ///
    /// # Errors
    /// If the message cannot be serialised or is too large; nothing was sent then. `Closed` if the
    /// bus is.
    ///
    /// ```
    /// use narrowboat::remote::{Bus, Error};
    ///
    /// let tx = Bus::local().sender::<[u8]>("bytes")?;
    /// assert!(matches!(tx.send(&[0; 1 << 20]), Err(Error::TooLarge { .. })));
    /// # Ok::<(), Error>(())
    /// ```
    #[track_caller]
    pub fn send(&self, message: &T) -> Result<(), Error> {
        self.channel.send(self.encode(message)?).map_err(|_| Error::Closed)
    }

    /// Serialises a message, for a send arm of `select!`.
    ///
    /// # Errors
    /// If the message cannot be serialised or is too large.
    ///
    /// ```
    /// use narrowboat::{remote::Bus, select};
    ///
    /// let bus = Bus::local();
    /// let (tx, rx) = (bus.sender::<u8>("numbers")?, bus.receiver::<u8>("numbers")?);
    /// let message = tx.encode(&7)?;
    /// select! {
    ///     send(tx.channel(), message) -> sent => assert!(sent.is_ok()),
    /// }
    /// assert_eq!(rx.recv(), Ok(7));
    /// # Ok::<(), narrowboat::remote::Error>(())
    /// ```
    pub fn encode(&self, message: &T) -> Result<Outgoing, Error> {
        let payload = encode(self.codec, self.limit, message)?;
        Ok(Outgoing(Order::Publish { subject: self.subject.clone(), payload }))
    }

    /// The channel to the goroutine of the bus, for `select!`.
    ///
    /// ```
    /// let tx = narrowboat::remote::Bus::local().sender::<u8>("numbers")?;
    /// assert!(tx.channel().capacity().is_some());
    /// # Ok::<(), narrowboat::remote::Error>(())
    /// ```
    pub fn channel(&self) -> &chan::Sender<Outgoing> {
        &self.channel
    }
}

/// Serialises a message that may have so many bytes.
pub(crate) fn encode<T: Serialize + ?Sized>(
    codec: Codec,
    limit: usize,
    message: &T,
) -> Result<Vec<u8>, Error> {
    let payload = codec.encode(message)?;
    let size = payload.len();
    if size > limit { Err(Error::TooLarge { size, limit }) } else { Ok(payload) }
}

impl Outgoing {
    /// How many bytes it has.
    ///
    /// ```
    /// let bus = narrowboat::remote::Bus::local();
    /// assert_eq!(bus.sender::<str>("words")?.encode("one")?.len(), 5); // with quotes
    /// # Ok::<(), narrowboat::remote::Error>(())
    /// ```
    #[expect(clippy::len_without_is_empty, reason = "a message is what it is, not a collection")]
    pub fn len(&self) -> usize {
        match &self.0 {
            Order::Publish { payload, .. } => payload.len(),
            Order::Reply { payload, .. } => payload.as_ref().map_or(0, Vec::len),
            Order::Flush(_) => 0,
        }
    }
}

impl<T: ?Sized> Clone for Sender<T> {
    fn clone(&self) -> Sender<T> {
        Sender {
            subject: self.subject.clone(),
            codec: self.codec,
            limit: self.limit,
            channel: self.channel.clone(),
            message: PhantomData,
        }
    }
}

impl<T: ?Sized> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("subject", &self.subject).finish_non_exhaustive()
    }
}

impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outgoing").field("len", &self.len()).finish_non_exhaustive()
    }
}
