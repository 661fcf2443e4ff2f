//! Bugs in what goroutines wait for: orders of locks, conditions, permits.

use super::{Bug, bug, cell, go_all};
use narrowboat::sync::{Condvar, Mutex, RwLock, Semaphore};
use narrowboat::{chan, go, sleep, spawn, yield_now};
use std::sync::Arc;
use std::time::Duration;

pub const BUGS: &[Bug] = &[
    bug!("order of locks", "two take two locks in opposite orders", lock_order),
    bug!("dining philosophers", "each holds its left fork and waits for the right one", philosophers),
    bug!("lost wake-up", "the condition is looked at before the lock is taken", lost_wake_up),
    bug!("if in the place of while", "a woken consumer takes what another one has taken", if_not_while),
    bug!("the wrong one is woken", "one condition for two things, and notify_one", wrong_one),
    bug!("unlocked twice", "a permit is given back by condition, twice", unlocked_twice),
    bug!("permit lost in an error", "an early return keeps the permit", permit_lost),
    bug!("barrier used again", "the second round's first is counted into the first round", barrier_again),
    bug!("read while a writer waits", "a read lock is taken twice, and a writer comes between", read_twice),
    bug!("writer starves", "readers overlap for ever, and have precedence", writer_starves),
    bug!("lock held across a send", "the receiver needs the lock before it receives", lock_across_send),
];

fn lock_order<const FIXED: bool>() {
    let (a, b) = (cell(0), cell(0));
    let other = go!({
        let (a, b) = (a.clone(), b.clone());
        move || {
            let (first, second) = if FIXED { (a, b) } else { (b, a) };
            let mut first = first.lock().unwrap();
            *second.lock().unwrap() += 1;
            *first += 1;
        }
    });
    {
        let mut first = a.lock().unwrap();
        *b.lock().unwrap() += 1;
        *first += 1;
    }
    other.join().unwrap();
}

fn philosophers<const FIXED: bool>() {
    let forks: Arc<Vec<_>> = Arc::new((0..3).map(|_| Mutex::new(())).collect());
    go_all(3, |seat| {
        let forks = forks.clone();
        move || {
            let (mut left, mut right) = (seat, (seat + 1) % 3);
            if FIXED && left > right {
                std::mem::swap(&mut left, &mut right);
            }
            let _left = forks[left].lock().unwrap();
            let _right = forks[right].lock().unwrap();
        }
    });
}

fn lost_wake_up<const FIXED: bool>() {
    let shared = Arc::new((Mutex::new(false), Condvar::new()));
    let waker = go!({
        let shared = shared.clone();
        move || {
            *shared.0.lock().unwrap() = true;
            shared.1.notify_one();
        }
    });
    if FIXED {
        let mut ready = shared.0.lock().unwrap();
        while !*ready {
            ready = shared.1.wait(ready).unwrap();
        }
    } else if !*shared.0.lock().unwrap() {
        let ready = shared.0.lock().unwrap();
        let _ready = shared.1.wait(ready).unwrap();
    }
    waker.join().unwrap();
}

fn if_not_while<const FIXED: bool>() {
    let shared = Arc::new((Mutex::new(0), Condvar::new()));
    let consumers: Vec<_> = (0..2)
        .map(|_| {
            let shared = shared.clone();
            go!(move || {
                let mut items = shared.0.lock().unwrap();
                if FIXED {
                    while *items == 0 {
                        items = shared.1.wait(items).unwrap();
                    }
                } else if *items == 0 {
                    items = shared.1.wait(items).unwrap();
                }
                assert!(*items > 0, "nothing is there");
                *items -= 1;
            })
        })
        .collect();
    for _ in 0..2 {
        *shared.0.lock().unwrap() += 1;
        shared.1.notify_all();
        yield_now();
    }
    consumers.into_iter().for_each(|consumer| consumer.join().unwrap());
}

/// A buffer of one item.
fn wrong_one<const FIXED: bool>() {
    let shared = Arc::new((Mutex::new(false), Condvar::new()));
    let step = |full_before: bool| {
        let shared = shared.clone();
        move || {
            let mut full = shared.0.lock().unwrap();
            while *full != full_before {
                full = shared.1.wait(full).unwrap();
            }
            *full = !*full;
            if FIXED { shared.1.notify_all() } else { shared.1.notify_one() }
        }
    };
    let puts = (0..2).map(|_| spawn(step(false)));
    let all: Vec<_> = puts.chain((0..2).map(|_| spawn(step(true)))).collect();
    all.into_iter().for_each(|one| one.join().unwrap());
}

