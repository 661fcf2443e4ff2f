//! Mutexes.

use super::deadline::{self, Deadline};
use super::owners::{Kind, Mutex, Owner};
use super::{ANYTHING, block_while, callers, wait, wake};
use crate::next::next;
use crate::{define, may_park_for};
use libc::{c_int, clockid_t, pthread_mutex_t, timespec};
use narrowboat_runtime::as_thread::has_usual_signals;

define! {
    "pthread_mutex_lock", caller as second => pthread_mutex_lock,
    "pthread_mutex_timedlock", caller as third => pthread_mutex_timedlock,
    "pthread_mutex_clocklock", caller as fourth => pthread_mutex_clocklock,
    "pthread_mutex_trylock" => pthread_mutex_trylock,
    "pthread_mutex_unlock" => pthread_mutex_unlock,
}
next! {
    fn pthread_mutex_lock(mutex: *mut pthread_mutex_t) -> c_int;
    fn pthread_mutex_timedlock(mutex: *mut pthread_mutex_t, time: *const timespec) -> c_int;
    fn pthread_mutex_trylock(mutex: *mut pthread_mutex_t) -> c_int;
    fn pthread_mutex_unlock(mutex: *mut pthread_mutex_t) -> c_int;
}
// Since glibc 2.30: looked up when it is called.
next! {
    mod newer: None;
    fn pthread_mutex_clocklock(mutex: *mut pthread_mutex_t, clock: clockid_t, time: *const timespec) -> c_int;
}

/// # Safety
/// As for libc's function.
pub(super) unsafe extern "C-unwind" fn pthread_mutex_lock(
    mutex: *mut pthread_mutex_t,
    caller: usize,
) -> c_int {
    // SAFETY: by contract.
    unsafe { lock(mutex, caller, None, || next::pthread_mutex_lock(mutex)) }
}

/// # Safety
/// As for libc's function.
unsafe extern "C-unwind" fn pthread_mutex_timedlock(
    mutex: *mut pthread_mutex_t,
    time: *const timespec,
    caller: usize,
) -> c_int {
    let deadline = Some((libc::CLOCK_REALTIME, time));
    // SAFETY: by contract.
    unsafe { lock(mutex, caller, deadline, || next::pthread_mutex_timedlock(mutex, time)) }
}

/// # Safety
/// As for libc's function.
unsafe extern "C-unwind" fn pthread_mutex_clocklock(
    mutex: *mut pthread_mutex_t,
    clock: clockid_t,
    time: *const timespec,
    caller: usize,
) -> c_int {
    // SAFETY: by contract.
    let by_libc = || unsafe { newer::pthread_mutex_clocklock(mutex, clock, time) };
    if !deadline::is_usable(clock) {
        return by_libc();
    }
    // SAFETY: by contract.
    unsafe { lock(mutex, caller, Some((clock, time)), by_libc) }
}

/// # Safety
/// As for libc's function.
unsafe extern "C-unwind" fn pthread_mutex_trylock(mutex: *mut pthread_mutex_t) -> c_int {
    // SAFETY: by contract.
    unsafe {
        match owner_in(Mutex::at(mutex)) {
            None => next::pthread_mutex_trylock(mutex),
            Some(me) if Mutex::at(mutex).is_owned_by(me) => next::pthread_mutex_trylock(mutex),
            me => attempt(mutex, me).unwrap_or(libc::EBUSY),
        }
    }
}

/// # Safety
/// As for libc's function.
pub(super) unsafe extern "C-unwind" fn pthread_mutex_unlock(mutex: *mut pthread_mutex_t) -> c_int {
    // SAFETY: by contract.
    unsafe {
        let parts = Mutex::at(mutex);
        if let Some(me) = owner_in(parts) {
            if parts.is_owned_by_other(me) {
                return libc::EPERM;
            }
            if parts.is_owned_by(me) && !parts.clear_owner_before_last_unlock() {
                return next::pthread_mutex_unlock(mutex);
            }
        }
        let answer = next::pthread_mutex_unlock(mutex);
        wake(mutex.addr(), ANYTHING, 1);
        answer
    }
}

/// A thread waits for a condition in libc's own function next, where the mutex is freed unseen.
pub(super) fn note_hidden_unlock(mutex: *mut pthread_mutex_t) {
    wake(mutex.addr(), ANYTHING, 1);
}

/// The calling goroutine, if the mutex is one whose owner it would be.
#[inline]
pub(super) fn owner_in(mutex: Mutex) -> Option<Owner> {
    if mutex.kind() == Kind::Owned { Owner::current() } else { None }
}

/// Locks the mutex if that does not block; `None` if it would. `me` is the caller, if the mutex is
/// one whose owner it would be.
///
/// # Safety
/// As for libc's function.
#[inline]
unsafe fn attempt(mutex: *mut pthread_mutex_t, me: Option<Owner>) -> Option<c_int> {
    // SAFETY: by contract.
    unsafe {
        let Some(me) = me else {
            let answer = next::pthread_mutex_trylock(mutex);
            return (answer != libc::EBUSY).then_some(answer);
        };
        let parts = Mutex::at(mutex);
        if parts.is_owned_by(me) {
            return Some(next::pthread_mutex_lock(mutex));
        }
        if parts.is_owned_by_other(me) {
            return None;
        }
        match next::pthread_mutex_trylock(mutex) {
            libc::EBUSY => None,
            0 => {
                parts.set_owner(me);
                Some(0)
            }
            error => Some(error),
        }
    }
}

/// Locks the mutex; by `by_libc`, where it cannot park.
///
/// # Safety
/// As for libc's function, which `by_libc` is. A time that is given can be read.
#[inline]
unsafe fn lock(
    mutex: *mut pthread_mutex_t,
    caller: usize,
    deadline: Option<(clockid_t, *const timespec)>,
    by_libc: impl Fn() -> c_int,
) -> c_int {
    // SAFETY: by contract.
    unsafe {
        let me = match Mutex::at(mutex).kind() {
            Kind::Libc => return by_libc(),
            Kind::Plain => None,
            Kind::Owned => match Owner::current() {
                None => return by_libc(),
                me => me,
            },
        };
        match attempt(mutex, me) {
            Some(answer) => answer,
            None => lock_contended(mutex, me, caller, deadline, by_libc),
        }
    }
}

/// # Safety
/// As for `lock`.
#[cold]
#[inline(never)]
unsafe fn lock_contended(
    mutex: *mut pthread_mutex_t,
    me: Option<Owner>,
    caller: usize,
    deadline: Option<(clockid_t, *const timespec)>,
    by_libc: impl Fn() -> c_int,
) -> c_int {
    // SAFETY: by contract.
    unsafe {
        let parts = Mutex::at(mutex);
        let read = match deadline {
            None => None,
            Some((clock, time)) => match Deadline::read(clock, time) {
                None => return libc::EINVAL,
                read => read,
            },
        };
        if may_park_for(mutex.addr()) && !callers::is_allocator(caller) && has_usual_signals() {
            let again = || attempt(mutex, me);
            return wait(mutex.addr(), ANYTHING, parts.shared(), read.as_ref(), again)
                .unwrap_or(libc::ETIMEDOUT);
        }
        let Some(me) = me else { return by_libc() };
        // libc would let it in if the owner is of the same processor.
        if !block_while(read.as_ref(), || parts.is_owned_by_other(me)) {
            return libc::ETIMEDOUT;
        }
        let answer = by_libc();
        if answer == 0 {
            parts.set_owner(me);
        }
        answer
    }
}
