//! Tells AddressSanitizer about stacks, if the program is built with `--cfg narrowboat_asan`.
//! Otherwise these are empty functions.
//!
//! AddressSanitizer poisons the gaps around the variables of each frame. A function cleans up when
//! it returns. We have to do three things:
//!
//! - Copying reads and writes the gaps, and the frames that are copied in were laid out at another
//!   time. So the range of a copy is unpoisoned. The copied frames of a goroutine that has been
//!   away have no gaps any more.
//! - A goroutine that ends leaves frames behind that never return.
//! - A panic removes frames that do not return. The sanitizer then cleans from the stack pointer to
//!   the base of the thread's stack, so it must know on which stack the thread is.
//!
//! The sanitizer reaches its state of a thread through a thread-local. A processor has its own
//! thread-locals, whichever worker carries it, so nothing has to be done when thread pointers are
//! exchanged.

use super::Bounds;

#[cfg(narrowboat_asan)]
mod asan {
    use std::ffi::c_void;

    unsafe extern "C" {
        pub(super) fn __asan_unpoison_memory_region(address: *const c_void, size: usize);
        pub(super) fn __sanitizer_start_switch_fiber(
            save: *mut *mut c_void,
            bottom: *const c_void,
            size: usize,
        );
        pub(super) fn __sanitizer_finish_switch_fiber(
            saved: *mut c_void,
            old_bottom: *mut *const c_void,
            old_size: *mut usize,
        );
    }
}

/// Unpoisons `[low, high)`: it holds no frames, or frames that are about to be copied.
#[inline(always)]
pub(crate) fn forget_frames(low: usize, high: usize) {
    #[cfg(narrowboat_asan)]
    // SAFETY: changes the sanitizer's state of the range, not the range.
    unsafe {
        asan::__asan_unpoison_memory_region(low as *const _, high - low);
    }
    let _ = (low, high);
}

/// Tells the sanitizer that the calling thread, or its processor, is about to run on this stack, or
/// has just arrived there. Returns the bounds that it was on.
///
/// This does both halves of the sanitizer's protocol at once: it only records the bounds. The
/// sanitizer's copies of variables of functions that may return earlier
/// (`detect_stack_use_after_return`) stay with the thread, so that option must be off.
#[inline(always)]
pub(crate) fn runs_on(stack: Bounds) -> Bounds {
    #[cfg(narrowboat_asan)]
    // SAFETY: the three places are written. Between the two calls nothing else runs.
    unsafe {
        let (mut saved, mut bottom, mut size) = (std::ptr::null_mut(), std::ptr::null(), 0);
        let limit = stack.limit as *const _;
        asan::__sanitizer_start_switch_fiber(&raw mut saved, limit, stack.base - stack.limit);
        asan::__sanitizer_finish_switch_fiber(saved, &raw mut bottom, &raw mut size);
        return Bounds { base: bottom as usize + size, limit: bottom as usize };
    }
    #[cfg(not(narrowboat_asan))]
    stack
}
