//! Intrusive queues of waiters.
//!
//! A [`WaitNode`] stands in at most one [`WaitQueue`] at a time and is unlinked in constant time.
//! Nodes live on the heap (in the goroutine's record, in the thread's record, or in a boxed slice
//! for a select), never on a goroutine's stack, because a parked goroutine's stack may be copied
//! away.
//!
//! A queue has no lock of its own: it is a field inside the lock of what it belongs to (a channel,
//! a socket direction), and that lock guards the links of every node in it.

use super::{Outcome, Waiter};
use std::mem::MaybeUninit;
use std::ptr::NonNull;

/// Storage in a node, through which a value passes between the waiter and the code that ends its
/// wait: two machine words.
pub type NodeCell = MaybeUninit<[usize; 2]>;

/// A waiter's entry in one queue.
#[repr(C)]
pub struct WaitNode {
    prev: Option<NonNull<WaitNode>>,
    next: Option<NonNull<WaitNode>>,
    waiter: Option<Waiter>,
    /// What the wait ends with when this node is chosen.
    outcome: Outcome,
    /// Only the holder of this queue's lock can end the wait: there is no deadline and no other
    /// arm.
    sole: bool,
    linked: bool,
    /// A message about the wait between the waiter and the code that ends it. The owner of the
    /// queue defines its values.
    note: u8,
    cell: NodeCell,
}

impl WaitNode {
    /// A node that is in no queue.
    pub const fn new() -> WaitNode {
        WaitNode {
            prev: None,
            next: None,
            waiter: None,
            outcome: Outcome(0),
            sole: false,
            linked: false,
            note: 0,
            cell: MaybeUninit::uninit(),
        }
    }

    /// Makes the node ready to stand for `waiter`. The wait ends with `outcome` if this node is
    /// chosen. `sole` promises that only the holder of the queue's lock can end this wait.
    #[inline]
    pub fn prepare(&mut self, waiter: Waiter, outcome: Outcome, sole: bool) {
        debug_assert!(!self.linked);
        self.waiter = Some(waiter);
        self.outcome = outcome;
        self.sole = sole;
    }

    /// The value in passing.
    #[inline]
    pub fn cell(&mut self) -> &mut NodeCell {
        &mut self.cell
    }

    /// A byte that the waiter leaves for the code that ends its wait, and reads again when it
    /// wakes. Like the cell, it belongs to the waiter until the node is pushed, then the queue's
    /// lock guards it, then it belongs to the claimer until the wake-up.
    #[inline]
    pub fn note(&self) -> u8 {
        self.note
    }

    /// Sets the [`note`](WaitNode::note).
    #[inline]
    pub fn set_note(&mut self, note: u8) {
        self.note = note;
    }

    /// Whether the waiter waits for this alone, without a deadline: what was promised to
    /// [`prepare`](WaitNode::prepare).
    #[inline]
    pub fn is_sole(&self) -> bool {
        self.sole
    }

    /// Whether the node is in a queue. Read it under the queue's lock.
    #[inline]
    pub fn is_linked(&self) -> bool {
        self.linked
    }

    /// The waiter that the node was last prepared for.
    ///
    /// # Panics
    /// If it never was prepared.
    #[inline]
    pub fn waiter(&self) -> Waiter {
        self.waiter.expect("a wait node in a queue has a waiter")
    }

    /// Ends the wait by way of this node: true for exactly one caller per wait. `outcome` replaces
    /// the node's own (a close, for example).
    fn claim(&self, outcome: Option<Outcome>) -> bool {
        let outcome = outcome.unwrap_or(self.outcome);
        if self.sole {
            self.waiter().claim().end(outcome);
            true
        } else {
            self.waiter().claim().try_end(outcome)
        }
    }
}

impl Default for WaitNode {
    fn default() -> Self {
        WaitNode::new()
    }
}

/// A first-in first-out queue of wait nodes, guarded by the lock that it is part of.
pub struct WaitQueue {
    head: Option<NonNull<WaitNode>>,
    tail: Option<NonNull<WaitNode>>,
}

// SAFETY: a queue is only pointers to nodes; the thread that holds the lock around it may follow
// them (contract of `push`).
unsafe impl Send for WaitQueue {}

