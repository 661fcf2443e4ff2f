//! Reads the goroutines of a processor, for [`crate::diag`]. The reader is the processor's own
//! loop, between two goroutines, or a thread that has claimed the processor because it was idle.

use super::Runtime;
use super::processor::{Carrier, Loop, Processor};
use super::world;
use crate::arch;
use crate::sched::record::Record;
use crate::stack::backtrace::Frames;
use crate::stack::slots::{Live, Slots};
use crate::wait::Identity;
use std::ptr::{self, NonNull};
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
    /// Step 4 of the inbox's protocol: whether something may have been put where the processor
    /// looks while it came to rest.
    pub(super) fn may_have_more(&self) -> bool {
        self.arrivals.may_have_some() || self.inspect.is_made_at_rest()
    }

    /// Claims the processor if it is idle, so that the caller may read its goroutines until
    /// [`release_after_reading`](Carrier::release_after_reading).
    ///
    /// A pinned worker carries its processor whenever that is not idle, so `held` keeps it away. It
    /// is set before the claim: the claim's release makes it visible to a worker that sees that the
    /// processor is taken.
    pub(crate) fn claim_for_reading(&'static self) -> Option<Carrier<'static>> {
        self.held.store(true, Ordering::Relaxed);
        let claimed = self.claim();
        if claimed.is_none() {
            self.held.store(false, Ordering::Release);
        }
        claimed
    }
}

impl Carrier<'_> {
    /// Steps 3 and 4 of the inbox's protocol, for a processor that was claimed for reading, so that
    /// nothing has run on it.
    pub(crate) fn release_after_reading(self, runtime: &'static Runtime) {
        let processor = self.processor();
        let rests = processor.inbox.rest();
        // Only now: a pinned worker would carry a processor that it saw neither idle nor held.
        processor.held.store(false, Ordering::Release);
        if !rests || (processor.may_have_more() && processor.inbox.claim()) {
            runtime.submit(processor, None);
            return;
        }
        runtime.deadlines.announce(processor.deadline.load(Ordering::Relaxed));
    }

    /// Whether all goroutines that have started are as `wanted`.
    pub(crate) fn all_goroutines(&mut self, wanted: impl FnMut(&Record) -> bool) -> bool {
        let shown = world::shown_on(self.processor());
        self.parts().slab.all().filter(|record| shown.contain(record)).all(wanted)
    }
}

impl Loop<'_> {
    /// What shows the stacks of suspended goroutines.
    pub(super) fn view(&mut self) -> View<'_> {
        let processor = self.processor();
        View { processor, slots: &mut self.parts().slots }
    }

    /// Calls `each` with all goroutines that have started, and with what shows more of them.
    pub(crate) fn each_goroutine(&mut self, mut each: impl FnMut(&mut View<'_>, &Record)) {
        let processor = self.processor();
        let shown = world::shown_on(processor);
        let parts = self.parts();
        let mut view = View { processor, slots: &mut parts.slots };
        parts.slab.all().filter(|record| shown.contain(record)).for_each(|record| each(&mut view, record));
    }
}

/// Shows the stacks of a processor's goroutines, which are all suspended. The records that it takes
/// are those of that processor.
pub(crate) struct View<'a> {
    processor: &'static Processor,
    slots: &'a mut Slots<Record>,
}

impl View<'_> {
    pub(crate) fn processor(&self) -> &'static Processor {
        self.processor
    }

    pub(crate) fn stack_of(&self, record: &Record) -> StackUse {
        let live = match self.slots.live_bytes(record) {
            Live::Known(live) => live,
            Live::All => self.slots.bounds(record.home).size(),
        };
        StackUse { live, resident: self.slots.is_resident(record) }
    }

    /// The identity of what a parked goroutine waits for at `address`, which may be on its own
    /// stack.
    pub(crate) fn identity_of(&self, record: &Record, address: usize) -> Identity {
        let bounds = self.slots.bounds(record.home);
        if !record.home.is_own() && (bounds.limit..bounds.base).contains(&address) {
            Identity { address, stack_of: record.id }
        } else {
            Identity::of(address)
        }
    }

    /// Brings the stack of a suspended goroutine in. False if another goroutine holds its slot.
    pub(crate) fn make_resident(&mut self, record: &Record) -> bool {
        // SAFETY: a reference to a record means that it is live.
        let home = unsafe { Record::processor(NonNull::from(record)) };
        assert!(ptr::eq(home, self.processor), "a record of another processor");
        // SAFETY: this is the loop, so the goroutine is suspended, and its home is in these slots.
        unsafe { self.slots.bring_in(record) }
    }

    /// Makes a suspended goroutine take its own backtrace: brings its stack in and calls a function
    /// there, as if the code that suspended it had called that function. So no unwinder has to read
    /// the frames of another stack. `None` if the stack has no room for the call, or if the
    /// goroutine is suspended on a [foreign](crate::stack::foreign) stack, where the room is
    /// unknown.
    pub(crate) fn backtrace_of(&mut self, record: &Record) -> Option<Frames> {
        extern "C" fn capture(to: usize) {
            // SAFETY: `backtrace_of` passes the address of such an option.
            unsafe { *(to as *mut Option<Frames>) = Some(Frames::capture()) };
        }
        let (bounds, sp) = (self.slots.bounds(record.home), record.sp.get());
        let has_room = bounds.contain(sp) && sp - bounds.limit >= FOR_A_BACKTRACE;
        if !has_room || !self.make_resident(record) {
            return None;
        }
        let mut backtrace = None;
        // SAFETY: the goroutine is suspended, its bytes are in place, and the memory below them is
        // unused.
        unsafe { arch::call_suspended(sp, capture, (&raw mut backtrace).addr()) };
        backtrace
    }
}
