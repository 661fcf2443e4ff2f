//! Async tasks that are dropped while they wait for a semaphore.

use narrowboat_sync::Semaphore;
use narrowboat_testing::sized;
use std::mem;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::thread;

fn poll<F: Future + ?Sized>(future: Pin<&mut F>, waker: &Waker) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(waker))
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
