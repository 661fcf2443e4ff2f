//! The protocols under loom: plain threads run whole operations, down to the park of the runtime,
//! in every order.
//!
//! What a lock guards is a cell that loom watches. Two accesses at the same time are an error, and
//! so are two accesses in succession that nothing orders. A thread that is never woken is a
//! deadlock.

mod tasks;

use super::condvar::RawCondvar;
use super::lock::RawLock;
use super::once::RawOnce;
use super::semaphore::RawSemaphore;
use crate::shim::model_time;
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread::{self, JoinHandle};
use std::panic::Location;
use std::time::{Duration, Instant};

/// Runs a model over all schedules. If these are too many, `preemptions` bounds them: the model
/// then runs the schedules with at most so many switches away from a thread that could have run on.
fn model(preemptions: Option<usize>, body: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = preemptions;
    builder.check(body);
}

/// An object to wait on, and a cell that it guards.
struct Guarded<R> {
    raw: R,
    cell: UnsafeCell<usize>,
}

// SAFETY: the models test which thread may touch the cell.
unsafe impl<R: Sync> Sync for Guarded<R> {}
// SAFETY: as above.
unsafe impl<R: Send> Send for Guarded<R> {}

impl<R: Send + Sync + 'static> Guarded<R> {
    fn new(raw: R) -> Arc<Guarded<R>> {
        Arc::new(Guarded { raw, cell: UnsafeCell::new(0) })
    }

    fn get(&self) -> usize {
        // SAFETY: loom fails here if another thread writes meanwhile, or wrote without order.
        self.cell.with(|cell| unsafe { *cell })
    }

    fn set(&self, value: usize) {
        // SAFETY: as above.
        self.cell.with_mut(|cell| unsafe { *cell = value });
    }
}

fn beside<R: Send + Sync + 'static>(
    shared: &Arc<Guarded<R>>,
    f: impl FnOnce(&Guarded<R>) + Send + 'static,
) -> JoinHandle<()> {
    let shared = shared.clone();
    thread::spawn(move || f(&shared))
}

/// A deadline that may pass. Under loom and under Miri it does so whenever a thread sleeps until
/// it, however far it is; on a real clock it must be near.
fn later() -> Instant {
    let far = cfg!(any(loom, miri));
    Instant::now() + if far { Duration::from_secs(3600) } else { Duration::from_micros(200) }
}

impl Guarded<RawLock> {
    fn add_alone(&self) {
        self.raw.lock(Location::caller());
        self.set(self.get() + 1);
        self.raw.unlock();
    }

    fn look(&self) -> usize {
        self.raw.lock_shared(Location::caller());
        let seen = self.get();
        self.raw.unlock_shared();
        seen
    }
}

/// `patient`: no thread ever waits for so long that it is granted the lock. Otherwise every thread
/// does.
fn lockers(patient: bool, preemptions: Option<usize>, others: usize, rounds: usize) {
    model(preemptions, move || {
        model_time::set_stride(if patient { 0 } else { 10_000 });
        let lock = Guarded::new(RawLock::new());
        let others: Vec<_> = (0..others)
            .map(|_| beside(&lock, move |lock| (0..rounds).for_each(|_| lock.add_alone())))
            .collect();
        (0..rounds).for_each(|_| lock.add_alone());
        let threads = others.len() + 1;
        others.into_iter().for_each(|other| other.join().unwrap());
        assert!(lock.raw.try_lock());
        assert_eq!(lock.get(), threads * rounds);
    });
}

#[test]
fn loom_two_take_turns() {
    lockers(true, Some(5), 1, 2);
}

#[test]
fn loom_two_hand_the_lock_over() {
    lockers(false, Some(5), 1, 2);
}

#[test]
fn loom_three_take_turns() {
    lockers(true, Some(3), 2, 1);
}

#[test]
fn loom_three_hand_the_lock_over() {
    lockers(false, Some(3), 2, 1);
}

