//! Destructors of a goroutine's thread-locals.
//!
//! std passes each destructor to `__cxa_thread_atexit_impl` when the value is first used. The
//! function of that name here replaces libc's for all code of this module: the linker takes it
//! because it is protected, so even a library that is loaded later binds to its own. If a goroutine
//! registers a destructor for an object among its own bytes, that goes to the goroutine's list;
//! everything else goes to libc.
//!
//! The list runs when the goroutine ends, last first, before `join` returns: on its own stack, as
//! code of the goroutine. A destructor may park, spawn, and make other thread-locals; their
//! destructors then run, too. If one panics, std ends the process, as it does on a thread.

use super::private::{Destructor, PrivateWord};
use crate::arch::jump_to_function;
use crate::ours;
use std::ffi::{c_int, c_void};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{mem, ptr};

type Run = unsafe extern "C" fn(*mut c_void);
type Register = unsafe extern "C" fn(Run, *mut c_void, *mut c_void) -> c_int;

// Weak, as std declares it, because LLVM warns of the difference where it links all code at once. A
// weak symbol of the program itself still precedes a library's.
std::arch::global_asm!(
    ".weak __cxa_thread_atexit_impl",
    ".protected __cxa_thread_atexit_impl",
    ".type __cxa_thread_atexit_impl,@function",
    "__cxa_thread_atexit_impl:",
    ".cfi_startproc",
    jump_to_function!(),
    ".cfi_endproc",
    ".size __cxa_thread_atexit_impl, . - __cxa_thread_atexit_impl",
    function = sym register,
);

/// Takes a destructor for the calling goroutine if the object is among that one's own bytes. The
/// scheduler registers it before there are goroutines.
static TAKE: OnceLock<fn(Destructor) -> bool> = OnceLock::new();

pub(crate) fn take_with(take: fn(Destructor) -> bool) {
    let _ = TAKE.set(take);
}

/// The last destructor that `f` registers here, if it does, for the probe's thread.
pub(super) fn registered_by(f: impl FnOnce()) -> Option<Destructor> {
    ours::with(|ours| ours.registered.set(None));
    f();
    ours::with(|ours| ours.registered.take())
}

/// # Safety
/// As for libc's function: `run` may be called with `object` when the thread ends.
unsafe extern "C" fn register(run: Run, object: *mut c_void, module: *mut c_void) -> c_int {
    ours::with(|ours| ours.registered.set(Some(Destructor { run, object })));
    if TAKE.get().is_some_and(|take| take(Destructor { run, object })) {
        return 0;
    }
    match libc_function() {
        // SAFETY: by contract.
        Some(register) => unsafe { register(run, object, module) },
        None => of_threads::register(Destructor { run, object }),
    }
}

/// libc's function of the same name.
fn libc_function() -> Option<Register> {
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

/// Runs the destructors of the calling goroutine, and those that they register. True if there were
/// any.
///
/// # Safety
/// The record is the calling goroutine's, which has run its closure.
pub(crate) unsafe fn run(goroutine: &PrivateWord) -> bool {
    let mut any = false;
    loop {
        // SAFETY: the record is our own, and no reference to its parts is held while a destructor
        // runs.
        let next = unsafe { goroutine.private() }.and_then(|private| private.destructors.as_mut()?.pop());
        let Some(Destructor { run, object }) = next else { return any };
        any = true;
        // SAFETY: registered for this object by this goroutine, and called once. The object's bytes
        // are in place, as this goroutine runs.
        unsafe { run(object) };
    }
}

/// Plain threads in a statically linked program: libc's function cannot be found there. As in std
/// where libc has none, the list is the value of a key of the C library's. The key's destructor
/// runs when the thread ends; for the main thread it does not run.
mod of_threads {
    use super::{Destructor, OnceLock, c_int, c_void};

    /// `None` if the system has no key left: then the values are leaked.
    fn key() -> Option<libc::pthread_key_t> {
        static KEY: OnceLock<Option<libc::pthread_key_t>> = OnceLock::new();
        *KEY.get_or_init(|| {
            let mut key = 0;
            // SAFETY: there is room for the key; the function takes what `register` sets.
            let made = unsafe { libc::pthread_key_create(&mut key, Some(run_all)) } == 0;
            made.then_some(key)
        })
    }

    pub(super) fn register(destructor: Destructor) -> c_int {
        let Some(key) = key() else { return 0 };
        // SAFETY: the value was stored below, by this thread.
        unsafe {
            let mut list = libc::pthread_getspecific(key).cast::<Vec<Destructor>>();
            if list.is_null() {
                list = Box::into_raw(Box::default());
                libc::pthread_setspecific(key, list.cast());
            }
            (*list).push(destructor);
        }
        0
    }

    /// # Safety
    /// Called by the C library when the thread ends, with what `register` has set.
    unsafe extern "C" fn run_all(list: *mut c_void) {
        let Some(key) = key() else { return };
        let list = list.cast::<Vec<Destructor>>();
        // SAFETY: by contract. The list is set again, so that destructors which register others
        // find it, until all have run.
        unsafe {
            libc::pthread_setspecific(key, list.cast());
            while let Some(Destructor { run, object }) = (*list).pop() {
                run(object);
            }
            libc::pthread_setspecific(key, std::ptr::null());
            drop(Box::from_raw(list));
        }
    }
}
