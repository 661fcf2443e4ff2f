//! How a goroutine is suspended on its processor, and how it is made ready again: [`crate::park`]
//! for goroutines, and yields.

use super::super::runtime;
use super::super::timers::HeapIndex;
use super::super::trace;
use super::super::world;
use super::{Here, Processor, Running, SwitchReason, calling_goroutine, current_processor};
use crate::lock::Native;
use crate::sched::record::{Ready, Record};
use crate::telemetry::waits;
use crate::wait::Head;
use crate::{arch, stack};
use std::cell::Cell;
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
        match Here::now() {
            Some(here)
                if ptr::eq(here.processor(), home) && !trace::watches(trace::EVENTS | trace::WAITS) =>
            {
                // SAFETY: by contract, and we are on its processor.
                here.make_next(unsafe { Ready::new(record) });
            }
            // SAFETY: one wake-up per park, so the record is in no inbox. It is live until it is
            // taken out.
            here => unsafe { home.unpark_from_elsewhere(record, here) },
        }
    }

    /// Wakes a goroutine from another processor or thread, or while something is recorded.
    ///
    /// # Safety
    /// As for [`unpark`](Processor::unpark).
    #[cold]
    #[inline(never)]
    unsafe fn unpark_from_elsewhere(&'static self, record: NonNull<Record>, here: Option<Here>) {
        if trace::watches(trace::EVENTS | trace::WAITS) {
            // Recorded before the goroutine can be found, so that its turn comes later in time.
            // SAFETY: until it is woken it cannot go on, so the record is live and what is read
            // here does not change. It was written before the wait was published.
            let (id, reason) = unsafe { (record.as_ref().id, record.as_ref().reason.get()) };
            if trace::on() {
                trace::wakes(id);
            }
            waits::wakes(id, reason);
            if let Some(here) = here
                && ptr::eq(here.processor(), self)
            {
                // SAFETY: as in `unpark`.
                return here.make_next(unsafe { Ready::new(record) });
            }
        }
        // A waker must not park: it may be about to park for another reason.
        let _native = Native::begin();
        // SAFETY: by contract.
        if unsafe { self.inbox.push(record.as_ptr()) } {
            runtime().submit(self, here.and_then(Here::worker));
        }
    }
}

impl Here {
    /// Makes a goroutine of this processor the next to run.
    #[inline]
    fn make_next(self, goroutine: Ready) {
        if let Some(previous) = self.local().run_next.replace(Some(goroutine)) {
            self.make_ready(previous);
        }
    }

    /// Puts a goroutine of this processor at the end of the queue.
    fn make_ready(self, goroutine: Ready) {
        if !self.may_use_parts() {
            // The caller is the loop, or has interrupted the goroutine in the middle of a use. The
            // inbox is read before the next turn.
            // SAFETY: it is ready, so it is in no inbox, and live.
            let was_idle = unsafe { self.processor().inbox.push(goroutine.record().as_ptr()) };
            return debug_assert!(!was_idle, "a processor is carried while its code runs");
        }
        self.with_parts(|parts| {
            if parts.ready.len() == parts.ready.capacity() {
                // The allocator may wait for a lock of std's, but must not park.
                let _native = Native::begin();
                parts.ready.reserve(1);
            }
            parts.ready.push_back(goroutine);
        });
    }

    /// Where the code on the native stack that belongs to the present thread pointer is suspended.
    /// The caller is a goroutine.
    pub(crate) fn system_stack(self) -> usize {
        match self.processor().system_stack {
            // A pinned worker is suspended there as long as we run.
            0 => self.local().worker_sp.get(),
            // The lender sleeps for ever.
            free => free,
        }
    }
}

/// Whether the calling goroutine, which has this record, can be suspended outside of the slots.
#[cold]
#[inline(never)]
fn may_suspend_elsewhere(record: &Record) -> bool {
    stack::foreign::may_suspend(record.home, || record.origin.spawned_at())
}

/// The field that holds where the calling goroutine switches to when it parks; `None` on a plain
/// thread. On the system stack the answer is the same, although the goroutine cannot park there, so
/// that an exchanged value can be restored anywhere.
#[inline]
pub(crate) fn way_out() -> Option<&'static Cell<usize>> {
    calling_goroutine()?;
    Here::now().map(|here| &here.local().loop_sp)
}

impl Running {
    /// Whether the calling goroutine can be suspended where it is: see [`stack::foreign`].
    #[inline(always)]
    pub(crate) fn may_suspend(self) -> bool {
        // SAFETY: the goroutine does not use the parts when it is about to wait.
        let parts = unsafe { &*self.here().local().parts.get() };
        // Only this goroutine runs in the processor's slots now, so an address in them is in its
        // own slot.
        (stack::segment::is_outside() && parts.slots.contain(arch::stack_pointer()))
            || may_suspend_elsewhere(&self)
    }

