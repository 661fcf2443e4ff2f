//! Async tasks that are dropped, or polled by a waker, while they wait for a lock or a semaphore.

use narrowboat_sync::{Mutex, Semaphore};
use narrowboat_testing::{LONG, sized, within};
use std::any::Any;
use std::mem;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
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
