//! A processor: what a goroutine takes for its thread.
//!
//! It owns a set of thread-locals (those of its lender, which sleeps for ever), stack slots, a
//! ready queue, timers and goroutines, and a stack of its own on which its loop ([`super::batch`])
//! runs. One worker at a time carries it. Only code that runs on the carrying thread touches
//! [`Local`]: the processor's loop, or the goroutine that the loop has switched to, never both at
//! once. The other fields are shared:
//!
//! | field | written by |
//! |---|---|
//! | `inbox` | see [`super::inbox`] |
//! | `arrivals` | any thread that spawns a goroutine here from elsewhere; taken by the carrier or a thief |
//! | `deadline` | the carrier: the earliest timer |
//! | `yield_flag` | set by the monitor, by the carrier's goroutine, or when a trace begins; cleared by the carrier |
//! | `switches` | the carrier; the monitor compares it with what it saw before |
//! | `scavenge` | see [`crate::stack::scavenge`] |
//! | `census` | see [`super::census`] |
//! | `counters` | the carrier, at the end of a batch |
//! | `inspect` | set by the thread that asks, cleared by the carrier |
//! | `held` | the monitor |
//! | `turn_of` | the carrier: where the running goroutine was spawned |

mod identity;
mod park;
mod spawn;

pub(super) use identity::set_current_processor;
pub(crate) use identity::{
    calling_goroutine, current_goroutine, current_goroutine_is_copied, current_home, current_processor,
    set_current_goroutine,
};
pub use park::yield_now;
pub(crate) use park::{checkpoint, may_suspend, park, park_again, way_out};

use super::Runtime;
use super::admission::Admission;
use super::batch::{self, Starting};
use super::census::{Census, OneWriter};
use super::config::Stress;
use super::inbox::Inbox;
use super::placement::Placement;
use super::timers::Timers;
use super::worker::Worker;
use crate::goroutine::record::Record;
use crate::goroutine::slab::Slab;
use crate::goroutine::task::TaskPtr;
use crate::hooks::counters::ProcessorCounters;
use crate::hooks::waits::Parked;
use crate::locals::resident::Resident;
use crate::stack::Bounds;
use crate::stack::own::OwnStack;
use crate::stack::scavenge::Scavenge;
use crate::stack::sharing::PROBATION;
use crate::stack::slots::Slots;
use crate::{arch, clock, sys};
use crossbeam_deque::{Injector, Stealer};
use crossbeam_utils::CachePadded;
use std::cell::UnsafeCell;
use std::collections::VecDeque;
use std::io;
use std::mem::offset_of;
use std::panic::Location;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};

/// Bytes of stack for the processor's own loop. It calls the allocator and the copying code, but no
/// user code.
const LOOP_STACK: usize = 64 << 10;

pub(crate) struct Processor {
    pub(crate) index: usize,
    /// The lender's thread pointer and kernel id. In pinned mode nothing is exchanged, so there is
    /// no thread pointer.
    pub(super) thread_pointer: usize,
    pub(super) lender: i32,
    /// The upper end of the free part of the lender's native stack. 0 in pinned mode, where the
    /// thread uses that stack itself.
    system_stack: usize,
    pub(crate) inbox: CachePadded<Inbox<Record>>,
    pub(crate) arrivals: Injector<TaskPtr>,
    /// Where thieves take goroutines that were spawned here and have not started.
    pub(crate) unstarted: Stealer<TaskPtr>,
    pub(crate) deadline: AtomicU64,
    pub(super) yield_flag: AtomicBool,
    /// It is [apart](super::apart): for goroutines that keep their processor for long.
    apart: AtomicBool,
    pub(crate) switches: OneWriter,
    pub(crate) scavenge: Scavenge,
    pub(crate) census: Census,
    pub(crate) counters: ProcessorCounters,
    /// A request for the state of its goroutines is pending: see [`crate::diag::inspect`].
    pub(crate) inspect: AtomicBool,
    /// The monitor has claimed this processor to read it: a pinned worker must not carry it.
    pub(super) held: AtomicBool,
    /// Where the running goroutine was spawned; null while the loop runs. See
    /// [`Processor::turn_of`].
    turn_of: AtomicPtr<Location<'static>>,
    pub(super) local: UnsafeCell<Local>,
}

// SAFETY: `local` is touched only under the rule at the top of this file; every other field is made
// to be shared.
unsafe impl Sync for Processor {}
// SAFETY: what it points to (records, tasks, stacks) is tied to the processor, not to a thread.
unsafe impl Send for Processor {}

