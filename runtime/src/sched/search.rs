//! Where a worker looks when its own queue is empty, and how it sleeps when there is nothing
//! anywhere.
//!
//! A searcher takes, in this order: processors from the shared queue and from other workers'
//! queues; then, only if they have waited some microseconds, the processor in another worker's
//! `next` and goroutines that have not started. The last two normally run soon where they are,
//! because their waker is about to park. To take them too early would move both sides of a
//! ping-pong to different cores again and again.

use super::Runtime;
use super::processor::Processor;
use super::worker::Worker;
use crate::{arch, clock, sys};
use crossbeam_deque::Steal;
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// How long a spare worker sleeps before it ends, if no child process lives that was started on it.
const SPARE_LINGERS: Duration = Duration::from_secs(5);
/// How many goroutines a thief takes at once, at most.
const MAX_TAKEN: usize = 32;
/// The longest pause between searches suggested by one worker, in wake-ups.
const MAX_SKIPPED: u32 = 4095;

pub(super) enum Woke {
    /// Another thread made it the searcher.
    Appointed,
    /// Events, a deadline, or a call to run its own processor.
    ByItself,
    /// A spare worker that is not needed.
    Retired,
}

/// How often waking a searcher on suspicion has paid lately, as the number of wake-ups to skip
/// before the next suggestion. A search that finds nothing doubles it (up to `MAX_SKIPPED`), one
/// that finds work divides it by four.
pub(super) struct Suggestions {
    skip: AtomicU32,
}

impl Suggestions {
    pub(super) fn new() -> Suggestions {
        Suggestions { skip: AtomicU32::new(0) }
    }

    fn learn(&self, right: bool) {
        let skip = self.skip.load(Ordering::Relaxed);
        self.skip.store(if right { skip / 4 } else { (skip * 2 + 1).min(MAX_SKIPPED) }, Ordering::Relaxed);
    }
}

pub(super) fn steal<T>(mut attempt: impl FnMut() -> Steal<T>) -> Option<T> {
    loop {
        match attempt() {
            Steal::Success(item) => return Some(item),
            Steal::Empty => return None,
            Steal::Retry => {}
        }
    }
}

/// A processor seen in the `next` of a worker.
struct Sighting {
    worker: &'static Worker,
    next: *mut Processor,
    carries: usize,
}

impl Runtime {
    /// Suggests a search: code carried by `worker` has made something runnable that will run here
    /// soon if that code parks soon, and otherwise needs another worker.
    #[inline]
    pub(super) fn suggest_search(&'static self, worker: &Worker) {
        let skip = worker.skip.get();
        if skip > 0 {
            worker.skip.set(skip - 1);
        } else if self.idle.could_appoint() || self.workers.may_start() {
            worker.skip.set(self.suggestions.skip.load(Ordering::Relaxed));
            self.appoint();
        }
    }

