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

use super::above;
use super::config::Stress;
use super::fork;
use super::processor::{Carrier, Loop, Parts, Phase, Processor, SwitchReason};
use super::record::origin::Origin;
use super::record::task::TaskPtr;
use super::record::{Ready, Record};
use super::trace;
use super::worker::Worker;
use crate::arch::{FloatControl, sanitizers};
use crate::say::say;
use crate::stack::housing::Lack;
use crate::stack::sharing;
use crate::wait::{Outcome, Reason};
use crate::{arch, clock};
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
/// The queue of ready goroutines keeps room for so many, once it has had it.
const MIN_ROOM: usize = 1024;

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
    pub(super) unsafe fn carry(&'static self, worker: &'static Worker) -> (&'static Processor, BatchEnd) {
        // SAFETY: by contract.
        let mut carrier = unsafe { Carrier::new(self) };
        worker.begin_carrying(self);
        carrier.worker.set(Some(worker));
        carrier.now.set(worker.now());
        let carried = self.runtime.sizes.carried;
        if carried {
            carrier.worker_thread_pointer.set(arch::thread_pointer());
        } else {
            super::processor::set_current_processor(Some(self));
        }
        let (save, to) = (carrier.worker_sp.as_ptr(), carrier.resting_sp.get());
        // SAFETY: the loop is suspended there since it was prepared, or since the last batch ended.
        // `carrying` was set above, or by the loop of a processor that switched to the next
        // directly.
        let mut last = unsafe {
            sanitizers::release(self);
            carrier.switch_carrying(save, to, self.thread_pointer);
            sanitizers::acquire(worker);
            Carrier::new(worker.end_carrying())
        };
        if !carried {
            super::processor::set_current_processor(None);
        }
        last.worker.set(None);
        let end = if last.has_more() { BatchEnd::Busy } else { BatchEnd::Idle };
        (last.processor(), end)
    }

    /// Whether the loop has requests to answer besides running goroutines.
    pub(super) fn is_asked(&self) -> bool {
        self.scavenge.is_asked() || self.inspect.is_made()
    }
}

impl Carrier<'_> {
    /// Whether there is anything to run or to answer.
    #[inline(always)]
    fn has_more(&mut self) -> bool {
        let (local, parts) = self.open();
        local.has_work(parts) || self.processor().is_asked()
    }
}

