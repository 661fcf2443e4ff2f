//! Describes what is waited for, in words.
//!
//! A wait leaves an address behind (the `object` of [`Waiter::begin`](super::Waiter::begin)). Only
//! the crate that has begun the wait knows what is at that address. So each crate registers, for
//! each of its reasons, a function that describes such an object; a dump calls it.
//!
//! The caller carries the goroutine's processor while the goroutine is parked in that wait, with
//! its stack in place. So what the goroutine has borrowed for its wait is alive, even on its own
//! stack, and the goroutine cannot go on meanwhile.

use super::{Leave, Reason};
use crate::lock::OnceLock;

/// Something that is waited for.
#[derive(Clone, Debug)]
pub struct Thing {
    /// What the waiter wants of it, if the reason of its wait does not say that: "receive from".
    pub operation: &'static str,
    /// Identifies the thing: the same for all that wait for it.
    pub address: usize,
    /// For example "channel".
    pub kind: &'static str,
    /// Further details: its state, and where it was made.
    pub details: String,
    /// The [tag](crate::park::tag) of its owner, if one goroutine or thread owns it exclusively.
    pub held_by: Option<u16>,
}

/// The kind of a thing that is a goroutine; its address is the goroutine's number.
pub(crate) const GOROUTINE: &str = "goroutine";

/// Calls `each` with everything that a waiter waits for if its wait has this object.
///
/// # Safety
/// The object is that of a wait for the reason that the function is registered for. The waiter is
/// parked in it, and stays so until this returns. The waiter's stack is in place.
pub type Describe = unsafe fn(object: usize, each: &mut dyn FnMut(Thing));

/// What is registered for a reason.
static DESCRIBERS: [OnceLock<(Describe, Option<Leave>)>; Reason::COUNT] =
    [const { OnceLock::new() }; Reason::COUNT];

/// Registers `by` as the function that describes waits for this reason. The first registration
/// stays.
#[inline]
pub fn describe_with(reason: Reason, by: Describe) {
    describe_with_leave(reason, by, None);
}

/// The same, with what a waiter that [never goes on](super::Forsaken) leaves its wait by.
#[inline]
pub fn describe_with_leave(reason: Reason, by: Describe, leave: Option<Leave>) {
    let place = &DESCRIBERS[reason as usize];
    if place.get().is_none() {
        let _ = place.set((by, leave));
    }
}

/// What was registered with [`describe_with_leave`].
pub(crate) fn leave_of(reason: Reason) -> Option<Leave> {
    DESCRIBERS[reason as usize].get()?.1
}

/// # Safety
/// As for [`Describe`].
pub(crate) unsafe fn describe(reason: Reason, object: usize, each: &mut dyn FnMut(Thing)) {
    if let Some((by, _)) = DESCRIBERS[reason as usize].get()
        && object != 0
    {
        // SAFETY: by contract.
        unsafe { by(object, each) };
    }
}
