//! How a goroutine is suspended on its processor, and how it is made ready again: [`crate::park`]
//! for goroutines, and yields.

use super::super::runtime;
use super::super::timers::HeapIndex;
use super::{Processor, SwitchReason, calling_goroutine, current_goroutine, current_processor};
use crate::goroutine::record::Record;
use crate::hooks::{trace, waits};
use crate::lock::Native;
use crate::{arch, clock, stack};
use std::ptr::{self, NonNull};
use std::sync::atomic::Ordering;
use std::time::Instant;

impl Processor {
    /// Makes a parked goroutine ready to run.
    ///
    /// # Safety
    /// The caller owes the goroutine this wake-up (see [`crate::park::Waiter::unpark`]).
    #[inline]
    pub(crate) unsafe fn unpark(record: NonNull<Record>) {
        // SAFETY: until it is woken the goroutine cannot end, so its record is live. After the push
        // below only its processor is touched, and processors are never freed.
        let home = unsafe { Record::processor(record) };
        match current_processor() {
            // SAFETY: we run on the goroutine's processor, and since we run, that goroutine does
            // not.
            Some(here) if ptr::eq(here, home) && !trace::watches(trace::EVENTS | trace::WAITS) => unsafe {
                here.make_next(record)
            },
            // SAFETY: one wake-up per park, so the record is in no inbox. It is live until it is
            // taken out.
            here => unsafe { home.unpark_from_elsewhere(record, here) },
        }
    }

    /// # Safety
    /// Called by the carrying thread, once per wake-up.
    #[inline]
    unsafe fn make_next(&self, record: NonNull<Record>) {
        // SAFETY: we are the carrying thread.
        let local = unsafe { &mut *self.local.get() };
        if let Some(previous) = NonNull::new(std::mem::replace(&mut local.run_next, record.as_ptr())) {
            if local.ready.len() == local.ready.capacity() {
                // The allocator may wait for a lock of std's, but must not park.
                let _native = Native::begin();
                local.ready.reserve(1);
            }
            local.ready.push_back(previous);
        }
    }

    /// Wakes a goroutine from another processor or thread, or while a trace records.
    ///
    /// # Safety
    /// As for [`unpark`](Processor::unpark).
    #[cold]
    #[inline(never)]
    unsafe fn unpark_from_elsewhere(
        &'static self,
        record: NonNull<Record>,
        here: Option<&'static Processor>,
    ) {
        if trace::watches(trace::EVENTS | trace::WAITS) {
            // SAFETY: by contract. Recorded before the goroutine can be found, so that its turn
            // comes later in time.
            unsafe {
                if trace::on() {
                    trace::wakes(record);
                }
                waits::wakes(record);
            }
            if let Some(here) = here.filter(|here| ptr::eq(*here, self)) {
                // SAFETY: as in `unpark`.
                return unsafe { here.make_next(record) };
            }
        }
        // A waker must not park: it may be about to park for another reason.
        let _native = Native::begin();
        // SAFETY: by contract.
        if unsafe { self.inbox.push(record.as_ptr()) } {
            // SAFETY: `here` is the processor we run on.
            let worker = here.and_then(|p| unsafe { (*p.local.get()).worker.as_ref() });
            runtime().submit(self, worker);
        }
    }
}

/// Whether the calling goroutine can be suspended where it is: see [`stack::foreign`].
///
/// # Safety
/// The record is the calling goroutine's.
#[inline(always)]
pub(crate) unsafe fn may_suspend(record: NonNull<Record>) -> bool {
    // SAFETY: we are the carrying thread. Only this goroutine runs in the processor's slots now, so
    // an address in them is in its own slot.
    unsafe {
        let local = current_processor().unwrap_unchecked().local.get();
        (stack::segment::is_outside() && (*local).slots.contain(arch::stack_pointer()))
            || stack::foreign::may_suspend(&*record.as_ptr())
    }
}

/// The field that holds where the calling goroutine switches to when it parks; `None` on a plain
/// thread. On the system stack the answer is the same, although the goroutine cannot park there, so
/// that an exchanged value can be restored anywhere.
#[inline]
pub(crate) fn way_out() -> Option<NonNull<usize>> {
    calling_goroutine()?;
    // SAFETY: we are the carrying thread; the local part does not move.
    current_processor().map(|p| unsafe { NonNull::new_unchecked(&raw mut (*p.local.get()).loop_sp) })
}

