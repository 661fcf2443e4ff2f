//! Async tasks that are dropped, forgotten, or polled by a waker, while they wait for a lock or a
//! semaphore.

use narrowboat_sync::{Condvar, Mutex, RwLock, Semaphore};
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

/// Four readers are woken by one release. The waker of the first drops the other three.
#[test]
fn a_waker_drops_other_readers_that_were_woken_with_it() {
    for patient in [true, false] {
        within(LONG, move || {
            static LOCK: RwLock<u32> = RwLock::new(0);
            let guard = LOCK.write().unwrap();
            let dropper = Arc::new(Dropper::default());
            let mut first = Box::pin(async { *LOCK.read_async().await.unwrap() });
            let mut others: Vec<Pin<Box<dyn Future<Output = u32> + Send>>> = Vec::new();
            assert!(poll(first.as_mut(), &dropper.clone().into()).is_pending());
            for _ in 0..3 {
                others.push(Box::pin(async { *LOCK.read_async().await.unwrap() }));
                assert!(poll(others.last_mut().unwrap().as_mut(), Waker::noop()).is_pending());
            }
            *dropper.0.lock().unwrap() = Some(Box::new(others));
            if !patient {
                // So long that they are granted the lock.
                thread::sleep(ms(5));
            }
            drop(guard);
            assert_eq!(LOCK.try_write().is_ok(), patient, "a grant is held until it is polled or dropped");
            assert!(poll(first.as_mut(), Waker::noop()).is_ready());
            assert!(LOCK.try_write().is_ok());
        });
    }
}

/// A waker that cannot be cloned, once.
static UNCLONABLE: std::task::RawWakerVTable =
    std::task::RawWakerVTable::new(|_| panic!("this waker cannot be cloned"), |_| (), |_| (), |_| ());

/// A woken task that meets such a waker in its poll waits no more; others do.
#[test]
fn a_waker_that_cannot_be_cloned_loses_no_wake_up() {
    within(LONG, || {
        let lock = Mutex::new(());
        for polls_again in [false, true] {
            let held = lock.lock().unwrap();
            let mut first = Box::pin(lock.lock_async());
            let mut second = Box::pin(lock.lock_async());
            assert!(poll(first.as_mut(), Waker::noop()).is_pending());
            assert!(poll(second.as_mut(), Waker::noop()).is_pending());
            // At once, so that the first task is woken to try again, and is not granted the lock.
            drop(held);
            let held = lock.lock().unwrap();
            // SAFETY: its functions use no data.
            let waker = unsafe { Waker::new(std::ptr::null(), &UNCLONABLE) };
            let panics = || poll(first.as_mut(), &waker);
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(panics)).unwrap_err();
            if polls_again {
                // It is behind the second one now.
                assert!(poll(first.as_mut(), Waker::noop()).is_pending());
                drop(held);
                assert!(poll(second.as_mut(), Waker::noop()).is_ready());
                assert!(poll(first.as_mut(), Waker::noop()).is_ready());
            } else {
                drop(first);
                drop(held);
                assert!(poll(second.as_mut(), Waker::noop()).is_ready());
            }
        }
    });
}

#[test]
fn a_dropped_writer_lets_the_readers_behind_it_in() {
    within(LONG, || {
        let lock = RwLock::new(0);
        for wait in [ms(0), ms(5)] {
            let reading = lock.read().unwrap();
            let mut writer = Box::pin(lock.write_async());
            assert!(poll(writer.as_mut(), Waker::noop()).is_pending());
            let mut reader = Box::pin(lock.read_async());
            assert!(poll(reader.as_mut(), Waker::noop()).is_pending(), "it does not overtake");
            thread::sleep(wait);
            drop(reading);
            drop(writer);
            assert!(poll(reader.as_mut(), Waker::noop()).is_ready());
            assert!(lock.try_write().is_ok());
        }
    });
}

#[test]
fn a_dropped_writer_keeps_no_reader_from_sharing() {
    within(LONG, || {
        let lock = RwLock::new(0);
        let reading = lock.read().unwrap();
        let mut writer = Box::pin(lock.write_async());
        assert!(poll(writer.as_mut(), Waker::noop()).is_pending());
        let mut readers: Vec<_> = (0..3).map(|_| Box::pin(lock.read_async())).collect();
        for reader in &mut readers {
            assert!(poll(reader.as_mut(), Waker::noop()).is_pending());
        }
        drop(writer);
        let guards: Vec<_> = readers.iter_mut().map(|reader| poll(reader.as_mut(), Waker::noop())).collect();
        assert!(guards.iter().all(Poll::is_ready));
        drop(reading);
        assert!(lock.try_write().is_err());
        drop(guards);
        assert!(lock.try_write().is_ok());
    });
}

