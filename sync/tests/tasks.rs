//! Async tasks that are dropped, forgotten, or polled by a waker, while they wait for a lock or a
//! semaphore.

use narrowboat_sync::{Condvar, Mutex, Semaphore};
use narrowboat_testing::{LONG, ms, sized, within};
use std::any::Any;
use std::mem;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

/// A waker that drops a value, when it is woken.
#[derive(Default)]
struct Dropper(std::sync::Mutex<Option<Box<dyn Any + Send>>>);

impl Wake for Dropper {
    fn wake(self: Arc<Dropper>) {
        let value = self.0.lock().unwrap().take();
        drop(value);
    }
}

fn poll<F: Future + ?Sized>(future: Pin<&mut F>, waker: &Waker) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(waker))
}

/// Polls a future that has to wait, and forgets it.
fn forget_waiting<F: Future>(future: F) {
    let mut future = Box::pin(future);
    assert!(poll(future.as_mut(), Waker::noop()).is_pending());
    mem::forget(future);
}

#[test]
fn a_waker_drops_another_task_that_has_its_permits() {
    within(LONG, || {
        static PERMITS: Semaphore = Semaphore::new(0);
        let dropper = Arc::new(Dropper::default());
        let mut first = Box::pin(PERMITS.acquire_async());
        let mut others: Vec<_> = (0..3).map(|_| Box::pin(PERMITS.acquire_async())).collect();
        assert!(poll(first.as_mut(), &dropper.clone().into()).is_pending());
        for other in &mut others {
            assert!(poll(other.as_mut(), Waker::noop()).is_pending());
        }
        *dropper.0.lock().unwrap() = Some(Box::new(others));
        PERMITS.add_permits(4);
        assert_eq!(PERMITS.available_permits(), 3);
        drop(first);
        assert_eq!(PERMITS.available_permits(), 4);
    });
}

#[test]
fn drops_and_releases_race_cleanly() {
    let (permits, round) = (Semaphore::new(0), AtomicUsize::new(0));
    let rounds = sized(50_000, 20_000);
    thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0..rounds {
                while round.load(Ordering::Acquire) <= n {
                    thread::yield_now();
                }
                permits.add_permits(1);
            }
        });
        for n in 0..rounds {
            let mut future = pin!(permits.acquire_async());
            assert!(poll(future.as_mut(), Waker::noop()).is_pending());
            round.store(n + 1, Ordering::Release);
            (0..n % 64).for_each(|_| std::hint::spin_loop());
            drop(mem::replace(&mut *future, permits.acquire_async()));
            permits.acquire().forget();
        }
    });
    assert_eq!(permits.available_permits(), 0);
}

/// Has its value at one address, whichever it is.
#[repr(C)]
enum Place {
    Permits(Semaphore),
    Notification(Condvar),
}

#[test]
fn a_forgotten_task_is_no_waiter_of_the_next_thing_at_its_address() {
    within(LONG, || {
        let mut place = Box::new(Place::Permits(Semaphore::new(0)));
        if let Place::Permits(semaphore) = &*place {
            // As a waiter of a condition variable this would have its lock at that address.
            forget_waiting(semaphore.acquire_many_async(8));
        }
        *place = Place::Notification(Condvar::new());
        let Place::Notification(condvar) = &*place else { unreachable!() };
        let (set, woken) = (Mutex::new(false), AtomicBool::new(false));
        thread::scope(|scope| {
            scope.spawn(|| {
                drop(condvar.wait_while(set.lock().unwrap(), |set| !*set).unwrap());
                woken.store(true, Ordering::Relaxed);
            });
            thread::sleep(ms(20));
            *set.lock().unwrap() = true;
            while !woken.load(Ordering::Relaxed) {
                condvar.notify_all();
                thread::sleep(ms(1));
            }
        });
    });
}

#[test]
fn a_forgotten_task_does_not_get_the_permits_of_the_next_semaphore() {
    within(LONG, || {
        let mut semaphore = Box::new(Semaphore::new(0));
        forget_waiting(semaphore.acquire_many_async(5));
        *semaphore = Semaphore::new(0);
        let mut next = Box::pin(semaphore.acquire_async());
        assert!(poll(next.as_mut(), Waker::noop()).is_pending());
        semaphore.add_permits(1);
        assert!(poll(next.as_mut(), Waker::noop()).is_ready());
    });
}

#[test]
fn a_forgotten_task_is_not_granted_the_next_lock() {
    within(LONG, || {
        let mut mutex = Box::new(Mutex::new(0));
        mem::forget(mutex.lock().unwrap());
        forget_waiting(mutex.lock_async());
        *mutex = Mutex::new(0);
        let guard = mutex.lock().unwrap();
        let mut next = Box::pin(mutex.lock_async());
        assert!(poll(next.as_mut(), Waker::noop()).is_pending());
        thread::sleep(ms(5));
        drop(guard);
        assert!(poll(next.as_mut(), Waker::noop()).is_ready());
    });
}

/// A waker that polls its future, while it holds the lock that the future waits for.
struct Poller(std::sync::Mutex<Option<Pin<Box<dyn Future<Output = ()> + Send>>>>);

static LOCK: Mutex<u32> = Mutex::new(0);

impl Wake for Poller {
    fn wake(self: Arc<Poller>) {
        let Some(mut future) = self.0.lock().unwrap().take() else { return };
        let guard = LOCK.try_lock().unwrap();
        assert!(poll(future.as_mut(), Waker::noop()).is_pending());
        drop(guard);
        drop(future);
    }
}

#[test]
fn a_waker_polls_a_task_that_was_woken_to_try_again() {
    within(LONG, || {
        let guard = LOCK.lock().unwrap();
        let poller = Arc::new(Poller(std::sync::Mutex::new(None)));
        let mut first: Pin<Box<dyn Future<Output = ()> + Send>> =
            Box::pin(async { *LOCK.lock_async().await.unwrap() += 1 });
        assert!(poll(first.as_mut(), &poller.clone().into()).is_pending());
        *poller.0.lock().unwrap() = Some(first);
        let mut second = Box::pin(LOCK.lock_async());
        assert!(poll(second.as_mut(), Waker::noop()).is_pending());
        drop(guard);
        for _ in 0..3 {
            if poll(second.as_mut(), Waker::noop()).is_ready() {
                return;
            }
            drop(LOCK.lock().unwrap());
        }
        panic!("the lock is free, and the first of its waiters was not woken");
    });
}