/// Suspends the calling goroutine for a park, or a yield, that it has begun on another stack of its
/// own ([`stack::segment`]). Returns the stack pointer at which it is suspended on that stack.
///
/// # Safety
/// The goroutine has just switched here, and [`way_out`] has been set to the next step on its way
/// to the loop.
#[inline(always)]
pub(crate) unsafe fn park_again() -> usize {
    // SAFETY: we are the carrying thread, and the record is our own. The `SwitchReason` that was
    // set on that stack stays valid.
    unsafe {
        let local = current_processor().unwrap_unchecked().local.get();
        let r = (*local).current;
        let left_at = (*r).sp;
        arch::switch(&raw mut (*r).sp, (*local).loop_sp);
        left_at
    }
}

/// Suspends the calling goroutine until its wake-up comes.
///
/// Inlined into each blocking function, because its frame would be copied with every parked
/// goroutine.
///
/// # Safety
/// `record` is the calling goroutine's; its wake-up will come, or the deadline will pass.
#[inline(always)]
pub(crate) unsafe fn park(record: NonNull<Record>, deadline: Option<Instant>) {
    // SAFETY: we are the carrying thread, and the record is our own. No reference is held across
    // the switch.
    unsafe {
        let r = record.as_ptr();
        let local = current_processor().unwrap_unchecked().local.get();
        (*r).since = ((*local).now >> 24) as u32;
        if let Some(deadline) = deadline {
            set_timer(record, deadline);
        }
        (*local).switch_reason = SwitchReason::Park;
        arch::switch(&raw mut (*r).sp, (*local).loop_sp);
        if (*r).timer != HeapIndex::NONE {
            clear_timer(record);
        }
    }
}

/// # Safety
/// As for `park`.
#[cold]
unsafe fn set_timer(record: NonNull<Record>, deadline: Instant) {
    // The wait has been published, so nothing may park here.
    let _native = Native::begin();
    // SAFETY: we are the carrying thread, and the record is our own. It has no timer, since the
    // goroutine waits for one deadline at a time. It is live at least until the goroutine has gone
    // on, which clears the timer.
    unsafe { (*Record::processor(record).local.get()).timers.insert(clock::at(deadline), record) }
}

/// # Safety
/// As for `park`; the timer is set.
#[cold]
unsafe fn clear_timer(record: NonNull<Record>) {
    // The heap may shrink, and the allocator must not park here.
    let _native = Native::begin();
    // SAFETY: we are the carrying thread, and the record is our own.
    unsafe { (*Record::processor(record).local.get()).timers.remove(record) }
}

/// Lets the other goroutines of the processor run, and those of other processors if the worker has
/// any; then goes on. On a plain thread it yields the thread. It does nothing where a goroutine
/// cannot wait: on the stack of another library's coroutine, while its own stack is shared.
///
/// ```
/// let other = narrowboat::spawn(|| ());
/// while !other.is_finished() {
///     narrowboat::yield_now();
/// }
/// ```
pub fn yield_now() {
    match current_goroutine() {
        // SAFETY: we are the carrying thread and the record is our own.
        Some(record) => unsafe {
            if !may_suspend(record) {
                return;
            }
            let local = current_processor().unwrap_unchecked().local.get();
            (*local).switch_reason = SwitchReason::Yield;
            arch::switch(&raw mut (*record.as_ptr()).sp, (*local).loop_sp);
        },
        None => std::thread::yield_now(),
    }
}

/// Gives way if the monitor has asked for it.
#[inline]
pub(crate) fn checkpoint() {
    if let Some(processor) = current_processor()
        && processor.yield_flag.load(Ordering::Relaxed)
    {
        give_way();
    }
}

/// Does nothing where the caller must not be suspended: on the system stack, where it is not its
/// processor's current goroutine.
#[cold]
#[inline(never)]
fn give_way() {
    if current_goroutine().is_some() {
        yield_now();
    }
}
