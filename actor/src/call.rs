//! Sending and calling, for handlers and for everything else.

use crate::address::Address;
use crate::envelope::{Asked, Origin, Sent};
use crate::error::{CallError, SendError};
use crate::service::Handle;
use narrowboat_chan::{Receiver, RecvTimeoutError, bounded};
use std::time::Instant;

/// Sends a message whose reply is dropped.
pub(crate) fn send<S, M>(target: &Address<S>, message: M, origin: Origin) -> Result<(), SendError<M>>
where
    S: Handle<M>,
    M: Send + 'static,
{
    target.deliver(Box::new(Sent { message, origin })).map_err(|refused| {
        let sent = refused.into_any().downcast::<Sent<M>>().expect("it is what was sent");
        SendError(sent.message)
    })
}

/// Sends a message. The reply comes by the channel.
pub(crate) fn ask<S, M>(
    target: &Address<S>,
    message: M,
    origin: Origin,
) -> Result<Receiver<S::Reply>, CallError>
where
    S: Handle<M>,
    M: Send + 'static,
{
    let (reply, answer) = bounded(1);
    target.deliver(Box::new(Asked { message, reply, origin })).map_err(|_| CallError::Ended)?;
    Ok(answer)
}

/// Waits for a reply.
#[track_caller]
pub(crate) fn reply_until<R>(reply: &Receiver<R>, deadline: Option<Instant>) -> Result<R, CallError> {
    match deadline {
        None => reply.recv().map_err(|_| CallError::Failed),
        Some(deadline) => reply.recv_deadline(deadline).map_err(|error| match error {
            RecvTimeoutError::Timeout => CallError::Timeout,
            RecvTimeoutError::Disconnected => CallError::Failed,
        }),
    }
}
