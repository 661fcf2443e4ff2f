//! Tells AddressSanitizer about stacks, if the program is built with `--cfg narrowboat_asan`, and
//! ThreadSanitizer about goroutines with `--cfg narrowboat_tsan`. Otherwise these are empty
//! functions.
//!
//! # AddressSanitizer
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
//!
//! # ThreadSanitizer
//! It keeps a vector clock and a stack of the called functions for each thread, and for each
//! *fiber*, which is a thread that the program itself switches to. Functions add themselves to the
//! second when they begin, and take themselves away when they end.
//!
//! - A goroutine is a [`Fiber`], because otherwise its functions would end in the loop's stack. A
//!   switch between it and the loop orders the two, as it does in fact: what runs on one processor
//!   is never reported. Races between processors are.
//! - A processor's loop has the state of the lender, so nothing has to be done for it when thread
//!   pointers are exchanged. But the switch between loop and worker orders them, too
//!   ([`release`], [`acquire`]), and it is assembly, which the sanitizer does not see.
//!
//! The fiber changes in the function that switches, not in one that it calls: that would end in
//! another fiber than it began in.

use super::Bounds;
#[cfg(narrowboat_tsan)]
use std::{cell::Cell, ffi::c_void, ptr};

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

#[cfg(narrowboat_tsan)]
mod tsan {
    use std::ffi::{c_uint, c_void};

    unsafe extern "C" {
        pub(super) fn __tsan_get_current_fiber() -> *mut c_void;
        pub(super) fn __tsan_create_fiber(flags: c_uint) -> *mut c_void;
        pub(super) fn __tsan_destroy_fiber(fiber: *mut c_void);
        pub(super) fn __tsan_switch_to_fiber(fiber: *mut c_void, flags: c_uint);
        pub(super) fn __tsan_acquire(address: *mut c_void);
        pub(super) fn __tsan_release(address: *mut c_void);
    }
}

/// What ThreadSanitizer knows of a goroutine, or of the loop that has switched to one. Without it,
/// nothing.
pub(crate) struct Fiber {
    #[cfg(narrowboat_tsan)]
    state: Cell<*mut c_void>,
}

impl Fiber {
    /// None yet.
    pub(crate) fn new() -> Fiber {
        Fiber {
            #[cfg(narrowboat_tsan)]
            state: Cell::new(ptr::null_mut()),
        }
    }

    /// Makes one for a goroutine that is about to start.
    #[inline(always)]
    pub(crate) fn create(&self) {
        #[cfg(narrowboat_tsan)]
        // SAFETY: adds to the sanitizer's state.
        self.state.set(unsafe { tsan::__tsan_create_fiber(0) });
    }

    /// The caller is about to switch to this.
    #[inline(always)]
    pub(crate) fn enter(&self) {
        #[cfg(narrowboat_tsan)]
        // SAFETY: it has been created, or is the loop's, and is not in use.
        unsafe {
            tsan::__tsan_switch_to_fiber(self.state.get(), 0);
        }
    }

    /// The caller, which this becomes, is about to switch to `other`.
    #[inline(always)]
    pub(crate) fn enter_from_here(&self, other: &Fiber) {
        #[cfg(narrowboat_tsan)]
        // SAFETY: reads the sanitizer's state.
        self.state.set(unsafe { tsan::__tsan_get_current_fiber() });
        other.enter();
    }

    /// That of a goroutine that has ended.
    #[inline(always)]
    pub(crate) fn destroy(&self) {
        #[cfg(narrowboat_tsan)]
        // SAFETY: the goroutine does not run, and never will again.
        unsafe {
            tsan::__tsan_destroy_fiber(self.state.get());
        }
    }
}

/// The caller is about to switch to a stack for which this address stands, with its thread pointer.
#[inline(always)]
pub(crate) fn release<T>(stack: *const T) {
    #[cfg(narrowboat_tsan)]
    // SAFETY: the address is a name.
    unsafe {
        tsan::__tsan_release(stack.cast_mut().cast());
    }
    let _ = stack;
}

/// The caller is on the stack for which this address stands, and code on another one has switched
/// there.
#[inline(always)]
pub(crate) fn acquire<T>(stack: *const T) {
    #[cfg(narrowboat_tsan)]
    // SAFETY: as above.
    unsafe {
        tsan::__tsan_acquire(stack.cast_mut().cast());
    }
    let _ = stack;
}
