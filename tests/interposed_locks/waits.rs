//! What holds for waits of every kind: deadlines, and where a wait parks.

use crate::objects::{
    CLOCKS, NEVER_A_TIME, Shared, after, condition, condition_with, mutex_of, pthread_cond_clockwait,
    pthread_mutex_clocklock, pthread_rwlock_clockwrlock, pthread_rwlock_timedrdlock, sem_clockwait,
    semaphore, together,
};
use libc::{c_int, pthread_rwlock_t, sem_t, timespec};
use narrowboat::{Builder, go};
use narrowboat_testing::{again, ms, program};
use std::cell::UnsafeCell;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::Instant;

#[test]
fn timed_operations_end_in_time() {
    program(|| {
        let held = mutex_of(libc::PTHREAD_MUTEX_NORMAL);
        assert_eq!(held.lock(), 0);
        let lock: Arc<Shared<pthread_rwlock_t>> = Shared::new(libc::PTHREAD_RWLOCK_INITIALIZER);
        // SAFETY: a lock.
        assert_eq!(unsafe { libc::pthread_rwlock_wrlock(lock.get()) }, 0);
        go!(move || {
            let mutex = mutex_of(libc::PTHREAD_MUTEX_NORMAL);
            assert_eq!(mutex.lock(), 0);
            for clock in CLOCKS {
                // SAFETY: called with an attribute.
                let condition =
                    condition_with(|attribute| unsafe { libc::pthread_condattr_setclock(attribute, clock) });
                let empty = semaphore(0, false);
                let sem = |answer: c_int| match answer {
                    0 => 0,
                    _ => std::io::Error::last_os_error().raw_os_error().unwrap(),
                };
                let real = clock == libc::CLOCK_REALTIME;
                // SAFETY: objects of the C library, and times.
                let waits = |at: &timespec| unsafe {
                    [
                        if real {
                            libc::pthread_mutex_timedlock(held.get(), at)
                        } else {
                            pthread_mutex_clocklock(held.get(), clock, at)
                        },
                        libc::pthread_cond_timedwait(condition.get(), mutex.get(), at),
                        pthread_cond_clockwait(condition.get(), mutex.get(), clock, at),
                        if real {
                            pthread_rwlock_timedrdlock(lock.get(), at)
                        } else {
                            pthread_rwlock_clockwrlock(lock.get(), clock, at)
                        },
                        sem(if real {
                            libc::sem_timedwait(empty.get(), at)
                        } else {
                            sem_clockwait(empty.get(), clock, at)
                        }),
                    ]
                };
                assert_eq!(waits(&timespec { tv_sec: -1, tv_nsec: 0 }), [libc::ETIMEDOUT; 5]);
                assert_eq!(waits(&NEVER_A_TIME), [libc::EINVAL; 5]);
                for time in [ms(1), ms(30)] {
                    let start = Instant::now();
                    assert_eq!(waits(&after(clock, time)), [libc::ETIMEDOUT; 5]);
                    // All have the same deadline.
                    assert!(start.elapsed() >= time && start.elapsed() < time + ms(5000));
                    for n in 0..5 {
                        let start = Instant::now();
                        let at = after(clock, time);
                        // The n-th alone.
                        // SAFETY: as above.
                        let answer = unsafe {
                            match n {
                                0 => pthread_mutex_clocklock(held.get(), clock, &at),
                                1 => libc::pthread_cond_timedwait(condition.get(), mutex.get(), &at),
                                2 => pthread_cond_clockwait(condition.get(), mutex.get(), clock, &at),
                                3 => pthread_rwlock_clockwrlock(lock.get(), clock, &at),
                                _ => sem(sem_clockwait(empty.get(), clock, &at)),
                            }
                        };
                        assert_eq!(answer, libc::ETIMEDOUT);
                        assert!(start.elapsed() >= time, "{n} is early");
                    }
                }
                // The mutex is held again after each.
                assert_eq!(mutex.try_lock(), libc::EBUSY);
            }
            let at = after(libc::CLOCK_REALTIME, ms(1));
            // SAFETY: as above.
            unsafe {
                assert_eq!(pthread_mutex_clocklock(held.get(), libc::CLOCK_BOOTTIME, &at), libc::EINVAL);
                let answer =
                    pthread_cond_clockwait(condition().get(), mutex.get(), libc::CLOCK_BOOTTIME, &at);
                assert_eq!(answer, libc::EINVAL);
            }
        })
        .join()
        .unwrap();
    });
}

/// A goroutine's own thread-locals are exchanged while it is parked, and what others write there would
/// be lost. So it waits in the C library for what lies in them.
#[test]
fn a_wait_for_what_is_in_a_thread_local_is_not_lost() {
    thread_local! {
        static MINE: UnsafeCell<MaybeUninit<sem_t>> = const { UnsafeCell::new(MaybeUninit::zeroed()) };
    }
    program(|| {
        together(8, 0, |_| {
            // SAFETY: the semaphore is alive until the thread has posted it.
            unsafe {
                let semaphore = MINE.with(|mine| mine.get().cast::<sem_t>());
                assert_eq!(libc::sem_init(semaphore, 0, 0), 0);
                let at = semaphore.addr();
                let poster = thread::spawn(move || {
                    thread::sleep(ms(5));
                    assert_eq!(libc::sem_post(at as *mut sem_t), 0);
                });
                assert_eq!(libc::sem_wait(semaphore), 0);
                poster.join().unwrap();
            }
        });
    });
}

