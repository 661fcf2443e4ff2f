//! Address space for stacks: reserve it, open parts of it, give pages or all of it back.
//!
//! A [`Reservation`] owns its range and nothing else; its owner decides which accesses to which
//! part are allowed. Memory that is open as a whole comes from `memmap2`, which has neither closed
//! mappings nor guards.
//!
//! Systems differ in how they close a guard and how pages are given back ([`Ways`]).

use super::system;
use memmap2::{MmapMut, MmapOptions};
use std::io;
use std::ptr;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// A range of address space, closed to all access until parts of it are opened.
pub(crate) struct Reservation {
    low: usize,
    len: usize,
}

/// The size of a page in bytes.
pub(crate) fn page_size() -> usize {
    // SAFETY: a plain query.
    unsafe { libc::sysconf(libc::_SC_PAGESIZE) as usize }
}

impl Reservation {
    /// Reserves `len` bytes, a multiple of the page size. They cost nothing until opened and
    /// touched, and never become huge pages: one touched byte should cost one page, not two
    /// megabytes.
    pub(crate) fn new(len: usize) -> io::Result<Reservation> {
        let low = map(len, libc::PROT_NONE)?;
        // SAFETY: the range was just mapped and is not in use.
        unsafe {
            system::avoid_huge_pages(low, len);
            if LOCKED.load(Ordering::Relaxed) {
                // Closed memory is not populated. Lock each page when it is first touched, instead
                // of all when it is opened.
                system::lock_when_touched(low, len);
            }
        }
        Ok(Reservation { low, len })
    }

    #[inline]
    pub(crate) fn contains(&self, address: usize) -> bool {
        address.wrapping_sub(self.low) < self.len
    }

    pub(crate) fn low(&self) -> usize {
        self.low
    }

