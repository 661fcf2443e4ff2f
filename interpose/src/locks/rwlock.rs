//! Reader-writer locks.
//!
//! As with a mutex, libc takes goroutines of one processor for one thread. It asks for the thread
//! that writes in two places: a lock by that thread is refused (`EDEADLK`), which its functions
//! that do not block leave out; and an unlock by that thread frees the lock for writing, which is
//! right, because no goroutine reads while one writes. For the first the goroutine that writes
//! leaves its number in a word of the lock that libc does not use.

use super::deadline::Deadline;
use super::owners::Owner;
use super::{Shared, block_while, wait, wake};
use crate::next::next;
use crate::{define, may_park_for};
use libc::{c_int, clockid_t, pthread_rwlock_t, timespec};
use narrowboat_runtime::as_thread::has_usual_signals;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};

define! {
    "pthread_rwlock_rdlock" => pthread_rwlock_rdlock,
    "pthread_rwlock_wrlock" => pthread_rwlock_wrlock,
    "pthread_rwlock_timedrdlock" => pthread_rwlock_timedrdlock,
    "pthread_rwlock_timedwrlock" => pthread_rwlock_timedwrlock,
    "pthread_rwlock_clockrdlock" => pthread_rwlock_clockrdlock,
    "pthread_rwlock_clockwrlock" => pthread_rwlock_clockwrlock,
    "pthread_rwlock_trywrlock" => pthread_rwlock_trywrlock,
    "pthread_rwlock_unlock" => pthread_rwlock_unlock,
}
next! {
    fn pthread_rwlock_rdlock(lock: *mut pthread_rwlock_t) -> c_int;
    fn pthread_rwlock_wrlock(lock: *mut pthread_rwlock_t) -> c_int;
    fn pthread_rwlock_timedrdlock(lock: *mut pthread_rwlock_t, time: *const timespec) -> c_int;
    fn pthread_rwlock_timedwrlock(lock: *mut pthread_rwlock_t, time: *const timespec) -> c_int;
    fn pthread_rwlock_tryrdlock(lock: *mut pthread_rwlock_t) -> c_int;
    fn pthread_rwlock_trywrlock(lock: *mut pthread_rwlock_t) -> c_int;
    fn pthread_rwlock_unlock(lock: *mut pthread_rwlock_t) -> c_int;
}
// Since glibc 2.30: looked up when they are called.
next! {
    mod newer: None;
    fn pthread_rwlock_clockrdlock(lock: *mut pthread_rwlock_t, clock: clockid_t, time: *const timespec) -> c_int;
    fn pthread_rwlock_clockwrlock(lock: *mut pthread_rwlock_t, clock: clockid_t, time: *const timespec) -> c_int;
}

// Of glibc's structure, alike on x86-64 and aarch64: whether processes share it, and its unused word.
const SHARED: usize = 28;
const WRITER: usize = 40;

/// What a goroutine waits for, and an unlock offers.
const READ: u32 = 1;
const WRITE: u32 = 2;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    Read,
    Write,
}
use Access::{Read, Write};

type Timed = Option<(clockid_t, *const timespec)>;

/// # Safety
/// As for libc's function.
unsafe extern "C-unwind" fn pthread_rwlock_rdlock(lock: *mut pthread_rwlock_t) -> c_int {
    // SAFETY: by contract.
    unsafe { acquire(lock, Read, None, || next::pthread_rwlock_rdlock(lock)) }
}

/// # Safety
/// As for libc's function.
unsafe extern "C-unwind" fn pthread_rwlock_wrlock(lock: *mut pthread_rwlock_t) -> c_int {
    // SAFETY: by contract.
    unsafe { acquire(lock, Write, None, || next::pthread_rwlock_wrlock(lock)) }
}

/// # Safety
/// As for libc's function.
unsafe extern "C-unwind" fn pthread_rwlock_timedrdlock(
    lock: *mut pthread_rwlock_t,
    time: *const timespec,
) -> c_int {
    let timed = Some((libc::CLOCK_REALTIME, time));
    // SAFETY: by contract.
    unsafe { acquire(lock, Read, timed, || next::pthread_rwlock_timedrdlock(lock, time)) }
}

/// # Safety
/// As for libc's function.
unsafe extern "C-unwind" fn pthread_rwlock_timedwrlock(
    lock: *mut pthread_rwlock_t,
    time: *const timespec,
) -> c_int {
    let timed = Some((libc::CLOCK_REALTIME, time));
    // SAFETY: by contract.
    unsafe { acquire(lock, Write, timed, || next::pthread_rwlock_timedwrlock(lock, time)) }
}

