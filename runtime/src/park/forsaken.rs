//! Goroutines that never run again, and what they have left in queues.
//!
//! A goroutine of a host that has crashed, or of a world that has failed, is suspended for ever. It
//! keeps its stack, and so all that it has borrowed. But others go on and use the same locks: its
//! node would take wake-ups that others need. So it is taken out of what it waits for, as an async
//! task is that is dropped ([`task`](super::task)):
//!
//! 1. If nothing has ended its wait, or its deadline has: its node leaves the queue, under the lock
//!    of the queue ([`Forsaken::leave`]).
//! 2. Otherwise something has taken its node out, and its wake-up has come or will. When it is
//!    there, the loop of its processor drops it, and what the goroutine was given is passed on.
//!
//! Only the crate of a queue can do either. It registers a function for its reason
//! ([`describe_with_leave`](super::describe_with_leave)). Words of memory have their own
//! ([`crate::futex`]).

use super::describe::leave_of;
use super::{Outcome, Reason, WaitNode, WaitQueue, Waiter};
use crate::futex;
use crate::goroutine::record::Record;
use std::ptr::NonNull;

/// A goroutine that is suspended for ever, in a wait.
pub struct Forsaken {
    waiter: Waiter,
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
    /// The object of the wait: what the waiter may still be in the queue of. `None` if the
    /// goroutine was woken: then it is in no queue, its node is the caller's, and nothing else
    /// uses what it was given.
    pub fn object(&self) -> Option<usize> {
        self.object
    }

    /// The node of the wait.
    pub fn node(&self) -> NonNull<WaitNode> {
        self.waiter.node()
    }

    /// Step 1. False if something has ended the wait by way of the node, which is then not touched:
    /// the goroutine is about to be woken.
    ///
    /// # Safety
    /// The caller holds the lock of the queue, and the node was pushed to this queue, or something
    /// has ended the wait.
    pub unsafe fn leave(&self, queue: &mut WaitQueue) -> bool {
        let claim = self.waiter.claim();
        // Waits are ended under the lock, or by the deadline on this processor, so this is no hint
        // here.
        (claim.is_waiting() || claim.outcome() == Outcome::TIMED_OUT)
            // SAFETY: by contract, and the node is alive.
            && unsafe { queue.remove(self.node()) }
    }
}

/// Step 1.
///
/// # Safety
/// The goroutine is suspended, and never runs again. The caller is the loop of its processor.
pub(crate) unsafe fn leave(record: &Record) {
    // SAFETY: by contract.
    unsafe { futex::forsake(record) };
    // In this order: see `Record::object`.
    let object = record.object();
    if record.wait.head.claim.is_waiting() {
        // SAFETY: by contract.
        unsafe { call(record, Some(object)) };
    }
}

/// Step 2.
///
/// # Safety
/// As for [`leave`], and the goroutine's wake-up has come.
pub(crate) unsafe fn pass_on(record: &Record) {
    // SAFETY: by contract.
    if let Some(word) = unsafe { futex::woken_for(record) } {
        futex::pass_on(word);
    }
    let claim = &record.wait.head.claim;
    if claim.is_waiting() {
        // A wait that was begun and not entered.
        return;
    }
    // A deadline wakes a goroutine on its own processor, so it leaves the object as it is.
    let object = (claim.outcome() == Outcome::TIMED_OUT).then(|| record.object());
    // SAFETY: by contract.
    unsafe { call(record, object) };
}

/// # Safety
/// As for [`leave`].
unsafe fn call(record: &Record, object: Option<usize>) {
    let reason = record.reason.get();
    if reason != Reason::None
        && let Some(leave) = leave_of(reason)
    {
        let head = (&raw const record.wait.head).expose_provenance();
        // SAFETY: the wait is its latest one, and the record is never freed, since the goroutine
        // does not end. It stays in the call that has begun the wait, so what it has borrowed for
        // that is alive, also on its stack, which is its own and stays.
        unsafe { leave(&Forsaken { waiter: Waiter::from_address(head), object }) };
    }
}
