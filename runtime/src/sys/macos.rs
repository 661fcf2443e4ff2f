//! macOS.

pub(crate) use super::pinned::*;
use crate::arch::Bounds;
pub(crate) use crate::arch::can_carry;
use std::ffi::CStr;

/// A clock that also runs while the machine sleeps.
pub(crate) const CLOCK_WITH_SLEEP: libc::clockid_t = libc::CLOCK_MONOTONIC;

/// The system need not have memory for all that is mapped.
pub(crate) const MAP_NO_RESERVE: libc::c_int = libc::MAP_NORESERVE;

/// The lower half of the kernel's number of the calling thread.
pub(crate) fn kernel_thread_id() -> libc::pid_t {
    let mut number = 0;
    // SAFETY: the calling thread, and room for the answer.
    unsafe { libc::pthread_threadid_np(libc::pthread_self(), &mut number) };
    number as libc::pid_t
}

/// Whether the calling thread is the one that the process began with.
pub(crate) fn is_main_thread() -> bool {
    // SAFETY: a plain query.
    unsafe { libc::pthread_main_np() == 1 }
}

/// The name of the calling thread, padded with zeros.
pub(crate) fn kernel_thread_name() -> [u8; 16] {
    let mut name = [0u8; 16];
    // SAFETY: the calling thread, and the length is that of the buffer.
    unsafe { libc::pthread_getname_np(libc::pthread_self(), name.as_mut_ptr().cast(), name.len()) };
    name
}

/// Gives the calling thread a name.
pub(crate) fn name_this_thread(name: &CStr) {
    // SAFETY: a C string.
    unsafe { libc::pthread_setname_np(name.as_ptr()) };
}

/// The bounds of the calling thread's stack.
pub(crate) fn native_stack() -> Option<Bounds> {
    // SAFETY: the calling thread.
    unsafe {
        let thread = libc::pthread_self();
        let base = libc::pthread_get_stackaddr_np(thread).addr();
        Some(Bounds { base, limit: base - libc::pthread_get_stacksize_np(thread) })
    }
}

/// Where the calling thread's `errno` is.
pub(crate) fn errno() -> *mut libc::c_int {
    // SAFETY: a plain query.
    unsafe { libc::__error() }
}
