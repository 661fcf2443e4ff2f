//! libc's own functions, behind those of this crate.
//!
//! They are looked up before `main`. A call that comes earlier, and one in a program that is linked
//! statically, where there is nothing to look up, makes the system call itself.

use libc::{c_int, c_void, clockid_t, pthread_t, timespec};
use std::ffi::CStr;
use std::mem::transmute;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

/// One of libc's functions: null until it is found.
struct Next(AtomicPtr<c_void>);

static CLOCK_NANOSLEEP: Next = Next::new();
static PTHREAD_JOIN: Next = Next::new();

/// Looks all of them up.
pub(crate) fn find() {
    CLOCK_NANOSLEEP.find(c"clock_nanosleep");
    PTHREAD_JOIN.find(c"pthread_join");
}

impl Next {
    const fn new() -> Next {
        Next(AtomicPtr::new(ptr::null_mut()))
    }

    fn find(&self, name: &CStr) {
        // SAFETY: a C string.
        let found = unsafe { libc::dlsym(libc::RTLD_NEXT, name.as_ptr()) };
        // Relaxed: the code that it points to was there before.
        self.0.store(found, Ordering::Relaxed);
    }

    fn get(&self) -> *mut c_void {
        self.0.load(Ordering::Relaxed)
    }
}

/// # Safety
/// As for libc's function.
pub(crate) unsafe fn clock_nanosleep(
    clock: clockid_t,
    flags: c_int,
    request: *const timespec,
    rest: *mut timespec,
) -> c_int {
    type Function = unsafe extern "C" fn(clockid_t, c_int, *const timespec, *mut timespec) -> c_int;
    let next = CLOCK_NANOSLEEP.get();
    // SAFETY: by contract; what was found under the name has this type.
    unsafe {
        if !next.is_null() {
            return transmute::<*mut c_void, Function>(next)(clock, flags, request, rest);
        }
        let before = *libc::__errno_location();
        let answer = libc::syscall(libc::SYS_clock_nanosleep, clock, flags, request, rest);
        if answer == 0 {
            return 0;
        }
        // This function returns its error, and leaves `errno` alone.
        std::mem::replace(&mut *libc::__errno_location(), before)
    }
}

/// # Safety
/// As for libc's function.
pub(crate) unsafe fn pthread_join(thread: pthread_t, result: *mut *mut c_void) -> c_int {
    type Function = unsafe extern "C" fn(pthread_t, *mut *mut c_void) -> c_int;
    let next = PTHREAD_JOIN.get();
    if !next.is_null() {
        // SAFETY: by contract; what was found under the name has this type.
        return unsafe { transmute::<*mut c_void, Function>(next)(thread, result) };
    }
    // A program that is linked statically has no other. The loop is what libc does in the kernel.
    loop {
        // SAFETY: by contract.
        match unsafe { super::threads::pthread_tryjoin_np(thread, result) } {
            libc::EBUSY => {
                let pause = timespec { tv_sec: 0, tv_nsec: 100_000 };
                // SAFETY: the pause can be read.
                unsafe { clock_nanosleep(libc::CLOCK_MONOTONIC, 0, &pause, ptr::null_mut()) };
            }
            answer => return answer,
        }
    }
}
