//! A processor: what a goroutine believes to be its thread.
//!
//! It owns a set of thread-locals (those of its lending thread, which sleeps for ever), stack
//! slots, a ready queue, timers and goroutines, and a stack of its own on which its loop
//! ([`super::batch`]) runs. It is carried by one worker at a time, and everything in [`Local`] is
//! touched only by what runs on the carrying thread: the processor's loop, or the goroutine that it
//! has switched to, never both at once. The other fields are shared:
//!
//! | field | written by |
//! |---|---|
//! | `inbox` | see [`super::inbox`] |
//! | `arrivals` | anyone who spawns a goroutine here from elsewhere; taken by the carrier or a thief |
//! | `deadline` | the carrier: the earliest timer |
//! | `yield_flag` | set by the monitor, by the carrier's goroutine, or when a trace begins; cleared by the carrier |
//! | `switches` | the carrier; the monitor compares it with what it saw before |
//! | `scavenge` | see [`crate::stack::scavenge`] |
//! | `census` | see [`super::census`] |
//! | `counters` | the carrier, at the end of a batch |
//! | `inspect` | set by whoever asks, cleared by the carrier |
//! | `held` | the monitor |
//! | `turn_of` | the carrier: where the running goroutine was spawned |

use super::admission::Admission;
use super::batch::{self, Begun};
use super::census::{Census, OneWriter};
use super::config::Stress;
use super::inbox::Inbox;
use super::placement::Placement;
use super::timers::{HeapIndex, Timers};
use super::worker::Worker;
use super::{Runtime, runtime};
use crate::diag::counters::ProcessorCounters;
use crate::diag::trace::hooks as trace;
use crate::goroutine::record::Record;
use crate::goroutine::slab::Slab;
use crate::goroutine::task::TaskPtr;
use crate::locals::ours;
use crate::locals::resident::Resident;
use crate::lock::Native;
use crate::stack::Bounds;
use crate::stack::own::OwnStack;
use crate::stack::scavenge::Scavenge;
use crate::stack::sharing::PROBATION;
use crate::stack::slots::Slots;
use crate::{arch, clock, stack, sys};
use crossbeam_deque::{Injector, Stealer};
use crossbeam_utils::CachePadded;
use std::cell::UnsafeCell;
use std::collections::VecDeque;
use std::io;
use std::mem::offset_of;
use std::panic::Location;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};
use std::time::Instant;

/// Bytes of stack for the processor's own loop, which calls the allocator, the copying and nothing
/// of the user's.
const LOOP_STACK: usize = 64 << 10;
/// So many tasks are still in a cache when they start, and the memory of those that have ended
/// serves for the next. A goroutine that spawns more in a turn gives way: otherwise what waits to
/// be started would grow until the monitor looked.
const SPAWNS_IN_A_TURN: u32 = 1024;

pub(crate) struct Processor {
    pub(crate) index: usize,
    /// The lending thread's thread pointer (in pinned mode, where nothing is exchanged, none) and
    /// kernel id.
    pub(super) thread_pointer: usize,
    pub(super) lender: i32,
    /// The upper end of what is free of the lending thread's native stack. In pinned mode the
    /// thread uses that itself.
    system_stack: usize,
    pub(crate) inbox: CachePadded<Inbox<Record>>,
    pub(crate) arrivals: Injector<TaskPtr>,
    /// Where thieves take goroutines that were spawned here and have not started.
    pub(crate) unstarted: Stealer<TaskPtr>,
    pub(crate) deadline: AtomicU64,
    pub(super) yield_flag: AtomicBool,
    pub(crate) switches: OneWriter,
    pub(crate) scavenge: Scavenge,
    pub(crate) census: Census,
    pub(crate) counters: ProcessorCounters,
    /// Somebody wants to know of its goroutines: see [`crate::diag::inspect`].
    pub(crate) inspect: AtomicBool,
    /// The monitor has claimed it and looks at it: its pinned worker keeps off.
    pub(super) held: AtomicBool,
    /// Where the goroutine that runs was spawned; null while the loop runs. See
    /// [`Processor::turn_of`].
    turn_of: AtomicPtr<Location<'static>>,
    pub(super) local: UnsafeCell<Local>,
}