impl WaitQueue {
    /// An empty queue.
    pub const fn new() -> WaitQueue {
        WaitQueue { head: None, tail: None }
    }

    /// Whether no node is in the queue. A node may remain for a moment after another arm has ended
    /// its wait.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.head.is_none()
    }

    /// Adds a prepared node at the end.
    ///
    /// # Safety
    /// The node is in no queue. It stays alive and at its address until it was removed or popped
    /// and the queue's lock was released after that. Meanwhile only the holder of that lock touches
    /// it.
    pub unsafe fn push(&mut self, node: NonNull<WaitNode>) {
        step();
        // SAFETY: alive and ours while the lock is held, by this function's contract.
        let n = unsafe { &mut *node.as_ptr() };
        debug_assert!(!n.linked);
        n.linked = true;
        n.next = None;
        n.prev = self.tail;
        match self.tail {
            // SAFETY: a node in the queue is alive and guarded by the lock that the caller holds.
            Some(tail) => unsafe { (*tail.as_ptr()).next = Some(node) },
            None => self.head = Some(node),
        }
        self.tail = Some(node);
    }

    /// Removes a node from any position. False if it was popped before.
    ///
    /// # Safety
    /// The node was pushed to this queue (or never to any) and is still alive.
    pub unsafe fn remove(&mut self, node: NonNull<WaitNode>) -> bool {
        step();
        // SAFETY: alive by contract, guarded by the lock that the caller holds.
        let n = unsafe { &mut *node.as_ptr() };
        if !n.linked {
            return false;
        }
        n.linked = false;
        match n.prev {
            // SAFETY: neighbours in the queue are alive and guarded by the same lock.
            Some(prev) => unsafe { (*prev.as_ptr()).next = n.next },
            None => self.head = n.next,
        }
        match n.next {
            // SAFETY: as above.
            Some(next) => unsafe { (*next.as_ptr()).prev = n.prev },
            None => self.tail = n.prev,
        }
        true
    }

    /// Removes the first node with a wait that this call can end, and ends that wait with the
    /// node's own outcome, or with `outcome` if one is given. If another event has already ended a
    /// node's wait, the node is removed and skipped.
    ///
    /// The caller now owes that waiter a value (if the protocol passes one through the node's cell)
    /// and one [`Waiter::unpark`]. Until the unpark the node stays valid.
    pub fn pop_claim(&mut self, outcome: Option<Outcome>) -> Option<NonNull<WaitNode>> {
        loop {
            let node = self.head?;
            // SAFETY: a node in the queue is alive and guarded by the lock that the caller holds.
            unsafe {
                self.remove(node);
                if (*node.as_ptr()).claim(outcome) {
                    return Some(node);
                }
            }
        }
    }

    /// The same for the first node that is `wanted`, at any position. Its cost grows with the
    /// number of nodes before it. Also returns how many nodes were removed: those skipped and this
    /// one.
    pub(crate) fn pop_claim_where(
        &mut self,
        wanted: impl Fn(NonNull<WaitNode>) -> bool,
    ) -> (Option<NonNull<WaitNode>>, usize) {
        let mut taken_out = 0;
        let mut at = self.head;
        while let Some(node) = at {
            // SAFETY: a node in the queue is alive and guarded by the lock that the caller holds.
            unsafe {
                at = (*node.as_ptr()).next;
                if wanted(node) {
                    self.remove(node);
                    taken_out += 1;
                    if (*node.as_ptr()).claim(None) {
                        return (Some(node), taken_out);
                    }
                }
            }
        }
        (None, taken_out)
    }

    /// Whether a node is in the queue with a wait that has not been ended. Its cost grows with the
    /// number of ended ones at the front.
    pub fn has_waiting(&self) -> bool {
        let mut at = self.head;
        while let Some(node) = at {
            // SAFETY: a node in the queue is alive and guarded by the lock that the caller holds.
            // Its waiter begins no other wait before it has removed the node, so the claim is still
            // that of this wait.
            let node = unsafe { node.as_ref() };
            step();
            if node.waiter().claim().is_waiting() {
                return true;
            }
            at = node.next;
        }
        false
    }

    /// Whether a node is in the queue that is not one of `waiter`'s own. Like
    /// [`is_empty`](WaitQueue::is_empty), it counts nodes with a wait that has just been ended
    /// elsewhere. Its cost grows with the number of `waiter`'s nodes at the front.
    pub fn has_other_than(&self, waiter: Waiter) -> bool {
        let mut at = self.head;
        while let Some(node) = at {
            // SAFETY: a node in the queue is alive and guarded by the lock that the caller holds.
            let node = unsafe { node.as_ref() };
            step();
            if node.waiter != Some(waiter) {
                return true;
            }
            at = node.next;
        }
        false
    }

    /// The first node, which stays in the queue.
    #[inline]
    pub fn front(&self) -> Option<NonNull<WaitNode>> {
        self.head
    }
}