impl Loop<'_> {
    /// Switches back to the worker, or directly to the processor that it carries next. The direct
    /// switch is only made after a `short` batch: after a long one the worker should look around.
    pub(super) fn switch_to_worker(mut self, short: bool) {
        let processor = self.processor();
        let worker = self.worker.get().expect("a carried processor has its worker");
        let (mut to, mut thread_pointer) = (self.worker_sp.get(), self.worker_thread_pointer.get());
        let carried = processor.runtime.sizes.carried;
        let mut target = ptr::from_ref(worker).cast::<()>();
        if !carried {
            // The worker's own code has the same thread-locals.
            self.install_host();
        }
        if short
            && carried
            && !self.has_more()
            && let Some(next) = worker.take_next_directly()
        {
            // SAFETY: it was taken from a queue, so it is ours.
            let its = unsafe { Carrier::new(next) };
            its.worker.set(Some(worker));
            its.now.set(self.now.get());
            its.worker_sp.set(to);
            its.worker_thread_pointer.set(thread_pointer);
            its.predecessor.set(Some(processor));
            self.worker.set(None);
            worker.is_not_stuck();
            worker.begin_carrying(next);
            (to, thread_pointer) = (its.resting_sp.get(), next.thread_pointer);
            target = ptr::from_ref(next).cast();
        }
        let save = self.resting_sp.as_ptr();
        // SAFETY: the worker is suspended in `carry`, and stays so during a direct switch. The next
        // processor's loop is suspended as in `carry`.
        unsafe {
            sanitizers::release(target);
            self.switch_carrying(save, to, thread_pointer);
            sanitizers::acquire(processor);
        }
    }

    /// Requeues the processor that has switched to this one directly, if one has: its loop has been
    /// suspended by the switch that brought us here.
    pub(super) fn requeue_predecessor(self) {
        if let Some(other) = self.predecessor.take()
            && let Some(worker) = self.worker.get()
        {
            worker.requeue(other, BatchEnd::Idle);
        }
    }

    /// Runs goroutines. Returns true if there were too few to read the clock. `TRACED` says whether
    /// turns are recorded; it is decided once per batch.
    fn run_batch<const TRACED: bool>(mut self) -> bool {
        let processor = self.processor();
        let end = self.now.get() + SLICE;
        let mut turn = 0u32;
        loop {
            let ready = &mut self.parts().ready;
            processor.inbox.drain(|record| {
                // SAFETY: only live goroutines are woken, so the pointer is not null, and this is
                // the wake-up of this one.
                ready.push_back(unsafe { Ready::new(NonNull::new_unchecked(record)) });
            });
            self.reborrow().fire_timers();
            let Some(goroutine) = self.reborrow().pick() else { break };
            self.reborrow().resume::<TRACED>(goroutine);
            turn = turn.wrapping_add(1);
            if turn.is_multiple_of(CLOCK_EVERY)
                && let Some(worker) = self.worker.get()
            {
                let now = worker.refresh_now();
                self.now.set(now);
                if now > end {
                    break;
                }
            }
            if processor.yield_flag.load(Ordering::Relaxed) {
                // That turn was long, or has spawned many goroutines.
                processor.yield_flag.store(false, Ordering::Relaxed);
                break;
            }
        }
        // If goroutines that wake each other have run first for all that time, the queue gets the
        // next turn.
        self.parts().next_in_a_row = RUN_NEXT_IN_A_ROW;
        self.reborrow().answer_requests();
        self.publish();
        turn < CLOCK_EVERY
    }

    /// Answers what other threads have asked of the processor meanwhile.
    #[inline(always)]
    pub(super) fn answer_requests(mut self) {
        let processor = self.processor();
        if processor.scavenge.is_asked() {
            let parts = self.parts();
            // SAFETY: this is the loop, so no goroutine runs, and the agreement is this
            // processor's.
            unsafe { parts.slots.scavenge(&processor.scavenge, processor.switches.get()) };
        }
        if processor.inspect.is_made() {
            // The answer uses maps, and so std's thread-locals.
            self.install_host();
            above::answer(self);
        }
    }

    /// The goroutine that has the next turn: the one woken last, a few times in a row; then the
    /// queue in order, with newcomers in between ([`Admission`](super::admission::Admission)).
    #[inline(always)]
    fn pick(mut self) -> Option<Ready> {
        let (local, parts) = self.open();
        if local.has_next()
            && let Some(next) = local.run_next.take()
        {
            parts.next_in_a_row += 1;
            if parts.next_in_a_row <= RUN_NEXT_IN_A_ROW {
                return Some(next);
            }
            parts.ready.push_back(next);
        }
        parts.next_in_a_row = 0;
        if !parts.admission.takes_turn() {
            let newcomer = self.reborrow().start_one();
            if newcomer.is_some() {
                return newcomer;
            }
            let parts = self.parts();
            parts.admission.begin_stride(parts.ready.len());
        }
        let ready = &mut self.parts().ready;
        match ready.pop_front() {
            Some(goroutine) => {
                prefetch(ready);
                Some(goroutine)
            }
            None => self.start_one(),
        }
    }

    /// Gives the next newcomer a record and a home.
    fn start_one(mut self) -> Option<Ready> {
        let processor = self.processor();
        let (local, parts) = self.open();
        if let Some(starting) = parts.starting.take() {
            return self.house(starting);
        }
        if parts.slots.may_have_stack()
            && let Some(starting) = parts.without_stack.pop_front()
        {
            return self.house(starting);
        }
        let task = match local.unstarted.pop() {
            Some(task) => task,
            None => processor.arrivals.take(&local.unstarted)?,
        };
        let (ready, now) = (parts.ready.len(), local.now.get());
        parts.admission.started(ready, now, || processor.newcomers());
        // SAFETY: the task was spawned and is started here, once.
        let (id, origin) = unsafe { task.begin() };
        let decided = processor.switches.get().wrapping_add(ready);
        self.house(Starting { task, id, origin, since: now, decided })
    }

    /// Gives a goroutine a home and a record. If it cannot have one, keeps it for later.
    #[inline]
    fn house(mut self, starting: Starting) -> Option<Ready> {
        let processor = self.processor();
        let (local, parts) = self.open();
        let Starting { task, id, origin, since, decided } = starting;
        // How other goroutines of its spawn site behave is known once they have run.
        let decide = local.has_nothing_to_run(parts)
            || processor.switches.get().wrapping_sub(decided) as isize >= 0
            || local.now.get().saturating_sub(since) > PROBATION_LASTS;
        match parts.slots.settle(&mut origin.take_own_stack(), origin.spawned_at(), decide) {
            Ok(home) => Some(parts.slab.insert(processor, Record::new(task, id, origin, home))),
            Err(lack) => {
                let starting = Starting { task, id, origin, since, decided };
                match lack {
                    Lack::SiteKnowledge => parts.starting = Some(starting),
                    Lack::Stack => {
                        report_no_stacks();
                        // What other processors and the program give back, this one does not see:
                        // it tries again with each pass.
                        processor.scavenge.want_another();
                        parts.without_stack.push_back(starting);
                    }
                }
                None
            }
        }
    }

    /// Runs a goroutine until it switches back, then handles its `SwitchReason`.
    #[inline(always)]
    pub(super) fn resume<const TRACED: bool>(mut self, goroutine: Ready) {
        let processor = self.processor();
        let parts = self.parts();
        let slots = &mut parts.slots;
        let watched = (TRACED && trace::on()).then(|| trace::Turn::prepare(slots, &goroutine));
        // SAFETY: this is the loop, so all goroutines are suspended. This one is ready, and its
        // home is in these slots. It is removed from there below, when it has ended.
        if !unsafe { slots.bring_in(&*goroutine) } {
            return parts.defer(goroutine);
        }
        if TRACED {
            self.reborrow().count_wait(&goroutine);
        }
        let private = goroutine.origin.private();
        // SAFETY: this is the loop, and the goroutine runs next.
        unsafe {
            self.resident.install(private);
            if private.has_private() {
                self.resident.set_float(private);
            }
        }
        if let Some(turn) = watched {
            turn.begins(self.reborrow(), &goroutine);
        }
        self.current.set(Some(goroutine.record()));
        self.spawned.set(0);
        goroutine.reason.set(Reason::None);
        processor.switches.add(1);
        processor.begin_turn(goroutine.origin.spawned_at());
        let stack = cfg!(narrowboat_asan).then(|| self.parts().slots.bounds(goroutine.home));
        if let Some(stack) = stack {
            sanitizers::runs_on(stack);
        }
        let sp = goroutine.sp.get();
        // SAFETY: this is the loop. The goroutine's stack and its thread-locals are in place, and
        // it is suspended at `sp` or has never run.
        unsafe {
            if sp == 0 {
                let entry = goroutine.entry();
                let base = self.parts().slots.enter(&*goroutine);
                self.start(base, entry, &goroutine.fiber);
            } else {
                self.switch_to(sp, &goroutine.fiber);
            }
        }
        self.current.set(None);
        processor.end_turn();
        if TRACED {
            let reason = self.switch_reason();
            if trace::on() {
                trace::turn_ends(self.reborrow(), &goroutine, reason);
            }
            if reason == SwitchReason::Park {
                self.parts().parked.after_turn(goroutine.id, goroutine.reason.get());
            }
        }
        let float = FloatControl::now();
        if float != FloatControl::DEFAULT {
            // SAFETY: this is the loop, and the goroutine has just run.
            unsafe { self.resident.keep_float(goroutine.origin.private(), float) };
        }
        let stress = processor.runtime.sizes.stress;
        let phase = self.phase.get();
        if stress != Stress::Off {
            self.reborrow().make_it_hard(&goroutine, stress);
        }
        if phase == Phase::Parked {
            return;
        }
        match phase {
            Phase::Yielded => {
                // It may have begun a wait in this turn that it did not enter. What that was for
                // may be gone, and a dump must not look for it.
                goroutine.reason.set(Reason::None);
                let parts = self.parts();
                parts.yields += 1;
                parts.ready.push_back(goroutine);
            }
            Phase::Finished => {
                let (local, parts) = self.open();
                local.resident.forget_owner();
                if goroutine.home.is_alone_by_chance() {
                    sharing::note_end(goroutine.origin.spawned_at());
                }
                if let Some(stack) = stack {
                    sanitizers::forget_frames(goroutine.sp.get(), stack.base);
                }
                // SAFETY: it has ended, and nothing else refers to it.
                unsafe {
                    goroutine.fiber.destroy();
                    parts.slots.vacate(goroutine.home);
                    parts.slab.remove(goroutine);
                }
                processor.census.finished.add(1);
            }
            _ => {}
        }
    }

    /// The stress modes: takes the goroutine that has just run from its place, unless it has ended.
    #[cold]
    fn make_it_hard(mut self, goroutine: &Record, stress: Stress) {
        if self.phase.get() == Phase::Finished {
            return;
        }
        let (local, parts) = self.open();
        // SAFETY: the goroutine is resident and suspended, as it has just run.
        unsafe {
            match stress {
                Stress::Off => {}
                Stress::Evict => {
                    parts.slots.evict(goroutine);
                    local.resident.evict();
                }
                Stress::Scavenge => parts.slots.strip(goroutine),
            }
        }
    }

    /// Counts the wait of a goroutine that is about to have a turn, for profiles of waits.
    #[inline(never)]
    fn count_wait(mut self, goroutine: &Record) {
        let reason = goroutine.reason.get();
        let Some(counted) = self.parts().parked.before_turn(goroutine.id, reason) else { return };
        // Maps use std's thread-locals.
        self.install_host();
        let backtrace = counted.wants_backtrace().then(|| self.view().backtrace_of(goroutine)).flatten();
        counted.add(reason, goroutine.waits_at.get(), backtrace);
    }

    /// Makes goroutines ready if their deadline has passed, unless another event has already ended
    /// their wait.
    #[inline]
    pub(super) fn fire_timers(mut self) {
        let (local, parts) = self.open();
        let now = local.now.get();
        if parts.timers.earliest().is_none_or(|at| at > now) {
            return;
        }
        while let Some(record) = parts.timers.pop_due(now) {
            // SAFETY: a goroutine in the heap is parked, so its record is live.
            let goroutine = unsafe { record.as_ref() };
            if goroutine.wait.head.claim.try_end(Outcome::TIMED_OUT) {
                trace::wakes_in_time(goroutine.id);
                // SAFETY: we have ended its wait.
                parts.ready.push_back(unsafe { Ready::new(record) });
            }
        }
    }

    /// Stores the latest time at which this processor wants to run next, which is announced when
    /// the processor comes to rest, and the figures of this batch.
    #[inline]
    fn publish(mut self) {
        let processor = self.processor();
        let parts = self.parts();
        let earliest = parts.timers.earliest().unwrap_or(clock::NEVER);
        if earliest != processor.deadline.load(Ordering::Relaxed) {
            // Relaxed: the fences of the deadline protocol order this store for its readers.
            processor.deadline.store(earliest, Ordering::Relaxed);
        }
        // A crowd is gone that was ready at once. The next one finds a part of the room.
        let room = parts.ready.capacity();
        if room > MIN_ROOM && parts.ready.is_empty() {
            parts.ready.shrink_to((room / 4).max(MIN_ROOM));
        }
        self.publish_counters();
    }

    #[inline(always)]
    pub(super) fn publish_counters(mut self) {
        let processor = self.processor();
        let (local, parts) = self.open();
        let counters = &processor.counters;
        counters.yields.set(parts.yields);
        counters.ready.set(parts.ready.len() + usize::from(local.has_next()));
        counters.timers.set(parts.timers.len());
        let copied = parts.slots.copied();
        counters.copies.set(copied.times);
        counters.copied_bytes.set(copied.bytes);
        counters.slots.set(parts.slots.in_use());
    }
}