    /// Suspends the calling goroutine for a park, or a yield, that it has begun on another stack of
    /// its own ([`stack::segment`]). Returns the stack pointer at which it is suspended on that
    /// stack.
    ///
    /// # Safety
    /// The goroutine has just switched here, and [`way_out`] has been set to the next step on its
    /// way to the loop.
    #[inline(always)]
    pub(crate) unsafe fn park_again(self) -> usize {
        let left_at = self.sp.get();
        self.here().local().fiber.enter();
        // SAFETY: by contract. The reason that was set on that stack stays valid.
        unsafe { arch::switch(self.sp.as_ptr(), self.here().local().loop_sp.get()) };
        left_at
    }

    /// Suspends the calling goroutine until its wake-up comes.
    ///
    /// Inlined into each blocking function, because its frame would be copied with every parked
    /// goroutine.
    ///
    /// # Safety
    /// It [may be suspended](Running::may_suspend). Its wake-up will come, or the deadline will
    /// pass.
    #[inline(always)]
    pub(crate) unsafe fn park(self, deadline: Option<Instant>) {
        self.since.set((self.here().local().now.get() >> 24) as u32);
        if let Some(deadline) = deadline {
            self.set_timer(deadline);
        }
        // SAFETY: by contract.
        unsafe { self.switch(SwitchReason::Park) };
        if self.timer.get() != HeapIndex::NONE {
            // SAFETY: this goroutine's record.
            unsafe { Running::clear_timer(Record::head(self.record())) };
        }
    }

    /// Notes that the calling goroutine is about to wait with its stack in place. If it shares a
    /// slot, it keeps that until [`release_slot`](Running::release_slot), even if others need it,
    /// and the answer is true.
    pub(crate) fn hold_slot(self) -> bool {
        let home = self.home;
        let held = !home.is_own();
        stack::sharing::note_wait_in_place(self.origin.spawned_at(), held);
        if held {
            self.here().with_parts(|parts| parts.slots.hold_slot(home));
        }
        held
    }

    /// Others may have the slot again that the calling goroutine has held.
    pub(crate) fn release_slot(self) {
        let home = self.home;
        // The queue may need room, and the loop owns it as soon as something parks.
        let _native = Native::begin();
        self.here().with_parts(|parts| {
            parts.slots.release_slot(home);
            // Those that had their turn meanwhile are ready again.
            parts.ready.extend(parts.deferred.extract_if(.., |deferred| deferred.home == home));
        });
    }

    #[cold]
    fn set_timer(self, deadline: Instant) {
        // The wait has been published, so nothing may park here.
        let _native = Native::begin();
        let at = world::timer_at(self.here().processor(), deadline);
        // SAFETY: the goroutine has no timer, since it waits for one deadline at a time. It is live
        // at least until it has gone on, which clears the timer.
        self.here().with_parts(|parts| unsafe { parts.timers.insert(at, self.record()) });
    }

    /// Takes the goroutine's timer out of the heap, after its wait.
    ///
    /// It is told the head of the record, by which waiters are known. What the code around the
    /// switch needs after it, be it the processor or the record, is on the stack of each parked
    /// goroutine.
    ///
    /// # Safety
    /// The head is that of the calling goroutine.
    #[cold]
    #[inline(never)]
    unsafe fn clear_timer(head: NonNull<Head>) {
        let record = Record::with_head(head);
        // SAFETY: by contract.
        let goroutine = unsafe { Running::with_record(record) };
        // The heap may shrink, and the allocator must not park here.
        let _native = Native::begin();
        // SAFETY: the timer is set, in the heap of the goroutine's processor.
        goroutine.here().with_parts(|parts| unsafe { parts.timers.remove(record) });
    }
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
    match Running::now() {
        // SAFETY: it may be suspended.
        Some(goroutine) if goroutine.may_suspend() => unsafe { goroutine.switch(SwitchReason::Yield) },
        Some(_) => {}
        None => std::thread::yield_now(),
    }
}

/// Whether the monitor has asked the calling goroutine to give way.
#[inline]
pub(crate) fn asked_to_give_way() -> bool {
    current_processor().is_some_and(|processor| processor.yield_flag.load(Ordering::Relaxed))
}

/// Gives way if the monitor has asked for it.
#[inline]
pub(crate) fn checkpoint() {
    if asked_to_give_way() {
        give_way();
    }
}

/// Does nothing where the caller must not be suspended: on the system stack, where it is not its
/// processor's current goroutine.
#[cold]
#[inline(never)]
fn give_way() {
    if let Some(goroutine) = Running::now() {
        goroutine.here().local().asked.set(true);
        yield_now();
    }
}
