//! Which code calls: an allocator must not park.
//!
//! An allocator of C takes a lock in the middle of an allocation, and what it keeps for each thread
//! stays with the processor. If the goroutine parked there, another one of its processor would find
//! the allocator half-way through a change. So a lock that an allocator waits for blocks the
//! thread, which is brief: what holds it never parks.
//!
//! - An allocator that is a library of its own (preloaded, mostly) is the library that `malloc`
//!   comes from. libc's own allocator takes no lock of this module.
//! - One that is linked into the program is known by the names of its functions: those that wait
//!   for pthread mutexes are jemalloc and mimalloc. In a program without names whose allocator
//!   keeps something for each thread no goroutine parks in a call of libc's at all.

use libc::{Dl_info, c_void};
use narrowboat_runtime::as_thread::{Caller, function_at};
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How names of functions of such allocators begin.
const ALLOCATORS: [&str; 6] = ["_rjem_", "je_", "mi_", "_mi_", "__mi_", "malloc_mutex_"];

/// What was found before, by the address: a call stands at few places of a program. The lowest bit
/// of a word says that its caller is an allocator, the others are twice the address.
static KNOWN: [AtomicUsize; 256] = [const { AtomicUsize::new(0) }; 256];

/// Whether the code at this address belongs to an allocator.
#[cold]
pub(super) fn is_allocator(address: usize) -> bool {
    let spread = (address as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56;
    let entry = &KNOWN[spread as usize];
    // Relaxed: a word says all by itself.
    let known = entry.load(Ordering::Relaxed);
    if known & !1 == address << 1 {
        return known & 1 != 0;
    }
    let is = match function_at(address) {
        Caller::Function(name) => ALLOCATORS.iter().any(|start| name.starts_with(start)),
        Caller::Unnamed => false,
        Caller::Elsewhere => is_in_library_of_malloc(address),
    };
    entry.store(address << 1 | usize::from(is), Ordering::Relaxed);
    is
}

fn is_in_library_of_malloc(address: usize) -> bool {
    // SAFETY: a C string.
    let malloc = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"malloc".as_ptr()) };
    base_of(address as *const c_void).is_some_and(|base| base_of(malloc) == Some(base))
}

/// Where the library begins that an address is in.
fn base_of(address: *const c_void) -> Option<*mut c_void> {
    let mut info = MaybeUninit::<Dl_info>::zeroed();
    // SAFETY: there is room for the answer, of which nulls are a part.
    let info = unsafe {
        let found = libc::dladdr(address, info.as_mut_ptr());
        (found != 0).then(|| info.assume_init())
    };
    info.map(|info| info.dli_fbase).filter(|base| !ptr::eq(*base, ptr::null()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_program_is_no_allocator_and_what_has_malloc_is() {
        let here = this_program_is_no_allocator_and_what_has_malloc_is as *const () as usize;
        // From the table the second time.
        assert!(!is_allocator(here) && !is_allocator(here));
        let malloc = libc::malloc as *const () as usize;
        assert!(is_allocator(malloc) && is_allocator(malloc));
    }
}
