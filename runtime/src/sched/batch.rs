//! The loop of a processor: pick a goroutine, bring its stack in, run it until it switches back.
//!
//! The loop runs on the processor's own stack with the processor's thread pointer. It switches to
//! the worker that carries it when it has nothing to run or has run a batch. No user code runs on
//! this stack.
//!
//! A processor that has nothing to run can switch to another processor directly, if the next one is
//! known: one on which its last goroutine has woken something. That takes one exchange of stacks
//! and thread pointers instead of two. The new processor's loop then requeues the old processor. It
//! must not be requeued earlier, while its stack is still in use: another worker may carry a
//! processor as soon as it is queued.

use super::as_thread::end_thread_locals;
use super::config::Stress;
use super::fork;
use super::processor::{Processor, SwitchReason};
use super::worker::Worker;
use crate::arch::{FloatControl, sanitizers};
use crate::goroutine::local;
use crate::goroutine::origin::Origin;
use crate::goroutine::record::Record;
use crate::goroutine::task::TaskPtr;
use crate::hooks;
use crate::hooks::say::say;
use crate::hooks::trace;
use crate::locals::destructors;
use crate::park::{Outcome, Reason};
use crate::stack::housing::Lack;
use crate::stack::sharing;
use crate::{arch, clock, stack};
use std::collections::VecDeque;
use std::ptr::{self, NonNull};
use std::sync::Once;
use std::sync::atomic::Ordering;

/// How long a batch lasts, in nanoseconds, when there is enough to run. A time slice and not a
/// number of goroutines: goroutines that only pass a message on should stay where their stacks are
/// warm, and goroutines that compute should not keep other processors waiting.
const SLICE: u64 = 50_000;
/// How many times in a row a woken goroutine may run before the queue. Pairs that hand work to each
/// other stay resident and warm; the rest still get their turn.
const RUN_NEXT_IN_A_ROW: u32 = 16;
/// The loop reads the clock once in this many turns.
const CLOCK_EVERY: u32 = 4;

/// How long a new goroutine waits at most, in nanoseconds, for the scheduler to see how other
/// goroutines of its spawn site wait ([`crate::stack::sharing`]).
const PROBATION_LASTS: u64 = 10_000_000;

/// Why a processor has switched back to its worker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum BatchEnd {
    /// Nothing to run.
    Idle,
    /// More to run.
    Busy,
}

impl Processor {
    /// Runs a batch of this processor's goroutines on the calling worker, and of each processor
    /// that it switches to directly. Returns the last processor, which the caller must requeue, and
    /// why it has switched back.
    ///
    /// # Safety
    /// The caller is `worker`, on its native stack, and holds the processor: it took it from a
    /// queue and no other worker carries it.
    pub(super) unsafe fn carry(&'static self, worker: &Worker) -> (&'static Processor, BatchEnd) {
        // SAFETY: holding the processor makes us its carrying thread. Its loop is suspended at
        // `resting_sp` since it was prepared, or since the last batch ended. No reference is held
        // across the switch.
        unsafe {
            worker.begin_carrying(self);
            let local = self.local.get();
            (*local).worker = worker;
            (*local).now = worker.now();
            let carried = (*local).runtime.sizes.carried;
            if carried {
                (*local).worker_thread_pointer = arch::thread_pointer();
            } else {
                super::processor::set_current_processor(Some(self));
            }
            let to = (*local).resting_sp;
            arch::switch_carrying(&raw mut (*local).worker_sp, to, self.thread_pointer);
            if !carried {
                super::processor::set_current_processor(None);
            }
            // `carrying` was set above, or by the loop of a processor that switched to the next
            // directly.
            let last = worker.end_carrying();
            let local = last.local.get();
            (*local).worker = ptr::null();
            (last, if (*local).has_work() || last.is_asked() { BatchEnd::Busy } else { BatchEnd::Idle })
        }
    }

    /// Whether the loop has requests to answer besides running goroutines.
    fn is_asked(&self) -> bool {
        self.scavenge.is_asked() || self.inspect.load(Ordering::Relaxed)
    }