impl Parts {
    /// Keeps a goroutine until the one that holds its slot goes on.
    #[cold]
    fn defer(&mut self, goroutine: Ready) {
        goroutine.reason.set(Reason::Slot);
        self.deferred.push(goroutine);
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
fn prefetch(ready: &VecDeque<Ready>) {
    if let Some(goroutine) = ready.get(RECORD_AHEAD) {
        arch::prefetch(goroutine.record().addr().get());
    }
    if let Some(goroutine) = ready.get(IMAGE_AHEAD) {
        let (image, sp) = (goroutine.image_address(), goroutine.sp.get());
        // A goroutine that has never been copied out has its bytes where it runs.
        let live = if image != 0 { image } else { sp };
        for line in 0..IMAGE_LINES {
            arch::prefetch(live + line * CACHE_LINE);
        }
    }
}

/// The first function on the stack of a processor's loop.
pub(super) extern "C" fn processor_loop(processor: usize) -> ! {
    // SAFETY: `Processor::new` passed its own address; processors are never freed. This is the
    // loop.
    let mut this = unsafe { Loop::new(&*(processor as *const Processor)) };
    sanitizers::acquire(processor as *const Processor);
    loop {
        this.reborrow().requeue_predecessor();
        let short = if trace::watches(trace::EVENTS | trace::WAITS) {
            this.reborrow().run_batch::<true>()
        } else {
            this.reborrow().run_batch::<false>()
        };
        if fork::in_child() {
            this.reborrow().run_forked();
        }
        this.reborrow().switch_to_worker(short);
    }
}

/// A goroutine that is about to start.
pub(super) struct Starting {
    pub(super) task: TaskPtr,
    pub(super) id: u64,
    pub(super) origin: Origin,
    /// `since`: when its turn came. `decided`: the number of the turn by which every goroutine that
    /// was ready then has had one.
    pub(super) since: u64,
    pub(super) decided: usize,
}

#[cold]
pub(super) fn report_no_stacks() {
    static SAID: Once = Once::new();
    SAID.call_once(|| {
        say(format_args!(
            "narrowboat: the system has no memory for the stack of another goroutine, which waits for others to end: \
             raise vm.max_map_count or the address-space limit (ulimit -v), or let goroutines share stacks"
        ));
    });
}
