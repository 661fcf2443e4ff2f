//! What a queue sees of a goroutine that never runs again, and has left a node there.
//!
//! A goroutine of a host that has crashed, or of a world that has failed, is suspended for ever. It
//! keeps its stack, and so all that it has borrowed. But others go on and use the same locks: its
//! node would take wake-ups that others need. So it is taken out of what it waits for, as an async
//! task is that is dropped ([`park::TaskWait`](crate::park::TaskWait)). Only the crate of a queue
//! can do that. It registers a function for its reason
//! ([`describe_with_leave`](super::describe_with_leave)), which the loop of the goroutine's
//! processor calls (`sched/world/forsaken.rs` says when).

use super::{Outcome, WaitNode, WaitQueue, Waiter};
use std::ptr::NonNull;

/// A goroutine that is suspended for ever, in a wait.
pub struct Forsaken {
    waiter: Waiter,
    node: NonNull<WaitNode>,
    object: Option<usize>,
}

/// Takes a goroutine out of its wait, or passes on what its wake-up has given it. It is called
/// where nothing may park.
///
/// # Safety
/// The wait is one for the reason that the function is registered for. What the goroutine has
/// borrowed for the wait is alive.
pub type Leave = unsafe fn(gone: &Forsaken);

impl Forsaken {
    /// # Safety
    /// The handle and the node are those of one wait, and outlive this.
    pub(crate) unsafe fn new(waiter: Waiter, node: NonNull<WaitNode>, object: Option<usize>) -> Forsaken {
        Forsaken { waiter, node, object }
    }

    /// The object of the wait: what the waiter may still be in the queue of. `None` if the
    /// goroutine was woken: then it is in no queue, its node is the caller's, and nothing else
    /// uses what it was given.
    pub fn object(&self) -> Option<usize> {
        self.object
    }

    /// The node of the wait.
    pub fn node(&self) -> NonNull<WaitNode> {
        self.node
    }

    /// Takes the node out of its queue. False if something has ended the wait by way of the node,
    /// which is then not touched: the goroutine is about to be woken.
    ///
    /// # Safety
    /// The caller holds the lock of the queue. The node was pushed to this queue, or is in none, or
    /// something has ended the wait.
    pub unsafe fn leave(&self, queue: &mut WaitQueue) -> bool {
        let claim = self.waiter.claim();
        // Waits are ended under the lock, or by the deadline on this processor, so this is no hint
        // here.
        (claim.is_waiting() || claim.outcome() == Outcome::TIMED_OUT)
            // SAFETY: by contract, and by that of `new` the node is alive.
            && unsafe { queue.remove(self.node()) }
    }
}
