//! Stacks that are not ours: code of a goroutine that another library has put on a stack of its
//! own, as `stacker` does when little is left, and coroutine libraries do for each coroutine.
//!
//! A goroutine that is suspended there leaves a stack pointer that says nothing about its own
//! stack, which it has left somewhere in the middle. If that stack never moves, nothing has to be
//! known of it: the goroutine waits like any other, and all of its stack counts as live
//! ([`Live::All`](super::slots::Live)). A stack in a shared slot would have to be copied. So there
//! a wait is refused before anything has changed, and a call that would only give way does nothing.
//!
//! Whether a goroutine has its slot to itself may be chance ([`super::sharing`]). If such a
//! goroutine waits on a foreign stack, the goroutines that the same line spawns live alone from
//! then on.
//!
//! [Segments](super::segment) are ours, but a segment is linked to the stack that `grow` was called
//! on. That can be a foreign stack, or a coroutine may have left the segment without returning from
//! it. So what counts is where the chain ends.

use super::home::Home;
use super::{above, segment, sharing};
use crate::arch;
use std::panic::Location;

/// Whether the calling code, which has the address `here` in its frame, is on its goroutine's own
/// stack or on segments that are linked to it.
pub(super) fn is_on_own_stack(here: usize) -> bool {
    segment::is_chained(here).unwrap_or_else(|| above::home().is_some_and(|home| home.contain(here)))
}

/// Whether the calling goroutine, which has this home and was spawned there, can be suspended where
/// it is.
#[inline]
pub(crate) fn may_suspend(home: Home, spawned_at: impl FnOnce() -> &'static Location<'static>) -> bool {
    if home.is_own_by_promise() || is_on_own_stack(arch::stack_pointer()) {
        return true;
    }
    let alone = home.is_own();
    if alone {
        sharing::note_wait_in_place(spawned_at(), false);
    }
    alone
}
