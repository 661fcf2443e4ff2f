//! Which processor and which goroutine the calling code is on.

use super::{Here, Processor, Running, way_out};
use crate::ours;
use crate::sched::record::Record;
use crate::stack::above::Scheduler;
use crate::stack::present::Named;
use crate::stack::{self, Bounds};
use crate::sys;
use std::ops::Deref;
use std::ptr::{self, NonNull};

/// The processor that the calling code runs on, if any.
#[inline]
pub(crate) fn current_processor() -> Option<&'static Processor> {
    // SAFETY: processors are never freed.
    unsafe { ours::with(|ours| ours.processor.get()).cast::<Processor>().as_ref() }
}

/// Whether the calling code is a goroutine with a stack that may be copied away while it is parked.
/// A goroutine that lives alone only by chance counts as copied.
pub(crate) fn current_goroutine_is_copied() -> bool {
    Running::now().is_some_and(|goroutine| !goroutine.home.is_own_by_promise())
}

/// The thread pointer of the calling kernel thread, if it is a worker that carries a processor, and
/// so has that one's in force. Async-signal-safe.
pub(crate) fn thread_pointer_of_worker() -> Option<usize> {
    let here =
        Here::now().filter(|here| here.processor().is_carried_by_this_thread(sys::kernel_thread_id()))?;
    Some(here.local().worker_thread_pointer.get())
}

/// Sets which processor the calling thread is on: now (pinned mode), or for ever (a lender).
pub(in crate::sched) fn set_current_processor(processor: Option<&'static Processor>) {
    let processor = processor.map_or(ptr::null(), ptr::from_ref);
    ours::with(|ours| ours.processor.set(processor.cast()));
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
    let record = Running::now().map(Running::record);
    record.or_else(|| stack::system::goroutine().map(NonNull::cast)).map(Caller)
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
    /// Makes the calling goroutine one that cannot park (`None`), and afterwards one that can.
    ///
    /// # Safety
    /// The caller is a goroutine, and restores what it took away before it returns.
    pub(crate) unsafe fn set_current_goroutine(self, goroutine: Option<Running>) {
        self.local().current.set(goroutine.map(Running::record));
    }
}

/// What stacks ask of the scheduler.
pub(in crate::sched) const FOR_STACKS: Scheduler = Scheduler {
    way_out,
    park_again: || {
        // SAFETY: the caller is a goroutine; by contract.
        unsafe { Running::now().unwrap_unchecked().park_again() }
    },
    home: current_home,
    caller: || {
        calling_goroutine().map(|goroutine| Named {
            id: goroutine.id,
            name: goroutine.origin.name().map(|name| &**name),
            spawned_at: goroutine.origin.spawned_at(),
        })
    },
    system_stack: || {
        Running::now().map(|goroutine| (goroutine.record().cast(), goroutine.here().system_stack()))
    },
    set_current: |goroutine| {
        if let Some(here) = Here::now() {
            here.local().current.set(goroutine.map(NonNull::cast));
        }
    },
};
