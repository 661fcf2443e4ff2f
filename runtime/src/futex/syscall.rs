//! The function that replaces libc's `syscall`.
//!
//! It works before `main` and after it, in a signal handler and in a forked child: calls other than
//! `SYS_futex` go straight to the kernel, and touch nothing of the runtime.

use super::futex;
use crate::arch::syscall_text;
use crate::sys::futex::Call;
use libc::{c_int, c_long, timespec};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

// Protected, so that code of this module calls it even if another module comes first.
std::arch::global_asm!(
    ".globl syscall",
    ".protected syscall",
    ".type syscall,@function",
    "syscall:",
    ".cfi_startproc",
    syscall_text!(),
    ".cfi_endproc",
    ".size syscall, . - syscall",
    futex_number = const libc::SYS_futex,
    futex = sym called_for_futex,
    failed = sym failed_with,
);

/// Whether there has been a futex call since the probe reset this.
static CALLED: AtomicBool = AtomicBool::new(false);

/// Whether calls of `syscall` reach this function. Called before anything of the runtime runs. (A
/// call of another thread gives the same answer.)
pub(crate) fn catches_waits() -> bool {
    let word = AtomicU32::new(0);
    CALLED.store(false, Ordering::Relaxed);
    let wake = libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG;
    // SAFETY: wakes nothing: only this thread knows the word.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), wake, 1) };
    CALLED.load(Ordering::Relaxed) && word.load(Ordering::Relaxed) == 0
}

fn fail(error: c_int) -> c_long {
    // SAFETY: the thread's own word. It is looked up now, because a goroutine may have parked
    // meanwhile.
    unsafe { *libc::__errno_location() = error };
    -1
}

/// # Safety
/// As for `syscall`. Arguments that the caller did not pass are not used.
unsafe extern "C" fn called_for_futex(
    _number: c_long,
    word: usize,
    operation: c_int,
    value: u32,
    timeout: *const timespec,
    second: usize,
    mask: u32,
) -> c_long {
    // A load first: the word is in every core's cache.
    if !CALLED.load(Ordering::Relaxed) {
        CALLED.store(true, Ordering::Relaxed);
    }
    // SAFETY: by contract.
    match unsafe { futex(Call { word, operation, value, timeout, second, mask }) } {
        Ok(answer) => answer,
        Err(error) => fail(error),
    }
}

/// The end of a call that has failed, with the kernel's answer. It is jumped to.
extern "C" fn failed_with(answer: c_long) -> c_long {
    fail(-answer as c_int)
}