/// A goroutine that has blocked a signal cannot park, and waits all the same for the goroutine that
/// owns a lock, on another processor or until its deadline.
#[test]
fn a_goroutine_that_cannot_park_is_kept_out() {
    program(|| {
        let mutex = mutex_of(libc::PTHREAD_MUTEX_RECURSIVE);
        let lock: Arc<Shared<pthread_rwlock_t>> = Shared::new(libc::PTHREAD_RWLOCK_INITIALIZER);
        for _ in 0..8 {
            // SAFETY: a lock, as in all that follows; the mask is restored.
            unsafe {
                assert_eq!((mutex.lock(), libc::pthread_rwlock_wrlock(lock.get())), (0, 0));
                let (mutex_of_mine, lock_of_mine) = (mutex.clone(), lock.clone());
                let other = go!(move || {
                    let (mut mask, mut before) = (MaybeUninit::uninit(), MaybeUninit::uninit());
                    libc::sigemptyset(mask.as_mut_ptr());
                    libc::sigaddset(mask.as_mut_ptr(), libc::SIGUSR2);
                    libc::pthread_sigmask(libc::SIG_BLOCK, mask.as_ptr(), before.as_mut_ptr());
                    let at = after(libc::CLOCK_REALTIME, ms(2));
                    let answers = [
                        libc::pthread_mutex_timedlock(mutex_of_mine.get(), &at),
                        mutex_of_mine.try_lock(),
                        pthread_rwlock_timedrdlock(lock_of_mine.get(), &at),
                    ];
                    libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), ptr::null_mut());
                    assert_eq!(answers, [libc::ETIMEDOUT, libc::EBUSY, libc::ETIMEDOUT]);
                });
                other.join().unwrap();
                assert_eq!((libc::pthread_rwlock_unlock(lock.get()), mutex.unlock()), (0, 0));
            }
        }
    });
}

/// How many of six goroutines wait at once for a semaphore that nothing posts for a while.
fn most_waiting() -> usize {
    program(|| {
        let semaphore = semaphore(0, false);
        let waiting = Arc::new(AtomicUsize::new(0));
        let (posted, count) = (semaphore.clone(), waiting.clone());
        let poster = thread::spawn(move || {
            thread::sleep(ms(300));
            let most = count.load(SeqCst);
            for _ in 0..6 {
                // SAFETY: a semaphore.
                assert_eq!(unsafe { libc::sem_post(posted.get()) }, 0);
            }
            most
        });
        let waiters: Vec<_> = (0..6)
            .map(|_| {
                let (semaphore, waiting) = (semaphore.clone(), waiting.clone());
                go!(move || {
                    waiting.fetch_add(1, SeqCst);
                    // SAFETY: a semaphore.
                    assert_eq!(unsafe { libc::sem_wait(semaphore.get()) }, 0);
                })
            })
            .collect();
        waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
        poster.join().unwrap()
    })
}

#[test]
fn all_wait_side_by_side() {
    assert_eq!(most_waiting(), 6);
}

#[test]
fn turned_off_they_block() {
    if std::env::var_os("NARROWBOAT_INTERPOSE").is_none() {
        return again(
            "waits::turned_off_they_block",
            &[("NARROWBOAT_INTERPOSE", "off"), ("NARROWBOAT_PROCESSORS", "2"), ("NARROWBOAT_APART", "0")],
        );
    }
    assert!(most_waiting() <= 2);
}

/// A forked child uses the locks of the C library as ever, though goroutines of the parent wait.
#[test]
fn a_forked_child_uses_locks() {
    program(|| {
        let (mutex, held) = (mutex_of(libc::PTHREAD_MUTEX_RECURSIVE), mutex_of(libc::PTHREAD_MUTEX_NORMAL));
        assert_eq!(held.lock(), 0);
        let waiters: Vec<_> = (0..300)
            .map(|_| {
                let held = held.clone();
                Builder::new().spawn(move || assert_eq!((held.lock(), held.unlock()), (0, 0))).unwrap()
            })
            .collect();
        thread::sleep(ms(20));
        // SAFETY: the child calls nothing that needs another thread.
        unsafe {
            let child = libc::fork();
            if child == 0 {
                let all = [mutex.lock(), mutex.lock(), mutex.unlock(), mutex.unlock(), held.unlock()];
                libc::_exit(if all == [0; 5] { 7 } else { 1 });
            }
            let mut status = 0;
            assert_eq!(libc::waitpid(child, &mut status, 0), child);
            assert_eq!(libc::WEXITSTATUS(status), 7);
        }
        assert_eq!(held.unlock(), 0);
        waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
    });
}
