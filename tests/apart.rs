//! Goroutines that keep their processor for long live on processors apart, once the line that spawns
//! them is known for it.

use narrowboat::{JoinHandle, sleep, spawn, stats};
use narrowboat_testing::{assert_passed, block_natively, eventually, in_child_with, processor};
use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How many ordinary processors the settings below ask for: the first ones of the process.
const ORDINARY: usize = 4;
const SETTINGS: [(&str, &str); 4] = [
    ("NARROWBOAT_PIN", "0"),
    ("NARROWBOAT_WORKERS", "2"),
    ("NARROWBOAT_PROCESSORS", "4"),
    ("NARROWBOAT_STUCK", "0"),
];

fn in_child(test: &str) -> bool {
    let Some(output) = in_child_with(test, &SETTINGS) else { return true };
    assert_passed(&output, 1);
    false
}

fn block() {
    block_natively(Duration::from_millis(50));
}

fn compute() {
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(50) {
        std::hint::spin_loop();
    }
}

/// One goroutine after the other from one line that does this; each says on which processor it was.
fn one_after_the_other(many: usize, does: fn()) -> Vec<u64> {
    let one = || {
        let goroutine = spawn(move || {
            does();
            processor()
        });
        goroutine.join().unwrap()
    };
    (0..many).map(|_| one()).collect()
}

/// Where goroutines of another line live, at the same time.
fn ordinary_processors() -> HashSet<u64> {
    let goroutines: Vec<JoinHandle<u64>> = (0..200)
        .map(|_| {
            spawn(|| {
                let here = processor();
                sleep(Duration::from_millis(20));
                here
            })
        })
        .collect();
    goroutines.into_iter().map(|goroutine| goroutine.join().unwrap()).collect()
}

fn live_apart(does: fn()) {
    let before = ordinary_processors();
    assert!(before.len() <= ORDINARY, "{before:?}");
    let lived = one_after_the_other(20, does);
    let last = *lived.last().unwrap();
    assert!(!before.contains(&last), "{last} is one of {before:?}; in all {lived:?}");
    let after = ordinary_processors();
    assert!(!after.is_empty() && after.is_subset(&before), "{after:?} and {before:?}");
    let apart = stats().processors.iter().filter(|processor| processor.apart).count();
    assert!(apart > 0, "{}", stats());
}

#[test]
fn goroutines_that_block_live_apart() {
    if in_child("goroutines_that_block_live_apart") {
        live_apart(block);
    }
}

#[test]
fn goroutines_that_compute_live_apart() {
    if in_child("goroutines_that_compute_live_apart") {
        live_apart(compute);
    }
}

/// Each gets a processor of its own while there are some: these wait, without parking, until all of
/// them run.
#[test]
fn goroutines_apart_do_not_wait_for_each_other() {
    if !in_child("goroutines_apart_do_not_wait_for_each_other") {
        return;
    }
    static RUNNING: AtomicUsize = AtomicUsize::new(0);
    let blocker = |all: usize| {
        spawn(move || {
            RUNNING.fetch_add(1, Ordering::Relaxed);
            block();
            let start = Instant::now();
            while RUNNING.load(Ordering::Relaxed) < all && start.elapsed() < Duration::from_secs(30) {
                block_natively(Duration::from_millis(1));
            }
            RUNNING.load(Ordering::Relaxed) >= all
        })
    };
    (1..8).for_each(|count| assert!(blocker(count).join().unwrap()));
    let blockers: Vec<_> = (0..32).map(|_| blocker(7 + 32)).collect();
    assert!(blockers.into_iter().all(|goroutine| goroutine.join().unwrap()));
}

#[test]
fn a_line_whose_goroutines_no_longer_block_is_forgotten() {
    if !in_child("a_line_whose_goroutines_no_longer_block_is_forgotten") {
        return;
    }
    let ordinary = ordinary_processors();
    let one = |blocks: bool| {
        let goroutine = spawn(move || {
            if blocks {
                block();
            }
            processor()
        });
        goroutine.join().unwrap()
    };
    eventually("it lives apart", || !ordinary.contains(&one(true)));
    eventually("it lives among the others again", || ordinary.contains(&one(false)));
    eventually("no ordinary processor is apart", || {
        sleep(Duration::from_millis(10));
        stats().processors.iter().take(ORDINARY).all(|processor| !processor.apart)
    });
}

#[test]
fn none_are_apart_where_none_may_be() {
    for setting in [("NARROWBOAT_APART", "0"), ("NARROWBOAT_PROCESSORS", "1"), ("NARROWBOAT_PIN", "1")] {
        let others = SETTINGS.into_iter().filter(|(name, _)| *name != setting.0);
        let settings: Vec<_> = others.chain([setting]).collect();
        let Some(output) = in_child_with("none_are_apart_where_none_may_be", &settings) else {
            one_after_the_other(8, block);
            let stats = stats();
            return assert!(stats.processors.iter().all(|processor| !processor.apart), "{stats}");
        };
        assert_passed(&output, 1);
    }
}
