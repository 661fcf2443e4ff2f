//! A worker: a kernel thread that carries one processor at a time.
//!
//! Its own code runs on the thread's native stack with the thread's own thread-locals. Its shared
//! fields:
//!
//! | field | written by |
//! |---|---|
//! | `queue` | the worker, or the code that it carries: the same kernel thread |
//! | `next` | the same; a searcher may take a processor from it that has waited too long |
//! | `carrying`, `carries` | the worker; read by searchers and the monitor |
//! | `counters`, `trace` | the worker, or the code that it carries |
//! | `stuck` | the monitor and the worker; each change goes with one of the limit of awake workers |
//! | `appointed`, `called` | set under the lock of the sleepers by the thread that takes the worker off; cleared by the worker |

use super::batch::BatchEnd;
use super::processor::Processor;
use super::{Runtime, poller, trace};
use crate::counter::OneWriter;
use crate::lock::Mutex;
use crate::ours;
use crate::stack::own::OwnStack;
use crate::telemetry::counters::{Phase, WorkerCounters};
use crate::telemetry::trace::OfWorker;
use crate::{arch, clock, sys};
use crossbeam_deque::Stealer;
use std::cell::Cell;
use std::io;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, Ordering};
use std::thread::Thread;

/// How many times in a row the processor woken last runs before the queue.
const NEXT_IN_A_ROW: u32 = 16;
/// After this many direct switches in a row, the worker looks around.
const DIRECTLY_IN_A_ROW: u32 = 8;
/// Once in this many processors, the shared queue goes before the worker's own.
const SHARED_FIRST_EVERY: usize = 61;
/// A busy worker polls when no thread has polled for this many nanoseconds.
const POLL_EVERY: u64 = 100_000;

pub(crate) struct Worker {
    pub(crate) index: usize,
    pub(super) runtime: &'static Runtime,
    /// Pinned mode: the one processor that this worker runs.
    pub(super) pinned: Option<&'static Processor>,
    queue: crossbeam_deque::Worker<&'static Processor>,
    pub(super) stealer: Stealer<&'static Processor>,
    pub(super) next: AtomicPtr<Processor>,
    next_in_a_row: Cell<u32>,
    pub(crate) carrying: AtomicPtr<Processor>,
    pub(crate) carries: OneWriter,
    pub(crate) counters: WorkerCounters,
    pub(crate) trace: OfWorker,
    /// The kernel id of its thread.
    pub(super) kernel_thread: AtomicI32,
    pub(super) stuck: AtomicBool,
    pub(super) appointed: AtomicBool,
    pub(super) called: AtomicBool,
    pub(super) asleep: AtomicBool,
    pub(super) polling: AtomicBool,
    retired: AtomicBool,
    thread: Mutex<Option<Thread>>,
    signal_stack: OwnStack,
    now: Cell<u64>,
    ticks: Cell<u64>,
    last_housekeeping: Cell<u64>,
    /// Wake-ups to skip before the next one that suggests a search.
    pub(super) skip: Cell<u32>,
}

// SAFETY: only the worker's kernel thread uses the cells and the owner's end of the queue, in its
// own code or in code that it carries. The rest is made to be shared.
unsafe impl Sync for Worker {}
// SAFETY: as above.
unsafe impl Send for Worker {}

/// The worker, if the calling code is a worker's own. Code of a carried processor gets `None`,
/// since it has other thread-locals. In pinned mode it does not, so callers check for a processor
/// first.
pub(crate) fn current() -> Option<&'static Worker> {
    // SAFETY: put there below; workers are never freed.
    unsafe { ours::with(|ours| ours.worker.get()).cast::<Worker>().as_ref() }
}

