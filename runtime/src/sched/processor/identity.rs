//! Which processor and which goroutine the calling code is on.

use super::Processor;
use crate::goroutine::record::Record;
use crate::locals::ours;
use crate::stack::{self, Bounds};
use std::ptr::{self, NonNull};

/// The processor that the calling code runs on, if any.
#[inline]
pub(crate) fn current_processor() -> Option<&'static Processor> {
    // SAFETY: processors are never freed.
    unsafe { ours::with(|ours| ours.processor.get()).as_ref() }
}

/// The goroutine that the calling code is, if it is one.
#[inline]
pub(crate) fn current_goroutine() -> Option<NonNull<Record>> {
    // SAFETY: we run on this processor, so we are its carrying thread.
    current_processor().and_then(|p| NonNull::new(unsafe { (*p.local.get()).current }))
}

/// Whether the calling code is a goroutine with a stack that may be copied away while it is parked.
/// A goroutine that lives alone only by chance counts as copied.
pub(crate) fn current_goroutine_is_copied() -> bool {
    // SAFETY: the running goroutine's record is live, and its home never changes.
    current_goroutine().is_some_and(|record| unsafe { !(*record.as_ptr()).home.is_own_by_promise() })
}

/// Sets which processor the calling thread is on: now (pinned mode), or for ever (a lender).
pub(in crate::sched) fn set_current_processor(processor: Option<&'static Processor>) {
    ours::with(|ours| ours.processor.set(processor.map_or(ptr::null(), ptr::from_ref)));
}

/// The bounds of the home of the goroutine that the calling code is. Async-signal-safe in a
/// goroutine's own code.
#[inline]
pub(crate) fn current_home() -> Option<Bounds> {
    let record = current_goroutine()?;
    // SAFETY: we are the carrying thread, or a handler that has interrupted it in the goroutine's
    // code. That code uses the local part only in calls that end before the goroutine is switched
    // away.
    unsafe {
        let local = Record::processor(record).local.get();
        Some((*local).slots.bounds((*record.as_ptr()).home))
    }
}

/// The goroutine that the calling code belongs to, also while it is on the system stack, where it
/// cannot park.
pub(crate) fn calling_goroutine() -> Option<NonNull<Record>> {
    current_goroutine().or_else(stack::system::goroutine)
}

/// Makes the calling goroutine one that cannot park (`None`), while it is on the system stack, and
/// afterwards one that can (its record).
///
/// # Safety
/// The caller is a goroutine of this processor, and restores what it took away before it returns.
pub(crate) unsafe fn set_current_goroutine(processor: &Processor, record: Option<NonNull<Record>>) {
    // SAFETY: we are the carrying thread.
    unsafe { (*processor.local.get()).current = record.map_or(ptr::null_mut(), NonNull::as_ptr) }
}