    pub(super) fn take_shared(&self, worker: &Worker) -> Option<&'static Processor> {
        if worker.pinned.is_some() || self.queue.is_empty() {
            return None;
        }
        steal(|| self.queue.steal())
    }

    /// Looks in all places. Only the searcher calls this.
    pub(super) fn search(&'static self, worker: &'static Worker) -> Option<&'static Processor> {
        if let Some(processor) = self.take_waiting(worker) {
            return Some(processor);
        }
        let sightings: Vec<Sighting> = self.other_workers(worker).filter_map(sight).collect();
        let newcomers = self.processors.ordinary_ones().any(Processor::has_newcomers);
        if sightings.is_empty() && !newcomers {
            return None;
        }
        pause_for_some_microseconds();
        let found = self.take_waiting(worker).or_else(|| {
            if worker.pinned.is_none() {
                for seen in &sightings {
                    let same = seen.worker.carries.get() == seen.carries
                        && seen.worker.next.load(Ordering::Relaxed) == seen.next;
                    if same && let Some(processor) = seen.worker.take_next() {
                        return Some(processor);
                    }
                }
            }
            self.take_newcomers(worker)
        });
        self.suggestions.learn(found.is_some());
        found
    }

    fn other_workers(&self, worker: &'static Worker) -> impl Iterator<Item = &'static Worker> {
        self.workers.all().filter(move |other| !ptr::eq(*other, worker))
    }

    /// Takes a processor that stands in a queue.
    fn take_waiting(&self, worker: &'static Worker) -> Option<&'static Processor> {
        if worker.pinned.is_some() {
            return None;
        }
        self.take_shared(worker)
            .or_else(|| self.other_workers(worker).find_map(|other| worker.steal_half(other)))
    }

    /// Takes newcomers from a processor that does not get to them, for an idle one.
    fn take_newcomers(&'static self, worker: &'static Worker) -> Option<&'static Processor> {
        if worker.pinned.is_some_and(|pinned| pinned.stage().is_some()) {
            return None;
        }
        let victim = self.processors.ordinary_ones().find(|p| p.has_newcomers())?;
        let taker = worker.pinned.or_else(|| self.idle_processor())?.claim()?;
        let mut taken = 0;
        while taken < MAX_TAKEN && (taken == 0 || victim.unstarted.len() > taken) {
            let task = steal(|| victim.unstarted.steal()).or_else(|| victim.arrivals.steal());
            let Some(task) = task else { break };
            taker.unstarted.push(task);
            taken += 1;
        }
        victim.census.note_given(taken);
        let taker = taker.processor();
        taker.census.taken.add(taken);
        // Even if nothing was taken, the processor is ours to run: it finds nothing and rests.
        Some(taker)
    }

    /// An idle ordinary processor that is not apart: the one with the fewest goroutines, or a new
    /// one if all have some. Other threads see it, too, so it may not stay idle.
    pub(super) fn idle_processor(&'static self) -> Option<&'static Processor> {
        let idle = self
            .processors
            .ordinary_ones()
            .filter(|p| p.inbox.is_idle() && !p.is_apart())
            .min_by_key(|p| p.census.load());
        idle.filter(|p| p.census.load() == 0).or_else(|| {
            let missing = (0..self.processors.ordinary()).find(|&index| self.processors.get(index).is_none());
            missing.and_then(|index| self.processors.get_or_create(self, index).ok()).or(idle)
        })
    }

    /// Whether processors wait for a worker that does not return to its loop: in its own queues, or
    /// in the shared one.
    pub(super) fn work_waits_behind(&self, worker: &Worker) -> bool {
        !worker.next.load(Ordering::Relaxed).is_null() || !worker.stealer.is_empty() || !self.queue.is_empty()
    }

    /// Moves the processors queued at a stuck worker to the shared queue, and appoints a searcher.
    pub(super) fn take_over(&'static self, worker: &'static Worker) {
        while let Some(processor) = worker.take_next().or_else(|| steal(|| worker.stealer.steal())) {
            self.queue.push(processor);
        }
        self.appoint();
    }

    /// Step 6 of the idle protocol: whether there is anything to run for a worker that is about to
    /// sleep.
    fn work_in_sight(&self, worker: &'static Worker) -> bool {
        match worker.pinned {
            Some(processor) => !processor.inbox.is_idle(),
            None => !self.queue.is_empty() || self.workers.all().any(|other| !other.stealer.is_empty()),
        }
    }
}

fn sight(worker: &'static Worker) -> Option<Sighting> {
    let next = worker.next.load(Ordering::Relaxed);
    (!next.is_null()).then(|| Sighting { worker, next, carries: worker.carries.get() })
}

fn pause_for_some_microseconds() {
    let start = arch::ticks();
    while arch::ticks().wrapping_sub(start) < arch::some_microseconds() {
        std::hint::spin_loop();
    }
}

impl Worker {
    /// Steps 6 and 7 of the idle protocol: sleeps in the poller if no thread is there, else in the
    /// kernel.
    pub(super) fn sleep(&'static self, searching: bool) -> Woke {
        let runtime = self.runtime;
        let turn = runtime.poll_turn.take();
        self.polling.store(turn.is_some(), Ordering::Relaxed);
        self.asleep.store(true, Ordering::SeqCst);
        let earliest = runtime.deadlines.earliest();
        let alarm = runtime.sleepers.enter(self, earliest);
        runtime.idle.announce_sleep(searching);
        let room = self.pinned.is_some() || runtime.awake() < runtime.workers.limit();
        let woke = if room && (runtime.work_in_sight(self) || runtime.deadlines.earliest() < earliest) {
            self.leave_sleepers()
        } else {
            self.sleep_until(alarm, turn.as_ref())
        };
        self.asleep.store(false, Ordering::SeqCst);
        runtime.monitor.wake_if_asleep();
        woke
    }

    fn sleep_until(&'static self, alarm: u64, turn: Option<&super::poller::Turn<'_>>) -> Woke {
        let spare = self.runtime.workers.is_spare(self);
        let mut now = self.look_at_clock();
        let lingers = SPARE_LINGERS.as_nanos() as u64;
        let mut end = if spare { now + lingers } else { clock::NEVER };
        loop {
            if self.appointed.load(Ordering::Relaxed) || self.called.load(Ordering::Relaxed) {
                return self.leave_sleepers();
            }
            let until = alarm.min(end);
            let timeout = (until != clock::NEVER).then(|| clock::until(until, now));
            let events = match (turn, timeout) {
                (Some(turn), timeout) => self.note_poll(turn.poll(timeout, now)),
                (None, Some(timeout)) => {
                    std::thread::park_timeout(timeout);
                    0
                }
                (None, None) => {
                    std::thread::park();
                    0
                }
            };
            now = self.look_at_clock();
            if now >= alarm {
                self.runtime.sleepers.alarm_went_off(now);
                return self.leave_sleepers();
            }
            if events > 0 {
                return self.leave_sleepers();
            }
            if now >= end && sys::has_children() {
                // If this thread ended now, the kernel would tell its child processes that their
                // parent has ended: see `sys::has_children`.
                end = now + lingers;
            } else if now >= end {
                // See `Runtime::awake` for the order.
                self.runtime.workers.note_leaving();
                return match self.leave_sleepers() {
                    Woke::ByItself => Woke::Retired,
                    woke => {
                        self.runtime.workers.note_staying();
                        woke
                    }
                };
            }
        }
    }

    /// Leaves the list of sleepers. If another thread has taken us off, says why.
    fn leave_sleepers(&'static self) -> Woke {
        if self.runtime.sleepers.leave(self, &self.runtime.idle) {
            return Woke::ByItself;
        }
        if self.appointed.swap(false, Ordering::Relaxed) {
            return Woke::Appointed;
        }
        self.called.store(false, Ordering::Relaxed);
        Woke::ByItself
    }

    fn look_at_clock(&self) -> u64 {
        self.expire_clock();
        self.refresh_now()
    }
}