// SAFETY: `local` is touched only under the rule at the top of this file; every other field is made
// to be shared.
unsafe impl Sync for Processor {}
// SAFETY: what it points to (records, tasks, stacks) is not tied to a thread, only to the
// processor.
unsafe impl Send for Processor {}

/// What only the carrying thread touches.
pub(super) struct Local {
    pub(super) runtime: &'static Runtime,
    /// The goroutine that runs, or null while the loop does.
    pub(super) current: *mut Record,
    /// Where the loop is suspended while a goroutine runs.
    pub(super) loop_sp: usize,
    /// Where the loop is suspended while nobody carries the processor.
    pub(super) resting_sp: usize,
    /// Where the worker is suspended while it carries the processor, and its own thread pointer.
    pub(super) worker_sp: usize,
    pub(super) worker_thread_pointer: usize,
    pub(super) worker: *const Worker,
    /// The processor that has handed the worker on to this one, and has not been put down yet.
    pub(super) predecessor: Option<&'static Processor>,
    /// What the goroutine that switched to the loop wants of it.
    pub(super) switch_reason: SwitchReason,
    /// The goroutine to run before the queue: one that the last one woke.
    pub(super) run_next: *mut Record,
    /// How many times in a row there was one.
    pub(super) next_in_a_row: u32,
    pub(super) admission: Admission,
    pub(super) ready: VecDeque<NonNull<Record>>,
    pub(super) unstarted: crossbeam_deque::Worker<TaskPtr>,
    /// A goroutine whose turn to start had come, and that could not.
    pub(super) begun: Option<Begun>,
    pub(super) slots: Slots,
    pub(super) slab: Slab,
    pub(super) timers: Timers<Record>,
    pub(super) resident: Resident,
    /// How many times a goroutine has given way.
    pub(super) yields: usize,
    /// How many goroutines the running one has spawned in its present turn.
    pub(super) spawned: u32,
    /// The time, as of the last look at the clock.
    pub(super) now: u64,
    placement: Placement,
    ids: std::ops::Range<u64>,
    _loop_stack: OwnStack,
}

/// For a debugger: where in a processor are its thread pointer, the lender's number and, of its
/// own, the goroutine that runs, its records and its slots.
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
    /// Someone will wake it.
    Park,
    /// It wants to go on after the others.
    Yield,
    /// It has ended.
    Finish,
}

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

/// Whether the calling code is a goroutine whose stack may be copied away while it is parked, or
/// might have been: one that lives alone by chance gets the answer of those that do not.
pub(crate) fn current_goroutine_is_copied() -> bool {
    // SAFETY: the running goroutine's record is live, and its home never changes.
    current_goroutine().is_some_and(|record| unsafe { !(*record.as_ptr()).home.is_own_by_promise() })
}

/// Says on which processor the calling thread is now (pinned mode), or for ever (a lending thread).
pub(super) fn set_current_processor(processor: Option<&'static Processor>) {
    ours::with(|ours| ours.processor.set(processor.map_or(ptr::null(), ptr::from_ref)));
}

