//! `pthread_getattr_np` in a goroutine.
//!
//! Code that needs the bounds of its stack asks the C library about its thread. In a goroutine that
//! thread is the processor's lender, which has another stack. So the function of that name here
//! replaces the C library's, and answers a goroutine that asks about itself with its own stack, or
//! the segment that it is on. Every other query goes to the C library: those of plain threads,
//! those about other threads, and those on the system stack.
//!
//! As in [`crate::locals::destructors`] it is protected. A library that is loaded by itself, and
//! not linked with the program, may find the C library's function first, and gets that function's
//! answer. The function works before `main`, where std calls it.
//!
//! A static program has no other function to pass queries on to, so the C library's function stays:
//! goroutines get the bounds of their processor's thread.
//!
//! Nor is it replaced for ThreadSanitizer, which calls it for a thread that it does not know yet: it
//! would report what the function here writes to its own frame.

use libc::{c_int, pthread_attr_t, pthread_t};

#[cfg(not(any(target_feature = "crt-static", narrowboat_tsan)))]
mod in_front {
    use super::*;
    use crate::arch::{Bounds, jump_to_function};
    use std::ffi::c_void;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::{mem, ptr};

    /// The bounds of the stack that the calling code is on, if it is a goroutine.
    static GOROUTINE: OnceLock<fn() -> Option<Bounds>> = OnceLock::new();

    pub(crate) fn answer_with(goroutine: fn() -> Option<Bounds>) {
        let _ = GOROUTINE.set(goroutine);
    }

    std::arch::global_asm!(
        ".globl pthread_getattr_np",
        ".protected pthread_getattr_np",
        ".type pthread_getattr_np,@function",
        "pthread_getattr_np:",
        ".cfi_startproc",
        jump_to_function!(),
        ".cfi_endproc",
        ".size pthread_getattr_np, . - pthread_getattr_np",
        function = sym attributes_of,
    );

    /// # Safety
    /// As for `pthread_getattr_np`.
    unsafe extern "C" fn attributes_of(thread: pthread_t, attributes: *mut pthread_attr_t) -> c_int {
        // SAFETY: by contract. The calling thread always exists.
        unsafe {
            let error = libc_function(thread, attributes);
            if error != 0 || thread != libc::pthread_self() {
                return error;
            }
            match GOROUTINE.get().and_then(|bounds| bounds()) {
                Some(bounds) => {
                    libc::pthread_attr_setstack(attributes, bounds.limit as *mut c_void, bounds.size())
                }
                None => 0,
            }
        }
    }

    /// The C library's function of the same name.
    ///
    /// # Safety
    /// As for `pthread_getattr_np`.
    pub(super) unsafe fn libc_function(thread: pthread_t, attributes: *mut pthread_attr_t) -> c_int {
        const UNKNOWN: usize = 0;
        const MISSING: usize = 1;
        static FOUND: AtomicUsize = AtomicUsize::new(UNKNOWN);
        let mut found = FOUND.load(Ordering::Relaxed);
        if found == UNKNOWN {
            // SAFETY: a look-up by name.
            found =
                unsafe { libc::dlsym(libc::RTLD_NEXT, c"pthread_getattr_np".as_ptr()) }.addr().max(MISSING);
            FOUND.store(found, Ordering::Relaxed);
        }
        if found == MISSING {
            return libc::ENOSYS;
        }
        // SAFETY: the C library's function of this name has this type; called by contract.
        unsafe {
            let function: unsafe extern "C" fn(pthread_t, *mut pthread_attr_t) -> c_int =
                mem::transmute(ptr::with_exposed_provenance::<c_void>(found));
            function(thread, attributes)
        }
    }
}

#[cfg(not(any(target_feature = "crt-static", narrowboat_tsan)))]
pub(crate) use in_front::answer_with;

/// In a static program the C library's function stays.
#[cfg(any(target_feature = "crt-static", narrowboat_tsan))]
pub(crate) fn answer_with(_: fn() -> Option<crate::arch::Bounds>) {}

/// Calls the C library's function.
///
/// # Safety
/// As for `pthread_getattr_np`.
pub(super) unsafe fn of_thread(thread: pthread_t, attributes: *mut pthread_attr_t) -> c_int {
    #[cfg(not(any(target_feature = "crt-static", narrowboat_tsan)))]
    // SAFETY: by contract.
    unsafe {
        in_front::libc_function(thread, attributes)
    }
    #[cfg(any(target_feature = "crt-static", narrowboat_tsan))]
    // SAFETY: by contract.
    unsafe {
        libc::pthread_getattr_np(thread, attributes)
    }
}