    /// Switches back to the worker, or directly to the processor that it carries next. The direct
    /// switch is only made after a `short` batch: after a long one the worker should look around.
    ///
    /// # Safety
    /// Called by the loop of this processor.
    unsafe fn switch_to_worker(&'static self, short: bool) {
        // SAFETY: the worker is suspended in `carry`, and stays so during a direct switch. The next
        // processor was taken from a queue, so it is ours, and its loop is suspended as in `carry`.
        // No reference is held across the switch.
        unsafe {
            let local = self.local.get();
            let worker = &*(*local).worker;
            let (mut to, mut thread_pointer) = ((*local).worker_sp, (*local).worker_thread_pointer);
            if !(*local).runtime.sizes.carried {
                // The worker's own code has the same thread-locals.
                (*local).resident.install_host();
            }
            if short
                && (*local).runtime.sizes.carried
                && !(*local).has_work()
                && !self.is_asked()
                && let Some(next) = worker.take_next_directly()
            {
                let its = next.local.get();
                (*its).worker = worker;
                (*its).now = (*local).now;
                (*its).worker_sp = to;
                (*its).worker_thread_pointer = thread_pointer;
                (*its).predecessor = Some(self);
                (*local).worker = ptr::null();
                worker.is_not_stuck();
                worker.begin_carrying(next);
                (to, thread_pointer) = ((*its).resting_sp, next.thread_pointer);
            }
            arch::switch_carrying(&raw mut (*local).resting_sp, to, thread_pointer);
        }
    }

    /// Requeues the processor that has switched to this one directly, if one has.
    ///
    /// # Safety
    /// Called by the loop of this processor.
    unsafe fn requeue_predecessor(&self) {
        // SAFETY: the loop owns the local part. The predecessor's loop has been suspended by the
        // switch that brought us here.
        unsafe {
            let local = self.local.get();
            if let Some(other) = (*local).predecessor.take() {
                (*(*local).worker).requeue(other, BatchEnd::Idle);
            }
        }
    }

    /// Runs goroutines. Returns true if there were too few to read the clock. `TRACED` says whether
    /// turns are recorded; it is decided once per batch.
    ///
    /// # Safety
    /// Called by the loop of this processor.
    unsafe fn run_batch<const TRACED: bool>(&'static self) -> bool {
        let local = self.local.get();
        // SAFETY: as below.
        let end = unsafe { (*local).now } + SLICE;
        let mut turn = 0u32;
        loop {
            // SAFETY: the loop is what runs on the carrying thread, so the local part is ours;
            // references to it end before `resume` switches to a goroutine.
            unsafe {
                self.inbox.drain(|record| {
                    // Only live goroutines are woken, so the pointer is not null.
                    (*local).ready.push_back(NonNull::new_unchecked(record));
                });
                self.fire_timers();
                let Some(record) = self.pick() else { break };
                self.resume::<TRACED>(record);
                turn = turn.wrapping_add(1);
                if turn.is_multiple_of(CLOCK_EVERY) {
                    (*local).now = (*(*local).worker).refresh_now();
                    if (*local).now > end {
                        break;
                    }
                }
                if self.yield_flag.load(Ordering::Relaxed) {
                    // That turn was long, or has spawned many goroutines.
                    self.yield_flag.store(false, Ordering::Relaxed);
                    break;
                }
            }
        }
        // SAFETY: as above.
        unsafe {
            // If goroutines that wake each other have run first for all that time, the queue gets
            // the next turn.
            (*local).next_in_a_row = RUN_NEXT_IN_A_ROW;
            if self.scavenge.is_asked() {
                (*local).slots.scavenge(&self.scavenge, self.switches.get());
            }
            if self.inspect.load(Ordering::Relaxed) {
                // The answer uses maps, and so std's thread-locals.
                (*local).resident.install_host();
                hooks::answer(self);
            }
            self.publish_deadline();
            self.publish_counters();
        }
        turn < CLOCK_EVERY
    }

    /// The goroutine that has the next turn: the one woken last, a few times in a row; then the
    /// queue in order, with newcomers in between ([`Admission`](super::admission::Admission)).
    ///
    /// # Safety
    /// As for `run_batch`.
    #[inline(always)]
    unsafe fn pick(&'static self) -> Option<NonNull<Record>> {
        // SAFETY: the loop owns the local part.
        let local = unsafe { &mut *self.local.get() };
        if let Some(next) = NonNull::new(local.run_next) {
            local.run_next = ptr::null_mut();
            local.next_in_a_row += 1;
            if local.next_in_a_row <= RUN_NEXT_IN_A_ROW {
                return Some(next);
            }
            local.ready.push_back(next);
        }
        local.next_in_a_row = 0;
        if !local.admission.takes_turn() {
            // SAFETY: as above.
            let newcomer = unsafe { self.start_one() };
            if newcomer.is_some() {
                return newcomer;
            }
            local.admission.begin_stride(local.ready.len());
        }
        match local.ready.pop_front() {
            Some(record) => {
                prefetch(&local.ready);
                Some(record)
            }
            // SAFETY: as above.
            None => unsafe { self.start_one() },
        }
    }

