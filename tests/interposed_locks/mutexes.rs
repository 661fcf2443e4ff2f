//! Mutexes and condition variables.

use crate::objects::{
    Condition, Guarded, KINDS, Mutex, after, condition, condition_with, mutex_of, mutex_with, together,
};
use narrowboat::{go, spawn};
use narrowboat_testing::{again, eventually, ms, number_from_env, processor, program, sized};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

#[test]
fn a_mutex_excludes_goroutines_and_threads() {
    let robust = || {
        // SAFETY: called with an attribute.
        mutex_with(|attribute| unsafe {
            libc::pthread_mutexattr_setrobust(attribute, libc::PTHREAD_MUTEX_ROBUST)
        })
    };
    let pshared = || {
        // SAFETY: called with an attribute.
        mutex_with(|attribute| unsafe {
            libc::pthread_mutexattr_setpshared(attribute, libc::PTHREAD_PROCESS_SHARED)
        })
    };
    for mutex in KINDS.map(mutex_of).into_iter().chain([robust(), pshared()]) {
        program(move || {
            let (goroutines, rounds) = (sized(1000, 100), 4);
            let guarded = Arc::new(Guarded::default());
            let all = guarded.clone();
            together(goroutines, 4, move |n| {
                for round in 0..rounds {
                    assert_eq!(mutex.lock(), 0);
                    all.visit(n + round);
                    assert_eq!(mutex.unlock(), 0);
                }
            });
            assert_eq!(guarded.count.load(SeqCst), (goroutines + 4) * rounds);
        });
    }
}

/// A goroutine holds a recursive mutex across sleeps, and others of its processor, which are the
/// same thread to the C library, stay out.
#[test]
fn a_recursive_mutex_belongs_to_a_goroutine() {
    if number_from_env("NARROWBOAT_PROCESSORS") != Some(1) {
        return again("mutexes::a_recursive_mutex_belongs_to_a_goroutine", &[("NARROWBOAT_PROCESSORS", "1")]);
    }
    program(|| {
        let mutex = mutex_of(libc::PTHREAD_MUTEX_RECURSIVE);
        let guarded = Arc::new(Guarded::default());
        let all = guarded.clone();
        together(sized(100, 30), 2, move |n| {
            for _ in 0..3 {
                assert_eq!(mutex.lock(), 0);
                assert_eq!(mutex.lock(), 0);
                all.visit(8);
                assert_eq!(mutex.try_lock(), 0);
                assert_eq!(mutex.unlock(), 0);
                thread::sleep(Duration::from_micros(20 * (n as u64 % 3)));
                assert_eq!(mutex.unlock(), 0);
                all.visit(8);
                assert_eq!(mutex.unlock(), 0);
            }
        });
        assert_eq!(guarded.count.load(SeqCst), (sized(100, 30) + 2) * 6);
    });
}

#[test]
fn the_owner_of_a_mutex_is_a_goroutine() {
    if number_from_env("NARROWBOAT_PROCESSORS") != Some(1) {
        return again("mutexes::the_owner_of_a_mutex_is_a_goroutine", &[("NARROWBOAT_PROCESSORS", "1")]);
    }
    program(|| {
        let mutex = mutex_of(libc::PTHREAD_MUTEX_ERRORCHECK);
        assert_eq!(mutex.unlock(), libc::EPERM);
        assert_eq!(mutex.lock(), 0);
        assert_eq!((mutex.lock(), mutex.try_lock()), (libc::EDEADLK, libc::EBUSY));
        let here = processor();
        let (theirs, at) = (mutex.clone(), after(libc::CLOCK_REALTIME, ms(10)));
        go!(move || {
            assert_eq!(processor(), here);
            assert_eq!((theirs.try_lock(), theirs.unlock()), (libc::EBUSY, libc::EPERM));
            // SAFETY: a condition variable, a mutex, and a time.
            unsafe {
                assert_eq!(libc::pthread_cond_wait(condition().get(), theirs.get()), libc::EPERM);
                assert_eq!(libc::pthread_mutex_timedlock(theirs.get(), &at), libc::ETIMEDOUT);
            }
        })
        .join()
        .unwrap();
        let theirs = mutex.clone();
        thread::spawn(move || assert_eq!((theirs.try_lock(), theirs.unlock()), (libc::EBUSY, libc::EPERM)))
            .join()
            .unwrap();
        // On the system stack it is the same goroutine.
        let again = narrowboat::stack::on_system_stack(|| mutex.lock());
        assert_eq!((again, mutex.unlock(), mutex.unlock()), (libc::EDEADLK, 0, libc::EPERM));
        // SAFETY: no one uses it.
        assert_eq!(unsafe { libc::pthread_mutex_destroy(mutex.get()) }, 0);
    });
}

