//! Takes goroutines that never run again out of what they wait for: see
//! [`Forsaken`](crate::wait::Forsaken).
//!
//! 1. If nothing has ended its wait, or its deadline has: its node leaves the queue, under the lock
//!    of the queue ([`Forsaken::leave`](crate::wait::Forsaken::leave)).
//! 2. Otherwise something has taken its node out, and its wake-up has come or will. When it is
//!    there, the loop of its processor drops it, and what the goroutine was given is passed on.

use crate::sched::record::Record;
use crate::wait::{Forsaken, Outcome, Reason, Waiter, leave_of};
use std::ptr::NonNull;

/// Step 1.
///
/// # Safety
/// The goroutine is suspended, and never runs again. The caller is the loop of its processor.
pub(super) unsafe fn leave(record: &Record) {
    // In this order: see `Record::object`.
    let object = record.object();
    if record.wait.head.claim.is_waiting() {
        // SAFETY: by contract.
        unsafe { call(record, Some(object)) };
    }
}

/// Step 2; and step 1 for a goroutine whose deadline has ended its wait, which is ready.
///
/// # Safety
/// As for [`leave`], and the goroutine's wake-up has come.
pub(super) unsafe fn pass_on(record: &Record) {
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
        let node = NonNull::new(record.wait.node.get()).expect("a field has an address");
        // SAFETY: the wait is its latest one, and the record is never freed, since the goroutine
        // does not end. It stays in the call that has begun the wait, so what it has borrowed for
        // that is alive, also on its stack, which is its own and stays.
        unsafe { leave(&Forsaken::new(Waiter::from_address(head), node, object)) };
    }
}
