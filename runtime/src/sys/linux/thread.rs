//! Threads that lend their thread-locals, and what the CPU and kernel let us do with them.

use std::mem::MaybeUninit;
use std::ptr;

/// Bit 1 of AT_HWCAP2: the kernel (5.9 and later) has enabled `wrfsbase` for user code.
const HWCAP2_FSGSBASE: libc::c_ulong = 1 << 1;

/// Whether user code may exchange the thread pointer.
pub(crate) fn can_carry() -> bool {
    // SAFETY: a plain query.
    unsafe { libc::getauxval(libc::AT_HWCAP2) & HWCAP2_FSGSBASE != 0 }
}

/// The kernel's name for the calling kernel thread. On a carried processor that is the worker's.
pub(crate) fn kernel_thread_id() -> libc::pid_t {
    // SAFETY: a plain query.
    unsafe { libc::gettid() }
}

/// Blocks every signal for the calling thread: no handler shall run under thread-locals that a worker is using.
/// (The C library keeps its own two out of the set; see `setxid`.)
pub(crate) fn block_signals() {
    let mut all = MaybeUninit::uninit();
    // SAFETY: the set is written by sigfillset before it is read; a full mask is always valid.
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), ptr::null_mut());
    }
}

/// Sleeps for ever. `pause` and not `park`: the parker word of this thread belongs to the goroutines that run
/// under its identity, and a sleeper in it would swallow their wake-ups.
pub(crate) fn lend_for_ever() -> ! {
    loop {
        // SAFETY: no arguments; returns only after a signal handler has run.
        unsafe { libc::pause() };
    }
}