    /// Gives the next newcomer a record and a home.
    ///
    /// # Safety
    /// As for `run_batch`.
    unsafe fn start_one(&'static self) -> Option<NonNull<Record>> {
        // SAFETY: the loop owns the local part.
        let local = unsafe { &mut *self.local.get() };
        if let Some(starting) = local.starting.take() {
            // SAFETY: as above.
            return unsafe { self.house(starting) };
        }
        if local.slots.may_have_stack()
            && let Some(starting) = local.without_stack.pop_front()
        {
            // SAFETY: as above.
            return unsafe { self.house(starting) };
        }
        let task = match local.unstarted.pop() {
            Some(task) => task,
            None if self.arrivals.is_empty() => return None,
            None => loop {
                match self.arrivals.steal_batch_and_pop(&local.unstarted) {
                    crossbeam_deque::Steal::Success(task) => break task,
                    crossbeam_deque::Steal::Empty => return None,
                    crossbeam_deque::Steal::Retry => {}
                }
            },
        };
        local.admission.started(local.ready.len(), local.now, || self.newcomers());
        // SAFETY: the task was spawned and is started here, once.
        let (id, origin) = unsafe { task.begin() };
        let decided = self.switches.get().wrapping_add(local.ready.len());
        // SAFETY: as above.
        unsafe { self.house(Starting { task, id, origin, since: local.now, decided }) }
    }

    /// Gives a goroutine a home and a record. If it cannot have one, keeps it for later.
    ///
    /// # Safety
    /// As for `run_batch`.
    #[inline]
    unsafe fn house(&'static self, starting: Starting) -> Option<NonNull<Record>> {
        // SAFETY: the loop owns the local part.
        let local = unsafe { &mut *self.local.get() };
        let Starting { task, id, mut origin, since, decided } = starting;
        // How other goroutines of its spawn site behave is known once they have run.
        let decide = local.has_nothing_to_run()
            || self.switches.get().wrapping_sub(decided) as isize >= 0
            || local.now.saturating_sub(since) > PROBATION_LASTS;
        match local.slots.settle(&mut origin.take_own_stack(), origin.spawned_at(), decide) {
            Ok(home) => Some(local.slab.insert(self, Record::new(task, id, origin, home))),
            Err(lack) => {
                let starting = Starting { task, id, origin, since, decided };
                match lack {
                    Lack::SiteKnowledge => local.starting = Some(starting),
                    Lack::Stack => {
                        report_no_stacks();
                        // What other processors and the program give back, this one does not see:
                        // it tries again with each pass.
                        self.scavenge.want_another();
                        local.without_stack.push_back(starting);
                    }
                }
                None
            }
        }
    }

    /// Runs a goroutine until it switches back, then handles its `SwitchReason`.
    ///
    /// # Safety
    /// As for `run_batch`; the goroutine is one of this processor's, suspended or not yet started.
    #[inline(always)]
    pub(super) unsafe fn resume<const TRACED: bool>(&'static self, record: NonNull<Record>) {
        let local = self.local.get();
        let r = record.as_ptr();
        // SAFETY: the loop owns the local part and the records. No reference is held across the
        // switch: while the goroutine runs, it owns the local part.
        unsafe {
            let watched = (TRACED && trace::on()).then(|| trace::Turn::prepare(&(*local).slots, &*r));
            if !(*local).slots.bring_in(r) {
                // Another goroutine holds the slot, and makes this one ready again when it releases
                // it.
                return;
            }
            if TRACED {
                self.count_wait(&*r);
            }
            (*local).resident.install(r);
            if (*r).origin.has_private() {
                (*local).resident.set_float(r);
            }
            if let Some(turn) = watched {
                turn.begins(self, &(*local).slots, &*r);
            }
            (*local).current = r;
            (*local).spawned = 0;
            (*r).reason = Reason::None;
            self.switches.add(1);
            self.begin_turn((*r).origin.spawned_at());
            let stack = cfg!(narrowboat_asan).then(|| (*local).slots.bounds((*r).home));
            if let Some(stack) = stack {
                sanitizers::runs_on(stack);
            }
            if (*r).sp == 0 {
                let (entry, kept) = (*r).entry();
                (*r).task = kept;
                let base = (*local).slots.enter(r);
                arch::start(&raw mut (*local).loop_sp, base, entry);
            } else {
                arch::switch(&raw mut (*local).loop_sp, (*r).sp);
            }
            (*local).current = ptr::null_mut();
            self.end_turn();
            if TRACED {
                if trace::on() {
                    trace::turn_ends(self, &*r, (*local).switch_reason);
                }
                (*local).parked.after_turn(&*r, (*local).switch_reason);
            }
            let float = FloatControl::now();
            if float != FloatControl::DEFAULT {
                (*local).resident.keep_float(r, float);
            }
            match (*local).switch_reason {
                SwitchReason::Park => {}
                SwitchReason::Yield => {
                    (*local).yields += 1;
                    (*local).ready.push_back(record);
                }
                SwitchReason::Finish => {
                    (*local).resident.forget_owner();
                    if (*r).home.is_alone_by_chance() {
                        sharing::note_end((*r).origin.spawned_at());
                    }
                    if let Some(stack) = stack {
                        sanitizers::forget_frames((*r).sp, stack.base);
                    }
                    (*local).slots.vacate((*r).home);
                    (*local).slab.remove(record);
                    self.census.finished.add(1);
                    return;
                }
            }
            match (*local).runtime.sizes.stress {
                Stress::Off => {}
                Stress::Evict => {
                    (*local).slots.evict(r);
                    (*local).resident.evict();
                }
                Stress::Scavenge => (*local).slots.strip(r),
            }
        }
    }