impl Processor {
    /// A processor whose thread-locals are the calling thread's.
    pub(super) fn new(runtime: &'static Runtime, index: usize) -> io::Result<&'static Processor> {
        let loop_stack = OwnStack::new(LOOP_STACK)?;
        let base = loop_stack.bounds().base;
        // The stress modes are about copying.
        let probation = if runtime.sizes.stress == Stress::Off { PROBATION } else { 0 };
        let slots = Slots::new(runtime.sizes.geometry, probation)?;
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
                begun: None,
                slots,
                slab: Slab::new(),
                timers: Timers::new(),
                resident: Resident::of_this_thread(),
                yields: 0,
                spawned: 0,
                now: clock::now(),
                placement: Placement::default(),
                ids: 0..0,
                _loop_stack: loop_stack,
            }),
        }));
        // SAFETY: the loop's stack is fresh and ours; nobody knows the processor yet.
        unsafe {
            (*processor.local.get()).resting_sp =
                arch::prepare(base, batch::processor_loop, processor as *const Processor as usize);
        }
        Ok(processor)
    }

    /// Makes a parked goroutine ready to run.
    ///
    /// # Safety
    /// The caller owes the goroutine this wake-up (see [`crate::park::Waiter::unpark`]).
    #[inline]
    pub(crate) unsafe fn unpark(record: NonNull<Record>) {
        // SAFETY: until it is woken the goroutine cannot end, so its record is live. After the push
        // below it is not touched again: only its processor is, and processors are never freed.
        let home = unsafe { Record::processor(record) };
        match current_processor() {
            // SAFETY: we run on the goroutine's processor, and it is not running itself, since we
            // are.
            Some(here) if ptr::eq(here, home) && !trace::on() => unsafe { here.make_next(record) },
            // SAFETY: one wake-up per park, so it stands in no inbox; live until it is taken out.
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
                // The allocator may wait for a lock of std's, but not park.
                let _native = Native::begin();
                local.ready.reserve(1);
            }
            local.ready.push_back(previous);
        }
    }

    /// From elsewhere, or recorded in a trace.
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
        if trace::on() {
            // SAFETY: by contract. Before it can be found, so that its turn comes later in time.
            unsafe { trace::wakes(record) };
            if let Some(here) = here.filter(|here| ptr::eq(*here, self)) {
                // SAFETY: as in `unpark`.
                return unsafe { here.make_next(record) };
            }
        }
        // A waker must not park: it may be about to do so for something else.
        let _native = Native::begin();
        // SAFETY: by contract.
        if unsafe { self.inbox.push(record.as_ptr()) } {
            // SAFETY: `here` is the processor we run on.
            let worker = here.and_then(|p| unsafe { (*p.local.get()).worker.as_ref() });
            runtime().submit(self, worker);
        }
    }

    /// Starts a goroutine on this processor, from elsewhere.
    pub(super) fn send_task(&'static self, task: TaskPtr, from: Option<&'static Processor>) {
        // The worker that is looked up below is ours only as long as nothing parks.
        let _native = Native::begin();
        self.census.note_sent();
        self.arrivals.push(task);
        // Step 2 of the inbox's protocol.
        std::sync::atomic::fence(Ordering::SeqCst);
        if self.inbox.claim() {
            // SAFETY: `from` is the processor we run on, if any.
            let worker = from.and_then(|p| unsafe { (*p.local.get()).worker.as_ref() });
            runtime().submit(self, worker);
        }
    }

    /// Whether somebody has sent goroutines to be started. (The queue looks with sequentially
    /// consistent loads, as the inbox's protocol wants.)
    pub(super) fn has_arrivals(&self) -> bool {
        !self.arrivals.is_empty()
    }

    /// Whether goroutines wait here to be started, and how many.
    pub(super) fn has_newcomers(&self) -> bool {
        !self.unstarted.is_empty() || self.has_arrivals()
    }

    pub(super) fn newcomers(&self) -> usize {
        self.unstarted.len() + self.arrivals.len()
    }

    /// Whether its running goroutine has been asked to give way and has not done so yet.
    pub(super) fn keeps_others_waiting(&self) -> bool {
        // A mark that has come too late is found in the next batch only.
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

    /// A turn begins, and has been counted in `switches`: the two are written in this order.
    #[inline(always)]
    pub(super) fn begin_turn(&self, spawned_at: &'static Location<'static>) {
        // Release: a reader that sees this sees the count of this turn, or of a later one.
        self.turn_of.store(ptr::from_ref(spawned_at).cast_mut(), Ordering::Release);
    }

    #[inline(always)]
    pub(super) fn end_turn(&self) {
        self.turn_of.store(ptr::null_mut(), Ordering::Relaxed);
    }

    /// Where the goroutine was spawned whose turn is number `switches`; `None` if that turn is
    /// over. For any thread: a record and its extras may be freed at any time, a line of the source
    /// may not.
    pub(crate) fn turn_of(&self, switches: usize) -> Option<&'static Location<'static>> {
        // Acquire: what is found does not belong to a turn after the one that is compared next.
        let at = self.turn_of.load(Ordering::Acquire);
        // SAFETY: null, or put there from a static reference.
        let at = unsafe { at.as_ref() }?;
        (self.switches.get() == switches).then_some(at)
    }

    /// Has the processor end its batch after the present turn.
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

    /// Whether the native stack that belongs to the thread pointer in force is the worker's, which
    /// uses it between batches.
    pub(crate) fn shares_its_system_stack(&self) -> bool {
        self.system_stack == 0
    }

    /// The upper end of what is free of the native stack that belongs to the thread pointer in
    /// force.
    ///
    /// # Safety
    /// Called by a goroutine of this processor.
    pub(crate) unsafe fn system_stack(&self) -> usize {
        match self.system_stack {
            // SAFETY: we are the carrying thread. A pinned worker is suspended there as long as we
            // run.
            0 => unsafe { (*self.local.get()).worker_sp },
            // The lending thread sleeps for ever.
            free => free,
        }
    }

    /// Where the next goroutine that the running one spawns shall go: `None` is here.
    ///
    /// # Safety
    /// Called by a goroutine of this processor.
    pub(super) unsafe fn choose_processor(&'static self) -> Option<&'static Processor> {
        // SAFETY: we are the carrying thread.
        let local = unsafe { &mut *self.local.get() };
        local.placement.next(local.runtime, Some(self))
    }

    /// A number for a new goroutine. Processors take them in blocks.
    ///
    /// # Safety
    /// Called by a goroutine of this processor.
    pub(super) unsafe fn next_id(&self) -> u64 {
        // SAFETY: we are the carrying thread.
        let local = unsafe { &mut *self.local.get() };
        if local.ids.is_empty() {
            local.ids = local.runtime.take_ids(256);
        }
        local.ids.next().unwrap_or_default()
    }

    /// After so many spawns in one turn the running goroutine shall give way.
    ///
    /// # Safety
    /// Called by a goroutine of this processor.
    #[inline]
    pub(super) unsafe fn count_spawn(&self) {
        // SAFETY: we are the carrying thread.
        let local = unsafe { &mut *self.local.get() };
        local.spawned += 1;
        if local.spawned == SPAWNS_IN_A_TURN {
            local.admission.many_spawned();
            self.yield_flag.store(true, Ordering::Relaxed);
        }
    }

    /// Queues a goroutine that the running one has spawned.
    ///
    /// # Safety
    /// Called by a goroutine of this processor.
    pub(super) unsafe fn spawn_here(&self, task: TaskPtr) {
        let _native = Native::begin();
        // SAFETY: we are the carrying thread.
        let local = unsafe { &mut *self.local.get() };
        self.census.spawned.add(1);
        let alone = local.unstarted.is_empty();
        local.unstarted.push(task);
        if !alone {
            // SAFETY: a carried processor has its worker set.
            local.runtime.suggest_search(unsafe { &*local.worker });
        }
    }
}

/// The bounds of the home of the goroutine that the calling code is. Async-signal-safe in a
/// goroutine's own code.
#[inline]
pub(crate) fn current_home() -> Option<Bounds> {
    let record = current_goroutine()?;
    // SAFETY: we are the carrying thread, or a handler that has interrupted it in the goroutine's
    // code, which uses the local part only in calls that end before the goroutine is switched away.
    unsafe {
        let local = Record::processor(record).local.get();
        Some((*local).slots.bounds((*record.as_ptr()).home))
    }
}

/// Whether the calling goroutine can be suspended where it is: see [`stack::foreign`].
///
/// # Safety
/// The record is the calling goroutine's.
#[inline(always)]
pub(crate) unsafe fn may_suspend(record: NonNull<Record>) -> bool {
    // SAFETY: we are the carrying thread. Nothing but this goroutine runs in the processor's slots
    // now, so what is in them is in its own.
    unsafe {
        let local = current_processor().unwrap_unchecked().local.get();
        (stack::segment::is_outside() && (*local).slots.contain(arch::stack_pointer()))
            || stack::foreign::may_suspend(&*record.as_ptr())
    }
}

/// The goroutine that the calling code belongs to, also while it is on the system stack, where it
/// cannot park.
pub(crate) fn calling_goroutine() -> Option<NonNull<Record>> {
    current_goroutine().or_else(stack::system::goroutine)
}

/// Makes the calling goroutine one that cannot park, while it is on the system stack; `None` gives
/// it back.
///
/// # Safety
/// The caller is a goroutine of this processor, and gives back what it took away before it returns.
pub(crate) unsafe fn set_current_goroutine(processor: &Processor, record: Option<NonNull<Record>>) {
    // SAFETY: we are the carrying thread.
    unsafe { (*processor.local.get()).current = record.map_or(ptr::null_mut(), NonNull::as_ptr) }
}

/// Where the calling goroutine finds what it switches to when it parks; `None` on a plain thread.
/// On the system stack it is the same, although the goroutine cannot park there: so what is
/// exchanged can be put back wherever that happens.
#[inline]
pub(crate) fn way_out() -> Option<NonNull<usize>> {
    calling_goroutine()?;
    // SAFETY: we are the carrying thread; the local part does not move.
    current_processor().map(|p| unsafe { NonNull::new_unchecked(&raw mut (*p.local.get()).loop_sp) })
}

/// Suspends the calling goroutine on behalf of a park, or a yield, of its own on another stack
/// ([`stack::segment`]), and returns the stack pointer that it has left there.
///
/// # Safety
/// The goroutine has just switched here, and [`way_out`] has been set to what is next on its way to
/// the loop.
#[inline(always)]
pub(crate) unsafe fn park_again() -> usize {
    // SAFETY: we are the carrying thread, and the record is our own. What was wished for there
    // stands.
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
/// Inlined into whoever blocks, because its frame would be copied with every parked goroutine.
///
/// # Safety
/// `record` is the calling goroutine's; someone owes it a wake-up, or will at the deadline.
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
    // The wait has been published.
    let _native = Native::begin();
    // SAFETY: we are the carrying thread, and the record is our own. It has no timer, since the
    // goroutine waits for one deadline at a time, and it is live at least until the goroutine has
    // gone on, which clears the timer.
    unsafe { (*Record::processor(record).local.get()).timers.insert(clock::at(deadline), record) }
}

/// # Safety
/// As for `park`; the timer is set.
#[cold]
unsafe fn clear_timer(record: NonNull<Record>) {
    // The heap may give room back.
    let _native = Native::begin();
    // SAFETY: we are the carrying thread, and the record is our own.
    unsafe { (*Record::processor(record).local.get()).timers.remove(record) }
}

/// Lets the other goroutines of the processor run, and those of other processors if the worker has
/// any; then goes on. On a plain thread it yields the thread. Where a goroutine cannot wait, on the
/// stack of another library's coroutine while its own stack is shared, it does nothing.
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

/// Does nothing where the caller must not be suspended: on the system stack, where it is no
/// processor's current goroutine.
#[cold]
#[inline(never)]
fn give_way() {
    if current_goroutine().is_some() {
        yield_now();
    }
}
