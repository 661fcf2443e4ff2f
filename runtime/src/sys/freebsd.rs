//! FreeBSD.

pub(crate) use super::pinned::*;
use crate::arch::Bounds;
pub(crate) use crate::arch::can_carry;
use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::ptr;

/// A clock that also runs while the machine sleeps.
pub(crate) const CLOCK_WITH_SLEEP: libc::clockid_t = libc::CLOCK_MONOTONIC;

/// The system never reserves memory for what is mapped.
pub(crate) const MAP_NO_RESERVE: libc::c_int = 0;

/// The kernel's number of the calling thread.
pub(crate) fn kernel_thread_id() -> libc::pid_t {
    // SAFETY: a plain query.
    unsafe { libc::pthread_getthreadid_np() }
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
    unsafe { libc::pthread_get_name_np(libc::pthread_self(), name.as_mut_ptr().cast(), name.len()) };
    name
}

/// Gives the calling thread a name.
pub(crate) fn name_this_thread(name: &CStr) {
    // SAFETY: the calling thread, and a C string.
    unsafe { libc::pthread_set_name_np(libc::pthread_self(), name.as_ptr()) };
}

/// The bounds of the calling thread's stack.
pub(crate) fn native_stack() -> Option<Bounds> {
    let mut attributes = MaybeUninit::uninit();
    let (mut limit, mut size) = (ptr::null_mut(), 0);
    // SAFETY: the attributes are made before they are used, and destroyed once.
    unsafe {
        if libc::pthread_attr_init(attributes.as_mut_ptr()) != 0 {
            return None;
        }
        let known = libc::pthread_attr_get_np(libc::pthread_self(), attributes.as_mut_ptr()) == 0
            && libc::pthread_attr_getstack(attributes.as_ptr(), &mut limit, &mut size) == 0;
        libc::pthread_attr_destroy(attributes.as_mut_ptr());
        known.then(|| Bounds { base: limit.addr() + size, limit: limit.addr() })
    }
}

/// Where the calling thread's `errno` is.
pub(crate) fn errno() -> *mut libc::c_int {
    // SAFETY: a plain query.
    unsafe { libc::__error() }
}