    /// Makes `[low, high)` inside the reservation readable and writable.
    pub(crate) fn open(&self, low: usize, high: usize) -> io::Result<()> {
        assert!(self.low <= low && low < high && high <= self.low + self.len);
        // SAFETY: the range lies inside this mapping, which we own; opening it invalidates nothing.
        let rc = unsafe {
            libc::mprotect(low as *mut libc::c_void, high - low, libc::PROT_READ | libc::PROT_WRITE)
        };
        if rc == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// Opens `[low, high)` with `[guard, low)` closed below it. If guards are
    /// [markers](guards_are_markers), this adds no mapping where the neighbours were opened in the
    /// same way.
    pub(crate) fn open_above_guard(&self, guard: usize, low: usize, high: usize) -> io::Result<()> {
        if !guards_are_markers() {
            return self.open(low, high);
        }
        self.open(guard, high)?;
        // SAFETY: the range is inside this mapping, which `open` has checked; memory that was
        // closed until now is not in use.
        let closed = unsafe {
            // Locked memory takes no markers in some kernels.
            system::mark_guard(guard, low - guard)
                || libc::mprotect(guard as *mut libc::c_void, low - guard, libc::PROT_NONE) == 0
        };
        if closed { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

/// How a system closes guards and takes pages back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ways {
    /// Guards are marks in the page tables, and pages are taken back where they are (Linux, guards
    /// since 6.13).
    Marks,
    /// Guards are mappings of their own; pages are taken back where they are (Linux).
    Mappings,
    /// Guards are mappings of their own, and what is given back is mapped anew, because the advice
    /// that this system takes does not promise that pages read as zero (macOS, FreeBSD).
    Anew,
}

/// The ways of this system. `NARROWBOAT_TEST_MEMORY=mappings` and `=anew` choose those of others,
/// for tests.
fn ways() -> Ways {
    static WAYS: LazyLock<Ways> = LazyLock::new(|| {
        match std::env::var("NARROWBOAT_TEST_MEMORY").as_deref() {
            Ok("mappings") => return Ways::Mappings,
            Ok("anew") => return Ways::Anew,
            _ => {}
        }
        whole_pages(page_size()).map_or(Ways::Mappings, |page| system::ways(page.as_ptr().addr()))
    });
    *WAYS
}

/// Whether the system closes pages without making a mapping of them, so that guards do not count
/// against a limit on mappings.
pub(crate) fn guards_are_markers() -> bool {
    ways() == Ways::Marks
}

impl Drop for Reservation {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and its owner drops it only when no stack in it is in use.
        unsafe { libc::munmap(self.low as *mut libc::c_void, self.len) };
    }
}

/// Allocates whole pages, zeroed, readable and writable, without the allocator. Free them with
/// [`free`].
pub(crate) fn allocate(len: usize) -> io::Result<usize> {
    let mut pages = whole_pages(len)?;
    let low = pages.as_mut_ptr().expose_provenance();
    std::mem::forget(pages);
    Ok(low)
}

fn whole_pages(len: usize) -> io::Result<MmapMut> {
    MmapOptions::new().len(len).no_reserve_swap().map_anon()
}

/// Gives memory back to the system at once.
///
/// # Safety
/// `allocate` gave this address for this length, and the memory is no longer in use.
pub(crate) unsafe fn free(low: usize, len: usize) {
    // SAFETY: by contract.
    unsafe { libc::munmap(low as *mut libc::c_void, len) };
}

/// Whether the system would let us open `len` bytes now. It refuses under strict overcommit and
/// address-space limits.
pub(crate) fn would_fit(len: usize) -> bool {
    let fits = Reservation::new(len).and_then(|range| range.open(range.low, range.low + len));
    fits.is_ok()
}

/// Whether the program wants everything that it maps from now on locked in memory (`mlockall` with
/// `MCL_FUTURE`), hence populated at once.
static LOCKED: AtomicBool = AtomicBool::new(false);

/// Finds out whether mappings are populated when they are made. Called when the runtime starts.
pub(crate) fn look_for_locking() {
    if let Ok(page) = whole_pages(page_size()) {
        let resident = system::resident(page.as_ptr().addr(), page.len(), &mut [0]) == Some(0);
        LOCKED.store(resident, Ordering::Relaxed);
    }
}

/// The lowest page in `[low, high)`, both multiples of the page size, that is in memory. `None` if
/// there is none, or if the system does not say.
///
/// A page that has been swapped out is not in memory, but has contents.
pub(crate) fn lowest_resident(low: usize, high: usize) -> Option<usize> {
    /// How many pages one query asks about: a byte each, on the stack.
    const AT_ONCE: usize = 1024;
    let page = page_size();
    let mut pages = [0u8; AT_ONCE];
    let mut at = low;
    while at < high {
        let n = ((high - at) / page).min(AT_ONCE);
        match system::resident(at, n * page, &mut pages[..n]) {
            Some(first) if first < n => return Some(at + first * page),
            Some(_) => {}
            None => return None,
        }
        at += n * page;
    }
    None
}

/// Gives the pages in `[low, high)`, both multiples of the page size, back to the system; they read
/// as zero afterwards. If the system refuses, as it does for locked memory, they stay as they are.
///
/// # Safety
/// The range is in an open part of a [`Reservation`], and its contents are not needed.
pub(crate) unsafe fn give_back(low: usize, high: usize) {
    let (address, len) = (low as *mut libc::c_void, high - low);
    // SAFETY: by contract. A new mapping takes the place of the old one, and what else might be
    // mapped into a hole between the two is not there yet: if one is left, the process ends.
    unsafe {
        if ways() != Ways::Anew {
            libc::madvise(address, len, libc::MADV_DONTNEED);
            return;
        }
        let open = libc::PROT_READ | libc::PROT_WRITE;
        if libc::mmap(address, len, open, FLAGS | libc::MAP_FIXED, -1, 0) != libc::MAP_FAILED {
            system::avoid_huge_pages(low, len);
        } else if system::resident(low, page_size(), &mut [0]).is_none() {
            // Refused, and the old mapping is gone, which POSIX allows.
            std::process::abort();
        }
    }
}

const FLAGS: libc::c_int = libc::MAP_PRIVATE | libc::MAP_ANON | system::MAP_NO_RESERVE;

fn map(len: usize, prot: libc::c_int) -> io::Result<usize> {
    // SAFETY: a fresh anonymous mapping at an address of the kernel's choice touches no existing
    // memory.
    let low = unsafe { libc::mmap(ptr::null_mut(), len, prot, FLAGS, -1, 0) };
    if low == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(low as usize) }
}
