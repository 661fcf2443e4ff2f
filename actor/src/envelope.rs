//! Messages as they lie in a mailbox.

use crate::info::ServiceId;
use crate::service::{Handle, Service};
use crate::turn::Turn;
use narrowboat_chan::Sender;
use std::any::{Any, type_name};

/// Where a message comes from.
#[derive(Clone, Copy, Default)]
pub(crate) struct Origin {
    /// The service that has sent it; `None` if it is no service, or not known.
    pub(crate) source: Option<ServiceId>,
    /// The number of the call among those of the source; 0 if no reply is waited for.
    pub(crate) session: u32,
}

/// A message for a service of type `S`, and what becomes of the reply.
pub(crate) trait Envelope<S: Service>: Send {
    /// Handles the message.
    fn open(self: Box<Self>, turn: &mut Turn<S>);

    fn origin(&self) -> Origin;

    /// The name of the message's type, as a function: that takes one word.
    fn kind(&self) -> fn() -> &'static str;

    /// The envelope as a value of its own type, to take back what a service has refused.
    fn into_any(self: Box<Self>) -> Box<dyn Any>;
}

/// A message whose reply is dropped.
pub(crate) struct Sent<M> {
    pub(crate) message: M,
    pub(crate) origin: Origin,
}

impl<S: Handle<M>, M: Send + 'static> Envelope<S> for Sent<M> {
    fn open(self: Box<Self>, turn: &mut Turn<S>) {
        S::handle(turn, self.message);
    }

    fn origin(&self) -> Origin {
        self.origin
    }

    fn kind(&self) -> fn() -> &'static str {
        type_name::<M>
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

/// A message whose reply is waited for. The caller sees that there will be none when `reply` is
/// dropped.
pub(crate) struct Asked<M, R> {
    pub(crate) message: M,
    pub(crate) reply: Sender<R>,
    pub(crate) origin: Origin,
}

impl<S: Handle<M>, M: Send + 'static> Envelope<S> for Asked<M, S::Reply> {
    fn open(self: Box<Self>, turn: &mut Turn<S>) {
        let Asked { message, reply, .. } = *self;
        let answer = S::handle(turn, message);
        // Fails if the caller has given up, by a time-out or by its own end.
        let _ = reply.try_send(answer);
    }

    fn origin(&self) -> Origin {
        self.origin
    }

    fn kind(&self) -> fn() -> &'static str {
        type_name::<M>
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

/// What a service says of itself.
pub(crate) struct Answer {
    pub(crate) info: String,
    pub(crate) memory: usize,
}

/// A question that every service answers.
pub(crate) struct Question {
    pub(crate) reply: Sender<Answer>,
}

impl<S: Service> Envelope<S> for Question {
    fn open(self: Box<Self>, turn: &mut Turn<S>) {
        let _ = self.reply.try_send(Answer { info: turn.info(), memory: turn.memory() });
    }

    fn origin(&self) -> Origin {
        Origin::default()
    }

    fn kind(&self) -> fn() -> &'static str {
        || "a question of the console"
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}
