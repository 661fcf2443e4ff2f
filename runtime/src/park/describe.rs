//! What is waited for, in words.
//!
//! A wait leaves an address behind (the `object` of [`Waiter::begin`](super::Waiter::begin)), and
//! what lies there is known only to the crate that has begun it. So each crate says, once for each
//! of its reasons, how that is put into words; a dump asks.
//!
//! Whoever asks carries the goroutine's processor while the goroutine is parked in that wait, with
//! its stack in place: what it has borrowed for its wait is alive, be it on its stack, and it
//! cannot go on meanwhile.

use super::Reason;
use crate::lock::OnceLock;
use crate::sched::processor;

/// Something that a party waits for.
#[derive(Clone, Debug)]
pub struct Thing {
    /// What the party wants of it, if the reason of its wait does not say that: "receive from".
    pub operation: &'static str,
    /// Tells it from others: the same for all who wait for it.
    pub address: usize,
    /// "channel", for one.
    pub kind: &'static str,
    /// What else there is to know: its state, and where it was made.
    pub details: String,
    /// If somebody has it for itself, that party's [tag].
    pub held_by: Option<u16>,
}

/// Shows `each` thing that a party waits for whose wait has this object.
///
/// # Safety
/// The object is that of a wait for the reason that the function is for; the party is parked in it,
/// and stays so until this returns. The party's stack is in place.
pub type Describe = unsafe fn(object: usize, each: &mut dyn FnMut(Thing));

static DESCRIBERS: [OnceLock<Describe>; Reason::COUNT] = [const { OnceLock::new() }; _];

/// From now on `by` describes what waits for this reason are for. The first one stays.
#[inline]
pub fn describe_with(reason: Reason, by: Describe) {
    let place = &DESCRIBERS[reason as usize];
    if place.get().is_none() {
        let _ = place.set(by);
    }
}

/// # Safety
/// As for [`Describe`].
pub(crate) unsafe fn describe(reason: Reason, object: usize, each: &mut dyn FnMut(Thing)) {
    if let Some(by) = DESCRIBERS[reason as usize].get()
        && object != 0
    {
        // SAFETY: by contract.
        unsafe { by(object, each) };
    }
}

/// What a thing keeps to say who has it: the lowest bits of the calling goroutine's number, which
/// are not zero; zero on a plain thread.
#[inline]
pub fn tag() -> u16 {
    // SAFETY: the running goroutine's record is live, and its number never changes.
    processor::current_goroutine().map_or(0, |record| unsafe { (*record.as_ptr()).id as u16 })
}