#[test]
fn loom_a_writer_and_two_readers() {
    for stride in [0, 10_000] {
        model(Some(3), move || {
            model_time::set_stride(stride);
            let lock = Guarded::new(RawLock::new());
            let writer = beside(&lock, |lock| {
                lock.add_alone();
            });
            let reader = beside(&lock, |lock| {
                lock.look();
            });
            let first = lock.look();
            assert!(lock.look() >= first);
            writer.join().unwrap();
            reader.join().unwrap();
            assert_eq!(lock.look(), 1);
            assert!(lock.raw.try_lock_shared() && !lock.raw.try_lock());
            lock.raw.unlock_shared();
            assert!(lock.raw.try_lock() && !lock.raw.try_lock_shared());
        });
    }
}

#[test]
fn loom_two_writers_and_a_reader() {
    for stride in [0, 10_000] {
        model(Some(3), move || {
            model_time::set_stride(stride);
            let lock = Guarded::new(RawLock::new());
            let writer = beside(&lock, |lock| lock.add_alone());
            let reader = beside(&lock, |lock| assert!(lock.look() <= 2));
            lock.add_alone();
            writer.join().unwrap();
            reader.join().unwrap();
            assert!(lock.raw.try_lock());
            assert_eq!(lock.get(), 2);
        });
    }
}

#[test]
fn loom_a_downgrade_lets_readers_in() {
    for stride in [0, 10_000] {
        model(Some(3), move || {
            model_time::set_stride(stride);
            let lock = Guarded::new(RawLock::new());
            let writer = beside(&lock, |lock| lock.add_alone());
            let reader = beside(&lock, |lock| assert!(lock.look() <= 2));
            lock.raw.lock(Location::caller());
            let before = lock.get() + 1;
            lock.set(before);
            lock.raw.downgrade();
            assert_eq!(lock.get(), before);
            lock.raw.unlock_shared();
            writer.join().unwrap();
            reader.join().unwrap();
            assert!(lock.raw.try_lock());
            assert_eq!(lock.get(), 2);
        });
    }
}

type Signalled = Guarded<(RawLock, RawCondvar)>;

impl Signalled {
    /// Takes one item, as soon as there is one.
    fn take(&self) {
        let (lock, condvar) = &self.raw;
        lock.lock(Location::caller());
        while self.get() == 0 {
            assert!(condvar.wait(lock, None, Location::caller()));
        }
        self.set(self.get() - 1);
        lock.unlock();
    }

    fn put(&self, how_many: usize, held: bool, tell: fn(&RawCondvar)) {
        let (lock, condvar) = &self.raw;
        lock.lock(Location::caller());
        self.set(self.get() + how_many);
        if held {
            tell(condvar);
        }
        lock.unlock();
        if !held {
            tell(condvar);
        }
    }
}

#[test]
fn loom_a_notification_is_not_lost() {
    for held in [false, true] {
        model(None, move || {
            model_time::set_stride(0);
            let shared = Guarded::new((RawLock::new(), RawCondvar::new()));
            let putting = beside(&shared, move |shared| shared.put(1, held, RawCondvar::notify_one));
            shared.take();
            putting.join().unwrap();
        });
    }
}

#[test]
fn loom_all_are_told() {
    for (held, stride) in [(false, 0), (true, 0), (true, 10_000)] {
        model(Some(3), move || {
            model_time::set_stride(stride);
            let shared = Guarded::new((RawLock::new(), RawCondvar::new()));
            let taking = [(); 2].map(|()| beside(&shared, |shared| shared.take()));
            shared.put(2, held, RawCondvar::notify_all);
            taking.into_iter().for_each(|taking| taking.join().unwrap());
        });
    }
}

/// One thread times out, one does not, and there is one notification: it reaches the thread that
/// has not timed out.
#[test]
fn loom_a_timeout_does_not_eat_a_notification() {
    model(Some(3), || {
        model_time::set_stride(0);
        let shared = Guarded::new((RawLock::new(), RawCondvar::new()));
        let patient = beside(&shared, |shared| shared.take());
        let hurried = beside(&shared, |shared| {
            let (lock, condvar) = &shared.raw;
            lock.lock(Location::caller());
            if shared.get() == 0 && condvar.wait(lock, Some(later()), Location::caller()) {
                // The notification was for this thread, which has no use for it.
                condvar.notify_one();
            }
            lock.unlock();
        });
        shared.put(1, false, RawCondvar::notify_one);
        patient.join().unwrap();
        hurried.join().unwrap();
    });
}

