//! Threads of the runtime's own, by the C library alone, and what they do.

use super::system;
use std::ffi::{CStr, CString, c_void};
use std::io;
use std::mem::MaybeUninit;
use std::ptr;

/// Starts a thread that only the C library knows: std does not, so its thread-locals are as the
/// program's file says until `f` uses them. It is detached.
pub(crate) fn start_bare_thread(
    name: &CStr,
    stack: usize,
    f: impl FnOnce() + Send + 'static,
) -> io::Result<()> {
    bare_thread(name.to_owned(), stack, Box::new(f)).map(|thread| {
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
    let thread = bare_thread(name.to_owned(), stack, Box::new(call))?;
    // SAFETY: joined once. The thread has written the result, or has ended the process by a panic.
    unsafe {
        libc::pthread_join(thread, ptr::null_mut());
        Ok(result.assume_init())
    }
}

type Body = Box<dyn FnOnce() + Send>;

fn bare_thread(name: CString, stack: usize, f: Body) -> io::Result<libc::pthread_t> {
    /// A panic that gets here ends the process: this is a C function.
    extern "C" fn body(f: *mut c_void) -> *mut c_void {
        // SAFETY: `bare_thread` has given this box away.
        let f = unsafe { Box::from_raw(f.cast::<Body>()) };
        f();
        ptr::null_mut()
    }
    let f = move || {
        system::name_this_thread(&name);
        drop(name);
        f();
    };
    let f: *mut Body = Box::into_raw(Box::new(Box::new(f)));
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
        Ok(thread.assume_init())
    }
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
        #[cfg(not(any(narrowboat_asan, narrowboat_tsan)))]
        unsafe {
            libc::pause();
        }
        #[cfg(any(narrowboat_asan, narrowboat_tsan))]
        sanitized::sleep();
    }
}

#[cfg(any(narrowboat_asan, narrowboat_tsan))]
pub(crate) use sanitized::wait_for_lender;

/// A lender that has been started goes on until it sleeps. What it does there changes the state
/// that a sanitizer has of it, which is that of the processor, too. So the processor must wait.
#[cfg(any(narrowboat_asan, narrowboat_tsan))]
mod sanitized {
    const SLEEP: libc::c_long = libc::SYS_ppoll;

    /// A system call, and not `pause`: in that, ThreadSanitizer would ignore what the processor
    /// calls of the C library.
    pub(super) fn sleep() {
        // SAFETY: there is nothing to poll.
        unsafe { libc::syscall(SLEEP, 0, 0, 0, 0, 0) };
    }

    /// Waits until a lender, a thread of this process, sleeps.
    pub(crate) fn wait_for_lender(kernel_thread: i32) {
        let path = format!("/proc/self/task/{kernel_thread}/syscall");
        let asleep = format!("{SLEEP} ");
        while std::fs::read_to_string(&path).is_ok_and(|text| !text.starts_with(&asleep)) {
            // SAFETY: no arguments.
            unsafe { libc::sched_yield() };
        }
    }
}

/// Where a C++ runtime, if there is one in the process, keeps the calling thread's caught and
/// uncaught exceptions: two words.
pub(crate) fn exception_globals() -> Option<*mut u64> {
    let function = match system::exception_globals_function() {
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
