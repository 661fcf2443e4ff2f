//! The locks of `parking_lot`, which wait for a word of their own in a thread-local, park a goroutine.

use narrowboat::{go, sleep, yield_now};
use narrowboat_testing::{again, ms, number_from_env, program, sized};
use parking_lot::{Condvar, Mutex, RwLock};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Runs the test of this name again, on few processors: what waits and what it waits for share one.
fn on_few_processors(name: &str) -> bool {
    let few = number_from_env("NARROWBOAT_PROCESSORS").is_some();
    if !few {
        for processors in ["1", "2"] {
            again(name, &[("NARROWBOAT_PROCESSORS", processors)]);
        }
    }
    few
}

#[test]
fn a_lock_may_be_held_across_a_sleep() {
    if !on_few_processors("a_lock_may_be_held_across_a_sleep") {
        return;
    }
    let count = sized(200, 50);
    program(move || {
        let total = Arc::new(Mutex::new(0));
        let adders = (0..count).map(|n| {
            let total = total.clone();
            let add = move || {
                let mut total = total.lock();
                let before = *total;
                sleep(ms(1));
                *total = before + 1;
            };
            // Threads wait for the same lock.
            if n % 10 == 0 { Ok(thread::spawn(add)) } else { Err(go!(add)) }
        });
        for adder in adders.collect::<Vec<_>>() {
            match adder {
                Ok(thread) => thread.join().unwrap(),
                Err(goroutine) => goroutine.join().unwrap(),
            }
        }
        assert_eq!(*total.lock(), count);
    });
}

#[test]
fn conditions_and_time_limits_hold() {
    if !on_few_processors("conditions_and_time_limits_hold") {
        return;
    }
    let count = sized(300, 100);
    program(move || {
        let turn = Arc::new((Mutex::new(0), Condvar::new()));
        let timeouts = Arc::new(AtomicUsize::new(0));
        let waiters: Vec<_> = (0..count)
            .map(|n| {
                let (turn, timeouts) = (turn.clone(), timeouts.clone());
                go!(move || {
                    let (now, changed) = &*turn;
                    let mut now = now.lock();
                    while *now != n {
                        if changed.wait_for(&mut now, ms(20)).timed_out() {
                            timeouts.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                    *now += 1;
                    changed.notify_all();
                })
            })
            .collect();
        waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
        assert_eq!(*turn.0.lock(), count);

        let shared = Arc::new(RwLock::new(0));
        let guard = shared.write();
        let refused = go!({
            let shared = shared.clone();
            move || shared.try_read_for(ms(20)).is_none()
        });
        assert!(refused.join().unwrap(), "{} timeouts before", timeouts.load(Ordering::Relaxed));
        let readers: Vec<_> = (0..10)
            .map(|_| {
                let shared = shared.clone();
                go!(move || {
                    let guard = shared.read();
                    yield_now();
                    *guard
                })
            })
            .collect();
        sleep(ms(5));
        drop(guard);
        assert!(readers.into_iter().all(|reader| reader.join().unwrap() == 0));
    });
}