/// What only the carrying thread touches.
pub(super) struct Local {
    pub(super) runtime: &'static Runtime,
    /// The running goroutine, or null while the loop runs.
    pub(super) current: *mut Record,
    /// Where the loop is suspended while a goroutine runs.
    pub(super) loop_sp: usize,
    /// Where the loop is suspended while no worker carries the processor.
    pub(super) resting_sp: usize,
    /// Where the worker is suspended while it carries the processor, and its own thread pointer.
    pub(super) worker_sp: usize,
    pub(super) worker_thread_pointer: usize,
    pub(super) worker: *const Worker,
    /// The processor that switched to this one directly and has not been requeued yet.
    pub(super) predecessor: Option<&'static Processor>,
    /// Why the last goroutine switched to the loop.
    pub(super) switch_reason: SwitchReason,
    /// The goroutine to run before the queue: one that the last one woke.
    pub(super) run_next: *mut Record,
    /// How many times in a row there was one.
    pub(super) next_in_a_row: u32,
    pub(super) admission: Admission,
    pub(super) ready: VecDeque<NonNull<Record>>,
    pub(super) unstarted: crossbeam_deque::Worker<TaskPtr>,
    /// A newcomer that had its turn, but whose spawn site is not known well enough yet.
    pub(super) starting: Option<Starting>,
    /// Newcomers that had their turn, and found no memory for a stack.
    pub(super) without_stack: VecDeque<Starting>,
    pub(super) slots: Slots,
    pub(super) slab: Slab,
    pub(super) timers: Timers<Record>,
    pub(super) resident: Resident,
    /// For profiles of waits.
    pub(super) parked: Parked,
    /// How many times a goroutine has given way.
    pub(super) yields: usize,
    /// How many goroutines the running one has spawned in its present turn.
    pub(super) spawned: u32,
    /// The time when the clock was last read.
    pub(super) now: u64,
    placement: Placement,
    ids: std::ops::Range<u64>,
    loop_stack: OwnStack,
}

/// For a debugger: the offsets in a processor of its thread pointer, its lender's kernel id and, in
/// the local part, the running goroutine, the records and the slots.
pub(crate) const DEBUGGER_OFFSETS: [usize; 5] = [
    offset_of!(Processor, thread_pointer),
    offset_of!(Processor, lender),
    offset_of!(Processor, local) + offset_of!(Local, current),
    offset_of!(Processor, local) + offset_of!(Local, slab),
    offset_of!(Processor, local) + offset_of!(Local, slots),
];

/// Why a goroutine has switched to its processor's loop.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum SwitchReason {
    /// A wake-up will come.
    Park,
    /// It gives way, and goes on after the other ready goroutines.
    Yield,
    /// It has ended.
    Finish,
}

