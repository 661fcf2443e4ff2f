//! What these systems do with mappings: POSIX and no more.

use crate::sys::memory::Ways;

/// The ways of these systems; there is nothing to find out on a page.
pub(crate) fn ways(_page: usize) -> Ways {
    Ways::Anew
}

/// There are no marks.
///
/// # Safety
/// None.
pub(crate) unsafe fn mark_guard(_low: usize, _len: usize) -> bool {
    false
}

/// Only mappings that ask for them become huge pages.
///
/// # Safety
/// None.
pub(crate) unsafe fn avoid_huge_pages(_low: usize, _len: usize) {}

/// There is no such call.
///
/// # Safety
/// None.
pub(crate) unsafe fn lock_when_touched(_low: usize, _len: usize) {}

/// The number of the first page in the range that is in memory, or the number of pages if there is
/// none. `None` if the system does not say. There is a byte in `states` for each page.
pub(crate) fn resident(low: usize, len: usize, states: &mut [u8]) -> Option<usize> {
    // SAFETY: the call writes a byte for each page, for which there is room, and reads only the
    // page tables.
    let known = unsafe { libc::mincore(low as *const libc::c_void, len, states.as_mut_ptr().cast()) } == 0;
    known.then(|| states.iter().position(|state| state & 1 != 0).unwrap_or(states.len()))
}

/// These C libraries' allocators do not reserve address space for each thread.
pub(crate) fn share_arenas_under_a_limit() {}