impl Default for WaitQueue {
    fn default() -> Self {
        WaitQueue::new()
    }
}

/// Counts the nodes that queues have looked at, in this crate's tests.
#[inline(always)]
fn step() {
    #[cfg(test)]
    tests::STEPS.with(|steps| steps.set(steps.get() + 1));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wait::{Head, Kind};
    use std::cell::Cell;

    thread_local!(pub(super) static STEPS: Cell<usize> = const { Cell::new(0) });

    fn steps<T>(f: impl FnOnce() -> T) -> (usize, T) {
        let before = STEPS.get();
        let result = f();
        (STEPS.get() - before, result)
    }

    /// A waiter with no more than what a queue reads of it. It is never freed.
    fn new_waiter() -> Waiter {
        static ALL: std::sync::Mutex<Vec<Waiter>> = std::sync::Mutex::new(Vec::new());
        let head = NonNull::from(Box::leak(Box::new(Head::new(Kind::Thread))));
        // SAFETY: nothing uses more of its record than the head.
        let waiter = unsafe { Waiter::with_head(head) };
        ALL.lock().unwrap().push(waiter);
        waiter
    }

    #[test]
    fn a_long_queue_costs_no_more_than_a_short_one() {
        for others in [1, if cfg!(miri) { 100 } else { 10_000 }] {
            let (first, second) = (new_waiter(), new_waiter());
            let nodes: Vec<_> = (0..=others).map(|_| NonNull::from(Box::leak(Box::default()))).collect();
            let (mine, others) = nodes.split_first().unwrap();
            let mut queue = WaitQueue::new();
            // SAFETY: the nodes are alive, and no other code refers to them.
            unsafe {
                let enter = |queue: &mut WaitQueue, node: NonNull<WaitNode>, waiter| {
                    (*node.as_ptr()).prepare(waiter, Outcome(Outcome::FIRST), false);
                    queue.push(node);
                };
                for node in others {
                    enter(&mut queue, *node, first);
                }
                assert_eq!(steps(|| queue.has_other_than(second)), (1, true));
                assert_eq!(steps(|| queue.has_waiting()), (1, true));
                assert_eq!(steps(|| enter(&mut queue, *mine, second)).0, 1);
                assert_eq!(steps(|| queue.remove(*mine)), (1, true));
                assert_eq!(steps(|| queue.pop_claim(None)), (1, Some(others[0])));
                // All the others belong to a waiter that has just been claimed. Each is skipped
                // once in its life.
                enter(&mut queue, *mine, second);
                assert_eq!(steps(|| queue.pop_claim(None)), (others.len(), Some(*mine)));
                assert!(queue.is_empty());
                for node in nodes {
                    drop(Box::from_raw(node.as_ptr()));
                }
            }
        }
    }

    #[test]
    fn the_middle_of_a_queue_can_leave() {
        let waiter = new_waiter();
        let mut nodes: [WaitNode; 3] = Default::default();
        let [a, b, c] = nodes.each_mut().map(NonNull::from);
        let mut queue = WaitQueue::new();
        // SAFETY: the nodes outlive the queue, and no other code refers to them.
        unsafe {
            for node in [a, b, c] {
                (*node.as_ptr()).prepare(waiter, Outcome(Outcome::FIRST), true);
                queue.push(node);
            }
            assert!(queue.remove(b) && !queue.remove(b));
            assert!(queue.remove(c));
            queue.push(b);
            assert_eq!(queue.front(), Some(a));
            assert!(queue.remove(a));
            assert_eq!(queue.front(), Some(b));
            assert!(queue.remove(b));
        }
        assert!(queue.is_empty());
    }
}
