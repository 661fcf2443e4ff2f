//! A processor's own data, which only its carrier touches. It is reached through a token: see
//! [`super::carrier`].

use super::super::admission::Admission;
use super::super::batch::Starting;
use super::super::placement::Placement;
use super::super::timers::Timers;
use super::super::worker::Worker;
use super::Processor;
use crate::arch;
use crate::arch::sanitizers::Fiber;
use crate::locals::resident::Resident;
use crate::sched::record::slab::Slab;
use crate::sched::record::task::TaskPtr;
use crate::sched::record::{Ready, Record};
use crate::stack::own::OwnStack;
use crate::stack::slots::Slots;
use crate::telemetry::waits::Parked;
use std::cell::{Cell, UnsafeCell};
use std::collections::VecDeque;
use std::mem::offset_of;
use std::ptr::NonNull;

/// What only the carrier touches: cells, which its code may read and write in the middle of
/// anything, and [`Parts`], to which one reference is in use at a time.
pub(crate) struct Local {
    /// The running goroutine. `None` while the loop runs, and while the goroutine is on the system
    /// stack.
    pub(in crate::sched) current: Cell<Option<NonNull<Record>>>,
    /// Where the loop is suspended while a goroutine runs.
    pub(in crate::sched) loop_sp: Cell<usize>,
    /// Where the loop is suspended while no worker carries the processor.
    pub(in crate::sched) resting_sp: Cell<usize>,
    /// Where the worker is suspended while it carries the processor, and its own thread pointer.
    pub(in crate::sched) worker_sp: Cell<usize>,
    pub(in crate::sched) worker_thread_pointer: Cell<usize>,
    pub(in crate::sched) worker: Cell<Option<&'static Worker>>,
    /// The processor that switched to this one directly and has not been requeued yet.
    pub(in crate::sched) predecessor: Cell<Option<&'static Processor>>,
    pub(in crate::sched) phase: Cell<Phase>,
    /// The loop, while a goroutine runs.
    pub(super) fiber: Fiber,
    /// How many goroutines the running one has spawned in its present turn.
    pub(in crate::sched) spawned: Cell<u32>,
    /// The running goroutine has given way because the yield flag asked for it.
    pub(in crate::sched) asked: Cell<bool>,
    /// The goroutine to run before the queue: one that the last one woke.
    pub(in crate::sched) run_next: Cell<Option<Ready>>,
    /// The time when the clock was last read.
    pub(in crate::sched) now: Cell<u64>,
    pub(super) placement: Cell<Placement>,
    /// The next goroutine's number, and the end of the numbers that are reserved.
    pub(super) ids: Cell<(u64, u64)>,
    pub(in crate::sched) unstarted: crossbeam_deque::Worker<TaskPtr>,
    pub(in crate::sched) resident: Resident,
    pub(super) parts: UnsafeCell<Parts>,
    pub(super) loop_stack: OwnStack,
}

/// What runs on a processor's stacks, and so what may use its [`Parts`].
///
/// In the first three, the loop or nothing: the parts are the [`Carrier`](super::Carrier)'s.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::sched) enum Phase {
    /// The last goroutine has parked, or there was none.
    Parked,
    /// It has given way.
    Yielded,
    /// It has ended.
    Finished,
    /// A goroutine, which may use the parts for a moment.
    Turn,
    /// A goroutine, which uses the parts at this moment.
    Lent,
}

impl SwitchReason {
    /// The phase after a switch for this reason.
    #[inline(always)]
    pub(super) fn phase(self) -> Phase {
        match self {
            SwitchReason::Park => Phase::Parked,
            SwitchReason::Yield => Phase::Yielded,
            SwitchReason::Finish => Phase::Finished,
        }
    }
}

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

/// The part of a processor's own data that is changed by reference.
pub(crate) struct Parts {
    pub(in crate::sched) ready: VecDeque<Ready>,
    /// Goroutines that had their turn while another one held their slot.
    pub(in crate::sched) deferred: Vec<Ready>,
    /// How many times in a row there was a goroutine to run before the queue.
    pub(in crate::sched) next_in_a_row: u32,
    pub(in crate::sched) admission: Admission,
    /// A newcomer that had its turn, but whose spawn site is not known well enough yet.
    pub(in crate::sched) starting: Option<Starting>,
    /// Newcomers that had their turn, and found no memory for a stack.
    pub(in crate::sched) without_stack: VecDeque<Starting>,
    pub(in crate::sched) slots: Slots<Record>,
    pub(in crate::sched) slab: Slab,
    pub(in crate::sched) timers: Timers<Record>,
    /// For profiles of waits.
    pub(in crate::sched) parked: Parked,
    /// How many times a goroutine has given way.
    pub(in crate::sched) yields: usize,
}

/// For a debugger: the offsets of the running goroutine, the records and the slots.
pub(super) const DEBUGGER_OFFSETS: [usize; 3] = [
    offset_of!(Local, current),
    offset_of!(Local, parts) + offset_of!(Parts, slab),
    offset_of!(Local, parts) + offset_of!(Parts, slots),
];

impl Local {
    /// The data of a processor without goroutines, with the calling thread's thread-locals.
    pub(super) fn new(
        slots: Slots<Record>,
        unstarted: crossbeam_deque::Worker<TaskPtr>,
        loop_stack: OwnStack,
        now: u64,
    ) -> Local {
        Local {
            current: Cell::new(None),
            loop_sp: Cell::new(0),
            resting_sp: Cell::new(0),
            worker_sp: Cell::new(0),
            worker_thread_pointer: Cell::new(arch::SAME_THREAD_POINTER),
            worker: Cell::new(None),
            predecessor: Cell::new(None),
            phase: Cell::new(Phase::Parked),
            fiber: Fiber::new(),
            spawned: Cell::new(0),
            asked: Cell::new(false),
            run_next: Cell::new(None),
            now: Cell::new(now),
            placement: Cell::new(Placement::default()),
            ids: Cell::new((0, 0)),
            unstarted,
            resident: Resident::of_this_thread(),
            parts: UnsafeCell::new(Parts {
                ready: VecDeque::new(),
                deferred: Vec::new(),
                next_in_a_row: 0,
                admission: Admission::default(),
                starting: None,
                without_stack: VecDeque::new(),
                slots,
                slab: Slab::new(),
                timers: Timers::new(),
                parked: Parked::default(),
                yields: 0,
            }),
            loop_stack,
        }
    }

    /// Whether there is a goroutine to run before the queue.
    pub(in crate::sched) fn has_next(&self) -> bool {
        let next = self.run_next.take();
        let has = next.is_some();
        self.run_next.set(next);
        has
    }

    /// Whether no goroutine that has started is ready.
    pub(in crate::sched) fn has_nothing_to_run(&self, parts: &Parts) -> bool {
        !self.has_next() && parts.ready.is_empty()
    }

    /// Whether there is anything to run.
    pub(in crate::sched) fn has_work(&self, parts: &Parts) -> bool {
        !self.has_nothing_to_run(parts)
            || parts.starting.is_some()
            || !self.unstarted.is_empty()
            || (!parts.without_stack.is_empty() && parts.slots.may_have_stack())
    }
}
