//! Channels whose messages come from a source of their own: a future, a stream, a broadcast, a
//! watched value.
//!
//! Unlike the source of an [event](crate::outside), such a source makes its messages by running
//! code of the program, which may wait itself. So it is asked for one only while no wait of the
//! caller is under way.
//!
//! Besides this crate, only the other crates of Narrowboat may implement the trait.

use crate::error::RecvError;
use crate::event::{Event, Recheck};
use crate::node::NodeRef;
use crate::receiver::{Flavor, Receiver};
use narrowboat_runtime::park::{Outcome, Reason, Thing, WaitNode, Waiter, note_channel_to_outside};
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::Instant;

/// A source of messages.
///
/// # Safety
/// A node that was entered is touched only under the lock of its queue, until it is taken out.
/// Taking a node out ends the wait of its waiter, which is then woken, once.
/// [`enter`](MessageSource::enter) and [`leave`](MessageSource::leave) neither wait nor run code of
/// the program, but for wakers.
pub unsafe trait MessageSource<T>: Send + Sync {
    /// What a wait for a message of this source is, for diagnostics.
    fn reason(&self) -> Reason;

    /// The next message, or the error that there will be none, if that is known. May run code of
    /// the program.
    fn try_recv(&self) -> Option<Result<T, RecvError>>;

    /// Whether [`try_recv`](MessageSource::try_recv) would return something now. May run code of the
    /// program.
    fn is_ready(&self) -> bool;

    /// Whether no further message will come.
    fn is_closed(&self) -> bool;

    /// Prepares the node and puts it into the queue, unless it is worth to call
    /// [`try_recv`](MessageSource::try_recv) again: then this returns false, and the node is in no
    /// queue. `sole` says that only the queue can end the wait.
    ///
    /// # Safety
    /// As for [`EventSource::enter`](crate::outside::EventSource::enter).
    unsafe fn enter(&self, node: NonNull<WaitNode>, me: Waiter, outcome: Outcome, sole: bool) -> bool;

    /// Takes the node out of the queue, if it is still there.
    ///
    /// # Safety
    /// [`enter`](MessageSource::enter) has put it there, and it is alive.
    unsafe fn leave(&self, node: NonNull<WaitNode>);

    /// The source as dumps show it.
    fn describe(&self) -> Thing;
}

/// The channel of a source of messages.
pub(crate) struct SourceChannel<T>(Box<dyn MessageSource<T>>);

impl<T> SourceChannel<T> {
    pub(crate) fn is_ready(&self) -> bool {
        self.0.is_ready()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.0.is_closed()
    }
}

/// A receiver of the messages of a source that something outside the program's goroutines and
/// threads can fill. For the other crates of Narrowboat.
pub fn receiver<T>(source: impl MessageSource<T> + 'static) -> Receiver<T> {
    note_channel_to_outside();
    inner_receiver(source)
}

/// A receiver of the messages of a source that goroutines and threads fill.
pub(crate) fn inner_receiver<T>(source: impl MessageSource<T> + 'static) -> Receiver<T> {
    Receiver { flavor: Flavor::Messages(Arc::new(SourceChannel(Box::new(source)))) }
}

// SAFETY: it has the default id. `runs_code` says that the id is no object of a wait, so no dump
// reads a value at it.
unsafe impl<T> Event<T> for SourceChannel<T> {
    fn reason(&self) -> Reason {
        self.0.reason()
    }

    fn try_recv(&self) -> Option<Result<T, RecvError>> {
        self.0.try_recv()
    }

    fn is_ready(&self) -> bool {
        self.0.is_ready()
    }

    fn thing(&self) -> Thing {
        self.0.describe()
    }

    // Not inlined, as for timers.
    #[inline(never)]
    unsafe fn enter(&self, node: NodeRef, me: Waiter, outcome: Outcome, sole: bool) -> Recheck {
        // SAFETY: by contract.
        if unsafe { self.0.enter(node.as_ptr(), me, outcome, sole) } {
            Recheck::Later(None::<Instant>)
        } else {
            Recheck::Now
        }
    }

    #[inline(never)]
    unsafe fn leave(&self, node: NodeRef) {
        // SAFETY: by contract.
        unsafe { self.0.leave(node.as_ptr()) }
    }

    fn runs_code(&self) -> bool {
        true
    }
}
