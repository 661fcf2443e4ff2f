//! The kernel's waits for a word of memory. They are called directly, and not by libc's `syscall`,
//! which the runtime replaces ([`crate::futex`]).

use crate::arch::system_call;
use libc::{c_int, c_long};
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};

/// What a call passes to the kernel.
#[derive(Clone, Copy)]
pub(crate) struct Call {
    pub(crate) word: usize,
    pub(crate) operation: c_int,
    pub(crate) value: u32,
    pub(crate) timeout: *const libc::timespec,
    pub(crate) second: usize,
    pub(crate) mask: u32,
}

/// The result of a system call: zero or more, or an error's number.
pub(crate) type Answer = Result<c_long, c_int>;

/// # Safety
/// As for the system call.
pub(crate) unsafe fn call(call: Call) -> Answer {
    let Call { word, operation, value, timeout, second, mask } = call;
    let arguments = [word, operation as usize, value as usize, timeout as usize, second, mask as usize];
    // SAFETY: by contract.
    let answer = unsafe { system_call(libc::SYS_futex, arguments) };
    if (-4095..0).contains(&answer) { Err(-answer as c_int) } else { Ok(answer as c_long) }
}

/// Waits in the kernel, whatever the caller is, until a word is no longer `value`.
pub(crate) fn wait(word: &AtomicU32, value: u32) {
    while word.load(Ordering::Acquire) == value {
        let operation = libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG;
        let word = word.as_ptr().addr();
        // SAFETY: the word can be read.
        let _ = unsafe { call(Call { word, operation, value, timeout: ptr::null(), second: 0, mask: 0 }) };
    }
}

/// Wakes all that wait for a word in the kernel. The word need not exist any more.
pub(crate) fn wake_all(word: usize) {
    let operation = libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG;
    let value = i32::MAX as u32;
    // SAFETY: the kernel only looks for the address in its table.
    let _ = unsafe { call(Call { word, operation, value, timeout: ptr::null(), second: 0, mask: 0 }) };
}
