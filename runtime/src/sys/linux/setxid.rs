//! `setuid` and its kin under carried processors.
//!
//! The kernel keeps credentials per thread, so glibc's `setuid` signals every thread (real-time
//! signal 33) to make the same call. Each thread's handler clears a mark in the thread's own
//! structure, which it finds through the thread pointer. On a worker that carries a processor the
//! thread pointer leads to the lender's structure: the mark of the worker would stay, and the
//! caller would wait for ever.
//!
//! So our handler replaces glibc's. It gives glibc's handler the worker's own thread pointer while
//! that runs. glibc's `sigaction` refuses signal 33; the system call does not.

use crate::arch;
use libc::{c_int, c_long, c_ulong, c_void, siginfo_t};
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

const SIGSETXID: c_long = 33;

/// The kernel's own layout of an action, with a mask of one word.
#[repr(C)]
#[derive(Clone, Copy)]
struct KernelAction {
    handler: usize,
    flags: c_ulong,
    restorer: usize,
    mask: u64,
}

/// glibc's handler.
static ORIGINAL: AtomicUsize = AtomicUsize::new(0);

/// The thread pointer of the calling kernel thread, if it is a worker that carries a processor, and
/// so has another one in force.
pub(crate) type OfWorker = fn() -> Option<usize>;

static WORKER: OnceLock<OfWorker> = OnceLock::new();

/// Puts our handler in front of glibc's, if there is one: another C library may use another method.
pub(super) fn guard(worker: OfWorker) {
    let _ = WORKER.set(worker);
    let mut action = KernelAction { handler: 0, flags: 0, restorer: 0, mask: 0 };
    // SAFETY: the layout is the kernel's; the restorer and flags that glibc set are kept.
    unsafe {
        if rt_sigaction(ptr::null(), &mut action) != 0 || action.handler <= libc::SIG_IGN {
            return;
        }
        ORIGINAL.store(action.handler, Ordering::Release);
        action.handler = on_setxid as *const () as usize;
        rt_sigaction(&action, ptr::null_mut());
    }
}

/// # Safety
/// The pointers are null or valid; a new action is one that the process can live with.
unsafe fn rt_sigaction(new: *const KernelAction, old: *mut KernelAction) -> c_long {
    // SAFETY: by contract.
    unsafe { libc::syscall(libc::SYS_rt_sigaction, SIGSETXID, new, old, size_of::<u64>()) }
}

extern "C" fn on_setxid(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    let original = ORIGINAL.load(Ordering::Acquire);
    // On a lender the thread pointer is its own.
    let carried = WORKER.get().and_then(|thread_pointer| thread_pointer());
    // SAFETY: the original is glibc's handler of this signal, called with what the kernel passed to
    // us, under the thread pointer of the kernel thread that it runs on.
    unsafe {
        match carried {
            Some(thread_pointer) => {
                arch::call_with_thread_pointer(original, signal, info.cast(), context.cast(), thread_pointer);
            }
            None => {
                let original: extern "C" fn(c_int, *mut siginfo_t, *mut c_void) =
                    std::mem::transmute(original);
                original(signal, info, context);
            }
        }
    }
}
