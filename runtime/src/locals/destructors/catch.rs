//! The function that replaces libc's `__cxa_thread_atexit_impl`.

use super::TAKE;
use crate::arch::jump_to_function;
use crate::locals::private::Destructor;
use crate::ours;
use std::ffi::{c_int, c_void};
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

/// Plain threads in a statically linked program: libc's function cannot be found there. As in std
/// where libc has none, the list is the value of a key of the C library's. The key's destructor
/// runs when the thread ends; for the main thread it does not run.
mod of_threads {
    use super::{Destructor, c_int, c_void};
    use std::sync::OnceLock;

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
