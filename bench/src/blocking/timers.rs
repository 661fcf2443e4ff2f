//! Cases of goroutines that wait for a time. The peer's own names come from `super::backend`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use narrowboat_bench::cli::{fail, per_operation};
use narrowboat_bench::cpu;
use narrowboat_bench::timing::{ASKED, HOUR, Lateness, scattered};

use super::backend::{RecvTimeoutError, bounded, sleep, spawn};

/// `count` goroutines, each asleep until a point of its own within `window`; CPU time of the process for each, from
/// the first spawn to the last end.
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

/// `count` goroutines, each in a receive that gives up after an hour; when all of them wait, the channel closes. CPU time of
/// the process for each, from the first spawn to the last end.
pub fn cancelled(count: usize) {
    cancel_all((count / 10).max(1));
    let before = cpu::busy();
    cancel_all(count);
    per_operation("cancelled", cpu::busy() - before, count);
}

fn cancel_all(count: usize) {
    let (hold, inbox) = bounded::<()>(0);
    let (done, all) = bounded(1);
    let shared = Arc::new((AtomicUsize::new(0), AtomicUsize::new(count), inbox, done));
    for _ in 0..count {
        let shared = shared.clone();
        spawn(move || {
            let (arrived, left, inbox, done) = &*shared;
            arrived.fetch_add(1, SeqCst);
            if inbox.recv_timeout(HOUR) != Err(RecvTimeoutError::Disconnected) {
                fail("a wait ended otherwise than by being cancelled");
            }
            if left.fetch_sub(1, SeqCst) == 1 {
                done.send(()).unwrap();
            }
        });
    }
    while shared.0.load(SeqCst) < count {
        sleep(Duration::from_millis(1));
    }
    // The last to arrive are yet to park.
    sleep(Duration::from_millis(200));
    drop(hold);
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
