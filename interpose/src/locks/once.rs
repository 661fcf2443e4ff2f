//! `pthread_once`, whose initialisation may park.
//!
//! libc's function starts an initialisation and marks its end. Only a goroutine that finds one
//! under way waits here. (One that loses the race for the start waits in libc, and blocks its
//! thread until the end.)

use super::{ANYTHING, Shared, wait, wake};
use crate::next::next;
use crate::{define, may_park_for};
use libc::{c_int, pthread_once_t};
use narrowboat_runtime::as_thread::has_usual_signals;
use std::sync::atomic::{AtomicI32, Ordering};

define! { "pthread_once" => pthread_once }
next! { fn pthread_once(control: *mut pthread_once_t, init: unsafe extern "C-unwind" fn()) -> c_int; }

// Of glibc's word: the bits of an initialisation under way, and of one that is done.
const BEGUN: c_int = 1;
const DONE: c_int = 2;

/// # Safety
/// As for libc's function.
unsafe extern "C-unwind" fn pthread_once(
    control: *mut pthread_once_t,
    init: unsafe extern "C-unwind" fn(),
) -> c_int {
    // SAFETY: by contract; libc accesses the word as an atomic.
    let word = unsafe { AtomicI32::from_ptr(control.cast()) };
    // Acquire, as in libc: what the initialisation wrote is seen.
    let state = || word.load(Ordering::Acquire);
    if state() & DONE != 0 {
        return 0;
    }
    while state() & (BEGUN | DONE) == BEGUN && may_park_for(control.addr()) && has_usual_signals() {
        let begun = || (state() & (BEGUN | DONE) != BEGUN).then_some(0);
        wait(control.addr(), ANYTHING, Shared::No, None, begun);
    }
    // SAFETY: by contract.
    let answer = unsafe { next::pthread_once(control, init) };
    // An initialisation that unwinds does not come here: then those that wait look in their pauses.
    wake(control.addr(), ANYTHING, usize::MAX);
    answer
}
