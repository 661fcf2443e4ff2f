//! Cases of tasks that wait for a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use narrowboat_bench::cli::{fail, per_operation};
use narrowboat_bench::cpu;
use narrowboat_bench::timing::{ASKED, HOUR, Lateness, scattered};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{sleep, timeout};

use super::channels::warmed;

/// `count` tasks, each asleep until a point of its own within `window`; CPU time of the process for each, from the
/// first spawn to the last end.
pub async fn sleepers(count: usize, window: Duration) {
    sleep_all((count / 10).max(1), window / 10).await;
    let before = cpu::busy();
    sleep_all(count, window).await;
    per_operation("sleepers", cpu::busy() - before, count);
}

async fn sleep_all(count: usize, window: Duration) {
    let (done, mut all) = mpsc::channel(1);
    let shared = Arc::new((AtomicUsize::new(count), done));
    for index in 0..count {
        let shared = shared.clone();
        tokio::spawn(async move {
            let (left, done) = &*shared;
            let asked = scattered(index, window);
            let begun = Instant::now();
            sleep(asked).await;
            if begun.elapsed() < asked {
                fail("a sleeper woke early");
            }
            if left.fetch_sub(1, SeqCst) == 1 {
                done.try_send(()).expect("the only message");
            }
        });
    }
    all.recv().await.expect("the last task sends");
}

/// `count` tasks, each in a wait that gives up after an hour; when all of them wait, what they wait for closes. CPU time
/// of the process for each, from the first spawn to the last end. They wait for a permit of one shared semaphore: tokio
/// has no channel that many tasks receive from.
pub async fn cancelled(count: usize) {
    cancel_all((count / 10).max(1)).await;
    let before = cpu::busy();
    cancel_all(count).await;
    per_operation("cancelled", cpu::busy() - before, count);
}

async fn cancel_all(count: usize) {
    let (done, mut all) = mpsc::channel(1);
    let shared = Arc::new((AtomicUsize::new(0), AtomicUsize::new(count), Semaphore::new(0), done));
    for _ in 0..count {
        let shared = shared.clone();
        tokio::spawn(async move {
            let (arrived, left, permits, done) = &*shared;
            arrived.fetch_add(1, SeqCst);
            if !matches!(timeout(HOUR, permits.acquire()).await, Ok(Err(_closed))) {
                fail("a wait ended otherwise than by being cancelled");
            }
            if left.fetch_sub(1, SeqCst) == 1 {
                done.try_send(()).expect("the only message");
            }
        });
    }
    while shared.0.load(SeqCst) < count {
        sleep(Duration::from_millis(1)).await;
    }
    sleep(Duration::from_millis(200)).await;
    shared.2.close();
    all.recv().await.expect("the last task sends");
}

/// Ping-pong in which each receive gives up after an hour.
pub async fn timeouts(operations: usize) {
    warmed("timeouts", operations, |operations| async move {
        let (ping, mut pinged) = mpsc::channel::<usize>(1);
        let (pong, mut ponged) = mpsc::channel::<usize>(1);
        tokio::spawn(async move {
            for _ in 0..operations {
                let message = timeout(HOUR, pinged.recv()).await.unwrap().unwrap();
                pong.send(message).await.unwrap();
            }
        });
        let ask = tokio::spawn(async move {
            for i in 0..operations {
                ping.send(i).await.unwrap();
                assert_eq!(timeout(HOUR, ponged.recv()).await, Ok(Some(i)));
            }
        });
        ask.await.unwrap();
    })
    .await;
}

/// Timers that are made and dropped again, by one task.
pub async fn stopped(operations: usize) {
    warmed("timer-stop", operations, |operations| async move {
        for _ in 0..operations {
            assert!(!sleep(HOUR).is_elapsed());
        }
    })
    .await;
}

/// `count` sleeps of a millisecond, one after the other, while nothing else runs.
pub async fn lateness(count: usize) {
    let mut lateness = Lateness::default();
    for _ in 0..count {
        let begun = Instant::now();
        sleep(ASKED).await;
        lateness.note(begun.elapsed());
    }
    lateness.report();
}
