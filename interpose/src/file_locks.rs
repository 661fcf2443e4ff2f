//! Locks of files: `flock`, `lockf`, and `fcntl` with `F_SETLKW` and `F_OFD_SETLKW`. So `lock` of a
//! `std::fs::File` parks.
//!
//! First comes the call that does not wait, then the one that does, on the pool. The pool's thread
//! gets the same lock: it belongs to the open file (`flock`, `F_OFD_SETLKW`), or to the process
//! (`F_SETLKW`, `lockf`). So the kernel finds a deadlock between processes as ever.

use crate::next::next;
use crate::pool::{give, returned, wait_on_pool};
use crate::{define, may_park};
use libc::{c_int, off_t};
use narrowboat_runtime::as_thread::has_usual_signals;
use std::ptr;

define! {
    "flock" => flock,
    "fcntl" => fcntl,
    "fcntl64" => fcntl,
    "lockf" => lockf,
    "lockf64" => lockf,
}
// `fcntl` takes any number of arguments. The third is in the same register as that of a function of
// three, on x86-64 and on aarch64.
next! {
    fn flock(descriptor: c_int, operation: c_int) -> c_int;
    fn fcntl(descriptor: c_int, command: c_int, argument: usize) -> c_int;
    fn lockf(descriptor: c_int, command: c_int, length: off_t) -> c_int;
}

extern "C-unwind" fn flock(descriptor: c_int, operation: c_int) -> c_int {
    // SAFETY: no pointers.
    let native = move |operation| unsafe { next::flock(descriptor, operation) };
    if operation & (libc::LOCK_NB | libc::LOCK_UN) != 0 || !may_park() {
        return native(operation);
    }
    let attempt = || match returned(native(operation | libc::LOCK_NB)) {
        Err(libc::EWOULDBLOCK) => None,
        answer => Some(answer),
    };
    match attempt() {
        Some(answer) => give(answer),
        None if !has_usual_signals() => native(operation),
        None => give(wait_on_pool(attempt, move || returned(native(operation)))),
    }
}

/// # Safety
/// As for libc's function.
unsafe extern "C-unwind" fn fcntl(descriptor: c_int, command: c_int, argument: usize) -> c_int {
    let without_wait = match command {
        libc::F_SETLKW => libc::F_SETLK,
        libc::F_OFD_SETLKW => libc::F_OFD_SETLK,
        // SAFETY: by contract.
        _ => return unsafe { next::fcntl(descriptor, command, argument) },
    };
    if !may_park() {
        // SAFETY: by contract.
        return unsafe { next::fcntl(descriptor, command, argument) };
    }
    // SAFETY: by contract.
    let attempt = || match returned(unsafe { next::fcntl(descriptor, without_wait, argument) }) {
        Err(libc::EAGAIN | libc::EACCES) => None,
        answer => Some(answer),
    };
    match attempt() {
        Some(answer) => give(answer),
        // SAFETY: by contract.
        None if !has_usual_signals() => unsafe { next::fcntl(descriptor, command, argument) },
        None => {
            // SAFETY: the kernel has just read it there.
            let lock = unsafe { *ptr::with_exposed_provenance::<libc::flock>(argument) };
            give(wait_on_pool(attempt, move || {
                // SAFETY: the lock's description can be read.
                returned(unsafe { next::fcntl(descriptor, command, (&raw const lock).expose_provenance()) })
            }))
        }
    }
}

/// # Safety
/// As for libc's function.
unsafe extern "C-unwind" fn lockf(descriptor: c_int, command: c_int, length: off_t) -> c_int {
    if command != libc::F_LOCK || !may_park() {
        // SAFETY: no pointers.
        return unsafe { next::lockf(descriptor, command, length) };
    }
    let lock = libc::flock {
        l_type: libc::F_WRLCK as _,
        l_whence: libc::SEEK_CUR as _,
        l_start: 0,
        l_len: length,
        l_pid: 0,
    };
    // SAFETY: the lock's description can be read. It is what libc makes of such a call.
    unsafe { fcntl(descriptor, libc::F_SETLKW, (&raw const lock).expose_provenance()) }
}
