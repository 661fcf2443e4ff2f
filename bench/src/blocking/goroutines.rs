//! Cases of goroutines alone, for every peer that has them. The peer's own names come from `super::backend`. A
//! goroutine captures one pointer, so that the memory measured is the runtime's and not the benchmark's.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use narrowboat_bench::cli::{per_operation, report};
use narrowboat_bench::memory::resident_here;
use narrowboat_bench::recursion::descend;
use narrowboat_bench::start::{Laps, StartingLine};

use super::backend::{Receiver, START, Sender, bounded, gate, shared, sleep, spawn, yield_now};

/// `runners` goroutines share `operations` yields. All wait behind a gate until the last of them is spawned: a runner
/// that yielded meanwhile would only hold up the spawning.
pub fn yields(runners: usize, operations: usize) {
    let laps = Laps::new(runners, operations);
    let line = StartingLine::new(runners, START);
    let (open, wait) = gate();
    let (done, result) = bounded(1);
    let race = Arc::new((line, wait, done));
    for _ in 0..runners {
        let race = race.clone();
        spawn(move || {
            let (line, wait, done) = &*race;
            wait();
            if let Some(elapsed) = run(line, laps) {
                done.send(elapsed).unwrap();
            }
        });
    }
    open();
    per_operation("yield", result.recv().unwrap(), runners * laps.each);
}

fn run(line: &StartingLine, laps: Laps) -> Option<Duration> {
    for _ in 0..laps.warm {
        yield_now();
    }
    let mut left = laps.each;
    if !line.arrive() {
        left -= 1;
        yield_now();
        while !line.is_open() {
            yield_now();
        }
    }
    for _ in 0..left {
        yield_now();
    }
    line.finish()
}

/// `count` goroutines that end at once, from the first spawn to the last end.
pub fn spawns(count: usize) {
    spawn_and_wait((count / 10).max(1));
    per_operation("spawn", spawn_and_wait(count), count);
}

fn spawn_and_wait(count: usize) -> Duration {
    let (finish, all) = Finish::of(count);
    let finish = Arc::new(finish);
    let begun = Instant::now();
    for _ in 0..count {
        let finish = finish.clone();
        spawn(move || finish.one());
    }
    all.recv().unwrap();
    begun.elapsed()
}

/// `count` goroutines, each in a receive on one shared channel: what each costs in memory, and the time to send each
/// a message and see all end.
pub fn park(count: usize) {
    spawn_and_wait(1000);
    let before = resident_here();
    let (messages, inbox) = shared::<usize>();
    let (finish, all) = Finish::of(count);
    let parked = Arc::new((AtomicUsize::new(0), inbox, finish));
    for _ in 0..count {
        let parked = parked.clone();
        spawn(move || {
            let (arrived, inbox, finish) = &*parked;
            arrived.fetch_add(1, SeqCst);
            inbox.recv().unwrap();
            finish.one();
        });
    }
    while parked.0.load(SeqCst) < count {
        sleep(Duration::from_millis(1));
    }
    // The last to arrive are yet to park.
    sleep(Duration::from_millis(200));
    report("park", resident_here().saturating_sub(before) as f64 / count as f64, "bytes");

    let begun = Instant::now();
    for message in 0..count {
        messages.send(message).unwrap();
    }
    all.recv().unwrap();
    per_operation("wake", begun.elapsed(), count);
}

/// Recursion in one goroutine, twice, so that the second time shows what the first one left behind.
pub fn deep(depth: usize) {
    let (done, ended) = bounded(1);
    spawn(move || {
        for name in ["deep-first", "deep-second"] {
            let begun = Instant::now();
            descend(depth);
            report(name, begun.elapsed().as_secs_f64() * 1e3, "ms");
        }
        done.send(()).unwrap();
    });
    ended.recv().unwrap();
}

/// Counts the goroutines that ended; the last one sends.
struct Finish {
    left: AtomicUsize,
    done: Sender<()>,
}

impl Finish {
    fn of(count: usize) -> (Finish, Receiver<()>) {
        let (done, all) = bounded(1);
        (Finish { left: AtomicUsize::new(count), done }, all)
    }

    fn one(&self) {
        if self.left.fetch_sub(1, SeqCst) == 1 {
            self.done.send(()).unwrap();
        }
    }
}
