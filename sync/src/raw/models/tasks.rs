//! Async tasks that wait for a lock or a semaphore, and that are dropped in their waits.

use super::super::lock::{LockWait, Mode, RawLock};
use super::super::semaphore::RawSemaphore;
use super::{Guarded, beside, model};
use crate::shim::model_time;
use loom::sync::{Condvar, Mutex};
use narrowboat_runtime::park::TaskWait;
use std::panic::Location;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

/// A smallest executor: the thread of one task sleeps until its waker is called.
struct Executor(Mutex<bool>, Condvar);

impl Wake for Executor {
    fn wake(self: Arc<Executor>) {
        *self.0.lock().unwrap() = true;
        self.1.notify_one();
    }
}

fn run(mut poll: impl FnMut(&Context<'_>) -> Poll<()>) {
    let executor = Arc::new(Executor(Mutex::new(false), Condvar::new()));
    let waker = Waker::from(executor.clone());
    while poll(&Context::from_waker(&waker)).is_pending() {
        let mut woken = executor.0.lock().unwrap();
        while !*woken {
            woken = executor.1.wait(woken).unwrap();
        }
        *woken = false;
    }
}

/// The schedules of a lock that is never granted, and those of one that always is.
const STRIDES: [usize; 2] = [0, 10_000];

impl Guarded<RawLock> {
    fn add_as_task(&self) {
        let mut wait = None;
        run(|cx| self.raw.poll_lock(Mode::Exclusive, &mut wait, cx));
        self.set(self.get() + 1);
        self.raw.unlock();
    }

    fn look_as_task(&self) -> usize {
        let mut wait = None;
        run(|cx| self.raw.poll_lock(Mode::Shared, &mut wait, cx));
        let seen = self.get();
        self.raw.unlock_shared();
        seen
    }

    /// A task that has to wait.
    fn enqueue(&self, mode: Mode) -> Option<LockWait> {
        let mut wait = None;
        assert!(self.raw.poll_lock(mode, &mut wait, &Context::from_waker(Waker::noop())).is_pending());
        wait
    }
}

#[test]
fn loom_a_task_and_a_thread_take_turns() {
    for stride in STRIDES {
        model(Some(3), move || {
            model_time::set_stride(stride);
            let lock = Guarded::new(RawLock::new());
            let thread = beside(&lock, |lock| lock.add_alone());
            lock.add_as_task();
            thread.join().unwrap();
            assert!(lock.raw.try_lock());
            assert_eq!(lock.get(), 2);
        });
    }
}

#[test]
fn loom_tasks_read_beside_a_writer() {
    for stride in STRIDES {
        model(Some(2), move || {
            model_time::set_stride(stride);
            let lock = Guarded::new(RawLock::new());
            let writer = beside(&lock, |lock| lock.add_alone());
            let reader = beside(&lock, |lock| assert!(lock.look_as_task() <= 1));
            assert!(lock.look_as_task() <= 1);
            writer.join().unwrap();
            reader.join().unwrap();
            assert!(lock.raw.try_lock());
            assert_eq!(lock.get(), 1);
        });
    }
}

/// A task is dropped while the lock is released: the waiter behind it gets the lock, whichever of
/// the two comes first.
fn a_dropped_task_passes_the_lock_on(mode: Mode) {
    for stride in STRIDES {
        model(Some(3), move || {
            model_time::set_stride(stride);
            let lock = Guarded::new(RawLock::new());
            lock.raw.lock(Location::caller());
            let wait = lock.enqueue(mode).unwrap();
            let behind = beside(&lock, |lock| lock.add_as_task());
            let releases = beside(&lock, |lock| lock.raw.unlock());
            lock.raw.leave(mode, wait);
            releases.join().unwrap();
            behind.join().unwrap();
            assert!(lock.raw.try_lock());
            assert_eq!(lock.get(), 1);
        });
    }
}

#[test]
fn loom_a_dropped_writer_passes_the_lock_on() {
    a_dropped_task_passes_the_lock_on(Mode::Exclusive);
}

#[test]
fn loom_a_dropped_reader_passes_the_lock_on() {
    a_dropped_task_passes_the_lock_on(Mode::Shared);
}

/// Two readers were woken together. One is dropped, the other one reads, and a writer comes after.
#[test]
fn loom_one_of_two_readers_is_dropped() {
    for stride in STRIDES {
        model(Some(3), move || {
            model_time::set_stride(stride);
            let lock = Guarded::new(RawLock::new());
            lock.raw.lock(Location::caller());
            let (dropped, mut stays) = (lock.enqueue(Mode::Shared).unwrap(), lock.enqueue(Mode::Shared));
            let writer = beside(&lock, |lock| lock.add_alone());
            let releases = beside(&lock, |lock| lock.raw.unlock());
            lock.raw.leave(Mode::Shared, dropped);
            run(|cx| lock.raw.poll_lock(Mode::Shared, &mut stays, cx));
            assert!(lock.get() <= 1);
            lock.raw.unlock_shared();
            releases.join().unwrap();
            writer.join().unwrap();
            assert!(lock.raw.try_lock());
            assert_eq!(lock.get(), 1);
        });
    }
}

/// A writer is dropped while the last of those that share the lock leaves it: the reader behind the
/// writer comes in.
#[test]
fn loom_a_dropped_writer_lets_a_reader_in() {
    for stride in STRIDES {
        model(Some(3), move || {
            model_time::set_stride(stride);
            let lock = Guarded::new(RawLock::new());
            lock.raw.lock_shared(Location::caller());
            let (writer, mut reader) = (lock.enqueue(Mode::Exclusive).unwrap(), lock.enqueue(Mode::Shared));
            let adds = beside(&lock, |lock| lock.add_alone());
            let releases = beside(&lock, |lock| lock.raw.unlock_shared());
            lock.raw.leave(Mode::Exclusive, writer);
            run(|cx| lock.raw.poll_lock(Mode::Shared, &mut reader, cx));
            assert!(lock.get() <= 1);
            lock.raw.unlock_shared();
            adds.join().unwrap();
            releases.join().unwrap();
            assert!(lock.raw.try_lock());
            assert_eq!(lock.get(), 1);
        });
    }
}

impl Guarded<RawSemaphore> {
    fn acquire_as_task(&self, permits: usize) {
        let mut wait = None;
        run(|cx| self.raw.poll_acquire(permits, &mut wait, cx));
    }

    fn enqueue(&self, permits: usize) -> Option<TaskWait> {
        let mut wait = None;
        let cx = Context::from_waker(Waker::noop());
        assert!(self.raw.poll_acquire(permits, &mut wait, &cx).is_pending());
        wait
    }
}

#[test]
fn loom_a_task_gets_the_permit_of_a_thread() {
    model(Some(3), || {
        let semaphore = Guarded::new(RawSemaphore::new(1));
        let thread = beside(&semaphore, |semaphore| {
            semaphore.raw.acquire(1, Location::caller());
            semaphore.set(semaphore.get() + 1);
            semaphore.raw.release(1);
        });
        semaphore.acquire_as_task(1);
        semaphore.set(semaphore.get() + 1);
        semaphore.raw.release(1);
        thread.join().unwrap();
        assert_eq!((semaphore.raw.available(), semaphore.get()), (1, 2));
    });
}

/// A task is dropped while its permits come: they are there for the waiter behind it, and none is
/// made or lost.
#[test]
fn loom_a_dropped_task_passes_its_permits_on() {
    model(Some(3), || {
        let semaphore = Guarded::new(RawSemaphore::new(0));
        let wait = semaphore.enqueue(2).unwrap();
        let behind = beside(&semaphore, |semaphore| semaphore.acquire_as_task(1));
        let releases = beside(&semaphore, |semaphore| semaphore.raw.release(2));
        semaphore.raw.leave(2, wait);
        releases.join().unwrap();
        behind.join().unwrap();
        assert_eq!(semaphore.raw.available(), 1);
        assert!(semaphore.raw.try_acquire(1), "there is no waiter");
    });
}
