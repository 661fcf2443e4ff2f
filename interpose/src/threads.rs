//! `pthread_join`, in which `join` of a `std::thread::JoinHandle` waits.

use crate::{define, may_park, next::next};
use libc::{c_int, c_void, pthread_t};
use narrowboat_runtime::as_thread::{has_usual_signals, sleep_in_place};
use std::time::{Duration, Instant};

define! { "pthread_join" => pthread_join }
next! { fn pthread_join(thread: pthread_t, result: *mut *mut c_void) -> c_int; }

unsafe extern "C" {
    /// Joins a thread that has ended; `EBUSY` if it has not. Glibc and musl have it.
    pub(crate) fn pthread_tryjoin_np(thread: pthread_t, result: *mut *mut c_void) -> c_int;
}

/// The pauses between two looks.
const FIRST: Duration = Duration::from_micros(20);
const LONGEST: Duration = Duration::from_millis(5);

/// Looks whether the thread has ended, in pauses that grow with the wait: the kernel tells the end of
/// a thread to libc alone. So a goroutine learns of it a quarter of the wait later, and 5 ms at most.
///
/// # Safety
/// As for libc's function.
unsafe extern "C" fn pthread_join(thread: pthread_t, result: *mut *mut c_void) -> c_int {
    // A thread that would join itself is told so.
    // SAFETY: no arguments.
    if !may_park() || thread == unsafe { libc::pthread_self() } || !has_usual_signals() {
        // SAFETY: by contract.
        return unsafe { next::pthread_join(thread, result) };
    }
    let start = Instant::now();
    loop {
        // SAFETY: by contract.
        let answer = unsafe { pthread_tryjoin_np(thread, result) };
        if answer != libc::EBUSY {
            return answer;
        }
        let now = Instant::now();
        sleep_in_place(now + ((now - start) / 4).clamp(FIRST, LONGEST));
    }
}
