//! Channels without senders: timers, the ends of contexts, and events outside this crate.
//!
//! Nothing is handed to a waiter of such a channel. An instant ends its wait, or a wake-up that
//! tells it to look again. A select, a receive and a watcher wait in the same way, so a source of
//! messages implements one trait, [`Event`].

use crate::describe::borrow;
use crate::error::{RecvError, RecvTimeoutError};
use crate::limit::{At, Limit, earlier};
use crate::node::{NodeRef, SINGLE_QUEUE};
use crate::receiver::{Receiver, Source};
use narrowboat_runtime::park::{Outcome, Reason, Thing, Waiter, checkpoint, describe_with};
use std::time::Instant;

/// What a receiver without senders receives from: messages of type `T`.
///
/// # Safety
/// [`id`](Event::id) is the address of the value, or 0. All values with the same
/// [`reason`](Event::reason) and an id other than 0 have the same type: a dump reads such a value
/// at the id.
pub(crate) unsafe trait Event<T> {
    /// The reason of a wait for this event alone.
    fn reason(&self) -> Reason;

    /// The message, or the error that there will be none, if the event has happened.
    fn try_recv(&self) -> Option<Result<T, RecvError>>;

    /// Whether the event has happened. Changes nothing.
    fn is_ready(&self) -> bool;

    /// The event as dumps show it among the operations of a select.
    fn thing(&self) -> Thing;

    /// Looks whether the event has happened, and if not, enters the queue, in one critical section.
    ///
    /// # Safety
    /// As for [`Waiters::enter`](crate::waiters::Waiters::enter); `sole` says that there is neither
    /// another arm nor a limit. After `Later` the node may be in the queue.
    unsafe fn enter(&self, node: NodeRef, me: Waiter, outcome: Outcome, sole: bool) -> Recheck;

    /// Leaves the queue.
    ///
    /// # Safety
    /// The node was entered here, and is alive.
    unsafe fn leave(&self, node: NodeRef);

    /// The address that identifies this event in diagnostics and comparisons; 0 if there is
    /// nothing to say of it.
    fn id(&self) -> usize {
        (&raw const *self).cast::<()>().expose_provenance()
    }

    /// Whether [`try_recv`](Event::try_recv) runs code of the program, which may wait. It is then
    /// called only while no wait is under way, and the [id](Event::id) is no object of a wait:
    /// values with the same reason may have different types.
    fn runs_code(&self) -> bool {
        false
    }
}

/// When the caller of [`Event::enter`] looks again.
pub(crate) enum Recheck {
    /// At once: the event has happened, and the queue was not entered.
    Now,
    /// At this instant, or when it is woken.
    Later(Option<Instant>),
}

/// An event that never happens.
pub(crate) struct Never;

// SAFETY: its id is 0.
unsafe impl<T> Event<T> for Never {
    fn reason(&self) -> Reason {
        Reason::Never
    }

    fn try_recv(&self) -> Option<Result<T, RecvError>> {
        None
    }

    fn is_ready(&self) -> bool {
        false
    }

    fn thing(&self) -> Thing {
        Thing { operation: "receive from", address: 0, kind: "never", details: String::new(), held_by: None }
    }

    unsafe fn enter(&self, _: NodeRef, _: Waiter, _: Outcome, _: bool) -> Recheck {
        Recheck::Later(None)
    }

    unsafe fn leave(&self, _: NodeRef) {}

    fn id(&self) -> usize {
        0
    }
}

/// Receives, within the limit.
pub(crate) fn recv<T>(event: &impl Event<T>, limit: Limit, at: At) -> Result<T, RecvTimeoutError> {
    loop {
        if let Some(message) = event.try_recv() {
            checkpoint();
            return message.map_err(|_| RecvTimeoutError::Disconnected);
        }
        sleep(event, limit, at)?;
    }
}

/// The wait of a caller that waits for something of its own beside an event: enters the queue of
/// the event, parks by `park`, and leaves the queue. For the other crates of Narrowboat.
///
/// # Safety
/// `me` is from the caller's latest `begin`, and its own node is in no queue. `park` parks it until
/// the instant that it is called with. What else may end the wait ends it with `SINGLE_QUEUE`,
/// and then wakes the caller.
///
/// # Panics
/// If the receiver is one of a channel with senders.
pub unsafe fn park_beside<T>(
    receiver: &Receiver<T>,
    me: Waiter,
    deadline: Option<Instant>,
    park: impl FnOnce(Waiter, Option<Instant>) -> Outcome,
) {
    const BY_EVENT: Outcome = Outcome(Outcome::FIRST + 1);
    let Source::Event(event) = receiver.flavor.source() else { unreachable!("not the channel of an event") };
    let node = NodeRef::new(me.node());
    // SAFETY: our own node, in no queue, which lives for ever. After the park we take it out, unless
    // the waker has.
    unsafe {
        match event.enter(node, me, BY_EVENT, false) {
            Recheck::Later(until) => {
                if park(me, earlier(until, deadline)) != BY_EVENT {
                    event.leave(node);
                }
            }
            Recheck::Now if me.try_end(BY_EVENT) => {}
            // The other cause has ended the wait, and wakes us.
            Recheck::Now => {
                park(me, None);
            }
        }
    }
}

/// Parks until the event may have happened, or until the limit, if that is earlier. Fails if the
/// limit has already been reached.
#[inline(never)]
fn sleep<T, E: Event<T>>(event: &E, limit: Limit, at: At) -> Result<(), RecvTimeoutError> {
    let Some(deadline) = limit.deadline() else {
        checkpoint();
        return Err(RecvTimeoutError::Timeout);
    };
    describe_with(event.reason(), |event, each| {
        // SAFETY: by the contracts of `Describe` and of `Event`: the object is the id, not 0, of an
        // event that is borrowed for the wait.
        each(Thing { operation: "", ..unsafe { borrow::<E>(event) }.thing() });
    });
    let object = if event.runs_code() { 0 } else { event.id() };
    let me = Waiter::begin(event.reason(), object, at);
    // SAFETY: our own node, which is in no queue and lives for ever. After the park we take it out,
    // unless the waker has. `me` is from our latest `begin`. Without a deadline and a queue we
    // sleep for ever, as intended.
    unsafe {
        if let Recheck::Later(until) =
            event.enter(NodeRef::new(me.node()), me, SINGLE_QUEUE, deadline.is_none())
            && me.park(earlier(until, deadline)) == Outcome::TIMED_OUT
        {
            event.leave(NodeRef::new(me.node()));
        }
    }
    Ok(())
}
