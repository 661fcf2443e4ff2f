//! That parties which have once stood in a line behind each other do not go on doing so. One test, because it counts what
//! the whole process does.

use narrowboat_runtime::{Config, spawn, stats, yield_now};
use narrowboat_sync::{Mutex, RwLock};
use std::sync::Arc;

const PARTIES: usize = 8;
const ROUNDS: usize = 4_000;

fn parks() -> usize {
    // What a processor counts is shown at the end of its batch.
    yield_now();
    stats().processors.iter().map(|processor| processor.parks).sum()
}

/// Has all parties wait for what one of them holds, and then go on with it, each on its own. How often they park.
fn after_a_jam(hold: impl FnOnce(), round: impl Fn(usize) + Clone + Send + 'static) -> usize {
    let before = parks();
    let parties: Vec<_> = (0..PARTIES)
        .map(|_| {
            let round = round.clone();
            spawn(move || (0..ROUNDS).for_each(&round))
        })
        .collect();
    hold();
    parties.into_iter().for_each(|party| party.join().unwrap());
    parks() - before
}

/// Gives all the time to stand in line.
fn linger<G>(guard: G) {
    (0..4).for_each(|_| yield_now());
    drop(guard);
}

#[test]
fn a_jam_dissolves() {
    // On one processor none meets another in the middle, unless that was stopped there.
    Config::new().workers(1).processors(1).start().unwrap();
    narrowboat_runtime::run(|| {
        let lock = Arc::new(RwLock::new(0));
        let mixed = {
            let lock = lock.clone();
            move |n| match n % 20 {
                0 => *lock.write().unwrap() += 1,
                _ => assert!(*lock.read().unwrap() > 0),
            }
        };
        for writing in [true, false] {
            let lock = lock.clone();
            let hold = || if writing { linger(lock.write().unwrap()) } else { linger(lock.read().unwrap()) };
            let parks = after_a_jam(hold, mixed.clone());
            assert!(parks < 50 * PARTIES, "{parks} parks for {} operations", PARTIES * ROUNDS);
        }
        assert_eq!(*lock.read().unwrap(), 2 * PARTIES * ROUNDS / 20);

        let mutex = Arc::new(Mutex::new(0));
        let alone = {
            let mutex = mutex.clone();
            move |_| *mutex.lock().unwrap() += 1
        };
        let parks = after_a_jam(|| linger(mutex.lock().unwrap()), alone);
        assert!(parks < 50 * PARTIES, "{parks} parks for {} operations", PARTIES * ROUNDS);
    });
}
