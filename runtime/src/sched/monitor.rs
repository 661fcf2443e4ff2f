//! The thread that watches the workers: it decides how many may be awake, asks goroutines that run
//! for long to yield, replaces workers that are stuck, polls when no worker gets to it, and asks
//! processors to give back memory of their stacks.
//!
//! It ticks while anything runs. When every worker has been asleep for some ticks, the monitor goes
//! to sleep itself, and the next worker that wakes wakes it. So a program with nothing to do uses
//! no CPU once its stacks are settled, and a program with little to do does not pay a wake-up of
//! this thread for each of its own.

use super::above::{self, Reports};
use super::apart::{Look, Stay};
use super::headcount::Headcount;
use super::pace;
use super::processor::Processor;
use super::relief::Waiting;
use super::worker::Worker;
use super::{Runtime, trace};
use crate::clock;
use crate::counter::OneWriter;
use crate::lock::Mutex;
use crate::stack::cache::{self, Which};
use crate::stack::{pool, scavenge};
use crate::sys;
use std::io;
use std::sync::Condvar;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const TICK: Duration = Duration::from_millis(2);
/// Ticks without any activity before the monitor sleeps.
const QUIET_TICKS: u32 = 5;
/// Stack segments that were not used for this many ticks, about two seconds, are given back.
const TRIM_TICKS: u32 = 1000;
/// After this many ticks, about a second, half of what is known of spawn sites is forgotten.
const FORGET_TICKS: u32 = 500;
/// How long a goroutine may keep its processor before it is asked to yield, and its worker is
/// replaced.
const LONG: u64 = 10_000_000;
/// How long it may take to do so, before the newcomers of its processor are sent to others.
const PATIENCE: u64 = 2 * TICK.as_nanos() as u64;

pub(crate) struct Monitor {
    asleep: AtomicBool,
    lock: Mutex<()>,
    wake: Condvar,
    /// How many times a goroutine kept its processor for too long.
    pub(crate) stuck: OneWriter,
}

/// What the monitor remembers from tick to tick.
#[derive(Default)]
struct Memory {
    workers: Vec<Seen>,
    /// By the processors' indices.
    processors: Vec<Waiting>,
    reports: Reports,
}

/// What the monitor remembers of a worker.
#[derive(Clone, Copy)]
struct Seen {
    processor: *const Processor,
    switches: usize,
    since: u64,
    /// CPU time that the worker had used when the goroutine had run for `LONG`.
    used: Option<u64>,
    counted: bool,
    reported: bool,
    look: Option<Look>,
}

impl Monitor {
    pub(super) fn new() -> Monitor {
        Monitor {
            asleep: AtomicBool::new(false),
            lock: Mutex::new(()),
            wake: Condvar::new(),
            stuck: OneWriter::default(),
        }
    }

    pub(super) fn start(&'static self, runtime: &'static Runtime) -> io::Result<()> {
        let thread = std::thread::Builder::new().name("monitor".into()).stack_size(256 << 10);
        thread.spawn(move || self.main(runtime)).map(drop)
    }

    /// Wakes the monitor if it sleeps; called when a worker has woken. SeqCst pairs with the
    /// monitor's own look at the workers after it has said that it sleeps.
    pub(super) fn wake_if_asleep(&self) {
        if self.asleep.load(Ordering::SeqCst) && self.asleep.swap(false, Ordering::SeqCst) {
            drop(self.lock.lock().unwrap_or_else(|e| e.into_inner()));
            self.wake.notify_one();
        }
    }

