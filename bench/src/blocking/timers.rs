//! Cases of goroutines that wait for a time. The peer's own names come from `super::backend`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use narrowboat_bench::cli::{fail, per_operation};
use narrowboat_bench::cpu;
use narrowboat_bench::timing::{ASKED, Lateness, scattered};

use super::backend::{bounded, sleep, spawn};

/// `count` goroutines, each asleep until a point of its own within `window`; CPU time of the
/// process for each, from the first spawn to the last end.
pub fn sleepers(count: usize, window: Duration) {
    sleep_all((count / 10).max(1), window / 10);
    let before = cpu::busy();
    sleep_all(count, window);
    per_operation("sleepers", cpu::busy() - before, count);
}

fn sleep_all(count: usize, window: Duration) {
    let (done, all) = bounded(1);
    let shared = Arc::new((AtomicUsize::new(count), done));
    for index in 0..count {
        let shared = shared.clone();
        spawn(move || {
            let (left, done) = &*shared;
            let asked = scattered(index, window);
            let begun = Instant::now();
            sleep(asked);
            if begun.elapsed() < asked {
                fail("a sleeper woke early");
            }
            if left.fetch_sub(1, SeqCst) == 1 {
                done.send(()).unwrap();
            }
        });
    }
    all.recv().unwrap();
}

/// `count` sleeps of a millisecond, one after the other, while nothing else runs.
pub fn lateness(count: usize) {
    let mut lateness = Lateness::default();
    for _ in 0..count {
        let begun = Instant::now();
        sleep(ASKED);
        lateness.note(begun.elapsed());
    }
    lateness.report();
}
