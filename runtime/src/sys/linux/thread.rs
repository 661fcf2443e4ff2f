//! Lenders and other threads, and what the CPU and kernel let us do with them.

use super::getattr;
use crate::arch;
use crate::arch::Bounds;
pub(crate) use crate::arch::can_carry;
use std::ffi::{CStr, c_void};
use std::io;
use std::mem::MaybeUninit;
use std::ptr;

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

/// Blocks every signal for the calling thread: no handler may run under thread-locals that a worker
/// is using. (The C library keeps its own two out of the set; see `setxid`.)
pub(crate) fn block_signals() {
    let mut all = MaybeUninit::uninit();
    // SAFETY: the set is written by sigfillset before it is read; a full mask is always valid.
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), ptr::null_mut());
    }
}

/// Sleeps for ever. `pause` and not `park`: the parker word of this thread belongs to the
/// goroutines that run under its identity, and a thread asleep on it would swallow their wake-ups.
pub(crate) fn sleep_as_lender() -> ! {
    loop {
        // SAFETY: no arguments; returns only after a signal handler has run.
        unsafe { libc::pause() };
    }
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

/// Starts a thread that only the C library knows: std does not, so its thread-locals are as the
/// program's file says until `f` uses them. It is detached.
pub(crate) fn start_bare_thread(
    name: &CStr,
    stack: usize,
    f: impl FnOnce() + Send + 'static,
) -> io::Result<()> {
    bare_thread(name, stack, Box::new(f)).map(|thread| {
        // SAFETY: the thread has been started and is neither joined nor detached yet.
        unsafe { libc::pthread_detach(thread) };
    })
}

/// Runs `f` on such a thread, and waits for it.
pub(crate) fn on_bare_thread<T: Send + 'static>(
    name: &CStr,
    stack: usize,
    f: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    let mut result = MaybeUninit::<T>::uninit();
    let to = (&raw mut result).expose_provenance();
    let call = move || {
        let result = f();
        // SAFETY: the result belongs to the caller, which waits for this thread.
        unsafe { ptr::with_exposed_provenance_mut::<T>(to).write(result) };
    };
    let thread = bare_thread(name, stack, Box::new(call))?;
    // SAFETY: joined once. The thread has written the result, or has ended the process by a panic.
    unsafe {
        libc::pthread_join(thread, ptr::null_mut());
        Ok(result.assume_init())
    }
}

type Body = Box<dyn FnOnce() + Send>;

fn bare_thread(name: &CStr, stack: usize, f: Body) -> io::Result<libc::pthread_t> {
    /// A panic that gets here ends the process: this is a C function.
    extern "C" fn body(f: *mut c_void) -> *mut c_void {
        // SAFETY: `bare_thread` has given this box away.
        let f = unsafe { Box::from_raw(f.cast::<Body>()) };
        f();
        ptr::null_mut()
    }
    let f = Box::into_raw(Box::new(f));
    let mut thread = MaybeUninit::uninit();
    // SAFETY: the attributes are initialised before they are used and destroyed once; the thread
    // takes the box, unless it was not started.
    unsafe {
        let mut attributes = MaybeUninit::uninit();
        libc::pthread_attr_init(attributes.as_mut_ptr());
        libc::pthread_attr_setstacksize(attributes.as_mut_ptr(), stack);
        let error = libc::pthread_create(thread.as_mut_ptr(), attributes.as_ptr(), body, f.cast());
        libc::pthread_attr_destroy(attributes.as_mut_ptr());
        if error != 0 {
            drop(Box::from_raw(f));
            return Err(io::Error::from_raw_os_error(error));
        }
        libc::pthread_setname_np(thread.assume_init(), name.as_ptr());
        Ok(thread.assume_init())
    }
}

/// Where a C++ runtime, if there is one in the process, keeps the calling thread's caught and
/// uncaught exceptions: two words.
pub(crate) fn exception_globals() -> Option<*mut u64> {
    let function = match arch::exception_globals_function() {
        // It may be in a library that was loaded later.
        // SAFETY: a look-up by name.
        0 => unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"__cxa_get_globals".as_ptr()) }.addr(),
        function => function,
    };
    if function == 0 {
        return None;
    }
    // SAFETY: the function that the C++ ABI defines under this name: it takes no arguments and
    // returns the address of the thread's own structure, which lives as long as the thread.
    Some(unsafe {
        let function: extern "C" fn() -> *mut u64 =
            std::mem::transmute(ptr::with_exposed_provenance::<c_void>(function));
        function()
    })
}
