//! Destructors of a goroutine's thread-locals.
//!
//! std hands each to `__cxa_thread_atexit_impl` when the value is first used. The function of that
//! name here stands in front of libc's for all code of this module: the linker takes it because it
//! is protected, so that even a library loaded later binds to its own. What a goroutine registers
//! for an object among its own bytes goes to the goroutine's list; everything else goes to libc.
//!
//! The list runs when the goroutine ends, last first, before `join` returns: on its own stack, as
//! code of the goroutine. A destructor may park, make other thread-locals, whose destructors then
//! run too, and spawn. If one panics std ends the process, as it does on a thread.

use super::private::Destructor;
use crate::goroutine::record::Record;
use crate::sched::processor;
use std::ffi::{c_int, c_void};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{mem, ptr};

type Run = unsafe extern "C" fn(*mut c_void);
type Register = unsafe extern "C" fn(Run, *mut c_void, *mut c_void) -> c_int;

std::arch::global_asm!(
    ".globl __cxa_thread_atexit_impl",
    ".protected __cxa_thread_atexit_impl",
    ".type __cxa_thread_atexit_impl,@function",
    "__cxa_thread_atexit_impl:",
    ".cfi_startproc",
    "jmp {register}",
    ".cfi_endproc",
    ".size __cxa_thread_atexit_impl, . - __cxa_thread_atexit_impl",
    register = sym register,
);

/// Calls so far: the probe wants to know whether there are any.
static CALLS: AtomicUsize = AtomicUsize::new(0);

/// Whether `f` registers a destructor here. Called while nothing of the runtime runs yet.
pub(super) fn is_called_by(f: impl FnOnce()) -> bool {
    let before = CALLS.load(Ordering::Relaxed);
    f();
    CALLS.load(Ordering::Relaxed) != before
}

/// # Safety
/// As for libc's function: `run` may be called with `object` when the thread ends.
unsafe extern "C" fn register(run: Run, object: *mut c_void, module: *mut c_void) -> c_int {
    CALLS.fetch_add(1, Ordering::Relaxed);
    if let Some(goroutine) = processor::calling_goroutine() {
        // SAFETY: the caller is this goroutine.
        let taken = unsafe { processor::add_destructor(goroutine, Destructor { run, object }) };
        if taken {
            return 0;
        }
    }
    match libcs() {
        // SAFETY: by contract.
        Some(register) => unsafe { register(run, object, module) },
        // It is never called. The value is leaked.
        None => 0,
    }
}

/// The function that stands behind this one.
fn libcs() -> Option<Register> {
    const UNKNOWN: usize = 0;
    const MISSING: usize = 1;
    static FOUND: AtomicUsize = AtomicUsize::new(UNKNOWN);
    let mut found = FOUND.load(Ordering::Relaxed);
    if found == UNKNOWN {
        // SAFETY: a look-up by name.
        found =
            unsafe { libc::dlsym(libc::RTLD_NEXT, c"__cxa_thread_atexit_impl".as_ptr()) }.addr().max(MISSING);
        FOUND.store(found, Ordering::Relaxed);
    }
    // SAFETY: the C library's function of this name has this type.
    (found != MISSING)
        .then(|| unsafe { mem::transmute::<*const c_void, Register>(ptr::with_exposed_provenance(found)) })
}

/// Runs the destructors of the calling goroutine, also those that they register. True if there were
/// any.
///
/// # Safety
/// The record is the calling goroutine's, which has run its closure.
pub(crate) unsafe fn run(goroutine: NonNull<Record>) -> bool {
    let mut any = false;
    loop {
        // SAFETY: the record is our own, and no reference to it is held while a destructor runs.
        let next = unsafe { (*goroutine.as_ptr()).origin.private() }
            .and_then(|private| private.destructors.as_mut()?.pop());
        let Some(Destructor { run, object }) = next else { return any };
        any = true;
        // SAFETY: registered for this object by this goroutine, and called once; the object's bytes
        // are in place, as this goroutine runs.
        unsafe { run(object) };
    }
}
