//! A processor: what a goroutine takes for its thread.
//!
//! It owns a set of thread-locals (those of its lender, which sleeps for ever), stack slots, a
//! ready queue, timers and goroutines, and a stack of its own on which its loop ([`super::batch`])
//! runs. One worker at a time carries it. What only the carrier touches is the [`Local`] part,
//! which is reached through a token ([`carrier`]). The other fields are shared:
//!
//! | field | written by |
//! |---|---|
//! | `inbox` | see [`super::inbox`] |
//! | `arrivals` | see [`super::arrivals`] |
//! | `deadline` | the carrier: the earliest timer |
//! | `yield_flag` | set by the monitor, by the carrier's goroutine, or when a trace begins; cleared by the carrier |
//! | `switches` | the carrier; the monitor compares it with what it saw before |
//! | `scavenge` | see [`crate::stack::scavenge`] |
//! | `census` | see [`super::census`] |
//! | `counters` | the carrier, at the end of a batch |
//! | `inspect` | set by the thread that asks, cleared by the carrier |
//! | `held` | the monitor |
//! | `turn_of` | the carrier: where the running goroutine was spawned |

mod carrier;
mod identity;
mod local;
mod locals;
mod park;
mod spawn;

pub(crate) use carrier::{Carrier, Here, Loop, Running};
pub(crate) use identity::{
    Caller, calling_goroutine, current_goroutine_is_copied, current_home, current_processor,
    thread_pointer_of_worker,
};
pub(super) use identity::{FOR_STACKS, set_current_processor};
pub(crate) use local::SwitchReason;
pub(super) use local::{Local, Parts, Phase};
pub(super) use locals::add_destructor;
use park::way_out;
pub use park::yield_now;
pub(crate) use park::{asked_to_give_way, checkpoint};

use super::Runtime;
use super::arrivals::Arrivals;
use super::batch;
use super::census::Census;
use super::config::Stress;
use super::inbox::Inbox;
use super::request::Request;
use super::world::{self, Stage};
use crate::counter::OneWriter;
use crate::sched::record::Record;
use crate::sched::record::task::TaskPtr;
use crate::stack::Bounds;
use crate::stack::own::OwnStack;
use crate::stack::scavenge::Scavenge;
use crate::stack::sharing::PROBATION;
use crate::stack::slots::Slots;
use crate::telemetry::counters::ProcessorCounters;
use crate::{arch, clock, sys};
use crossbeam_deque::Stealer;
use crossbeam_utils::CachePadded;
use std::io;
use std::mem::offset_of;
use std::panic::Location;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};

/// Bytes of stack for the processor's own loop. It calls the allocator and the copying code, but no
/// user code.
const LOOP_STACK: usize = 64 << 10;

pub(crate) struct Processor {
    pub(crate) index: usize,
    pub(super) runtime: &'static Runtime,
    /// The lender's thread pointer and kernel id. In pinned mode nothing is exchanged, so there is
    /// no thread pointer.
    pub(super) thread_pointer: usize,
    pub(super) lender: i32,
    /// The upper end of the free part of the lender's native stack. 0 in pinned mode, where the
    /// thread uses that stack itself.
    system_stack: usize,
    pub(crate) inbox: CachePadded<Inbox<Record>>,
    pub(crate) arrivals: Arrivals,
    /// Where thieves take goroutines that were spawned here and have not started.
    pub(crate) unstarted: Stealer<TaskPtr>,
    pub(crate) deadline: AtomicU64,
    pub(super) yield_flag: AtomicBool,
    /// It is [apart](super::apart): for goroutines that keep their processor for long.
    apart: AtomicBool,
    /// It is for [worlds](super::world).
    stage: Option<Stage>,
    pub(crate) switches: OneWriter,
    pub(crate) scavenge: Scavenge,
    pub(crate) census: Census,
    pub(crate) counters: ProcessorCounters,
    /// A request for the state of its goroutines is pending: see [`crate::diag::inspect`].
    pub(crate) inspect: Request,
    /// The monitor has claimed this processor to read it: a pinned worker must not carry it.
    pub(super) held: AtomicBool,
    /// Where the running goroutine was spawned; null while the loop runs. See
    /// [`Processor::turn_of`].
    turn_of: AtomicPtr<Location<'static>>,
    /// On cache lines of its own, so that a write to a shared word does not slow down the carrier.
    local: CachePadded<Local>,
}

