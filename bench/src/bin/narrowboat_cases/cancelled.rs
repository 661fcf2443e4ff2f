//! The case of receives with a timeout that are all cancelled.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use narrowboat::chan::RecvTimeoutError;
use narrowboat_bench::cli::{fail, per_operation};
use narrowboat_bench::cpu;
use narrowboat_bench::timing::HOUR;

use super::backend::{bounded, sleep, spawn};

/// `count` goroutines, each in a receive that gives up after an hour; when all of them wait, the
/// channel closes. CPU time of the process for each, from the first spawn to the last end.
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
