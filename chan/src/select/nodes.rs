//! The nodes of a select that waits.

use crate::node::NodeRef;
use narrowboat_runtime::park::{WaitNode, Waiter};
use std::ptr::NonNull;

/// One node for each arm: the waiter's own for the first, a boxed slice for the others.
pub(super) struct Nodes {
    own: NodeRef,
    /// From a box, and back into one at the end. Meanwhile the nodes are only reached through
    /// pointers.
    others: NonNull<[WaitNode]>,
}

impl Nodes {
    pub(super) fn new(waiter: Waiter, arms: usize) -> Nodes {
        let others: Box<[WaitNode]> = (1..arms).map(|_| WaitNode::new()).collect();
        Nodes { own: NodeRef::new(waiter.node()), others: NonNull::from(Box::leak(others)) }
    }

    pub(super) fn get(&self, arm: usize) -> NodeRef {
        if arm == 0 {
            return self.own;
        }
        assert!(arm <= self.others.len());
        // SAFETY: within the slice, by the line above.
        NodeRef::new(unsafe { self.others.cast::<WaitNode>().add(arm - 1) })
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        // SAFETY: the slice came from a box; by the contract of `Handle::enter` all nodes have left
        // their queues.
        drop(unsafe { Box::from_raw(self.others.as_ptr()) });
    }
}