// SAFETY: `local` is reached through a token only, which the carrying thread has; every other field
// is made to be shared.
unsafe impl Sync for Processor {}
// SAFETY: what it points to (records, tasks, stacks) is tied to the processor, not to a thread.
unsafe impl Send for Processor {}

/// For a debugger: the offsets in a processor of its thread pointer, its lender's kernel id and, in
/// the local part, the running goroutine, the records and the slots.
pub(crate) const DEBUGGER_OFFSETS: [usize; 5] = {
    // Padding comes after what is padded.
    let local = offset_of!(Processor, local);
    let [current, slab, slots] = local::DEBUGGER_OFFSETS;
    [
        offset_of!(Processor, thread_pointer),
        offset_of!(Processor, lender),
        local + current,
        local + slab,
        local + slots,
    ]
};

impl Processor {
    /// Creates a processor with the calling thread's thread-locals.
    pub(super) fn new(runtime: &'static Runtime, index: usize) -> io::Result<&'static Processor> {
        let loop_stack = OwnStack::new(LOOP_STACK)?;
        let base = loop_stack.bounds().base;
        // The stress modes test copying, so no goroutine lives alone there.
        let probation = if runtime.sizes.stress == Stress::Off { PROBATION } else { 0 };
        let ordinary = index < runtime.sizes.processors;
        let stage = runtime.processors.for_worlds().contains(&index).then(Stage::default);
        let first = if stage.is_some() { world::world_loop } else { batch::processor_loop };
        let geometry = runtime.sizes.geometry;
        let slots = Slots::new(if ordinary { geometry } else { geometry.of_few() }, probation)?;
        let unstarted = crossbeam_deque::Worker::new_fifo();
        let carried = runtime.sizes.carried;
        let thread_pointer = if carried { arch::thread_pointer() } else { arch::SAME_THREAD_POINTER };
        let processor: &'static Processor = Box::leak(Box::new(Processor {
            index,
            runtime,
            thread_pointer,
            lender: sys::kernel_thread_id(),
            system_stack: if carried { arch::stack_pointer() } else { 0 },
            inbox: CachePadded::new(Inbox::new()),
            arrivals: Arrivals::new(),
            unstarted: unstarted.stealer(),
            deadline: AtomicU64::new(clock::NEVER),
            yield_flag: AtomicBool::new(false),
            apart: AtomicBool::new(!ordinary && stage.is_none()),
            stage,
            switches: OneWriter::default(),
            scavenge: Scavenge::new(),
            census: Census::default(),
            counters: ProcessorCounters::default(),
            inspect: Request::new(),
            held: AtomicBool::new(false),
            turn_of: AtomicPtr::new(ptr::null_mut()),
            local: CachePadded::new(Local::new(slots, unstarted, loop_stack, clock::now())),
        }));
        // SAFETY: the loop's stack is fresh and ours.
        let resting = unsafe { arch::prepare(base, first, ptr::from_ref(processor).addr()) };
        processor.local.resting_sp.set(resting);
        Ok(processor)
    }

    /// What it has for worlds, if it is for them.
    #[inline]
    pub(crate) fn stage(&self) -> Option<&Stage> {
        self.stage.as_ref()
    }

    /// The time by which its goroutines wait: that of the world, if one runs here.
    pub(crate) fn time(&self) -> u64 {
        self.stage.as_ref().and_then(Stage::clock).unwrap_or_else(clock::now)
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

    /// For the sanitizers.
    #[cfg(any(narrowboat_asan, narrowboat_tsan))]
    pub(super) fn wait_for_lender(&self) {
        sys::wait_for_lender(self.lender);
    }

    /// Whether the calling kernel thread, which has this processor's thread pointer, is a worker
    /// and not the lender.
    pub(crate) fn is_carried_by_this_thread(&self, kernel_thread: i32) -> bool {
        self.lender != kernel_thread && self.runtime.sizes.carried
    }

    /// Claims the processor if it is idle.
    pub(super) fn claim(&'static self) -> Option<Carrier<'static>> {
        // SAFETY: it was idle, and is taken by us now.
        self.inbox.claim().then(|| unsafe { Carrier::new(self) })
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

    /// The stack of its loop. Async-signal-safe.
    pub(crate) fn loop_bounds(&self) -> Bounds {
        self.local.loop_stack.bounds()
    }

    /// Whether the native stack that belongs to the present thread pointer is the worker's, which
    /// uses it between batches.
    pub(crate) fn shares_its_system_stack(&self) -> bool {
        self.system_stack == 0
    }
}
