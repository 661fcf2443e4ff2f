//! libc's own functions, behind those of this crate.
//!
//! They are looked up before `main`; a call that comes earlier looks up its own. Each crosses to
//! libc with the caller's arguments, and leaves `errno` as libc leaves it. A thread that is cancelled
//! in one is unwound through it, so they and what calls them may unwind.

use libc::{c_char, c_void};
use std::ffi::CStr;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

unsafe extern "C" {
    /// Older versions of the `libc` crate lack it.
    fn dlvsym(handle: *mut c_void, name: *const c_char, version: *const c_char) -> *mut c_void;
}

/// One of libc's functions: null until it is found.
pub(crate) struct Next {
    name: &'static CStr,
    /// The version to look for, if there are older functions of the name that do something else.
    version: Option<&'static CStr>,
    found: AtomicPtr<c_void>,
}

impl Next {
    pub(crate) const fn new(name: &'static CStr, version: Option<&'static CStr>) -> Next {
        Next { name, version, found: AtomicPtr::new(ptr::null_mut()) }
    }

    /// The function of this name that comes after ours.
    #[inline]
    pub(crate) fn get(&self) -> *mut c_void {
        // Relaxed: the code that it points to was there before.
        let found = self.found.load(Ordering::Relaxed);
        if found.is_null() { self.find() } else { found }
    }

    #[cold]
    pub(crate) fn find(&self) -> *mut c_void {
        // SAFETY: C strings.
        let found = unsafe {
            match self.version {
                Some(version) => dlvsym(libc::RTLD_NEXT, self.name.as_ptr(), version.as_ptr()),
                None => libc::dlsym(libc::RTLD_NEXT, self.name.as_ptr()),
            }
        };
        if found.is_null() {
            const WHY: &str = "narrowboat: this program's C library lacks a function that it calls; \
                build with `default-features = false`\n";
            // SAFETY: the text is alive, and the process ends.
            unsafe {
                libc::syscall(libc::SYS_write, 2, WHY.as_ptr(), WHY.len());
                libc::abort();
            }
        }
        self.found.store(found, Ordering::Relaxed);
        found
    }
}

/// Declares libc's functions of these names and types as a module `next`, with a `next::find` that
/// looks all of them up. Or as a module of another name, and of a version of libc's symbols.
macro_rules! next {
    ($(fn $name:ident $arguments:tt -> $answer:ty;)*) => {
        crate::next::next! { mod next: None; $(fn $name $arguments -> $answer;)* }
    };
    (mod $module:ident: $version:expr; $(fn $name:ident($($argument:ident: $type:ty),* $(,)?) -> $answer:ty;)*) => {
        pub(crate) mod $module {
            #![expect(clippy::allow_attributes, reason = "modules differ in which imports they need")]
            #[allow(unused_imports)]
            use super::*;

            $(
                /// # Safety
                /// As for libc's function.
                #[inline]
                pub(crate) unsafe fn $name($($argument: $type),*) -> $answer {
                    let next = crate::next::Next::get(&statics::$name);
                    // SAFETY: what was found under the name has this type.
                    let next = unsafe {
                        std::mem::transmute::<*mut libc::c_void, unsafe extern "C-unwind" fn($($type),*) -> $answer>(next)
                    };
                    // SAFETY: by contract.
                    unsafe { next($($argument),*) }
                }
            )*

            #[allow(dead_code)]
            pub(crate) fn find() {
                $(statics::$name.find();)*
            }

            #[expect(non_upper_case_globals, reason = "each is named as its function")]
            mod statics {
                $(
                    pub(super) static $name: crate::next::Next = crate::next::Next::new(
                        match std::ffi::CStr::from_bytes_with_nul(concat!(stringify!($name), "\0").as_bytes()) {
                            Ok(name) => name,
                            Err(_) => unreachable!(),
                        },
                        $version,
                    );
                )*
            }
        }
    };
}
pub(crate) use next;
