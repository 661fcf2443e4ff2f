//! Reads the goroutines of a processor, for [`crate::diag`]. The reader is the processor's own
//! loop, between two goroutines, or a thread that has claimed the processor because it was idle.

use super::Runtime;
use super::processor::Processor;
use crate::arch;
use crate::goroutine::record::Record;
use crate::park::Identity;
use crate::stack::backtrace::Frames;
use crate::stack::slots::Live;
use std::ptr;
use std::sync::atomic::Ordering;

/// How much of its stack a suspended goroutine needs, and whether those bytes are in place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StackUse {
    pub(crate) live: usize,
    pub(crate) resident: bool,
}

/// Bytes of free stack below a suspended goroutine that a backtrace may need.
const FOR_A_BACKTRACE: usize = 32 << 10;

impl Processor {
    /// Claims the processor if it is idle, so that the caller may read its local part until
    /// [`release_after_reading`](Processor::release_after_reading).
    ///
    /// A pinned worker carries its processor whenever that is not idle, so `held` keeps it away. It
    /// is set before the claim: the claim's release makes it visible to a worker that sees that the
    /// processor is taken.
    pub(crate) fn claim_for_reading(&self) -> bool {
        self.held.store(true, Ordering::Relaxed);
        let claimed = self.inbox.claim();
        if !claimed {
            self.held.store(false, Ordering::Release);
        }
        claimed
    }

    /// Steps 3 and 4 of the inbox's protocol, for a processor that was claimed for reading, so that
    /// nothing has run on it.
    pub(crate) fn release_after_reading(&'static self, runtime: &'static Runtime) {
        let rests = self.inbox.rest();
        // Only now: a pinned worker would carry a processor that it saw neither idle nor held.
        self.held.store(false, Ordering::Release);
        if !rests || (self.has_arrivals() && self.inbox.claim()) {
            runtime.submit(self, None);
            return;
        }
        runtime.deadlines.announce(self.deadline.load(Ordering::Relaxed));
    }

    /// Whether all goroutines that have started are as `wanted`.
    ///
    /// # Safety
    /// The caller holds the processor, or is its loop, between goroutines.
    pub(crate) unsafe fn all_goroutines(&self, mut wanted: impl FnMut(&Record) -> bool) -> bool {
        // SAFETY: by contract the local part is the caller's; records in the slab are live.
        unsafe { (*self.local.get()).slab.all().all(|record| wanted(record.as_ref())) }
    }

    /// Calls `each` with all goroutines that have started.
    ///
    /// # Safety
    /// As for `all_goroutines`.
    pub(crate) unsafe fn each_goroutine(&self, mut each: impl FnMut(&Record)) {
        // SAFETY: by contract.
        unsafe { self.all_goroutines(|record| (each(record), true).1) };
    }

    /// # Safety
    /// As for `all_goroutines`; the record is one of this processor's.
    pub(crate) unsafe fn stack_of(&self, record: &Record) -> StackUse {
        // SAFETY: by contract.
        let slots = unsafe { &(*self.local.get()).slots };
        let live = match slots.live_bytes(record) {
            Live::Known(live) => live,
            Live::All => slots.bounds(record.home).size(),
        };
        StackUse { live, resident: slots.is_resident(record) }
    }

    /// The identity of what a parked goroutine waits for at `address`, which may be on its own
    /// stack.
    ///
    /// # Safety
    /// As for `all_goroutines`; the record is one of this processor's.
    pub(crate) unsafe fn identity_of(&self, record: &Record, address: usize) -> Identity {
        // SAFETY: by contract.
        let bounds = unsafe { (*self.local.get()).slots.bounds(record.home) };
        if !record.home.is_own() && (bounds.limit..bounds.base).contains(&address) {
            Identity { address, stack_of: record.id }
        } else {
            Identity::of(address)
        }
    }

    /// Brings the stack of a suspended goroutine in. False if another goroutine holds its slot.
    /// (`bring_in` must not be called then: it would treat this goroutine as ready, although it
    /// only waits.)
    ///
    /// # Safety
    /// As for [`backtrace_of`](Processor::backtrace_of).
    pub(crate) unsafe fn make_resident(&self, record: &Record) -> bool {
        // SAFETY: by contract.
        unsafe {
            let slots = &mut (*self.local.get()).slots;
            !slots.is_held_by_another(record) && slots.bring_in(ptr::from_ref(record).cast_mut())
        }
    }

    /// Makes a suspended goroutine take its own backtrace: brings its stack in and calls a function
    /// there, as if the code that suspended it had called that function. So no unwinder has to read
    /// the frames of another stack. `None` if the stack has no room for the call, or if the
    /// goroutine is suspended on a [foreign](crate::stack::foreign) stack, where the room is
    /// unknown.
    ///
    /// # Safety
    /// Called by the loop of this processor, between goroutines; the record is one of this
    /// processor's.
    pub(crate) unsafe fn backtrace_of(&self, record: &Record) -> Option<Frames> {
        extern "C" fn capture(to: usize) {
            // SAFETY: `backtrace_of` passes the address of such an option.
            unsafe { *(to as *mut Option<Frames>) = Some(Frames::capture()) };
        }
        let mut backtrace = None;
        // SAFETY: by contract. The goroutine is suspended, its bytes are in place once it has been
        // brought in, and the memory below them is unused.
        unsafe {
            let slots = &mut (*self.local.get()).slots;
            let bounds = slots.bounds(record.home);
            if !bounds.contain(record.sp)
                || record.sp - bounds.limit < FOR_A_BACKTRACE
                || slots.is_held_by_another(record)
            {
                return None;
            }
            slots.bring_in(ptr::from_ref(record).cast_mut());
            arch::call_suspended(record.sp, capture, (&raw mut backtrace).addr());
        }
        backtrace
    }
}