    fn main(&self, runtime: &'static Runtime) {
        let mut memory = Memory::default();
        let mut headcount = Headcount::new(runtime.sizes.workers);
        let mut quiet_ticks = 0;
        let mut activity = 0;
        let mut ticks = 0u32;
        let period = scavenge::PERIOD.as_nanos() as u64;
        let mut next_scavenge = clock::now() + period;
        loop {
            let all_asleep = || runtime.workers.all().all(|w| w.is_retired() || w.is_asleep());
            let carried: usize = runtime.workers.all().map(|w| w.carries.get()).fold(0, usize::wrapping_add);
            // While this thread or a worker looks through the deadlines, the earliest of them reads
            // as "never". A worker that falls asleep just then sets no alarm. Until one is set, the
            // monitor keeps ticking in its place.
            let alarm_set = || runtime.sleepers.wakes_by(runtime.deadlines.earliest());
            // A worker that fell asleep while this thread was in the netpoller, or before there was
            // a netpoller, is not in it.
            let polled_for = || !runtime.poll_turn.is_free();
            if all_asleep()
                && carried == activity
                && alarm_set()
                && polled_for()
                && !memory.reports.is_waiting()
            {
                quiet_ticks += 1;
            } else {
                quiet_ticks = 0;
                activity = carried;
            }
            if quiet_ticks >= QUIET_TICKS {
                self.asleep.store(true, Ordering::SeqCst);
                if all_asleep() && alarm_set() && polled_for() {
                    cache::trim(Which::All);
                    pool::trim(true);
                    if runtime.sizes.deadlock {
                        above::check_for_deadlock(runtime);
                    }
                    self.sleep(runtime, next_scavenge);
                }
                self.asleep.store(false, Ordering::SeqCst);
                quiet_ticks = 0;
            }
            std::thread::sleep(TICK);
            self.tick(runtime, &mut memory);
            headcount.tick(runtime, clock::now());
            memory.reports.look();
            if all_asleep() && !polled_for() {
                // The worker that wakes takes the poll turn when it finds nothing to do.
                runtime.appoint();
            }
            let now = clock::now();
            if now >= next_scavenge {
                next_scavenge = now + period;
                runtime.ask_to_scavenge();
            }
            ticks = ticks.wrapping_add(1);
            if ticks.is_multiple_of(FORGET_TICKS) {
                runtime.apart.forget(now);
            }
            if ticks.is_multiple_of(TRIM_TICKS) {
                cache::trim(Which::Unused);
                pool::trim(false);
            }
        }
    }

    /// Sleeps until a worker wakes or, while there are stacks to look at again, until the next
    /// scavenge is due.
    fn sleep(&self, runtime: &'static Runtime, next_scavenge: u64) {
        let limit = if runtime.to_scavenge().next().is_some() { next_scavenge } else { clock::NEVER };
        let mut guard = self.lock.lock().unwrap_or_else(|e| e.into_inner());
        while self.asleep.load(Ordering::SeqCst) {
            let now = clock::now();
            guard = if limit == clock::NEVER {
                self.wake.wait(guard).unwrap_or_else(|e| e.into_inner())
            } else if now < limit {
                let timeout = clock::until(limit, now);
                self.wake.wait_timeout(guard, timeout).unwrap_or_else(|e| e.into_inner()).0
            } else {
                return;
            };
        }
    }

    fn tick(&self, runtime: &'static Runtime, memory: &mut Memory) {
        let now = clock::now();
        // A deadline that passed less than `APART` ago has an alarm of its own.
        runtime.queue_due(now.saturating_sub(pace::APART));
        if runtime.poll_turn.is_overdue(now.saturating_sub(TICK.as_nanos() as u64))
            && let Some(turn) = runtime.poll_turn.take()
        {
            trace::polls(turn.poll(Some(Duration::ZERO), now));
        }
        for (index, worker) in runtime.workers.all().enumerate() {
            if memory.workers.len() <= index {
                memory.workers.push(Seen {
                    processor: std::ptr::null(),
                    switches: 0,
                    since: now,
                    used: None,
                    counted: false,
                    reported: false,
                    look: None,
                });
            }
            watch(runtime, worker, &mut memory.workers[index], now, &mut memory.reports);
        }
        // After the workers, since another worker may be awake now.
        for processor in runtime.processors.all() {
            if memory.processors.len() <= processor.index {
                memory.processors.resize(processor.index + 1, Waiting::default());
            }
            runtime.watch_newcomers(processor, &mut memory.processors[processor.index]);
        }
    }
}