    /// Counts the wait of a goroutine that is about to have a turn, for profiles of waits.
    ///
    /// # Safety
    /// As for `resume`; the goroutine's stack is in place.
    #[inline(never)]
    unsafe fn count_wait(&self, record: &Record) {
        // SAFETY: by contract. The goroutine does not run yet.
        unsafe {
            let local = self.local.get();
            let Some(counted) = (*local).parked.before_turn(record) else { return };
            // Maps use std's thread-locals.
            (*local).resident.install_host();
            let backtrace = counted.wants_backtrace().then(|| self.backtrace_of(record)).flatten();
            counted.add(record, backtrace);
        }
    }

    /// Makes goroutines ready if their deadline has passed, unless another event has already ended
    /// their wait.
    ///
    /// # Safety
    /// As for `run_batch`.
    #[inline]
    unsafe fn fire_timers(&self) {
        // SAFETY: the loop owns the local part.
        let local = unsafe { &mut *self.local.get() };
        if local.timers.earliest().is_none_or(|at| at > local.now) {
            return;
        }
        while let Some(record) = local.timers.pop_due(local.now) {
            // SAFETY: a goroutine in the heap is parked, so its record is live.
            unsafe {
                if (*record.as_ptr()).head.claim.try_end(Outcome::TIMED_OUT) {
                    trace::wakes_in_time(record);
                    local.ready.push_back(record);
                }
            }
        }
    }

    /// Stores the latest time at which this processor wants to run next. The deadline is announced
    /// when the processor comes to rest.
    ///
    /// # Safety
    /// As for `run_batch`.
    unsafe fn publish_deadline(&self) {
        // SAFETY: the loop owns the local part.
        let local = unsafe { &mut *self.local.get() };
        let earliest = local.timers.earliest().unwrap_or(clock::NEVER);
        if earliest != self.deadline.load(Ordering::Relaxed) {
            // Relaxed: the fences of the deadline protocol order this store for its readers.
            self.deadline.store(earliest, Ordering::Relaxed);
        }
    }
}

impl Processor {
    /// Publishes the figures of this batch.
    ///
    /// # Safety
    /// As for `run_batch`.
    #[inline]
    unsafe fn publish_counters(&self) {
        // SAFETY: the loop owns the local part.
        let local = unsafe { &*self.local.get() };
        let counters = &self.counters;
        counters.yields.set(local.yields);
        counters.ready.set(local.ready.len() + usize::from(!local.run_next.is_null()));
        counters.timers.set(local.timers.len());
        let copied = local.slots.copied();
        counters.copies.set(copied.times);
        counters.copied_bytes.set(copied.bytes);
        counters.slots.set(local.slots.in_use());
    }
}

impl super::processor::Local {
    /// Whether no goroutine that has started is ready.
    fn has_nothing_to_run(&self) -> bool {
        self.run_next.is_null() && self.ready.is_empty()
    }

