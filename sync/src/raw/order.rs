//! The order in which waiters are served. These tests are inside the crate, because only here a
//! test can see that a waiter is in a queue.
//!
//! The waiters are alternately threads and goroutines; under Miri they are threads.

use super::lock::RawLock;
use super::semaphore::RawSemaphore;
use crate::lot::LockedQueue;
use narrowboat_runtime::{sleep, spawn};
use std::panic::Location;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Waiters that wait for `raw` in a known order, and a log of what they did.
struct Scenario<R> {
    raw: Arc<R>,
    log: Arc<Mutex<Vec<&'static str>>>,
    length: usize,
    ends: Vec<Box<dyn FnOnce()>>,
}

impl<R: Send + Sync + 'static> Scenario<R> {
    fn new(raw: R) -> Scenario<R> {
        // Where the clock is that of the models, whatever waits has waited for long.
        #[cfg(narrowboat_threads)]
        crate::shim::model_time::set_stride(10_000);
        Scenario { raw: Arc::new(raw), log: Arc::default(), length: 0, ends: Vec::new() }
    }

    /// Starts a waiter that calls `wait`, logs its name and calls `leave`. Returns when it is in
    /// the queue.
    fn add_waiter(&mut self, name: &'static str, wait: fn(&R), leave: fn(&R)) {
        let (raw, log) = (self.raw.clone(), self.log.clone());
        let waiter = move || {
            wait(&raw);
            log.lock().unwrap().push(name);
            leave(&raw);
        };
        if cfg!(miri) || self.length & 1 == 0 {
            let thread = std::thread::spawn(waiter);
            self.ends.push(Box::new(|| thread.join().unwrap()));
        } else {
            let goroutine = spawn(waiter);
            self.ends.push(Box::new(|| goroutine.join().unwrap()));
        }
        self.length += 1;
        while LockedQueue::of(&*self.raw).len() < self.length {
            sleep(Duration::from_millis(1));
        }
    }

    /// Waits until all waiters have waited long enough to be granted what they wait for. Then calls
    /// `release`, waits for all of them, and returns their names in the order in which they were
    /// served.
    fn run_after(self, release: fn(&R)) -> Vec<&'static str> {
        sleep(Duration::from_millis(5));
        release(&self.raw);
        self.ends.into_iter().for_each(|end| end());
        assert!(LockedQueue::of(&*self.raw).is_empty());
        self.log.lock().unwrap().clone()
    }
}

fn lock(raw: &RawLock) {
    raw.lock(Location::caller());
}

fn lock_shared(raw: &RawLock) {
    raw.lock_shared(Location::caller());
}

fn acquire<const N: usize>(raw: &RawSemaphore) {
    raw.acquire(N, Location::caller());
}

fn release<const N: usize>(raw: &RawSemaphore) {
    raw.release(N);
}

#[test]
fn turns_are_in_the_order_of_arrival() {
    let mut scenario = Scenario::new(RawLock::new());
    lock(&scenario.raw);
    for name in ["one", "two", "three", "four", "five"] {
        scenario.add_waiter(name, lock, RawLock::unlock);
    }
    assert_eq!(scenario.run_after(RawLock::unlock), ["one", "two", "three", "four", "five"]);
}

/// Sharers come in together, so their order among themselves is not known.
#[test]
fn sharers_do_not_overtake_and_are_not_overtaken() {
    let mut scenario = Scenario::new(RawLock::new());
    lock(&scenario.raw);
    for name in ["sharers", "sharers", "alone", "others", "others", "others", "alone too", "last"] {
        if name.starts_with("alone") {
            scenario.add_waiter(name, lock, RawLock::unlock);
        } else {
            scenario.add_waiter(name, lock_shared, RawLock::unlock_shared);
        }
    }
    assert!(!scenario.raw.try_lock_shared());
    let order = scenario.run_after(RawLock::unlock);
    assert_eq!(order, ["sharers", "sharers", "alone", "others", "others", "others", "alone too", "last"]);
}

/// The callers that collided with another that is not there any more, or that has the lock now.
#[test]
fn a_sharer_that_has_collided_is_served_as_any_other() {
    fn collide(raw: &RawLock) {
        raw.share_contended(true, Location::caller());
    }

    let mut scenario = Scenario::new(RawLock::new());
    collide(&scenario.raw);
    collide(&scenario.raw);
    assert!(!scenario.raw.try_lock());
    scenario.raw.unlock_shared();
    scenario.raw.unlock_shared();
    lock(&scenario.raw);
    for name in ["alone", "sharer", "last"] {
        if name == "sharer" {
            scenario.add_waiter(name, collide, RawLock::unlock_shared);
        } else {
            scenario.add_waiter(name, lock, RawLock::unlock);
        }
    }
    assert_eq!(scenario.run_after(RawLock::unlock), ["alone", "sharer", "last"]);
}

#[test]
fn a_downgrade_lets_those_in_front_share() {
    let mut scenario = Scenario::new(RawLock::new());
    lock(&scenario.raw);
    for name in ["sharer", "sharer", "alone", "late"] {
        if name == "alone" {
            scenario.add_waiter(name, lock, RawLock::unlock);
        } else {
            scenario.add_waiter(name, lock_shared, RawLock::unlock_shared);
        }
    }
    let order = scenario.run_after(|raw| {
        raw.downgrade();
        // The sharers come and go while this thread shares the lock; the other waiters wait until
        // it does not.
        while LockedQueue::of(raw).len() > 2 {
            sleep(Duration::from_millis(1));
        }
        assert!(!raw.try_lock() && !raw.try_lock_shared());
        assert_eq!(LockedQueue::of(raw).len(), 2);
        raw.unlock_shared();
    });
    assert_eq!(order, ["sharer", "sharer", "alone", "late"]);
}

#[test]
fn permits_go_to_the_first_however_many_it_wants() {
    let mut scenario = Scenario::new(RawSemaphore::new(1));
    scenario.add_waiter("two", acquire::<2>, release::<2>);
    scenario.add_waiter("three", acquire::<3>, release::<3>);
    scenario.add_waiter("one", acquire::<1>, release::<1>);
    assert!(!scenario.raw.try_acquire(1), "there is one, but there is a waiter");
    let order = scenario.run_after(|raw| {
        raw.release(1);
        while LockedQueue::of(raw).len() > 2 {
            sleep(Duration::from_millis(1));
        }
        assert!(LockedQueue::of(raw).len() == 2, "three are too many, and one waits behind");
        raw.release(1);
    });
    assert_eq!(order, ["two", "three", "one"]);
}
