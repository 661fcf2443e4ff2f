//! Goroutines that are expensive to copy get slots of their own, as soon as it is known which ones are.

use narrowboat_runtime::{Config, Stacks, num_goroutines, spawn, yield_now};
use std::collections::HashSet;
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

const GOROUTINES: usize = 200;
const SLOTS: usize = 8;
const ON_PROBATION: usize = 1024;
/// How many slots are reserved for goroutines that are only plump.
const FOR_PLUMP: usize = 64;

/// In how many different places the goroutines have their stacks that `start` spawns with a function that says where it is
/// and then parks until all are there.
fn places(start: impl Fn(Box<dyn Fn(usize) + Send>)) -> usize {
    // A line that spawns its first goroutines gives each a slot of its own, until it is known how
    // they wait.
    let before = num_goroutines();
    (0..ON_PROBATION).for_each(|_| start(Box::new(|_| ())));
    while num_goroutines() > before {
        yield_now();
    }
    let (seen, all) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
    let count = Arc::new(AtomicUsize::new(0));
    for _ in 0..GOROUTINES {
        let (seen, all, count) = (seen.clone(), all.clone(), count.clone());
        start(Box::new(move |address| {
            // Nothing waits for the lock, since goroutines of one processor hold it in turn: those of a
            // line that has waited like that would not share.
            seen.lock().unwrap().push(address >> 20);
            count.fetch_add(1, Ordering::Release);
            while !all.load(Ordering::Relaxed) {
                yield_now();
            }
        }));
    }
    while count.load(Ordering::Acquire) < GOROUTINES {
        yield_now();
    }
    all.store(true, Ordering::Relaxed);
    seen.lock().unwrap().iter().collect::<HashSet<_>>().len()
}

#[inline(never)]
fn with_a_buffer<const N: usize>(park: Box<dyn Fn(usize) + Send>) {
    let buffer = [7u8; N];
    park(black_box(&buffer).as_ptr().addr());
    assert_eq!(black_box(&buffer), &[7; N]);
}

#[test]
fn goroutines_with_much_on_their_stacks_do_not_share_slots() {
    Config::new().stacks(Stacks::Shared).processors(1).stack_slots(SLOTS).workers(1).start().unwrap();
    // What the first ones are like is seen before any of them shares.
    let fat = places(|park| drop(spawn(|| with_a_buffer::<16_384>(park))));
    assert_eq!(fat, GOROUTINES, "places for as many fat goroutines");
    let plump = places(|park| drop(spawn(|| with_a_buffer::<2_048>(park))));
    assert!(plump >= FOR_PLUMP, "{plump} places for {GOROUTINES} plump goroutines");
    let thin = places(|park| drop(spawn(|| with_a_buffer::<200>(park))));
    assert!(thin <= SLOTS, "{thin} places for {GOROUTINES} thin goroutines");
}
