//! A worker: a kernel thread that carries one processor at a time.
//!
//! Its own code runs on the thread's native stack with the thread's own thread-locals. What it
//! shares:
//!
//! | field | written by |
//! |---|---|
//! | `queue` | the worker, or the code that it carries: the same kernel thread |
//! | `next` | the same; a searcher may take from it what has waited too long |
//! | `carrying`, `carries` | the worker; read by searchers and the monitor |
//! | `counters`, `trace` | the worker, or the code that it carries |
//! | `stuck` | set by the monitor, cleared by the worker |
//! | `appointed`, `called` | set under the lock of the sleepers by whoever takes the worker off; cleared by the worker |

use super::batch::Left;
use super::census::OneWriter;
use super::processor::Processor;
use super::{Runtime, poller};
use crate::diag::counters::{Phase, WorkerCounters};
use crate::diag::trace::hooks as trace;
use crate::locals::ours;
use crate::lock::Mutex;
use crate::stack::own::OwnStack;
use crate::{arch, clock, sys};
use crossbeam_deque::Stealer;
use std::cell::Cell;
use std::io;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, Ordering};
use std::thread::Thread;

/// How many times in a row the processor woken last goes before the queue.
const NEXT_IN_A_ROW: u32 = 16;
/// After so many processors in a row that were handed the worker directly, it looks around.
const DIRECTLY_IN_A_ROW: u32 = 8;
/// Every so many processors, the shared queue goes before the worker's own.
const SHARED_FIRST_EVERY: usize = 61;
/// A busy worker looks into the poller when nobody has for this many nanoseconds.
const POLL_EVERY: u64 = 100_000;

pub(crate) struct Worker {
    pub(crate) index: usize,
    pub(super) runtime: &'static Runtime,
    /// Pinned mode: the one processor that this worker runs.
    pub(super) nailed: Option<&'static Processor>,
    queue: crossbeam_deque::Worker<&'static Processor>,
    pub(super) stealer: Stealer<&'static Processor>,
    pub(super) next: AtomicPtr<Processor>,
    next_in_a_row: Cell<u32>,
    pub(crate) carrying: AtomicPtr<Processor>,
    pub(crate) carries: OneWriter,
    pub(crate) counters: WorkerCounters,
    pub(crate) trace: trace::OfWorker,
    /// The kernel's name for its thread.
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
    /// Wake-ups to let pass before the next one that suggests a search.
    pub(super) skip: Cell<u32>,
}

// SAFETY: the cells and the queue's owner end are used only by the worker's kernel thread, be it in
// its own code or in code that it carries; the rest is made to be shared.
unsafe impl Sync for Worker {}
// SAFETY: as above.
unsafe impl Send for Worker {}

/// The worker whose own code is calling. Code of a processor has other thread-locals, or (pinned)
/// is on a processor first.
pub(crate) fn current() -> Option<&'static Worker> {
    ours::with(|ours| ours.worker.get())
}

