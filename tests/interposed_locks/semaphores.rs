//! Semaphores, reader-writer locks and initialisations.

use crate::objects::{Guarded, Shared, mutex_of, pthread_once, semaphore, together};
use libc::{c_int, pthread_rwlock_t, sem_t};
use narrowboat::go;
use narrowboat_testing::{again, ms, program, sized};
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

#[test]
fn a_reader_writer_lock_lets_in_readers_together_and_writers_alone() {
    program(|| {
        let lock: Arc<Shared<pthread_rwlock_t>> = Shared::new(libc::PTHREAD_RWLOCK_INITIALIZER);
        let (readers, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let writers = Arc::new(AtomicUsize::new(0));
        let (count, written) = (sized(300, 60), Arc::new(AtomicUsize::new(0)));
        let (all, seen) = (written.clone(), most.clone());
        together(count, 4, move |n| {
            for round in 0..4 {
                // SAFETY: a lock.
                unsafe {
                    if (n + round).is_multiple_of(4) {
                        assert_eq!(libc::pthread_rwlock_wrlock(lock.get()), 0);
                        assert_eq!(writers.fetch_add(1, SeqCst), 0);
                        assert_eq!(readers.load(SeqCst), 0);
                        // The writer would wait for itself; its neighbours, the same thread to the
                        // C library, wait for it.
                        assert_eq!(libc::pthread_rwlock_rdlock(lock.get()), libc::EDEADLK);
                        let before = written.load(SeqCst);
                        thread::sleep(Duration::from_micros(30));
                        written.store(before + 1, SeqCst);
                        writers.fetch_sub(1, SeqCst);
                    } else {
                        assert_eq!(libc::pthread_rwlock_rdlock(lock.get()), 0);
                        most.fetch_max(readers.fetch_add(1, SeqCst) + 1, SeqCst);
                        assert_eq!(writers.load(SeqCst), 0);
                        thread::sleep(Duration::from_micros(30));
                        readers.fetch_sub(1, SeqCst);
                    }
                    assert_eq!(libc::pthread_rwlock_unlock(lock.get()), 0);
                }
            }
        });
        assert_eq!(all.load(SeqCst), count + 4);
        assert!(seen.load(SeqCst) > 1);
    });
}

#[test]
fn a_semaphore_admits_as_many_as_it_has() {
    program(|| {
        for shared in [false, true] {
            let semaphore = semaphore(3, shared);
            let (inside, count) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
            let all = count.clone();
            let goroutines = sized(300, 60);
            together(goroutines, 4, move |_| {
                for _ in 0..3 {
                    // SAFETY: a semaphore.
                    unsafe {
                        assert_eq!(libc::sem_wait(semaphore.get()), 0);
                        assert!(inside.fetch_add(1, SeqCst) < 3);
                        thread::sleep(Duration::from_micros(20));
                        count.fetch_add(1, SeqCst);
                        inside.fetch_sub(1, SeqCst);
                        assert_eq!(libc::sem_post(semaphore.get()), 0);
                    }
                }
            });
            assert_eq!(all.load(SeqCst), 3 * (goroutines + 4));
        }
    });
}

/// The semaphore that the handler posts.
static POSTED: AtomicUsize = AtomicUsize::new(0);

extern "C" fn post(_signal: c_int) {
    // SAFETY: a semaphore that is never freed; it may be posted in a handler.
    unsafe { libc::sem_post(POSTED.load(SeqCst) as *mut sem_t) };
}

#[test]
fn a_signal_handler_posts_a_semaphore() {
    program(|| {
        let semaphore: &Shared<sem_t> = Box::leak(Box::new(semaphore(0, false)));
        POSTED.store(semaphore.get().addr(), SeqCst);
        // SAFETY: the handler only posts.
        unsafe {
            let mut action: libc::sigaction = MaybeUninit::zeroed().assume_init();
            action.sa_sigaction = post as *const () as usize;
            action.sa_flags = libc::SA_RESTART;
            assert_eq!(libc::sigaction(libc::SIGUSR1, &action, ptr::null_mut()), 0);
        }
        let rounds = sized(200, 40);
        let takers: Vec<_> = (0..4)
            .map(|_| {
                go!(move || {
                    for _ in 0..rounds {
                        // SAFETY: a semaphore.
                        assert_eq!(unsafe { libc::sem_wait(semaphore.get()) }, 0);
                    }
                })
            })
            .collect();
        // From a goroutine and from a thread, which are busy with locks of these kinds meanwhile.
        let mutex = mutex_of(libc::PTHREAD_MUTEX_NORMAL);
        together(1, 1, move |_| {
            for _ in 0..2 * rounds {
                assert_eq!(mutex.lock(), 0);
                // SAFETY: a signal with a handler.
                unsafe { libc::raise(libc::SIGUSR1) };
                assert_eq!(mutex.unlock(), 0);
            }
        });
        takers.into_iter().for_each(|taker| taker.join().unwrap());
    });
}

/// Signals keep coming wherever a thread or a worker is, and each posts.
#[test]
fn signals_post_in_the_middle_of_anything() {
    if std::env::var_os("NARROWBOAT_TEST_ALONE").is_none() {
        return again(
            "semaphores::signals_post_in_the_middle_of_anything",
            &[("NARROWBOAT_TEST_ALONE", "1")],
        );
    }
    program(|| {
        let semaphore: &Shared<sem_t> = Box::leak(Box::new(semaphore(0, false)));
        POSTED.store(semaphore.get().addr(), SeqCst);
        let interval = libc::timeval { tv_sec: 0, tv_usec: 500 };
        // SAFETY: the handler only posts; the timer is the process's.
        unsafe {
            let mut action: libc::sigaction = MaybeUninit::zeroed().assume_init();
            action.sa_sigaction = post as *const () as usize;
            action.sa_flags = libc::SA_RESTART;
            assert_eq!(libc::sigaction(libc::SIGALRM, &action, ptr::null_mut()), 0);
            let timer = libc::itimerval { it_interval: interval, it_value: interval };
            assert_eq!(libc::setitimer(libc::ITIMER_REAL, &timer, ptr::null_mut()), 0);
        }
        let mutex = mutex_of(libc::PTHREAD_MUTEX_NORMAL);
        let guarded = Arc::new(Guarded::default());
        together(sized(50, 20), 2, move |n| {
            for round in 0..20 {
                // SAFETY: a semaphore.
                unsafe { while libc::sem_wait(semaphore.get()) != 0 {} }
                assert_eq!(mutex.lock(), 0);
                guarded.visit(n + round);
                assert_eq!(mutex.unlock(), 0);
            }
        });
        // SAFETY: as above.
        unsafe {
            let timer = MaybeUninit::zeroed().assume_init();
            libc::setitimer(libc::ITIMER_REAL, &timer, ptr::null_mut());
        }
    });
}

#[test]
fn an_initialisation_that_parks_happens_once() {
    static ONCE: AtomicUsize = AtomicUsize::new(0);
    static CONTROL: std::sync::atomic::AtomicI32 = std::sync::atomic::AtomicI32::new(0);
    extern "C" fn init() {
        thread::sleep(ms(30));
        ONCE.fetch_add(1, SeqCst);
    }
    program(|| {
        together(sized(100, 30), 3, |_| {
            // SAFETY: the word begins as it should.
            assert_eq!(unsafe { pthread_once(CONTROL.as_ptr(), init) }, 0);
            assert_eq!(ONCE.load(SeqCst), 1);
        });
    });
}
