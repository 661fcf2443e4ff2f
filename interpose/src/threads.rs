//! `pthread_join`, in which `join` of a `std::thread::JoinHandle` waits.

use crate::pool::Pauses;
use crate::{define, may_park};
use libc::{c_int, c_void, pthread_t};
use narrowboat_runtime::as_thread::has_usual_signals;

define! { "pthread_join" => pthread_join }
#[cfg(not(narrowboat_tsan))]
crate::next::next! { fn pthread_join(thread: pthread_t, result: *mut *mut c_void) -> c_int; }

/// ThreadSanitizer's function, which calls libc's. It keeps a list of the threads that it has not
/// seen joined, and ends the process when libc gives the number of one of them to another.
#[cfg(narrowboat_tsan)]
pub(crate) mod next {
    use super::*;

    unsafe extern "C-unwind" {
        #[link_name = "___interceptor_pthread_join"]
        pub(super) fn pthread_join(thread: pthread_t, result: *mut *mut c_void) -> c_int;
    }

    pub(crate) fn find() {}
}

unsafe extern "C" {
    /// Joins a thread that has ended; `EBUSY` if it has not. Glibc and musl have it.
    pub(crate) fn pthread_tryjoin_np(thread: pthread_t, result: *mut *mut c_void) -> c_int;
}

/// Looks whether the thread has ended, in pauses that grow with the wait: the kernel tells the end
/// of a thread to libc alone. So a goroutine learns of it a quarter of the wait later, and 5 ms at
/// most.
///
/// # Safety
/// As for libc's function.
unsafe extern "C-unwind" fn pthread_join(thread: pthread_t, result: *mut *mut c_void) -> c_int {
    // A thread that would join itself is told so.
    // SAFETY: no arguments.
    if !may_park() || thread == unsafe { libc::pthread_self() } || !has_usual_signals() {
        // SAFETY: by contract.
        return unsafe { next::pthread_join(thread, result) };
    }
    let mut pauses = Pauses::begin();
    loop {
        // SAFETY: by contract.
        let answer = unsafe { pthread_tryjoin_np(thread, result) };
        if answer != libc::EBUSY {
            return answer;
        }
        pauses.sleep();
    }
}
