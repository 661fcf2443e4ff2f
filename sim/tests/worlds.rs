//! Worlds: what runs in them, and how they end.

use narrowboat::sync::Mutex;
use narrowboat::{chan, go, sim};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
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
fn a_world_is_not_over_before_its_first_goroutine_has_come() {
    // What looks at goroutines has the loops of all processors run, also that of a world which has
    // just been put there.
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                narrowboat::dump();
            }
        });
        let worlds =
            [0; 4].map(|_| scope.spawn(|| (0..2_000).for_each(|n| assert_eq!(sim::run(n, move || n), n))));
        let outcomes = worlds.map(|one| one.join());
        done.store(true, Ordering::Relaxed);
        assert!(outcomes.iter().all(Result::is_ok));
    });
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

#[test]
fn a_deadlock_at_the_locks_of_std_is_noticed() {
    let text = failure(|| {
        let locks = Arc::new((std::sync::Mutex::new(()), std::sync::Mutex::new(())));
        let (met, meet) = chan::bounded::<()>(0);
        let other = go!({
            let locks = Arc::clone(&locks);
            move || {
                let _second = locks.1.lock().unwrap();
                met.send(()).unwrap();
                drop(locks.0.lock().unwrap());
            }
        });
        let _first = locks.0.lock().unwrap();
        meet.recv().unwrap();
        drop(locks.1.lock().unwrap());
        other.join().unwrap();
    });
    assert!(text.contains("wait for ever"), "{text}");
}

/// What a world does not decide is waited for, in real time.
#[test]
fn a_world_waits_for_threads() {
    let sum = sim::run(1, || {
        let thread = std::thread::spawn(|| {
            std::thread::sleep(Duration::from_millis(30));
            20
        });
        let (tx, rx) = chan::bounded(0);
        go!(move || tx.send(22).unwrap());
        rx.recv().unwrap() + thread.join().unwrap()
    });
    assert_eq!(sum, 42);
}

/// What a world has left does not take a wake-up that others wait for.
#[test]
fn a_goroutine_that_is_left_does_not_hold_up_a_lock_of_std() {
    static LOCK: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let held = LOCK.lock().unwrap();
    let text = failure(|| drop(LOCK.lock()));
    assert!(text.contains("wait for ever"), "{text}");
    let (tx, locked) = std::sync::mpsc::channel();
    let other = std::thread::spawn(move || {
        drop(LOCK.lock());
        tx.send(()).unwrap();
    });
    // It waits behind the goroutine.
    std::thread::sleep(Duration::from_millis(100));
    drop(held);
    locked.recv_timeout(Duration::from_secs(10)).expect("the thread is woken");
    other.join().unwrap();
}

#[test]
fn worlds_do_not_contain_each_other() {
    let text = failure(|| sim::run(2, || ()));
    assert!(text.contains("a world cannot contain another one"), "{text}");
}

#[test]
fn a_crowd_lives_in_a_world() {
    let sum = sim::run(1, || {
        let (tx, rx) = chan::bounded(16);
        for n in 0..2000u64 {
            let tx = tx.clone();
            go!(move || {
                narrowboat::sleep(Duration::from_secs(n));
                tx.send(n).unwrap();
            });
        }
        drop(tx);
        rx.iter().sum::<u64>()
    });
    assert_eq!(sum, 1999 * 1000);
}

/// Spawns from a world stay in it, also where the runtime would place them elsewhere.
#[test]
fn children_stay_in_their_world() {
    for seed in 0..20 {
        let stayed = sim::run(seed, || {
            let all: Vec<_> = (0..200)
                .map(|_| {
                    go!(|| {
                        let parent = narrowboat_runtime::world::current().map(|world| world.id());
                        let child = go!(|| narrowboat_runtime::world::current().map(|world| world.id()));
                        parent.is_some() && child.join().unwrap() == parent
                    })
                })
                .collect();
            all.into_iter().all(|one| one.join().unwrap())
        });
        assert!(stayed);
    }
}