impl Worker {
    pub(super) fn new(
        runtime: &'static Runtime,
        index: usize,
        pinned: Option<&'static Processor>,
    ) -> io::Result<&'static Worker> {
        let signal_stack = OwnStack::new(sys::signals::ALTERNATE_STACK)?;
        let queue = crossbeam_deque::Worker::new_fifo();
        Ok(Box::leak(Box::new(Worker {
            index,
            runtime,
            pinned,
            stealer: queue.stealer(),
            queue,
            next: AtomicPtr::new(ptr::null_mut()),
            next_in_a_row: Cell::new(0),
            carrying: AtomicPtr::new(ptr::null_mut()),
            carries: OneWriter::default(),
            counters: WorkerCounters::default(),
            trace: OfWorker::default(),
            kernel_thread: AtomicI32::new(0),
            stuck: AtomicBool::new(false),
            appointed: AtomicBool::new(false),
            called: AtomicBool::new(false),
            asleep: AtomicBool::new(false),
            polling: AtomicBool::new(false),
            retired: AtomicBool::new(false),
            thread: Mutex::new(None),
            signal_stack,
            now: Cell::new(0),
            ticks: Cell::new(0),
            last_housekeeping: Cell::new(0),
            skip: Cell::new(0),
        })))
    }

    /// The worker's main loop.
    pub(super) fn main(&'static self, mut searching: bool) {
        *self.thread.lock().unwrap_or_else(|e| e.into_inner()) = Some(std::thread::current());
        self.kernel_thread.store(sys::kernel_thread_id(), Ordering::Relaxed);
        ours::with(|ours| ours.worker.set(ptr::from_ref(self).cast()));
        // SAFETY: workers are never freed.
        unsafe { sys::signals::prepare_worker(self.signal_stack.bounds()) };
        self.now.set(clock::now());
        self.enter(Phase::Running);
        while let Some(processor) = self.find(&mut searching) {
            self.run(processor);
        }
        self.enter(Phase::Absent);
        self.set_retired(true);
    }

    /// Carries a processor for one batch, and those that it switches to directly, then requeues the
    /// last one.
    fn run(&'static self, processor: &'static Processor) {
        // SAFETY: we took the processor from a queue, where it stood once, and we are on our native
        // stack.
        let (last, end) = unsafe { processor.carry(self) };
        self.requeue(last, end);
    }

    /// Notes that the worker carries this processor from now on.
    pub(super) fn begin_carrying(&self, processor: &'static Processor) {
        // Release: when the monitor sees this processor, it also sees all that was done to it
        // before.
        self.carrying.store(ptr::from_ref(processor).cast_mut(), Ordering::Release);
        if processor.is_apart() {
            self.step_aside();
        }
        trace::carries(self, processor);
    }

    /// Lets another worker be awake in place of this one, which carries a processor
    /// [apart](super::apart), and leaves it all queued work. Otherwise that would have to wait for
    /// the monitor.
    #[cold]
    fn step_aside(&self) {
        if !self.stuck.swap(true, Ordering::AcqRel) {
            self.runtime.workers.allow_one_more();
        }
        self.move_all_to_shared_queue();
        // Only now there is room for another one. If it finds nothing to do, it polls.
        if !self.runtime.queue.is_empty() || self.runtime.poll_turn.is_free() {
            self.runtime.appoint();
        }
    }

    /// Requeues a processor after its batch, or lets it rest if it has nothing to run.
    pub(super) fn requeue(&self, processor: &'static Processor, end: BatchEnd) {
        trace::stops_carrying(self, processor);
        self.carries.add(1);
        match end {
            BatchEnd::Idle if processor.inbox.rest() => {
                self.runtime.deadlines.announce(processor.deadline.load(Ordering::Relaxed));
                if processor.may_have_more() && processor.inbox.claim() {
                    self.enqueue(processor);
                }
            }
            BatchEnd::Idle | BatchEnd::Busy => self.enqueue(processor),
        }
    }

    /// Notes that the worker runs its own code again. Returns the processor that it carried last.
    ///
    /// # Safety
    /// It has carried one.
    pub(super) unsafe fn end_carrying(&self) -> &'static Processor {
        // SAFETY: `begin_carrying` put it there, on this kernel thread; processors are never freed.
        let last = unsafe { &*self.carrying.load(Ordering::Relaxed) };
        self.carrying.store(ptr::null_mut(), Ordering::Release);
        self.is_not_stuck();
        last
    }

    /// Clears the `stuck` mark: the worker no longer carries the processor that it was stuck in.
    pub(super) fn is_not_stuck(&self) {
        // The exchange decides; the load before it only avoids it, since it is rarely needed. If
        // the monitor sets a mark just before `carrying` changes, either the monitor sees the
        // change and takes the mark back, or the next batch clears it. What it takes back can be a
        // mark of the next batch's: then that worker is found stuck some milliseconds later.
        if self.stuck.load(Ordering::Relaxed) && self.stuck.swap(false, Ordering::AcqRel) {
            self.runtime.workers.allow_one_less();
        }
    }

    /// Finds a processor to run: in the worker's own queue, else in the shared one, else in the
    /// queues of other workers. Sleeps if there is none. `None` if the worker must end.
    fn find(&'static self, searching: &mut bool) -> Option<&'static Processor> {
        loop {
            let runtime = self.runtime;
            if self.pinned.is_none() && !*searching && runtime.awake() > runtime.workers.limit() {
                if self.move_all_to_shared_queue() {
                    runtime.appoint();
                }
            } else {
                self.housekeeping();
                let found = self.take_own().or_else(|| runtime.take_shared(self));
                if let Some(processor) = found {
                    self.found(searching);
                    return Some(processor);
                }
                self.enter(Phase::Searching);
                *searching = *searching || runtime.idle.become_searcher();
                if *searching && let Some(processor) = runtime.search(self) {
                    self.counters.steals.add(1);
                    trace::steals(self, processor);
                    self.found(searching);
                    return Some(processor);
                }
            }
            self.enter(Phase::Sleeping);
            *searching = match self.sleep(std::mem::take(searching)) {
                super::search::Woke::Appointed => true,
                super::search::Woke::ByItself => false,
                super::search::Woke::Retired => return None,
            };
        }
    }

    /// Step 5 of the idle protocol: the searcher stops searching, and appoints another one if more
    /// work is left.
    fn found(&self, searching: &mut bool) {
        if !self.counters.times.is_running() {
            self.enter(Phase::Running);
        }
        if std::mem::take(searching) {
            self.runtime.idle.stop_searching();
        }
        if !self.queue.is_empty() || !self.runtime.queue.is_empty() {
            self.runtime.appoint();
        }
    }

    /// The next processor of the worker's own.
    fn take_own(&self) -> Option<&'static Processor> {
        if let Some(processor) = self.pinned {
            // In this order: see `Processor::claim_for_reading`.
            let taken = !processor.inbox.is_idle() && !processor.held.load(Ordering::Acquire);
            return taken.then_some(processor);
        }
        if self.carries.get().is_multiple_of(SHARED_FIRST_EVERY)
            && let Some(processor) = self.runtime.take_shared(self)
        {
            return Some(processor);
        }
        if let Some(next) = self.take_next_in_a_row() {
            return Some(next);
        }
        self.next_in_a_row.set(0);
        self.queue.pop().or_else(|| self.take_next())
    }

    /// Takes what is in `next`, unless it is the queue's turn.
    fn take_next_in_a_row(&self) -> Option<&'static Processor> {
        let in_a_row = self.next_in_a_row.get();
        if in_a_row >= NEXT_IN_A_ROW && !self.queue.is_empty() {
            return None;
        }
        let next = self.take_next()?;
        self.next_in_a_row.set(in_a_row.wrapping_add(1));
        Some(next)
    }

    /// The processor to switch to directly from the carried one, which has run out of work. Called
    /// by the carried processor's loop.
    pub(super) fn take_next_directly(&self) -> Option<&'static Processor> {
        let looks_around = self.next_in_a_row.get().is_multiple_of(DIRECTLY_IN_A_ROW);
        if looks_around { None } else { self.take_next_in_a_row() }
    }

    /// Takes what is in `next`; also called by searchers.
    pub(super) fn take_next(&self) -> Option<&'static Processor> {
        if self.next.load(Ordering::Relaxed).is_null() {
            return None;
        }
        // Acquire pairs with the release in `offer`: we see the processor as its last carrier left
        // it.
        // SAFETY: what stands here was put by `offer`, and processors are never freed.
        unsafe { self.next.swap(ptr::null_mut(), Ordering::Acquire).as_ref() }
    }

    /// Takes half of another worker's queue.
    pub(super) fn steal_half(&self, other: &Worker) -> Option<&'static Processor> {
        super::search::steal(|| other.stealer.steal_batch_and_pop(&self.queue))
    }

    /// Makes a processor the next to run, before the queue: code that this worker carries has woken
    /// it. No worker is woken for it, since the waker probably parks soon. If the waker does not
    /// park, a searcher should take it. From a worker that is stuck another one takes it at once.
    pub(super) fn offer(&self, processor: &'static Processor) {
        if self.stuck.load(Ordering::Relaxed) {
            return self.give_away(processor);
        }
        let taken_over = self.take_next();
        // Release: for the thread that takes it. Only this kernel thread fills `next`, so it is
        // empty now, and a plain store is enough.
        self.next.store(ptr::from_ref(processor).cast_mut(), Ordering::Release);
        match taken_over {
            Some(previous) => {
                self.queue.push(previous);
                self.runtime.appoint();
            }
            None => self.runtime.suggest_search(self),
        }
    }

    /// Queues a processor that this worker holds.
    pub(super) fn enqueue(&self, processor: &'static Processor) {
        if self.pinned.is_some() {
            return;
        }
        // The predecessor of a processor apart is requeued by that one's loop.
        if self.stuck.load(Ordering::Relaxed) {
            return self.give_away(processor);
        }
        self.queue.push(processor);
    }

    /// Queues a processor for another worker.
    #[cold]
    fn give_away(&self, processor: &'static Processor) {
        self.runtime.queue.push(processor);
        self.runtime.appoint();
    }

    /// Moves all queued work to the shared queue: more workers are awake than should be, or this
    /// one is to be stuck. Returns whether there was any.
    fn move_all_to_shared_queue(&self) -> bool {
        let mut gave = false;
        while let Some(processor) = self.take_next().or_else(|| self.queue.pop()) {
            self.runtime.queue.push(processor);
            gave = true;
        }
        gave
    }

    /// Does what is due from time to time even if the worker is busy: fires timers of idle
    /// processors, and polls descriptors.
    fn housekeeping(&self) {
        let now = self.refresh_now();
        if self.last_housekeeping.replace(now) == now {
            return;
        }
        self.runtime.queue_due(now);
        if self.runtime.poll_turn.is_overdue(now.saturating_sub(POLL_EVERY))
            && let Some(turn) = self.runtime.poll_turn.take()
        {
            self.note_poll(turn.poll(Some(std::time::Duration::ZERO), now));
        }
    }

    /// Counts a poll. Returns the number of events.
    pub(super) fn note_poll(&self, events: usize) -> usize {
        self.counters.polls.add(1);
        self.counters.events.add(events);
        trace::polls(events);
        events
    }

    fn enter(&self, phase: Phase) {
        self.counters.times.enter(phase);
        trace::enters(self, phase);
    }

    /// The time when the clock was last read.
    pub(super) fn now(&self) -> u64 {
        self.now.get()
    }

    /// Reads the clock again if some 20 microseconds may have passed since it was last read.
    pub(super) fn refresh_now(&self) -> u64 {
        let ticks = arch::ticks();
        if ticks.wrapping_sub(self.ticks.get()) > arch::some_microseconds() {
            self.ticks.set(ticks);
            self.now.set(clock::now());
        }
        self.now.get()
    }

    /// Makes the next `refresh_now` read the clock.
    pub(super) fn expire_clock(&self) {
        self.ticks.set(self.ticks.get().wrapping_sub(2 * arch::some_microseconds()));
    }

    pub(super) fn is_asleep(&self) -> bool {
        self.asleep.load(Ordering::SeqCst)
    }

    pub(super) fn is_polling(&self) -> bool {
        self.polling.load(Ordering::Relaxed)
    }

    pub(super) fn mark_appointed(&self) {
        self.appointed.store(true, Ordering::Relaxed);
    }

    pub(super) fn mark_called(&self) {
        self.called.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Acquire)
    }

    pub(super) fn set_retired(&self, retired: bool) {
        self.retired.store(retired, Ordering::Release);
    }

    /// Wakes the worker. It has already been taken off the list of sleepers.
    pub(super) fn wake(&self) {
        if self.is_polling()
            && let Some(poller) = poller::installed()
        {
            poller.interrupt();
        } else if let Some(thread) = &*self.thread.lock().unwrap_or_else(|e| e.into_inner()) {
            thread.unpark();
        }
    }
}
