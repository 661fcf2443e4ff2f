//! Requests at the side that answers.

use crate::codec::Codec;
use crate::error::Error;
use crate::sender::{Order, Outgoing, encode};
use narrowboat_chan as chan;
use serde::Serialize;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

/// A request that waits for a reply. It derefs to what was asked. If it is dropped without a reply,
/// the caller learns that.
///
/// ```
/// use narrowboat::{go, remote::Bus};
/// use std::time::Duration;
///
/// let bus = Bus::local();
/// let squares = bus.service::<u32, u32>("squares", "workers")?;
/// go!(move || {
///     while let Ok(request) = squares.recv() {
///         let n = *request;
///         let _ = request.reply(&(n * n));
///     }
/// });
/// assert_eq!(bus.request::<_, u32>("squares", &12, Duration::from_secs(5)), Ok(144));
/// # Ok::<(), narrowboat::remote::Error>(())
/// ```
pub struct Request<Q, R: ?Sized> {
    question: Q,
    answer: Answer<R>,
}

/// Where a reply goes.
#[derive(Clone, Debug)]
pub(crate) enum ReplyTo {
    /// To a caller in this process; `None` if the request was dropped.
    Local(chan::Sender<Option<Vec<u8>>>),
    /// To a subject.
    #[cfg(feature = "nats")]
    Subject(String),
}

/// The way to the caller, which is told if this is dropped without a reply.
pub(crate) struct Answer<R: ?Sized> {
    /// `None` once it has been used, or if no reply is wanted.
    to: Option<ReplyTo>,
    codec: Codec,
    limit: usize,
    bus: chan::Sender<Outgoing>,
    reply: PhantomData<fn(&R)>,
}

impl<Q, R: Serialize + ?Sized> Request<Q, R> {
    pub(crate) fn new(
        question: Q,
        to: Option<ReplyTo>,
        codec: Codec,
        limit: usize,
        bus: chan::Sender<Outgoing>,
    ) -> Request<Q, R> {
        Request { question, answer: Answer { to, codec, limit, bus, reply: PhantomData } }
    }

    /// Replies. Nothing happens if the message was sent without a wish for a reply.
    ///
    /// # Errors
    /// If the reply cannot be serialised or is too large: then the caller gets [`Error::NoReply`].
    /// `Closed` if the bus is.
    ///
    /// ```
    /// # use narrowboat::{go, remote::Bus};
    /// # use std::time::Duration;
    /// # let bus = Bus::local();
    /// let echo = bus.service::<String, str>("echo", "workers")?;
    /// # let served =
    /// go!(move || {
    ///     let request = echo.recv().unwrap();
    ///     let text = request.clone();
    ///     request.reply(&text).unwrap();
    /// });
    /// assert_eq!(bus.request::<_, String>("echo", "ahoy", Duration::from_secs(5))?, "ahoy");
    /// # served.join().unwrap();
    /// # Ok::<(), narrowboat::remote::Error>(())
    /// ```
    #[track_caller]
    pub fn reply(self, reply: &R) -> Result<(), Error> {
        self.answer.reply(reply)
    }

    /// Whether the caller waits for a reply.
    ///
    /// ```
    /// # use narrowboat::remote::Bus;
    /// # let bus = Bus::local();
    /// let requests = bus.service::<u8, u8>("numbers", "workers")?;
    /// bus.sender::<u8>("numbers")?.send(&1)?; // no question
    /// assert!(!requests.recv()?.wants_reply());
    /// # Ok::<(), narrowboat::remote::Error>(())
    /// ```
    pub fn wants_reply(&self) -> bool {
        self.answer.is_wanted()
    }

    /// The question and the way to the caller.
    #[cfg(feature = "actor")]
    pub(crate) fn split(self) -> (Q, Answer<R>) {
        (self.question, self.answer)
    }
}

impl<R: ?Sized> Answer<R> {
    pub(crate) fn is_wanted(&self) -> bool {
        self.to.is_some()
    }
}

impl<R: Serialize + ?Sized> Answer<R> {
    #[track_caller]
    pub(crate) fn reply(mut self, reply: &R) -> Result<(), Error> {
        let payload = encode(self.codec, self.limit, reply)?;
        match self.to.take() {
            None => Ok(()),
            Some(to) => {
                let order = Outgoing(Order::Reply { to, payload: Some(payload) });
                self.bus.send(order).map_err(|_| Error::Closed)
            }
        }
    }
}

impl<R: ?Sized> Drop for Answer<R> {
    fn drop(&mut self) {
        if let Some(to) = self.to.take() {
            // A destructor does not wait: if the bus is that busy, the caller waits for its time-out.
            let _ = self.bus.try_send(Outgoing(Order::Reply { to, payload: None }));
        }
    }
}

impl<Q, R: ?Sized> Deref for Request<Q, R> {
    type Target = Q;

    fn deref(&self) -> &Q {
        &self.question
    }
}

impl<Q: fmt::Debug, R: ?Sized> fmt::Debug for Request<Q, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request").field("question", &self.question).finish_non_exhaustive()
    }
}