impl Processor {
    /// Creates a processor with the calling thread's thread-locals.
    pub(super) fn new(runtime: &'static Runtime, index: usize) -> io::Result<&'static Processor> {
        let loop_stack = OwnStack::new(LOOP_STACK)?;
        let base = loop_stack.bounds().base;
        // The stress modes test copying, so no goroutine lives alone there.
        let probation = if runtime.sizes.stress == Stress::Off { PROBATION } else { 0 };
        let ordinary = index < runtime.sizes.processors;
        let geometry = runtime.sizes.geometry;
        let slots = Slots::new(if ordinary { geometry } else { geometry.of_few() }, probation)?;
        let unstarted = crossbeam_deque::Worker::new_fifo();
        let carried = runtime.sizes.carried;
        let thread_pointer = if carried { arch::thread_pointer() } else { arch::SAME_THREAD_POINTER };
        let processor: &'static Processor = Box::leak(Box::new(Processor {
            index,
            thread_pointer,
            lender: sys::kernel_thread_id(),
            system_stack: if carried { arch::stack_pointer() } else { 0 },
            inbox: CachePadded::new(Inbox::new()),
            arrivals: Injector::new(),
            unstarted: unstarted.stealer(),
            deadline: AtomicU64::new(clock::NEVER),
            yield_flag: AtomicBool::new(false),
            apart: AtomicBool::new(!ordinary),
            switches: OneWriter::default(),
            scavenge: Scavenge::new(),
            census: Census::default(),
            counters: ProcessorCounters::default(),
            inspect: AtomicBool::new(false),
            held: AtomicBool::new(false),
            turn_of: AtomicPtr::new(ptr::null_mut()),
            local: UnsafeCell::new(Local {
                runtime,
                current: ptr::null_mut(),
                loop_sp: 0,
                resting_sp: 0,
                worker_sp: 0,
                worker_thread_pointer: arch::SAME_THREAD_POINTER,
                worker: ptr::null(),
                predecessor: None,
                switch_reason: SwitchReason::Park,
                run_next: ptr::null_mut(),
                next_in_a_row: 0,
                admission: Admission::default(),
                ready: VecDeque::new(),
                unstarted,
                starting: None,
                without_stack: VecDeque::new(),
                slots,
                slab: Slab::new(),
                timers: Timers::new(),
                resident: Resident::of_this_thread(),
                parked: Parked::default(),
                yields: 0,
                spawned: 0,
                now: clock::now(),
                placement: Placement::default(),
                ids: 0..0,
                loop_stack,
            }),
        }));
        // SAFETY: the loop's stack is fresh and ours; no other thread knows the processor yet.
        unsafe {
            (*processor.local.get()).resting_sp =
                arch::prepare(base, batch::processor_loop, processor as *const Processor as usize);
        }
        Ok(processor)
    }

    /// Whether only goroutines that keep their processor for long are placed here.
    #[inline]
    pub(crate) fn is_apart(&self) -> bool {
        self.apart.load(Ordering::Relaxed)
    }

    pub(super) fn set_apart(&self, apart: bool) {
        self.apart.store(apart, Ordering::Relaxed);
    }

    /// Whether its running goroutine has been asked to give way and has not done so yet.
    pub(super) fn ignores_yield_request(&self) -> bool {
        // A flag that was set too late is only found in the next batch.
        self.yield_flag.load(Ordering::Relaxed) && !self.inbox.is_idle()
    }

    /// Whether the calling kernel thread, which has this processor's thread pointer, is a worker
    /// and not the lender.
    pub(crate) fn is_carried_by_this_thread(&self, kernel_thread: i32) -> bool {
        // SAFETY: the field is set when the runtime starts and never changes.
        self.lender != kernel_thread && unsafe { (*self.local.get()).runtime.sizes.carried }
    }

    /// The thread pointer of the worker that carries this processor.
    pub(crate) fn carrier_thread_pointer(&self) -> usize {
        // SAFETY: asked by the carrying thread; set before the processor's thread pointer came into
        // force.
        unsafe { (*self.local.get()).worker_thread_pointer }
    }

    /// Begins a turn, which has already been counted in `switches`: the two are written in this
    /// order.
    #[inline(always)]
    pub(super) fn begin_turn(&self, spawned_at: &'static Location<'static>) {
        // Release: a reader that sees this value sees the count of this turn, or of a later one.
        self.turn_of.store(ptr::from_ref(spawned_at).cast_mut(), Ordering::Release);
    }

    #[inline(always)]
    pub(super) fn end_turn(&self) {
        self.turn_of.store(ptr::null_mut(), Ordering::Relaxed);
    }

    /// Where the goroutine was spawned that has turn number `switches`; `None` if that turn is
    /// over. Any thread may call this: a record and its extras may be freed at any time, a source
    /// location is not.
    pub(crate) fn turn_of(&self, switches: usize) -> Option<&'static Location<'static>> {
        // Acquire: the location found is not from a later turn than the count that is compared
        // next.
        let at = self.turn_of.load(Ordering::Acquire);
        // SAFETY: null, or stored from a static reference.
        let at = unsafe { at.as_ref() }?;
        (self.switches.get() == switches).then_some(at)
    }

    /// Makes the processor end its batch after the present turn.
    pub(crate) fn end_batch(&self) {
        self.yield_flag.store(true, Ordering::Relaxed);
    }

    /// The worker that carries this processor.
    ///
    /// # Safety
    /// The caller runs on this processor, or holds it.
    pub(crate) unsafe fn carrier(&self) -> Option<&'static Worker> {
        // SAFETY: by contract the local part is the caller's; workers are never freed.
        unsafe { (*self.local.get()).worker.as_ref() }
    }

    /// The stack of its loop. Async-signal-safe, in code of this processor.
    pub(crate) fn loop_bounds(&self) -> Bounds {
        // SAFETY: the caller is the carrying thread, or a handler that has interrupted it; the field
        // never changes.
        unsafe { (*self.local.get()).loop_stack.bounds() }
    }

    /// Whether the native stack that belongs to the present thread pointer is the worker's, which
    /// uses it between batches.
    pub(crate) fn shares_its_system_stack(&self) -> bool {
        self.system_stack == 0
    }

    /// The upper end of the free part of the native stack that belongs to the present thread
    /// pointer.
    ///
    /// # Safety
    /// Called by a goroutine of this processor.
    pub(crate) unsafe fn system_stack(&self) -> usize {
        match self.system_stack {
            // SAFETY: we are the carrying thread. A pinned worker is suspended there as long as we
            // run.
            0 => unsafe { (*self.local.get()).worker_sp },
            // The lender sleeps for ever.
            free => free,
        }
    }
}