/// Two take turns by a condition variable, as goroutines and as threads.
fn take_turns(mutex: &Arc<Mutex>, condition: &Arc<Condition>, both: [bool; 2], rounds: usize) {
    let turn = Arc::new(AtomicUsize::new(0));
    let player = |me: usize| {
        let (mutex, condition, turn) = (mutex.clone(), condition.clone(), turn.clone());
        move || {
            for _ in 0..rounds {
                assert_eq!(mutex.lock(), 0);
                while turn.load(SeqCst) % 2 != me {
                    condition.wait(&mutex);
                }
                turn.fetch_add(1, SeqCst);
                condition.signal();
                assert_eq!(mutex.unlock(), 0);
            }
        }
    };
    let threads: Vec<_> = (0..2).filter(|me| !both[*me]).map(|me| thread::spawn(player(me))).collect();
    let goroutines: Vec<_> = (0..2).filter(|me| both[*me]).map(|me| spawn(player(me))).collect();
    goroutines.into_iter().for_each(|player| player.join().unwrap());
    threads.into_iter().for_each(|player| player.join().unwrap());
    assert_eq!(turn.load(SeqCst), 2 * rounds);
}

#[test]
fn goroutines_and_threads_take_turns_by_a_condition_variable() {
    program(|| {
        for both in [[true, true], [true, false], [false, true]] {
            for kind in KINDS {
                take_turns(&mutex_of(kind), &condition(), both, sized(1000, 100));
            }
            // SAFETY: called with an attribute.
            let shared = condition_with(|attribute| unsafe {
                libc::pthread_condattr_setpshared(attribute, libc::PTHREAD_PROCESS_SHARED)
            });
            take_turns(&mutex_of(libc::PTHREAD_MUTEX_NORMAL), &shared, both, 20);
        }
    });
}

/// Items pass from producers to consumers, both goroutines and threads, one signal for each; so no
/// signal may wake nothing.
#[test]
fn no_signal_is_lost() {
    program(|| {
        let (mutex, condition) = (mutex_of(libc::PTHREAD_MUTEX_NORMAL), condition());
        let (items, taken) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let each = sized(500, 50);
        let count = 40;
        let total = taken.clone();
        // Even ones produce, odd ones consume as many.
        together(count, 4, move |n| {
            for _ in 0..each {
                assert_eq!(mutex.lock(), 0);
                if n.is_multiple_of(2) {
                    items.fetch_add(1, SeqCst);
                    condition.signal();
                } else {
                    while items.load(SeqCst) == 0 {
                        condition.wait(&mutex);
                    }
                    items.fetch_sub(1, SeqCst);
                    taken.fetch_add(1, SeqCst);
                }
                assert_eq!(mutex.unlock(), 0);
            }
        });
        assert_eq!(total.load(SeqCst), (count + 4) / 2 * each);
    });
}

#[test]
fn a_broadcast_wakes_all() {
    program(|| {
        let count = sized(300, 60);
        for _ in 0..3 {
            let (mutex, condition) = (mutex_of(libc::PTHREAD_MUTEX_NORMAL), condition());
            let (waiting, open) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
            let opener = {
                let (mutex, condition) = (mutex.clone(), condition.clone());
                let (waiting, open) = (waiting.clone(), open.clone());
                go!(move || {
                    eventually("all wait", || waiting.load(SeqCst) == count + 3);
                    assert_eq!(mutex.lock(), 0);
                    open.store(true, SeqCst);
                    condition.broadcast();
                    assert_eq!(mutex.unlock(), 0);
                })
            };
            together(count, 3, move |_| {
                assert_eq!(mutex.lock(), 0);
                waiting.fetch_add(1, SeqCst);
                while !open.load(SeqCst) {
                    condition.wait(&mutex);
                }
                assert_eq!(mutex.unlock(), 0);
            });
            opener.join().unwrap();
        }
    });
}

/// A thread frees a mutex in the C library's own wait, which no function of ours sees.
#[test]
fn a_mutex_that_a_waiting_thread_frees_is_found_free() {
    program(|| {
        let (mutex, condition) = (mutex_of(libc::PTHREAD_MUTEX_NORMAL), condition());
        let stop = Arc::new(AtomicBool::new(false));
        let (held, waited) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let waiter = {
            let (mutex, condition, stop) = (mutex.clone(), condition.clone(), stop.clone());
            let (held, waited) = (held.clone(), waited.clone());
            thread::spawn(move || {
                assert_eq!(mutex.lock(), 0);
                held.store(true, SeqCst);
                eventually("the goroutine comes", || waited.load(SeqCst));
                thread::sleep(ms(100));
                while !stop.load(SeqCst) {
                    condition.wait(&mutex);
                }
                assert_eq!(mutex.unlock(), 0);
            })
        };
        go!(move || {
            eventually("the thread holds it", || held.load(SeqCst));
            waited.store(true, SeqCst);
            let start = Instant::now();
            assert_eq!(mutex.lock(), 0);
            assert!(start.elapsed() < ms(2000));
            stop.store(true, SeqCst);
            condition.signal();
            assert_eq!(mutex.unlock(), 0);
        })
        .join()
        .unwrap();
        waiter.join().unwrap();
    });
}