#[test]
fn tasks_that_are_gone_keep_no_reader_from_sharing() {
    within(LONG, || {
        for reader_leaves in [true, false] {
            let lock = RwLock::new(0);
            let writing = lock.write().unwrap();
            let mut writer = Box::pin(lock.write_async());
            assert!(poll(writer.as_mut(), Waker::noop()).is_pending());
            let mut reader = Some(Box::pin(lock.read_async()));
            assert!(poll(reader.as_mut().unwrap().as_mut(), Waker::noop()).is_pending());
            // The writer is woken to try again, but another reader comes first.
            drop(writing);
            let reading = lock.read().unwrap();
            if reader_leaves {
                reader = None;
            }
            drop(writer);
            if let Some(reader) = &mut reader {
                assert!(poll(reader.as_mut(), Waker::noop()).is_ready(), "nothing is ahead of it");
            }
            assert!(lock.try_read().is_ok(), "only readers are there");
            drop((reading, reader));
            assert!(lock.try_write().is_ok());
        }
    });
}

#[test]
fn a_writer_that_leaves_the_queue_leaves_a_lock_that_can_be_taken() {
    within(LONG, || {
        let lock = RwLock::new(0);
        let reading = lock.read().unwrap();
        let mut writer = Box::pin(lock.write_async());
        assert!(poll(writer.as_mut(), Waker::noop()).is_pending());
        drop(writer);
        drop(reading);
        assert!(lock.try_write().is_ok());
        assert!(lock.try_read().is_ok());
    });
}

/// Takes turns with a thread that releases a lock, and drops the futures that wait for it at any
/// moment of that.
fn drops_race_with_releases(hold: impl Fn(&RwLock<u32>, &AtomicUsize, usize) + Sync, reads: bool) {
    let (lock, round) = (RwLock::new(0), AtomicUsize::new(0));
    let rounds = sized(5_000, 1_000);
    thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0..rounds {
                await_step(&round, 3 * n);
                hold(&lock, &round, n);
            }
        });
        for n in 0..rounds {
            await_step(&round, 3 * n + 1);
            // The lock is held. Two wait for it; one is dropped, and the other gets it.
            let (first, mut second) = (lock.write_async(), Box::pin(lock.write_async()));
            let mut readers = [lock.read_async(), lock.read_async()].map(Box::pin);
            let mut first = Box::pin(first);
            let mut dropped: Pin<Box<dyn Future<Output = ()> + '_>> = if reads {
                let [reader, _] = &mut readers;
                assert!(poll(reader.as_mut(), Waker::noop()).is_pending());
                let [reader, _] = readers;
                Box::pin(async move { drop(reader.await.unwrap()) })
            } else {
                assert!(poll(first.as_mut(), Waker::noop()).is_pending());
                Box::pin(async move { drop(first.await.unwrap()) })
            };
            assert!(poll(dropped.as_mut(), Waker::noop()).is_pending());
            assert!(poll(second.as_mut(), Waker::noop()).is_pending());
            round.store(3 * n + 2, Ordering::Release);
            (0..n % 64).for_each(|_| std::hint::spin_loop());
            drop(dropped);
            loop {
                if let Poll::Ready(guard) = poll(second.as_mut(), Waker::noop()) {
                    *guard.unwrap() += 1;
                    break;
                }
                thread::yield_now();
            }
            round.store(3 * n + 3, Ordering::Release);
        }
    });
    assert_eq!(lock.into_inner().unwrap(), rounds as u32);
}

fn await_step(round: &AtomicUsize, step: usize) {
    while round.load(Ordering::Acquire) != step {
        thread::yield_now();
    }
}

fn until_they_wait(round: &AtomicUsize, n: usize) {
    round.store(3 * n + 1, Ordering::Release);
    await_step(round, 3 * n + 2);
}

#[test]
fn drops_and_unlocks_race_cleanly() {
    within(LONG, || {
        for reads in [false, true] {
            let hold = |lock: &RwLock<u32>, round: &AtomicUsize, n: usize| {
                let guard = lock.write().unwrap();
                until_they_wait(round, n);
                drop(guard);
            };
            drops_race_with_releases(hold, reads);
        }
        let share = |lock: &RwLock<u32>, round: &AtomicUsize, n: usize| {
            let guard = lock.read().unwrap();
            until_they_wait(round, n);
            drop(guard);
        };
        drops_race_with_releases(share, false);
    });
}
