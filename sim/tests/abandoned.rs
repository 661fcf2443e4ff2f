//! What goroutines that never run again leave in the queues of locks: those of a host that has
//! crashed, and those of a world that has failed.

use narrowboat::sim::{self, net};
use narrowboat::sync::{Condvar, Mutex, RwLock, Semaphore};
use narrowboat::{go, sleep};
use std::cell::UnsafeCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// Goroutines of the host `gone` begin to `wait` for what `hold` holds, and one of this host begins
/// `last` behind them. The host crashes just before the thing is released, or just after it, when
/// what was given to its goroutines has reached them or not, as the seed decides. Either way `last`
/// ends.
///
/// `hold` calls its second argument while it holds the thing.
fn a_crash_holds_up_nothing<T: Send + Sync + 'static>(
    thing: fn() -> T,
    waits: [fn(&T); 3],
    last: fn(&T),
    hold: fn(&T, &mut dyn FnMut()),
) {
    for seed in 0..100 {
        for before in [true, false] {
            sim::run(seed, move || {
                let thing = Arc::new(thing());
                let mut behind = None;
                hold(&thing, &mut || {
                    for wait in waits {
                        let thing = Arc::clone(&thing);
                        drop(net::host("gone").spawn(move || wait(&thing)));
                        sleep(SECOND);
                    }
                    let thing = Arc::clone(&thing);
                    behind = Some(go!(move || last(&thing)));
                    sleep(SECOND);
                    if before {
                        net::crash("gone");
                    }
                });
                if !before {
                    net::crash("gone");
                }
                behind.unwrap().join().unwrap();
            });
        }
    }
}

fn lock(mutex: &Mutex<()>) {
    drop(mutex.lock());
}

fn hold(mutex: &Mutex<()>, then: &mut dyn FnMut()) {
    let _held = mutex.lock();
    then();
}

#[test]
fn a_waiter_of_a_crashed_host_does_not_hold_up_a_mutex() {
    a_crash_holds_up_nothing(Mutex::default, [lock; 3], lock, hold);
}

#[test]
fn nor_a_readers_lock() {
    fn read(lock: &RwLock<()>) {
        drop(lock.read());
    }
    fn write(lock: &RwLock<()>) {
        drop(lock.write());
    }
    fn hold_shared(lock: &RwLock<()>, then: &mut dyn FnMut()) {
        let _held = lock.read();
        then();
    }
    fn hold_alone(lock: &RwLock<()>, then: &mut dyn FnMut()) {
        let _held = lock.write();
        then();
    }
    a_crash_holds_up_nothing(RwLock::default, [read, read, read], write, hold_alone);
    a_crash_holds_up_nothing(RwLock::default, [write, read, write], read, hold_alone);
    a_crash_holds_up_nothing(RwLock::default, [write, read, read], write, hold_shared);
}

/// The reader need not wait for the release: what has kept it from sharing is gone.
#[test]
fn readers_pass_a_writer_that_is_gone() {
    for seed in 0..20 {
        sim::run(seed, || {
            let lock = Arc::new(RwLock::new(()));
            let _held = lock.read();
            let writes = Arc::clone(&lock);
            drop(net::host("gone").spawn(move || drop(writes.write())));
            sleep(SECOND);
            let reads = Arc::clone(&lock);
            let reader = go!(move || drop(reads.read()));
            sleep(SECOND);
            assert!(!reader.is_finished());
            net::crash("gone");
            reader.join().unwrap();
        });
    }
}

#[test]
fn nor_a_semaphore() {
    fn one(permits: &Semaphore) {
        drop(permits.acquire());
    }
    fn three(permits: &Semaphore) {
        drop(permits.acquire_many(3));
    }
    fn in_time(permits: &Semaphore) {
        // It is over right before the crash, or then.
        let _ = permits.acquire_many_timeout(3, 3 * SECOND);
    }
    fn hold(permits: &Semaphore, then: &mut dyn FnMut()) {
        let _held = permits.acquire_many(2);
        then();
    }
    a_crash_holds_up_nothing(|| Semaphore::new(2), [one; 3], |permits| drop(permits.acquire_many(2)), hold);
    a_crash_holds_up_nothing(
        || Semaphore::new(3),
        [three; 3],
        one,
        |permits, then| {
            let _held = permits.acquire_many(3);
            then();
        },
    );
    a_crash_holds_up_nothing(|| Semaphore::new(2), [in_time, three, one], one, hold);
}