fn unlocked_twice<const FIXED: bool>() {
    let (permits, held, inside) = (Arc::new(Semaphore::new(1)), cell(true), cell(0));
    permits.acquire().forget();
    // The holder and its watchdog both give the permit back if it is still held.
    go_all(2, |_| {
        let (permits, held) = (permits.clone(), held.clone());
        move || {
            let mut still = held.lock().unwrap();
            if *still {
                if !FIXED {
                    drop(still);
                    still = held.lock().unwrap();
                }
                *still = false;
                permits.add_permits(1);
            }
        }
    });
    go_all(2, |_| {
        let (permits, inside) = (permits.clone(), inside.clone());
        move || {
            let _permit = permits.acquire();
            *inside.lock().unwrap() += 1;
            assert_eq!(*inside.lock().unwrap(), 1, "two are inside");
            *inside.lock().unwrap() -= 1;
        }
    });
}

fn permit_lost<const FIXED: bool>() {
    let (permits, closed) = (Arc::new(Semaphore::new(1)), cell(false));
    go_all(3, |n| {
        let (permits, closed) = (permits.clone(), closed.clone());
        move || {
            if n == 0 {
                *closed.lock().unwrap() = true;
                return;
            }
            permits.acquire().forget();
            if *closed.lock().unwrap() {
                if FIXED {
                    permits.add_permits(1);
                }
                return;
            }
            yield_now();
            permits.add_permits(1);
        }
    });
}

fn barrier_again<const FIXED: bool>() {
    let shared = Arc::new((Mutex::new((0, 0)), Condvar::new()));
    go_all(2, |_| {
        let shared = shared.clone();
        move || {
            for _ in 0..2 {
                let mut state = shared.0.lock().unwrap();
                let round = state.1;
                state.0 += 1;
                if state.0 == 2 {
                    *state = (0, round + 1);
                    shared.1.notify_all();
                    continue;
                }
                // Without the rounds, the other one may be in the next before this one looks.
                while if FIXED { state.1 == round } else { state.0 != 0 } {
                    state = shared.1.wait(state).unwrap();
                }
            }
        }
    });
}

fn read_twice<const FIXED: bool>() {
    let value = Arc::new(RwLock::new(1));
    let writer = go!({
        let value = value.clone();
        move || *value.write().unwrap() += 1
    });
    let first = value.read().unwrap();
    let sum = if FIXED { *first * 2 } else { *first + *value.read().unwrap() };
    drop(first);
    writer.join().unwrap();
    assert!(sum == 2 || sum == 4);
}

fn writer_starves<const FIXED: bool>() {
    #[derive(Default)]
    struct State {
        readers: usize,
        writers: usize,
        written: bool,
    }
    let shared = Arc::new((Mutex::new(State::default()), Condvar::new()));
    let readers: Vec<_> = (0..2u64)
        .map(|n| {
            let shared = shared.clone();
            go!(move || {
                sleep(Duration::from_millis(n * 5));
                while !shared.0.lock().unwrap().written {
                    let mut state = shared.0.lock().unwrap();
                    while FIXED && state.writers > 0 {
                        state = shared.1.wait(state).unwrap();
                    }
                    state.readers += 1;
                    drop(state);
                    sleep(Duration::from_millis(9));
                    shared.0.lock().unwrap().readers -= 1;
                    shared.1.notify_all();
                    sleep(Duration::from_millis(1));
                }
            })
        })
        .collect();
    sleep(Duration::from_millis(7));
    let mut state = shared.0.lock().unwrap();
    state.writers += 1;
    while state.readers > 0 {
        state = shared.1.wait(state).unwrap();
    }
    (state.written, state.writers) = (true, 0);
    drop(state);
    shared.1.notify_all();
    readers.into_iter().for_each(|reader| reader.join().unwrap());
}

fn lock_across_send<const FIXED: bool>() {
    let (tx, rx) = chan::bounded(0);
    let count = cell(0);
    let sender = go!({
        let count = count.clone();
        move || {
            let mut held = count.lock().unwrap();
            *held += 1;
            let message = *held;
            if FIXED {
                drop(held);
            }
            tx.send(message).unwrap();
        }
    });
    let before = *count.lock().unwrap();
    assert!(before <= 1);
    rx.recv().unwrap();
    sender.join().unwrap();
}
