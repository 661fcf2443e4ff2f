//! The C library's locks, taken by code that knows nothing of Narrowboat, in goroutines and
//! threads.

use libc::{c_int, clockid_t, pthread_cond_t, pthread_mutex_t, pthread_rwlock_t, sem_t, timespec};
use narrowboat::{Builder, go, spawn};
use narrowboat_testing::{again, eventually, number_from_env, processor, program, sized};
use std::cell::UnsafeCell;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

// The libc crate lacks these.
unsafe extern "C" {
    fn pthread_mutex_clocklock(mutex: *mut pthread_mutex_t, clock: clockid_t, time: *const timespec)
    -> c_int;
    fn pthread_cond_clockwait(
        condition: *mut pthread_cond_t,
        mutex: *mut pthread_mutex_t,
        clock: clockid_t,
        time: *const timespec,
    ) -> c_int;
    fn pthread_rwlock_timedrdlock(lock: *mut pthread_rwlock_t, time: *const timespec) -> c_int;
    fn pthread_rwlock_clockwrlock(
        lock: *mut pthread_rwlock_t,
        clock: clockid_t,
        time: *const timespec,
    ) -> c_int;
    fn sem_clockwait(semaphore: *mut sem_t, clock: clockid_t, time: *const timespec) -> c_int;
    fn pthread_once(control: *mut c_int, init: extern "C" fn()) -> c_int;
}

const CLOCKS: [clockid_t; 2] = [libc::CLOCK_REALTIME, libc::CLOCK_MONOTONIC];
const KINDS: [c_int; 4] = [
    libc::PTHREAD_MUTEX_NORMAL,
    libc::PTHREAD_MUTEX_RECURSIVE,
    libc::PTHREAD_MUTEX_ERRORCHECK,
    libc::PTHREAD_MUTEX_ADAPTIVE_NP,
];

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// A time on the clock, so far from now.
fn after(clock: clockid_t, time: Duration) -> timespec {
    let mut now = timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: there is room for the time.
    unsafe { libc::clock_gettime(clock, &mut now) };
    let at = Duration::new(now.tv_sec as u64, now.tv_nsec as u32) + time;
    timespec { tv_sec: at.as_secs() as i64, tv_nsec: at.subsec_nanos().into() }
}

const NEVER_A_TIME: timespec = timespec { tv_sec: 1, tv_nsec: 1_000_000_000 };

/// Something of C's that threads share by its address.
struct Shared<T>(Box<UnsafeCell<T>>);

// SAFETY: only the C library's functions use it.
unsafe impl<T> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for Shared<T> {}

impl<T> Shared<T> {
    fn new(value: T) -> Arc<Shared<T>> {
        Arc::new(Shared(Box::new(UnsafeCell::new(value))))
    }

    fn get(&self) -> *mut T {
        self.0.get()
    }
}

type Mutex = Shared<pthread_mutex_t>;
type Condition = Shared<pthread_cond_t>;

fn mutex_with(choose: impl FnOnce(*mut libc::pthread_mutexattr_t) -> c_int) -> Arc<Mutex> {
    let mutex = Shared::new(libc::PTHREAD_MUTEX_INITIALIZER);
    let mut attribute = MaybeUninit::uninit();
    // SAFETY: the attribute is made before it is used.
    unsafe {
        assert_eq!(libc::pthread_mutexattr_init(attribute.as_mut_ptr()), 0);
        assert_eq!(choose(attribute.as_mut_ptr()), 0);
        assert_eq!(libc::pthread_mutex_init(mutex.get(), attribute.as_ptr()), 0);
    }
    mutex
}

fn mutex_of(kind: c_int) -> Arc<Mutex> {
    // SAFETY: called with an attribute.
    mutex_with(|attribute| unsafe { libc::pthread_mutexattr_settype(attribute, kind) })
}

impl Mutex {
    fn lock(&self) -> c_int {
        // SAFETY: a mutex, as in all that follows.
        unsafe { libc::pthread_mutex_lock(self.get()) }
    }

    fn try_lock(&self) -> c_int {
        // SAFETY: as above.
        unsafe { libc::pthread_mutex_trylock(self.get()) }
    }

    fn unlock(&self) -> c_int {
        // SAFETY: as above.
        unsafe { libc::pthread_mutex_unlock(self.get()) }
    }
}

impl Condition {
    fn wait(&self, mutex: &Mutex) {
        // SAFETY: a condition variable, and a mutex that the caller holds.
        assert_eq!(unsafe { libc::pthread_cond_wait(self.get(), mutex.get()) }, 0);
    }

    fn signal(&self) {
        // SAFETY: as above.
        assert_eq!(unsafe { libc::pthread_cond_signal(self.get()) }, 0);
    }

    fn broadcast(&self) {
        // SAFETY: as above.
        assert_eq!(unsafe { libc::pthread_cond_broadcast(self.get()) }, 0);
    }
}

fn condition() -> Arc<Condition> {
    Shared::new(libc::PTHREAD_COND_INITIALIZER)
}

fn condition_with(choose: impl FnOnce(*mut libc::pthread_condattr_t) -> c_int) -> Arc<Condition> {
    let condition = condition();
    let mut attribute = MaybeUninit::uninit();
    // SAFETY: the attribute is made before it is used.
    unsafe {
        assert_eq!(libc::pthread_condattr_init(attribute.as_mut_ptr()), 0);
        assert_eq!(choose(attribute.as_mut_ptr()), 0);
        assert_eq!(libc::pthread_cond_init(condition.get(), attribute.as_ptr()), 0);
    }
    condition
}

fn semaphore(value: u32, shared: bool) -> Arc<Shared<sem_t>> {
    // SAFETY: made here.
    unsafe {
        let semaphore = Shared::new(MaybeUninit::<sem_t>::zeroed().assume_init());
        assert_eq!(libc::sem_init(semaphore.get(), shared.into(), value), 0);
        semaphore
    }
}

/// Runs `f` in so many goroutines and so many threads, and waits for all.
fn together(goroutines: usize, threads: usize, f: impl Fn(usize) + Clone + Send + 'static) {
    let running: Vec<_> = (0..goroutines)
        .map(|n| {
            let f = f.clone();
            go!(move || f(n))
        })
        .collect();
    let others: Vec<_> = (goroutines..goroutines + threads)
        .map(|n| {
            let f = f.clone();
            thread::spawn(move || f(n))
        })
        .collect();
    running.into_iter().for_each(|goroutine| goroutine.join().unwrap());
    others.into_iter().for_each(|thread| thread.join().unwrap());
}

/// A counter that only one at a time may touch.
#[derive(Default)]
struct Guarded {
    inside: AtomicUsize,
    count: AtomicUsize,
}

impl Guarded {
    fn visit(&self, n: usize) {
        assert_eq!(self.inside.fetch_add(1, SeqCst), 0, "two at once");
        let before = self.count.load(SeqCst);
        if n.is_multiple_of(8) {
            thread::sleep(Duration::from_micros(50));
        }
        self.count.store(before + 1, SeqCst);
        self.inside.fetch_sub(1, SeqCst);
    }
}

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
        return again("a_recursive_mutex_belongs_to_a_goroutine", &[("NARROWBOAT_PROCESSORS", "1")]);
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
        return again("the_owner_of_a_mutex_is_a_goroutine", &[("NARROWBOAT_PROCESSORS", "1")]);
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
        return again("signals_post_in_the_middle_of_anything", &[("NARROWBOAT_TEST_ALONE", "1")]);
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
            "turned_off_they_block",
            &[("NARROWBOAT_INTERPOSE", "off"), ("NARROWBOAT_PROCESSORS", "2")],
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