#[derive(Default)]
struct Turn {
    number: Mutex<u32>,
    changed: Condvar,
}

impl Turn {
    fn wait(&self) {
        let mut number = self.number.lock().unwrap();
        while *number == 0 {
            number = self.changed.wait(number).unwrap();
        }
    }
}

#[test]
fn nor_what_notifications_are_followed_by() {
    // All are notified and queue for the mutex, which is held meanwhile.
    a_crash_holds_up_nothing(Turn::default, [Turn::wait; 3], Turn::wait, |turn, then| {
        then();
        let mut number = turn.number.lock().unwrap();
        turn.changed.notify_all();
        *number = 1;
        sleep(SECOND);
    });
}

/// A notification is for one that lives.
#[test]
fn a_notification_passes_waiters_that_are_gone() {
    for seed in 0..100 {
        sim::run(seed, || {
            let turn = Arc::new(Turn::default());
            let [first, second] = [(); 2].map(|()| Arc::clone(&turn));
            drop(net::host("gone").spawn(move || first.wait()));
            sleep(SECOND);
            let lives = go!(move || second.wait());
            sleep(SECOND);
            net::crash("gone");
            *turn.number.lock().unwrap() = 1;
            turn.changed.notify_one();
            lives.join().unwrap();
        });
    }
}

/// A mutex of the C library's.
struct Foreign(UnsafeCell<libc::pthread_mutex_t>);

// SAFETY: it is for that.
unsafe impl Send for Foreign {}
// SAFETY: as above.
unsafe impl Sync for Foreign {}

impl Foreign {
    fn with(&self, f: &mut dyn FnMut()) {
        // SAFETY: it is initialised, stays where it is, and is unlocked by the one that has locked it.
        unsafe {
            assert_eq!(libc::pthread_mutex_lock(self.0.get()), 0);
            f();
            assert_eq!(libc::pthread_mutex_unlock(self.0.get()), 0);
        }
    }
}

#[test]
fn nor_a_lock_of_the_c_library() {
    let lock = |lock: &Foreign| lock.with(&mut || ());
    let new = || Foreign(UnsafeCell::new(libc::PTHREAD_MUTEX_INITIALIZER));
    a_crash_holds_up_nothing(new, [lock; 3], lock, Foreign::with);
}

#[test]
fn nor_a_lock_of_std() {
    type Std = std::sync::Mutex<()>;
    fn lock(mutex: &Std) {
        drop(mutex.lock());
    }
    a_crash_holds_up_nothing(Std::default, [lock; 3], lock, |mutex, then| {
        let _held = mutex.lock();
        then();
    });
}

/// What a failed world has left stands in no queue that others wait in.
#[test]
fn what_a_failed_world_has_left_does_not_hold_up_a_lock() {
    static LOCK: Mutex<()> = Mutex::new(());
    static PERMITS: Semaphore = Semaphore::new(0);
    let held = LOCK.lock();
    let failed = catch_unwind(AssertUnwindSafe(|| {
        sim::run(1, || {
            drop(go!(|| drop(PERMITS.acquire())));
            drop(LOCK.lock());
        });
    }));
    assert!(failed.unwrap_err().downcast_ref::<String>().unwrap().contains("wait for ever"));
    let (tx, done) = mpsc::channel();
    let other = std::thread::spawn(move || {
        drop(LOCK.lock());
        tx.send(()).unwrap();
        drop(PERMITS.acquire());
        tx.send(()).unwrap();
    });
    // It waits behind the goroutine.
    std::thread::sleep(Duration::from_millis(100));
    drop(held);
    done.recv_timeout(Duration::from_secs(10)).expect("the thread gets the lock");
    std::thread::sleep(Duration::from_millis(100));
    PERMITS.add_permits(1);
    done.recv_timeout(Duration::from_secs(10)).expect("the thread gets the permit");
    other.join().unwrap();
}
