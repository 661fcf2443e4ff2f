//! A million async tasks that wait for one thing: they are woken, dropped and served without a
//! search through the others.

use narrowboat_chan::{bounded, unbounded, watch};
use narrowboat_testing::{Dice, LONG, sized, within};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Wake, Waker};

struct Counter(AtomicUsize);

impl Wake for Counter {
    fn wake(self: Arc<Counter>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

type Task<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// How many wait; at a channel it is a million.
const MANY: usize = 200_000;

/// Makes a crowd of this size wait, drops half of it in random order, wakes the rest with `wake`,
/// which gets its number, and says how many were woken and are ready.
fn crowd<T>(size: usize, make: impl Fn() -> Task<T>, wake: impl FnOnce(usize)) -> (usize, usize, usize) {
    let counter = Arc::new(Counter(AtomicUsize::new(0)));
    let waker = Waker::from(counter.clone());
    let mut tasks: Vec<Task<T>> = (0..sized(size, size / 100)).map(|_| make()).collect();
    let polled = |task: &mut Task<T>| task.as_mut().poll(&mut Context::from_waker(&waker)).is_ready();
    assert!(!tasks.iter_mut().any(polled));
    let mut dice = Dice::new(3);
    for _ in 0..tasks.len() / 2 {
        let which = dice.roll(tasks.len() as u64) as usize;
        drop(tasks.swap_remove(which));
    }
    wake(tasks.len());
    let ready = tasks.iter_mut().filter_map(|task| polled(task).then_some(())).count();
    (tasks.len(), counter.0.load(Ordering::Relaxed), ready)
}

#[test]
fn at_a_channel() {
    within(LONG * 2, || {
        let (tx, rx) = unbounded();
        let make = || -> Task<bool> {
            let rx = rx.clone();
            Box::pin(async move { rx.recv_async().await.is_ok() })
        };
        let (left, woken, ready) = crowd(1_000_000, make, |left| (0..left).for_each(|n| tx.send(n).unwrap()));
        assert_eq!((woken, ready), (left, left));
        assert!(rx.is_empty());
    });
}

#[test]
fn at_a_full_channel_that_is_closed() {
    within(LONG * 2, || {
        let (tx, rx) = bounded(1);
        tx.send(0).unwrap();
        let make = || -> Task<bool> {
            let tx = tx.clone();
            Box::pin(async move { tx.send_async(1).await.is_ok() })
        };
        let (left, woken, ready) = crowd(MANY, make, |_| assert!(rx.close()));
        assert_eq!((woken, ready), (left, left));
        assert_eq!(rx.iter().count(), 1);
    });
}

#[test]
fn at_a_latest_value() {
    within(LONG * 2, || {
        let (tx, rx) = watch::channel(0);
        let make = || -> Task<()> {
            let mut rx = rx.clone();
            Box::pin(async move { rx.changed_async().await.unwrap() })
        };
        let (left, woken, ready) = crowd(MANY, make, |_| tx.send(1).unwrap());
        assert_eq!((woken, ready), (left, left));
    });
}

#[test]
fn at_a_semaphore() {
    static PERMITS: narrowboat::sync::Semaphore = narrowboat::sync::Semaphore::new(0);
    within(LONG * 2, || {
        let make = || -> Task<()> { Box::pin(async { PERMITS.acquire_async().await.forget() }) };
        let (left, woken, ready) = crowd(MANY, make, |left| PERMITS.add_permits(left));
        assert_eq!((woken, ready), (left, left));
        assert_eq!(PERMITS.available_permits(), 0);
    });
}

#[test]
fn at_a_lock_that_is_read() {
    static LOCK: narrowboat::sync::RwLock<u32> = narrowboat::sync::RwLock::new(7);
    within(LONG * 2, || {
        let writing = LOCK.write().unwrap();
        let make = || -> Task<u32> { Box::pin(async { *LOCK.read_async().await.unwrap() }) };
        let (left, woken, ready) = crowd(MANY, make, move |_| drop(writing));
        assert_eq!((woken, ready), (left, left));
        assert!(LOCK.try_write().is_ok());
    });
}