impl Guarded<RawOnce> {
    /// Runs, if no run has succeeded. `works`: the run succeeds.
    fn call(&self, works: bool) {
        if let Some(run) = self.raw.begin(true, Location::caller()) {
            assert_eq!(run.is_after_panic(), self.get() != 0);
            self.set(self.get() + 1);
            if works {
                run.done();
            }
        }
    }
}

#[test]
fn loom_one_runs_and_all_see_it() {
    model(Some(3), || {
        let once = Guarded::new(RawOnce::new());
        let calling = beside(&once, |once| once.call(true));
        let waiting = beside(&once, |once| {
            once.raw.wait(true, Location::caller());
            assert_eq!(once.get(), 1);
        });
        once.call(true);
        assert_eq!(once.get(), 1);
        calling.join().unwrap();
        waiting.join().unwrap();
    });
}

#[test]
fn loom_one_fails_and_another_runs() {
    model(Some(3), || {
        let once = Guarded::new(RawOnce::new());
        let failing = beside(&once, |once| once.call(false));
        let waiting = beside(&once, |once| {
            once.raw.wait(true, Location::caller());
            assert!(once.get() <= 2);
        });
        once.call(true);
        assert!(once.raw.is_completed());
        assert!(once.get() <= 2);
        failing.join().unwrap();
        waiting.join().unwrap();
    });
}

#[test]
fn loom_a_permit_goes_from_hand_to_hand() {
    model(Some(3), || {
        let semaphore = Guarded::new(RawSemaphore::new(1));
        let add = |semaphore: &Guarded<RawSemaphore>| {
            semaphore.raw.acquire(1, Location::caller());
            semaphore.set(semaphore.get() + 1);
            semaphore.raw.release(1);
        };
        let others = [(); 2].map(|()| beside(&semaphore, add));
        add(&semaphore);
        others.into_iter().for_each(|other| other.join().unwrap());
        assert_eq!(semaphore.get(), 3);
        assert_eq!(semaphore.raw.available(), 1);
        assert!(semaphore.raw.try_acquire(1));
    });
}

#[test]
fn loom_a_timeout_and_a_release_end_a_wait_once() {
    model(None, || {
        let semaphore = Guarded::new(RawSemaphore::new(0));
        let releasing = beside(&semaphore, |semaphore| {
            semaphore.set(1);
            semaphore.raw.release(1);
        });
        if !semaphore.raw.acquire_until(1, later(), Location::caller()) {
            semaphore.raw.acquire(1, Location::caller());
        }
        assert_eq!(semaphore.get(), 1);
        releasing.join().unwrap();
        assert_eq!(semaphore.raw.available(), 0);
        semaphore.raw.release(1);
        assert!(semaphore.raw.try_acquire(1), "there is no waiter");
    });
}

/// A release may serve a waiter with permits of another release, which has added them and has yet
/// to lock the queue. What the thread of the other release did before is then visible, too.
#[test]
fn loom_permits_of_two_come_together() {
    model(Some(3), || {
        let semaphore = Guarded::new(RawSemaphore::new(0));
        let first = beside(&semaphore, |semaphore| {
            semaphore.set(1);
            semaphore.raw.release(1);
        });
        let second = beside(&semaphore, |semaphore| semaphore.raw.release(1));
        semaphore.raw.acquire(2, Location::caller());
        assert_eq!(semaphore.get(), 1);
        first.join().unwrap();
        second.join().unwrap();
    });
}

/// A request for two permits times out or is served. In both cases the request for one behind it
/// gets its permit.
#[test]
fn loom_a_large_request_that_gives_up_lets_the_next_in() {
    model(Some(3), || {
        let semaphore = Guarded::new(RawSemaphore::new(0));
        let large = beside(&semaphore, |semaphore| {
            if semaphore.raw.acquire_until(2, later(), Location::caller()) {
                semaphore.raw.release(2);
            }
        });
        let small = beside(&semaphore, |semaphore| semaphore.raw.acquire(1, Location::caller()));
        semaphore.raw.release(1);
        small.join().unwrap();
        large.join().unwrap();
        assert_eq!(semaphore.raw.available(), 0);
    });
}
