//! Semaphores.
//!
//! `sem_post` is allowed in a signal handler, which may have interrupted the runtime in the middle
//! of anything. So it wakes a goroutine only on a thread that blocks the signals that workers
//! block, and no others: a handler runs with its own signal blocked. (One that is installed with
//! `SA_NODEFER` and an empty mask cannot be told from other code, and must not post while
//! goroutines wait.) Elsewhere it leaves the goroutine to its next look, at most
//! [`LONGEST`](super::LONGEST) later where few wait.

use super::deadline::{self, Deadline};
use super::{ANYTHING, Shared, fence_after_libc, is_waited_for, wait, wake_waiting};
use crate::error::fail;
use crate::next::next;
use crate::{define, may_park_for};
use libc::{c_int, clockid_t, sem_t, timespec};
use narrowboat_runtime::as_thread::has_usual_signals;

define! {
    "sem_wait" => sem_wait,
    "sem_timedwait" => sem_timedwait,
    "sem_clockwait" => sem_clockwait,
    "sem_post" => sem_post,
}
next! {
    fn sem_wait(semaphore: *mut sem_t) -> c_int;
    fn sem_timedwait(semaphore: *mut sem_t, time: *const timespec) -> c_int;
    fn sem_trywait(semaphore: *mut sem_t) -> c_int;
    fn sem_post(semaphore: *mut sem_t) -> c_int;
}
// Since glibc 2.30: looked up when it is called.
next! {
    mod newer: None;
    fn sem_clockwait(semaphore: *mut sem_t, clock: clockid_t, time: *const timespec) -> c_int;
}

/// Where glibc's structure says whether processes share the semaphore, on 64-bit systems.
const SHARED: usize = 8;

/// # Safety
/// As for libc's function.
unsafe extern "C-unwind" fn sem_wait(semaphore: *mut sem_t) -> c_int {
    // SAFETY: by contract.
    unsafe { take(semaphore, None, || next::sem_wait(semaphore)) }
}

/// # Safety
/// As for libc's function.
unsafe extern "C-unwind" fn sem_timedwait(semaphore: *mut sem_t, time: *const timespec) -> c_int {
    let deadline = Some((libc::CLOCK_REALTIME, time));
    // SAFETY: by contract.
    unsafe { take(semaphore, deadline, || next::sem_timedwait(semaphore, time)) }
}

/// # Safety
/// As for libc's function.
unsafe extern "C-unwind" fn sem_clockwait(
    semaphore: *mut sem_t,
    clock: clockid_t,
    time: *const timespec,
) -> c_int {
    // SAFETY: by contract.
    let by_libc = || unsafe { newer::sem_clockwait(semaphore, clock, time) };
    if !deadline::is_usable(clock) {
        return by_libc();
    }
    // SAFETY: by contract.
    unsafe { take(semaphore, Some((clock, time)), by_libc) }
}

/// # Safety
/// As for libc's function.
unsafe fn take(
    semaphore: *mut sem_t,
    deadline: Option<(clockid_t, *const timespec)>,
    by_libc: impl Fn() -> c_int,
) -> c_int {
    if !may_park_for(semaphore.addr()) {
        return by_libc();
    }
    // SAFETY: by contract. The word is written when the semaphore is made.
    unsafe {
        let read = match deadline {
            None => None,
            Some((clock, time)) => match Deadline::read(clock, time) {
                // libc refuses it, or finds that there is none.
                None => return by_libc(),
                read => read,
            },
        };
        let attempt = || (next::sem_trywait(semaphore) == 0).then_some(0);
        if let Some(answer) = attempt() {
            return answer;
        }
        if !has_usual_signals() {
            return by_libc();
        }
        let shared = semaphore.cast::<u8>().add(SHARED).cast::<c_int>().read();
        let shared = if shared != 0 { Shared::Yes } else { Shared::No };
        wait(semaphore.addr(), ANYTHING, shared, read.as_ref(), attempt)
            .unwrap_or_else(|| fail(libc::ETIMEDOUT))
    }
}

/// # Safety
/// As for libc's function.
unsafe extern "C-unwind" fn sem_post(semaphore: *mut sem_t) -> c_int {
    // SAFETY: by contract.
    let answer = unsafe { next::sem_post(semaphore) };
    fence_after_libc();
    if is_waited_for(semaphore.addr()) && answer == 0 && has_usual_signals() {
        wake_waiting(semaphore.addr(), ANYTHING, 1);
    }
    answer
}
