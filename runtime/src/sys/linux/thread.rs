//! Lenders and other threads, and what the CPU and kernel let us do with them.

use super::{getattr, setxid};
use crate::arch::Bounds;
pub(crate) use crate::arch::{can_carry, exception_globals_function};
use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::ptr;

/// A clock that also runs while the machine sleeps.
pub(crate) const CLOCK_WITH_SLEEP: libc::clockid_t = libc::CLOCK_BOOTTIME;

/// CPU time that a thread of this process has used, in nanoseconds, and whether it is runnable now.
pub(crate) fn use_of_processor(thread: libc::pid_t) -> Option<(u64, bool)> {
    let stat = std::fs::read_to_string(format!("/proc/self/task/{thread}/stat")).ok()?;
    let wants = stat.rsplit_once(") ")?.1.starts_with('R');
    let used = std::fs::read_to_string(format!("/proc/self/task/{thread}/schedstat")).ok()?;
    Some((used.split(' ').next()?.parse().ok()?, wants))
}

/// How many threads the process has. `None` if the system does not say.
pub(crate) fn threads() -> Option<usize> {
    Some(std::fs::read_dir("/proc/self/task").ok()?.count())
}

/// Whether the calling kernel thread has child processes.
///
/// The kernel ties a process to the thread that has made it, by whatever call, and treats the end
/// of that thread as the end of the parent (`PR_SET_PDEATHSIG`).
pub(crate) fn has_children() -> bool {
    let mut found = MaybeUninit::<libc::siginfo_t>::uninit();
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT | libc::__WALL | libc::__WNOTHREAD;
    // SAFETY: there is room for the answer, which is not read. The call does not wait, and leaves a
    // child that has ended for the program to collect.
    let outcome = unsafe { libc::waitid(libc::P_ALL, 0, found.as_mut_ptr(), options) };
    // If the call is not permitted, assume that there are some.
    outcome == 0 || std::io::Error::last_os_error().raw_os_error() != Some(libc::ECHILD)
}

/// The kernel's id of the calling kernel thread. On a carried processor that is the worker's.
pub(crate) fn kernel_thread_id() -> libc::pid_t {
    // SAFETY: a plain query.
    unsafe { libc::gettid() }
}

/// Whether the calling kernel thread is the one that the process began with.
pub(crate) fn is_main_thread() -> bool {
    u32::try_from(kernel_thread_id()).is_ok_and(|thread| thread == std::process::id())
}

/// The kernel's name of the calling kernel thread, padded with zeros.
pub(crate) fn kernel_thread_name() -> [u8; 16] {
    let mut name = [0u8; 16];
    // SAFETY: there is room for the sixteen bytes that the call writes.
    unsafe { libc::prctl(libc::PR_GET_NAME, name.as_mut_ptr()) };
    name
}

/// The bounds of the native stack that belongs to the present thread pointer, as far as the C
/// library knows them.
pub(crate) fn native_stack() -> Option<Bounds> {
    let mut attributes = MaybeUninit::uninit();
    let (mut limit, mut size) = (ptr::null_mut(), 0);
    // SAFETY: the attributes are used only when the first call has written them, and then destroyed
    // once.
    unsafe {
        if getattr::of_thread(libc::pthread_self(), attributes.as_mut_ptr()) != 0 {
            return None;
        }
        let known = libc::pthread_attr_getstack(attributes.as_ptr(), &mut limit, &mut size) == 0;
        libc::pthread_attr_destroy(attributes.as_mut_ptr());
        known.then_some(Bounds { base: limit as usize + size, limit: limit as usize })
    }
}

/// Gives the calling kernel thread a name, which is cut off if it is too long.
pub(crate) fn name_this_thread(name: &CStr) {
    // SAFETY: the calling thread, and a C string.
    unsafe { libc::pthread_setname_np(libc::pthread_self(), name.as_ptr()) };
}

/// Where the calling thread's `errno` is.
pub(crate) fn errno() -> *mut libc::c_int {
    // SAFETY: a plain query.
    unsafe { libc::__errno_location() }
}

/// What else a process needs when the runtime starts.
pub(crate) fn prepare_process(worker: setxid::OfWorker) {
    setxid::guard(worker);
}

/// The signals that the calling thread blocks.
pub(crate) fn signal_mask() -> u64 {
    let mut mask = 0u64;
    let none = ptr::null::<u64>();
    // SAFETY: nothing is set, and there is room for the kernel's mask of 64 signals.
    unsafe {
        libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_BLOCK, none, &raw mut mask, size_of::<u64>())
    };
    mask
}