/// # Safety
/// As for libc's function.
unsafe extern "C-unwind" fn pthread_rwlock_clockrdlock(
    lock: *mut pthread_rwlock_t,
    clock: clockid_t,
    time: *const timespec,
) -> c_int {
    // SAFETY: by contract.
    unsafe {
        acquire(lock, Read, Some((clock, time)), || newer::pthread_rwlock_clockrdlock(lock, clock, time))
    }
}

/// # Safety
/// As for libc's function.
unsafe extern "C-unwind" fn pthread_rwlock_clockwrlock(
    lock: *mut pthread_rwlock_t,
    clock: clockid_t,
    time: *const timespec,
) -> c_int {
    // SAFETY: by contract.
    unsafe {
        acquire(lock, Write, Some((clock, time)), || newer::pthread_rwlock_clockwrlock(lock, clock, time))
    }
}

/// # Safety
/// As for libc's function.
unsafe extern "C-unwind" fn pthread_rwlock_trywrlock(lock: *mut pthread_rwlock_t) -> c_int {
    // SAFETY: by contract.
    unsafe {
        let answer = next::pthread_rwlock_trywrlock(lock);
        if let Some(me) = Owner::current().filter(|_| answer == 0) {
            writer_of(lock).store(me.mark(shared(lock)), Ordering::Relaxed);
        }
        answer
    }
}

/// # Safety
/// As for libc's function.
unsafe extern "C-unwind" fn pthread_rwlock_unlock(lock: *mut pthread_rwlock_t) -> c_int {
    // SAFETY: by contract.
    unsafe {
        // A goroutine that finds a number holds the lock for writing, and it is its own.
        if writer_of(lock).load(Ordering::Relaxed) != 0 && Owner::current().is_some() {
            writer_of(lock).store(0, Ordering::Relaxed);
        }
        let answer = next::pthread_rwlock_unlock(lock);
        wake(lock.addr(), READ, usize::MAX);
        wake(lock.addr(), WRITE, 1);
        answer
    }
}

/// The number of the goroutine that writes, or 0. Relaxed is enough: its own number a goroutine can
/// only have written itself, and no other matters.
///
/// # Safety
/// The lock is alive for as long as the word is used.
unsafe fn writer_of<'a>(lock: *mut pthread_rwlock_t) -> &'a AtomicU64 {
    // SAFETY: by contract; libc does not access the word once the lock is made.
    unsafe { AtomicU64::from_ptr(lock.cast::<u8>().add(WRITER).cast()) }
}

/// Whether processes share it.
///
/// # Safety
/// The lock is alive.
unsafe fn shared(lock: *mut pthread_rwlock_t) -> Shared {
    // SAFETY: by contract; the word is written when the lock is made.
    let shared = unsafe { AtomicI32::from_ptr(lock.cast::<u8>().add(SHARED).cast()) };
    if shared.load(Ordering::Relaxed) != 0 { Shared::Yes } else { Shared::No }
}

/// # Safety
/// As for libc's function, which `by_libc` is.
#[inline]
unsafe fn acquire(
    lock: *mut pthread_rwlock_t,
    access: Access,
    timed: Timed,
    by_libc: impl Fn() -> c_int,
) -> c_int {
    let Some(me) = Owner::current() else { return by_libc() };
    // SAFETY: by contract.
    unsafe {
        // libc looks at the time first, and so before the lock.
        let deadline = match timed {
            None => None,
            Some((clock, time)) => match Deadline::read(clock, time) {
                None => return libc::EINVAL,
                read => read,
            },
        };
        let me = me.mark(shared(lock));
        if writer_of(lock).load(Ordering::Relaxed) == me {
            return libc::EDEADLK;
        }
        let attempt = || {
            let answer = match access {
                Read => next::pthread_rwlock_tryrdlock(lock),
                Write => next::pthread_rwlock_trywrlock(lock),
            };
            // `EAGAIN`: too many readers. libc's `rdlock` says so, too.
            (answer != libc::EBUSY).then_some(answer)
        };
        let answer = match attempt() {
            Some(answer) => answer,
            None if may_park_for(lock.addr()) && has_usual_signals() => {
                let wants = if access == Read { READ } else { WRITE };
                wait(lock.addr(), wants, shared(lock), deadline.as_ref(), attempt).unwrap_or(libc::ETIMEDOUT)
            }
            // libc would refuse it if the goroutine that writes is of the same processor.
            None => {
                if !block_while(deadline.as_ref(), || writer_of(lock).load(Ordering::Relaxed) != 0) {
                    return libc::ETIMEDOUT;
                }
                by_libc()
            }
        };
        if answer == 0 && access == Write {
            writer_of(lock).store(me, Ordering::Relaxed);
        }
        answer
    }
}
