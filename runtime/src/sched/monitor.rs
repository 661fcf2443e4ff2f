//! The thread that watches the workers: it asks goroutines that run for long to yield, replaces workers that are stuck,
//! and polls when no worker gets to it.
//!
//! It ticks while anything runs. When every worker has been asleep for a whole tick it goes to sleep itself, and the
//! next worker that gets up wakes it: a program with nothing to do uses no CPU at all, and one with little to do does
//! not pay a wake-up of this thread for each of its own.

use super::Runtime;
use super::processor::Processor;
use super::worker::Worker;
use crate::clock;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::Duration;

const TICK: Duration = Duration::from_millis(2);
/// Ticks without any activity before the monitor sleeps.
const QUIET_TICKS: u32 = 5;
/// How long a goroutine may hold its processor before it is asked to yield, and its worker replaced.
const LONG: u64 = 10_000_000;

pub(super) struct Monitor {
    asleep: AtomicBool,
    lock: Mutex<()>,
    wake: Condvar,
}

/// What the monitor remembers of a worker.
#[derive(Clone, Copy)]
struct Seen {
    processor: *const Processor,
    switches: usize,
    since: u64,
}

impl Monitor {
    pub(super) fn new() -> Monitor {
        Monitor { asleep: AtomicBool::new(false), lock: Mutex::new(()), wake: Condvar::new() }
    }

    pub(super) fn start(&'static self, runtime: &'static Runtime) -> io::Result<()> {
        let thread = std::thread::Builder::new().name("monitor".into()).stack_size(256 << 10);
        thread.spawn(move || self.main(runtime)).map(drop)
    }

    /// A worker has got up. SeqCst pairs with the monitor's own look at the workers after it has said that it sleeps.
    pub(super) fn somebody_works(&self) {
        if self.asleep.load(Ordering::SeqCst) && self.asleep.swap(false, Ordering::SeqCst) {
            drop(self.lock.lock().unwrap_or_else(|e| e.into_inner()));
            self.wake.notify_one();
        }
    }

    fn main(&self, runtime: &'static Runtime) {
        let mut seen: Vec<Seen> = Vec::new();
        let mut quiet_ticks = 0;
        let mut activity = 0;
        loop {
            let all_asleep = || runtime.workers.all().all(|w| w.is_retired() || w.is_asleep());
            let carried: usize = runtime.workers.all().map(|w| w.carries.get()).fold(0, usize::wrapping_add);
            // While this thread or a worker looks through the deadlines, the earliest of them reads as "never", and a worker
            // that falls asleep just then sets no alarm. Until one is set, the ticks stand in for it.
            let alarm_set = || runtime.sleepers.wakes_by(runtime.deadlines.earliest());
            if all_asleep() && carried == activity && alarm_set() {
                quiet_ticks += 1;
            } else {
                quiet_ticks = 0;
                activity = carried;
            }
            if quiet_ticks >= QUIET_TICKS {
                self.asleep.store(true, Ordering::SeqCst);
                if all_asleep() && alarm_set() {
                    let mut guard = self.lock.lock().unwrap_or_else(|e| e.into_inner());
                    while self.asleep.load(Ordering::SeqCst) {
                        guard = self.wake.wait(guard).unwrap_or_else(|e| e.into_inner());
                    }
                }
                self.asleep.store(false, Ordering::SeqCst);
                quiet_ticks = 0;
            }
            std::thread::sleep(TICK);
            self.tick(runtime, &mut seen);
        }
    }

    fn tick(&self, runtime: &'static Runtime, seen: &mut Vec<Seen>) {
        let now = clock::now();
        runtime.queue_due(now);
        if runtime.poll_turn.is_overdue(now.saturating_sub(TICK.as_nanos() as u64))
            && let Some(turn) = runtime.poll_turn.take()
        {
            turn.poll(Some(Duration::ZERO), now);
        }
        for (index, worker) in runtime.workers.all().enumerate() {
            if seen.len() <= index {
                seen.push(Seen { processor: std::ptr::null(), switches: 0, since: now });
            }
            watch(runtime, worker, &mut seen[index], now);
        }
    }
}

fn watch(runtime: &'static Runtime, worker: &'static Worker, seen: &mut Seen, now: u64) {
    // Acquire pairs with the release in `Worker::run`.
    let carrying: *const Processor = worker.carrying.load(Ordering::Acquire);
    // SAFETY: processors are never freed.
    let Some(processor) = (unsafe { carrying.as_ref() }) else {
        seen.processor = std::ptr::null();
        return;
    };
    let switches = processor.switches.get();
    if seen.processor != carrying || seen.switches != switches {
        *seen = Seen { processor: carrying, switches, since: now };
        return;
    }
    if now - seen.since < LONG {
        return;
    }
    processor.yield_flag.store(true, Ordering::Relaxed);
    if runtime.sizes.carried && runtime.work_waits_behind(worker) && mark_stuck(runtime, worker) {
        runtime.take_over(worker);
    }
}

/// Lets one more worker be awake until this one is back from the processor that it has been carrying for so long. False
/// if it is back already.
fn mark_stuck(runtime: &Runtime, worker: &Worker) -> bool {
    if !worker.stuck.swap(true, Ordering::AcqRel) {
        runtime.workers.allow_one_more();
    }
    // If it came back meanwhile it may not have seen the mark.
    if worker.carrying.load(Ordering::Acquire).is_null() && worker.stuck.swap(false, Ordering::AcqRel) {
        runtime.workers.allow_one_less();
        return false;
    }
    true
}
