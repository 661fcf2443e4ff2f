//! Sends and receives of async tasks, on the same channels, in the same queues.
//!
//! A task that has to wait leaves a node in the queue as a goroutine does, and is served in its
//! turn ([`narrowboat_runtime::park::TaskWait`]). The counterpart hands it the message before it
//! calls the waker. So a task that is dropped may have been handed a message, or have handed one
//! over, without having seen it. What then happens:
//!
//! | the dropped future | found when it is dropped | what happens |
//! | --- | --- | --- |
//! | a receive | its node in the queue | it leaves; nothing else |
//! | a receive | a message for it, or on its way | the message [goes back](crate::channel::Channel::give_back), in front of all others |
//! | a send | its node in the queue | it leaves, and the message is dropped with the future |
//! | a send | that its message was taken | nothing: the message has been sent |
//!
//! Code of the program (wakers, destructors of messages) runs without the channel's lock. A waker is
//! cloned before the lock is taken; so an operation that finds, under the lock, that it has to wait
//! releases it, begins its wait, and looks again.

mod recv;
mod send;

pub use recv::{PolledReceiver, RecvFuture};
pub use send::SendFuture;

use crate::node::NodeRef;
use narrowboat_runtime::park::TaskWait;
use std::task::Context;

/// A wait that was begun before the lock was taken, and that may turn out not to be needed.
struct Spare(Option<TaskWait>);

impl Spare {
    fn none() -> Spare {
        Spare(None)
    }

    /// Begins the wait.
    fn fill(&mut self, cx: &Context<'_>) {
        self.0.get_or_insert_with(|| TaskWait::begin(cx));
    }

    fn take(&mut self) -> Option<TaskWait> {
        self.0.take()
    }
}

impl Drop for Spare {
    fn drop(&mut self) {
        if let Some(wait) = self.0.take() {
            // SAFETY: nothing was published.
            unsafe { wait.cancelled() };
        }
    }
}

fn node_of(wait: &TaskWait) -> NodeRef {
    NodeRef::new(wait.node())
}