impl Runtime {
    /// The processors with stacks that should be looked at: step 1 of the scavenger's protocol.
    fn to_scavenge(&self) -> impl Iterator<Item = &'static Processor> {
        self.processors.all().filter(|processor| processor.scavenge.is_due(processor.switches.get()))
    }

    fn ask_to_scavenge(&'static self) {
        for processor in self.to_scavenge() {
            processor.scavenge.ask();
            if processor.inbox.claim() {
                self.submit(processor, None);
            }
        }
    }
}

fn watch(
    runtime: &'static Runtime,
    worker: &'static Worker,
    seen: &mut Seen,
    now: u64,
    reports: &mut Reports,
) {
    // Acquire pairs with the release in `Worker::begin_carrying`.
    let carrying: *const Processor = worker.carrying.load(Ordering::Acquire);
    // SAFETY: processors are never freed.
    let Some(processor) = (unsafe { carrying.as_ref() }) else {
        seen.processor = std::ptr::null();
        return;
    };
    let switches = processor.switches.get();
    if seen.processor != carrying || seen.switches != switches {
        *seen = Seen {
            processor: carrying,
            switches,
            since: now,
            used: None,
            counted: false,
            reported: false,
            look: None,
        };
        return;
    }
    let kept = now - seen.since;
    let thread = worker.kernel_thread.load(Ordering::Relaxed);
    seen.look = runtime.apart.look(runtime, &Stay { processor, thread, switches, kept, now }, seen.look);
    if kept >= LONG {
        processor.yield_flag.store(true, Ordering::Relaxed);
        watch_longer(runtime, worker, processor, seen, now, reports);
    }
    if runtime.sizes.carried && runtime.work_waits_behind(worker) {
        // If a worker is idle anyway, one tick is long enough.
        if runtime.idle_workers() > 0 || (kept >= LONG && mark_stuck(runtime, worker)) {
            runtime.take_over(worker);
        }
    }
    if kept >= LONG && processor.has_newcomers() {
        if runtime.sizes.carried && runtime.idle_workers() == 0 {
            mark_stuck(runtime, worker);
        }
        if kept >= LONG + PATIENCE {
            runtime.send_newcomers_away(processor);
        }
    }
}

/// Counts and reports a goroutine that has kept its processor for longer than the limit for
/// reports. A worker that only waits for the kernel to schedule it, because the machine is busy, is
/// not stuck: it has used little of the time and is runnable.
fn watch_longer(
    runtime: &Runtime,
    worker: &Worker,
    processor: &Processor,
    seen: &mut Seen,
    now: u64,
    reports: &mut Reports,
) {
    let Some(limit) = runtime.sizes.stuck else { return };
    if seen.reported {
        return;
    }
    let thread = worker.kernel_thread.load(Ordering::Relaxed);
    let Some((used, wants)) = sys::use_of_processor(thread) else { return };
    let before = *seen.used.get_or_insert(used);
    let kept = now - seen.since;
    let limit = limit.max(2 * LONG);
    if kept < limit || (wants && used - before < limit - LONG) {
        return;
    }
    if !seen.counted {
        seen.counted = true;
        runtime.monitor.stuck.add(1);
        trace::stuck(processor, Duration::from_nanos(kept));
    }
    // If no goroutine runs, it is the loop that takes so long.
    seen.reported = processor
        .turn_of(seen.switches)
        .is_none_or(|spawned_at| reports.report(thread, !wants, spawned_at, Duration::from_nanos(kept)));
}

/// Lets one more worker be awake until this one is back from the processor that it has carried for
/// so long. False if it is back already.
fn mark_stuck(runtime: &Runtime, worker: &Worker) -> bool {
    if !worker.stuck.swap(true, Ordering::AcqRel) {
        runtime.workers.allow_one_more();
    }
    // If the worker came back meanwhile, it may not have seen the mark.
    if worker.carrying.load(Ordering::Acquire).is_null() && worker.stuck.swap(false, Ordering::AcqRel) {
        runtime.workers.allow_one_less();
        return false;
    }
    true
}
