//! What Linux does with mappings beyond POSIX.

use crate::sys::memory::Ways;
use std::{io, ptr};

/// The system need not have memory for all that is mapped.
pub(crate) const MAP_NO_RESERVE: libc::c_int = libc::MAP_NORESERVE;

/// Marks pages in the page tables as closed (Linux 6.13). The C library's headers may not have it
/// yet.
const MADV_GUARD_INSTALL: libc::c_int = 102;

/// The ways of this kernel, found out on a page of its own.
pub(crate) fn ways(page: usize) -> Ways {
    // Emulators and sandboxes accept advice that they do not know. So the kernel is asked for a
    // write to the page, which must fail: by a call that every sandbox allows, and that valgrind
    // leaves to the kernel.
    // SAFETY: the page is mapped, not in use, and longer than what is written.
    let marked = unsafe {
        mark_guard(page, crate::sys::memory::page_size())
            && libc::uname(ptr::without_provenance_mut(page)) != 0
            && io::Error::last_os_error().raw_os_error() == Some(libc::EFAULT)
    };
    if marked { Ways::Marks } else { Ways::Mappings }
}

/// Closes pages by marks in the page tables. False if the kernel has none.
///
/// # Safety
/// The pages are mapped and not in use.
pub(crate) unsafe fn mark_guard(low: usize, len: usize) -> bool {
    // SAFETY: by contract.
    unsafe { libc::madvise(low as *mut libc::c_void, len, MADV_GUARD_INSTALL) == 0 }
}

/// One touched byte is to cost one page, not two megabytes. A kernel without huge pages answers
/// EINVAL, which is fine.
///
/// # Safety
/// The range is mapped.
pub(crate) unsafe fn avoid_huge_pages(low: usize, len: usize) {
    // SAFETY: by contract.
    unsafe { libc::madvise(low as *mut libc::c_void, len, libc::MADV_NOHUGEPAGE) };
}

/// Locks each page when it is first touched. A kernel that does not know this call (before 4.4)
/// leaves things as they are.
///
/// # Safety
/// The range is mapped.
pub(crate) unsafe fn lock_when_touched(low: usize, len: usize) {
    // SAFETY: by contract.
    unsafe { libc::syscall(libc::SYS_mlock2, low, len, libc::MLOCK_ONFAULT) };
}

/// The number of the first page in the range that is in memory, or the number of pages if there is
/// none. `None` if the system does not say. There is a byte in `states` for each page.
pub(crate) fn resident(low: usize, len: usize, states: &mut [u8]) -> Option<usize> {
    // SAFETY: the call writes a byte for each page, for which there is room, and reads only the
    // page tables.
    let known = unsafe { libc::mincore(low as *mut libc::c_void, len, states.as_mut_ptr()) } == 0;
    known.then(|| states.iter().position(|state| state & 1 != 0).unwrap_or(states.len()))
}

/// Under a limit on address space, bounds how much of it the C library's allocator reserves.
/// Otherwise the allocator takes 64 MiB for each thread that allocates, up to eight for each core,
/// and the processors' threads use up a small limit before the program has any memory.
///
/// The user's own setting (`MALLOC_ARENA_MAX`) takes precedence. Other allocators are not affected.
pub(crate) fn share_arenas_under_a_limit() {
    #[cfg(target_env = "gnu")]
    {
        /// At most this fraction of the address space may be for arenas.
        const ONE_PART_IN: u64 = 4;
        const ARENA: u64 = 64 << 20;
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: a plain query; the whole answer is written to `limit`.
        let known = unsafe { libc::getrlimit(libc::RLIMIT_AS, &mut limit) } == 0;
        if known && limit.rlim_cur != libc::RLIM_INFINITY && std::env::var_os("MALLOC_ARENA_MAX").is_none() {
            let arenas = (limit.rlim_cur / ONE_PART_IN / ARENA).clamp(1, 1 << 16);
            // SAFETY: a setting that the allocator reads when a thread allocates for the first
            // time.
            unsafe { libc::mallopt(libc::M_ARENA_MAX, arenas as libc::c_int) };
        }
    }
}
