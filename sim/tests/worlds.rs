//! Worlds: what runs in them, and how they end.

use narrowboat::sync::Mutex;
use narrowboat::{chan, go, sim};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The order in which goroutines come to a lock.
fn order(seed: u64) -> Vec<u32> {
    sim::run(seed, || {
        let order = Arc::new(Mutex::new(Vec::new()));
        let all: Vec<_> = (0..8)
            .map(|n| {
                let order = Arc::clone(&order);
                go!(move || {
                    for _ in 0..4 {
                        order.lock().unwrap().push(n);
                    }
                })
            })
            .collect();
        all.into_iter().for_each(|one| one.join().unwrap());
        let order = order.lock().unwrap();
        order.clone()
    })
}

#[test]
fn the_seed_decides_the_order() {
    let orders: Vec<_> = (0..20).map(order).collect();
    for (seed, expected) in orders.iter().enumerate() {
        assert_eq!(&order(seed as u64), expected);
    }
    let mut different = orders.clone();
    different.sort();
    different.dedup();
    assert!(different.len() > 15, "{} orders of 20 seeds", different.len());
}

#[test]
fn time_jumps_when_nothing_can_run() {
    let begun = Instant::now();
    let waits = sim::run(1, || {
        let (tx, rx) = chan::bounded(0);
        for hours in [3, 1, 2] {
            let tx = tx.clone();
            go!(move || {
                narrowboat::sleep(Duration::from_secs(3600 * hours));
                tx.send(hours).unwrap();
            });
        }
        drop(tx);
        rx.iter().collect::<Vec<_>>()
    });
    assert_eq!(waits, [1, 2, 3]);
    assert!(begun.elapsed() < Duration::from_secs(600));
}

fn failure(f: impl FnOnce() + Send + 'static) -> String {
    let panic = catch_unwind(AssertUnwindSafe(|| sim::run(1, f))).unwrap_err();
    panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).into()))
        .unwrap()
}

#[test]
fn a_deadlock_is_noticed_at_once() {
    let begun = Instant::now();
    let text = failure(|| {
        let (tx, rx) = chan::bounded::<u32>(0);
        let _ = rx.recv();
        drop(tx);
    });
    assert!(text.contains("wait for ever") && text.contains("worlds.rs"), "{text}");
    assert!(begun.elapsed() < Duration::from_secs(60));
}

#[test]
fn a_goroutine_that_is_left_is_named() {
    let text = failure(|| {
        let (tx, rx) = chan::bounded::<u32>(0);
        go!(move || rx.recv().is_ok());
        std::mem::forget(tx);
    });
    assert!(text.contains("are left") && text.contains("worlds.rs"), "{text}");
}

#[test]
fn a_panic_passes_through() {
    let text = failure(|| panic!("ouch"));
    assert!(text.contains("ouch") && text.contains("goroutine 1"), "{text}");
}

/// What a world has left does not disturb the next one on its processor.
#[test]
fn worlds_are_used_again_after_a_failure() {
    let expected = order(7);
    for _ in 0..10 {
        failure(|| {
            let (_tx, rx) = chan::bounded::<u32>(0);
            go!(|| narrowboat::sleep(Duration::from_secs(1000)));
            let _ = rx.recv();
        });
        assert_eq!(order(7), expected);
    }
}

#[test]
fn worlds_run_beside_each_other() {
    let expected: Vec<_> = (0..8).map(order).collect();
    let threads: Vec<_> = (0..8u64)
        .map(|n| {
            std::thread::spawn(move || (0..8).map(|k| ((n + k) % 8, order((n + k) % 8))).collect::<Vec<_>>())
        })
        .collect();
    for thread in threads {
        for (seed, order) in thread.join().unwrap() {
            assert_eq!(order, expected[seed as usize]);
        }
    }
}

#[test]
fn a_goroutine_can_make_a_world() {
    let sum = narrowboat::spawn(|| sim::run(3, || go!(|| 5).join().unwrap())).join().unwrap();
    assert_eq!(sum, 5);
}