impl Worker {
    pub(super) fn new(
        runtime: &'static Runtime,
        index: usize,
        nailed: Option<&'static Processor>,
    ) -> io::Result<&'static Worker> {
        let signal_stack = sys::signals::alternate_stack()?;
        let queue = crossbeam_deque::Worker::new_fifo();
        Ok(Box::leak(Box::new(Worker {
            index,
            runtime,
            nailed,
            stealer: queue.stealer(),
            queue,
            next: AtomicPtr::new(ptr::null_mut()),
            next_in_a_row: Cell::new(0),
            carrying: AtomicPtr::new(ptr::null_mut()),
            carries: OneWriter::default(),
            counters: WorkerCounters::default(),
            trace: trace::OfWorker::default(),
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

    /// The life of a worker.
    pub(super) fn main(&'static self, mut searching: bool) {
        *self.thread.lock().unwrap_or_else(|e| e.into_inner()) = Some(std::thread::current());
        self.kernel_thread.store(sys::kernel_thread_id(), Ordering::Relaxed);
        ours::with(|ours| ours.worker.set(Some(self)));
        sys::signals::prepare_worker(&self.signal_stack);
        self.now.set(clock::now());
        self.enter(Phase::Running);
        while let Some(processor) = self.find(&mut searching) {
            self.run(processor);
        }
        self.enter(Phase::Absent);
        self.set_retired(true);
    }

    /// Carries a processor for one batch, and those that it hands the worker on to, and puts the
    /// last where it belongs.
    fn run(&self, processor: &'static Processor) {
        // SAFETY: we took the processor from a queue, where it stood once, and we are on our native
        // stack.
        let (last, left) = unsafe { processor.carry(self) };
        self.put_down(last, left);
    }

    /// From now on the worker carries this processor.
    pub(super) fn take_up(&self, processor: &'static Processor) {
        // Release: the monitor sees a processor only after what was done to it.
        self.carrying.store(ptr::from_ref(processor).cast_mut(), Ordering::Release);
        trace::carries(self, processor);
    }

    /// Puts a processor where it belongs that has been carried for a batch.
    pub(super) fn put_down(&self, processor: &'static Processor, left: Left) {
        trace::puts_down(self, processor);
        self.carries.add(1);
        match left {
            Left::Idle if processor.inbox.rest() => {
                self.runtime.deadlines.announce(processor.deadline.load(Ordering::Relaxed));
                if processor.has_arrivals() && processor.inbox.claim() {
                    self.enqueue(processor);
                }
            }
            Left::Idle | Left::Busy => self.enqueue(processor),
        }
    }

    /// The worker is back in its own code. Returns what it has carried.
    ///
    /// # Safety
    /// It has carried something.
    pub(super) unsafe fn comes_back(&self) -> &'static Processor {
        // SAFETY: put there by `take_up`, on this kernel thread; processors are never freed.
        let last = unsafe { &*self.carrying.load(Ordering::Relaxed) };
        self.carrying.store(ptr::null_mut(), Ordering::Release);
        self.is_not_stuck();
        last
    }

    /// What it was carrying for so long is no longer what it carries.
    pub(super) fn is_not_stuck(&self) {
        // The exchange is the one that counts; it is rarely needed. A mark that comes just before
        // `carrying` changes is taken back by the monitor, which sees that, or waits for the next
        // batch.
        if self.stuck.load(Ordering::Relaxed) && self.stuck.swap(false, Ordering::AcqRel) {
            self.runtime.workers.allow_one_less();
        }
    }

    /// Something to run: from the worker's own queue, else from the shared one, else from others,
    /// else it sleeps. `None` if the worker shall end.
    fn find(&'static self, searching: &mut bool) -> Option<&'static Processor> {
        loop {
            let runtime = self.runtime;
            if self.nailed.is_none() && !*searching && runtime.awake() > runtime.workers.limit() {
                self.give_everything_up();
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

    /// Step 5 of the idle protocol: the searcher goes to work, and somebody else looks at what is
    /// left.
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
        if let Some(processor) = self.nailed {
            // In this order: see `Processor::hold`.
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

    /// What is in `next`, unless the queue has its turn.
    fn take_next_in_a_row(&self) -> Option<&'static Processor> {
        let in_a_row = self.next_in_a_row.get();
        if in_a_row >= NEXT_IN_A_ROW && !self.queue.is_empty() {
            return None;
        }
        let next = self.take_next()?;
        self.next_in_a_row.set(in_a_row.wrapping_add(1));
        Some(next)
    }

    /// The processor that the one carried, which has run out of work, shall hand the worker on to.
    /// Called by its loop.
    pub(super) fn take_next_directly(&self) -> Option<&'static Processor> {
        let looks_around = self.next_in_a_row.get().is_multiple_of(DIRECTLY_IN_A_ROW);
        if looks_around { None } else { self.take_next_in_a_row() }
    }

    /// Takes what is in `next`; also called by searchers.
    pub(super) fn take_next(&self) -> Option<&'static Processor> {
        if self.next.load(Ordering::Relaxed).is_null() {
            return None;
        }
        // Acquire pairs with the release in `offer`: the processor as its last carrier left it.
        // SAFETY: what stands here was put by `offer`, and processors are never freed.
        unsafe { self.next.swap(ptr::null_mut(), Ordering::Acquire).as_ref() }
    }

    /// Takes half of another worker's queue.
    pub(super) fn steal_half(&self, other: &Worker) -> Option<&'static Processor> {
        super::search::steal(|| other.stealer.steal_batch_and_pop(&self.queue))
    }

    /// Code that this worker carries has woken a processor: it goes next, before the queue. Nobody
    /// is woken for it, since the waker probably is about to park; but if it does not park,
    /// somebody should take it.
    pub(super) fn offer(&self, processor: &'static Processor) {
        let taken_over = self.take_next();
        // Release: for whoever takes it. Only this kernel thread fills the place, so it is empty
        // now, and a store will do.
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
        if self.nailed.is_none() {
            self.queue.push(processor);
        }
    }

    /// There are more workers awake than there should be: this one leaves its work to the others.
    fn give_everything_up(&self) {
        let mut gave = false;
        while let Some(processor) = self.take_next().or_else(|| self.queue.pop()) {
            self.runtime.queue.push(processor);
            gave = true;
        }
        if gave {
            self.runtime.appoint();
        }
    }

    /// What has to be done now and then however busy the worker is: timers of idle processors, and
    /// descriptors.
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

    /// Counts a look into the poller, and returns what was found.
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

    /// The time as of the last look at the clock.
    pub(super) fn now(&self) -> u64 {
        self.now.get()
    }

    /// Looks at the clock again if some 20 microseconds may have passed since the last look.
    pub(super) fn refresh_now(&self) -> u64 {
        let ticks = arch::ticks();
        if ticks.wrapping_sub(self.ticks.get()) > arch::SOME_MICROSECONDS {
            self.ticks.set(ticks);
            self.now.set(clock::now());
        }
        self.now.get()
    }

    /// Makes the next look at the clock a real one.
    pub(super) fn expire_clock(&self) {
        self.ticks.set(self.ticks.get().wrapping_sub(2 * arch::SOME_MICROSECONDS));
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

    /// Gets the worker out of its sleep; it has been taken off the list of sleepers.
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
