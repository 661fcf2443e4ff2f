//! Waits in which the stack of a goroutine stays in place, because code that knows nothing of
//! Narrowboat may have lent it: std's locks ([`crate::futex`]), and functions of the C library.

use super::{Outcome, Waiter};
use crate::sched::processor::Running;
use std::time::Instant;

/// Whether the calling code is a goroutine that may park until a word of memory changes: see
/// [`crate::futex`].
pub(crate) fn may_park_for(word: usize) -> bool {
    Running::now().is_some_and(|goroutine| goroutine.may_suspend() && !goroutine.has_in_locals(word))
}

/// Parks the calling goroutine and keeps its stack in place until it goes on, even if other
/// goroutines need the slot.
///
/// # Safety
/// As for [`Waiter::park`]; the caller is a goroutine.
pub unsafe fn park_in_place(waiter: Waiter, deadline: Option<Instant>) -> Outcome {
    let goroutine = Running::now().expect("the caller is a goroutine");
    let held = goroutine.hold_slot();
    // SAFETY: by contract.
    let outcome = unsafe { waiter.park(deadline) };
    if held {
        goroutine.release_slot();
    }
    outcome
}
