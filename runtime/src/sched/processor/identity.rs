//! Which processor and which goroutine the calling code is on.

use super::{Here, Processor, Running};
use crate::goroutine::record::Record;
use crate::locals::ours;
use crate::stack::{self, Bounds};
use std::ops::Deref;
use std::ptr::{self, NonNull};

/// The processor that the calling code runs on, if any.
#[inline]
pub(crate) fn current_processor() -> Option<&'static Processor> {
    // SAFETY: processors are never freed.
    unsafe { ours::with(|ours| ours.processor.get()).as_ref() }
}

/// Whether the calling code is a goroutine with a stack that may be copied away while it is parked.
/// A goroutine that lives alone only by chance counts as copied.
pub(crate) fn current_goroutine_is_copied() -> bool {
    Running::now().is_some_and(|goroutine| !goroutine.home.is_own_by_promise())
}

/// Sets which processor the calling thread is on: now (pinned mode), or for ever (a lender).
pub(in crate::sched) fn set_current_processor(processor: Option<&'static Processor>) {
    ours::with(|ours| ours.processor.set(processor.map_or(ptr::null(), ptr::from_ref)));
}

/// The bounds of the home of the goroutine that the calling code is. Async-signal-safe in a
/// goroutine's own code.
#[inline]
pub(crate) fn current_home() -> Option<Bounds> {
    let goroutine = Running::now()?;
    // SAFETY: the caller is the goroutine, or a handler that has interrupted it. A use of the parts
    // that it has interrupted does not change the bounds of the stack that the goroutine is on.
    let parts = unsafe { &*goroutine.here().local().parts.get() };
    Some(parts.slots.bounds(goroutine.home))
}

/// The goroutine that the calling code belongs to, also while it is on the system stack, where it
/// cannot park.
#[inline]
pub(crate) fn calling_goroutine() -> Option<Caller> {
    Running::now().map(Running::record).or_else(stack::system::goroutine).map(Caller)
}

/// The goroutine that the calling code belongs to. Its record is live, since the goroutine runs.
#[derive(Clone, Copy)]
pub(crate) struct Caller(NonNull<Record>);

impl Caller {
    pub(crate) fn record(self) -> NonNull<Record> {
        self.0
    }
}

impl Deref for Caller {
    type Target = Record;

    #[inline]
    fn deref(&self) -> &Record {
        // SAFETY: it runs, so its record is live.
        unsafe { self.0.as_ref() }
    }
}

impl Here {
    /// Makes the calling goroutine one that cannot park (`None`), while it is on the system stack,
    /// and afterwards one that can.
    ///
    /// # Safety
    /// The caller is a goroutine, and restores what it took away before it returns.
    pub(crate) unsafe fn set_current_goroutine(self, goroutine: Option<Running>) {
        self.local().current.set(goroutine.map(Running::record));
    }
}