    fn has_work(&self) -> bool {
        let may_have_stack = || !self.without_stack.is_empty() && self.slots.may_have_stack();
        !self.has_nothing_to_run()
            || self.starting.is_some()
            || !self.unstarted.is_empty()
            || may_have_stack()
    }
}

/// How far ahead in the queue records are prefetched, and then, when they have arrived, the images
/// or stacks that they point to.
const RECORD_AHEAD: usize = 12;
const IMAGE_AHEAD: usize = 6;
/// How many cache lines of an image are prefetched: most images are no larger.
const IMAGE_LINES: usize = 5;
const CACHE_LINE: usize = 64;

/// Prefetches the memory of goroutines that will run soon. With many goroutines, waiting for memory
/// is most of the cost of a switch.
#[inline(always)]
fn prefetch(ready: &VecDeque<NonNull<Record>>) {
    if let Some(record) = ready.get(RECORD_AHEAD) {
        arch::prefetch(record.as_ptr() as usize);
    }
    if let Some(record) = ready.get(IMAGE_AHEAD) {
        // SAFETY: ready goroutines are live.
        let (image, sp) = unsafe { ((*record.as_ptr()).image.address(), (*record.as_ptr()).sp) };
        // A goroutine that has never been copied out has its bytes where it runs.
        let live = if image != 0 { image } else { sp };
        for line in 0..IMAGE_LINES {
            arch::prefetch(live + line * CACHE_LINE);
        }
    }
}

/// The first function on the stack of a processor's loop.
pub(super) extern "C" fn processor_loop(processor: usize) -> ! {
    // SAFETY: `Processor::new` passed its own address; processors are never freed.
    let processor = unsafe { &*(processor as *const Processor) };
    loop {
        // SAFETY: this is the loop.
        unsafe {
            processor.requeue_predecessor();
            let short = if trace::watches(trace::EVENTS | trace::WAITS) {
                processor.run_batch::<true>()
            } else {
                processor.run_batch::<false>()
            };
            if fork::in_child() {
                processor.run_forked();
            }
            processor.switch_to_worker(short);
        }
    }
}

/// Drops what is local to the calling goroutine, and whatever its destructors create meanwhile.
///
/// # Safety
/// The record is the calling goroutine's, and its closure has returned.
unsafe fn run_destructors(goroutine: NonNull<Record>) {
    // SAFETY: by contract.
    unsafe {
        loop {
            if (*goroutine.as_ptr()).origin.has_late() {
                local::drop_mine();
            }
            if !destructors::run(goroutine) {
                return;
            }
        }
    }
}

/// A goroutine that is about to start.
pub(super) struct Starting {
    task: TaskPtr,
    id: u64,
    origin: Origin,
    /// `since`: when its turn came. `decided`: the number of the turn by which every goroutine that
    /// was ready then has had one.
    since: u64,
    decided: usize,
}

#[cold]
fn report_no_stacks() {
    static SAID: Once = Once::new();
    SAID.call_once(|| {
        say(format_args!(
            "narrowboat: the system has no memory for the stack of another goroutine, which waits for others to end: \
             raise vm.max_map_count or the address-space limit (ulimit -v), or let goroutines share stacks"
        ));
    });
}

/// What a goroutine does after its closure, still on its own stack: it settles the outcome with its
/// handle, then switches away for good.
///
/// # Safety
/// `record` is that of the calling goroutine, and its task has run.
pub(crate) unsafe extern "C" fn goroutine_end(record: usize) -> ! {
    let record = record as *mut Record;
    // SAFETY: `Record::entry` passed the record of the goroutine that it started. The record is
    // live until the loop has read the `SwitchReason`.
    unsafe {
        let goroutine = NonNull::new_unchecked(record);
        if let Some(task) = (*record).task
            && task.is_detached()
        {
            // As on a thread, the outcome is dropped before what is local to the goroutine.
            task.settle();
            (*record).task = None;
        }
        run_destructors(goroutine);
        if let Some(task) = (*record).task {
            task.settle();
            // The handle may have been dropped meanwhile. Then the outcome was dropped here, and
            // may have created thread-locals.
            run_destructors(goroutine);
        }
        end_thread_locals(goroutine);
        let processor = Record::processor(goroutine);
        let local = processor.local.get();
        if (*local).current.is_null() {
            stack::system::keep_occupied(processor);
        }
        (*local).switch_reason = SwitchReason::Finish;
        arch::switch(&raw mut (*record).sp, (*local).loop_sp);
    }
    unreachable!("a finished goroutine was resumed");
}
