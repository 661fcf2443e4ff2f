//! The objects of the C library that the tests share, and how they are shared.

use libc::{c_int, clockid_t, pthread_cond_t, pthread_mutex_t, pthread_rwlock_t, sem_t, timespec};
use narrowboat::go;
use std::cell::UnsafeCell;
use std::mem::MaybeUninit;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

// The libc crate lacks these.
unsafe extern "C" {
    pub fn pthread_mutex_clocklock(
        mutex: *mut pthread_mutex_t,
        clock: clockid_t,
        time: *const timespec,
    ) -> c_int;
    pub fn pthread_cond_clockwait(
        condition: *mut pthread_cond_t,
        mutex: *mut pthread_mutex_t,
        clock: clockid_t,
        time: *const timespec,
    ) -> c_int;
    pub fn pthread_rwlock_timedrdlock(lock: *mut pthread_rwlock_t, time: *const timespec) -> c_int;
    pub fn pthread_rwlock_clockwrlock(
        lock: *mut pthread_rwlock_t,
        clock: clockid_t,
        time: *const timespec,
    ) -> c_int;
    pub fn sem_clockwait(semaphore: *mut sem_t, clock: clockid_t, time: *const timespec) -> c_int;
    pub fn pthread_once(control: *mut c_int, init: extern "C" fn()) -> c_int;
}

pub const CLOCKS: [clockid_t; 2] = [libc::CLOCK_REALTIME, libc::CLOCK_MONOTONIC];
pub const KINDS: [c_int; 4] = [
    libc::PTHREAD_MUTEX_NORMAL,
    libc::PTHREAD_MUTEX_RECURSIVE,
    libc::PTHREAD_MUTEX_ERRORCHECK,
    libc::PTHREAD_MUTEX_ADAPTIVE_NP,
];

/// A time on the clock, so far from now.
pub fn after(clock: clockid_t, time: Duration) -> timespec {
    let mut now = timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: there is room for the time.
    unsafe { libc::clock_gettime(clock, &mut now) };
    let at = Duration::new(now.tv_sec as u64, now.tv_nsec as u32) + time;
    timespec { tv_sec: at.as_secs() as i64, tv_nsec: at.subsec_nanos().into() }
}

pub const NEVER_A_TIME: timespec = timespec { tv_sec: 1, tv_nsec: 1_000_000_000 };

/// Something of C's that threads share by its address.
pub struct Shared<T>(Box<UnsafeCell<T>>);

// SAFETY: only the C library's functions use it.
unsafe impl<T> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for Shared<T> {}

impl<T> Shared<T> {
    pub fn new(value: T) -> Arc<Shared<T>> {
        Arc::new(Shared(Box::new(UnsafeCell::new(value))))
    }

    pub fn get(&self) -> *mut T {
        self.0.get()
    }
}

pub type Mutex = Shared<pthread_mutex_t>;
pub type Condition = Shared<pthread_cond_t>;

pub fn mutex_with(choose: impl FnOnce(*mut libc::pthread_mutexattr_t) -> c_int) -> Arc<Mutex> {
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

pub fn mutex_of(kind: c_int) -> Arc<Mutex> {
    // SAFETY: called with an attribute.
    mutex_with(|attribute| unsafe { libc::pthread_mutexattr_settype(attribute, kind) })
}

impl Mutex {
    pub fn lock(&self) -> c_int {
        // SAFETY: a mutex, as in all that follows.
        unsafe { libc::pthread_mutex_lock(self.get()) }
    }

    pub fn try_lock(&self) -> c_int {
        // SAFETY: as above.
        unsafe { libc::pthread_mutex_trylock(self.get()) }
    }

    pub fn unlock(&self) -> c_int {
        // SAFETY: as above.
        unsafe { libc::pthread_mutex_unlock(self.get()) }
    }
}

impl Condition {
    pub fn wait(&self, mutex: &Mutex) {
        // SAFETY: a condition variable, and a mutex that the caller holds.
        assert_eq!(unsafe { libc::pthread_cond_wait(self.get(), mutex.get()) }, 0);
    }

    pub fn signal(&self) {
        // SAFETY: as above.
        assert_eq!(unsafe { libc::pthread_cond_signal(self.get()) }, 0);
    }

    pub fn broadcast(&self) {
        // SAFETY: as above.
        assert_eq!(unsafe { libc::pthread_cond_broadcast(self.get()) }, 0);
    }
}

pub fn condition() -> Arc<Condition> {
    Shared::new(libc::PTHREAD_COND_INITIALIZER)
}

pub fn condition_with(choose: impl FnOnce(*mut libc::pthread_condattr_t) -> c_int) -> Arc<Condition> {
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

pub fn semaphore(value: u32, shared: bool) -> Arc<Shared<sem_t>> {
    // SAFETY: made here.
    unsafe {
        let semaphore = Shared::new(MaybeUninit::<sem_t>::zeroed().assume_init());
        assert_eq!(libc::sem_init(semaphore.get(), shared.into(), value), 0);
        semaphore
    }
}

/// Runs `f` in so many goroutines and so many threads, and waits for all.
pub fn together(goroutines: usize, threads: usize, f: impl Fn(usize) + Clone + Send + 'static) {
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
pub struct Guarded {
    inside: AtomicUsize,
    pub count: AtomicUsize,
}

impl Guarded {
    pub fn visit(&self, n: usize) {
        assert_eq!(self.inside.fetch_add(1, SeqCst), 0, "two at once");
        let before = self.count.load(SeqCst);
        if n.is_multiple_of(8) {
            thread::sleep(Duration::from_micros(50));
        }
        self.count.store(before + 1, SeqCst);
        self.inside.fetch_sub(1, SeqCst);
    }
}
