//! Address space for stacks: reserve it, open parts of it, give pages or all of it back.
//!
//! A [`Reservation`] owns its range and nothing else; its owner decides which accesses to which
//! part are allowed.

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
        // SAFETY: the range was just mapped and is not in use. A kernel without huge pages answers
        // EINVAL, which is fine.
        unsafe { libc::madvise(low as *mut libc::c_void, len, libc::MADV_NOHUGEPAGE) };
        if LOCKED.load(Ordering::Relaxed) {
            // Closed memory is not populated. Lock each page when it is first touched, instead of
            // all when it is opened.
            // SAFETY: as above. A kernel that does not know this call (before 4.4) leaves things as
            // they are.
            unsafe { libc::syscall(libc::SYS_mlock2, low, len, libc::MLOCK_ONFAULT) };
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
        let (address, len) = (guard as *mut libc::c_void, low - guard);
        // SAFETY: the range is inside this mapping, which `open` has checked; memory that was
        // closed until now is not in use.
        let closed = unsafe {
            // Locked memory takes no markers in some kernels.
            libc::madvise(address, len, MADV_GUARD_INSTALL) == 0
                || libc::mprotect(address, len, libc::PROT_NONE) == 0
        };
        if closed { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

/// Marks pages in the page tables as closed (Linux 6.13). The C library's headers may not have it
/// yet.
const MADV_GUARD_INSTALL: libc::c_int = 102;

/// Whether the system closes pages without making a mapping of them, so that guards do not count
/// against `vm.max_map_count`.
pub(crate) fn guards_are_markers() -> bool {
    static MARKERS: LazyLock<bool> = LazyLock::new(|| {
        let page = page_size();
        let Ok(low) = map(page, libc::PROT_READ | libc::PROT_WRITE) else { return false };
        // SAFETY: the page was just mapped and is not in use.
        unsafe {
            let installed = libc::madvise(low as *mut libc::c_void, page, MADV_GUARD_INSTALL) == 0;
            // Emulators and sandboxes accept advice that they do not know. So the kernel is asked
            // for a write to the page, which must fail: by a call that every sandbox allows, and
            // that valgrind leaves to the kernel.
            let refused = libc::uname(low as *mut libc::utsname) != 0
                && io::Error::last_os_error().raw_os_error() == Some(libc::EFAULT);
            libc::munmap(low as *mut libc::c_void, page);
            installed && refused
        }
    });
    *MARKERS
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
    map(len, libc::PROT_READ | libc::PROT_WRITE)
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

/// Whether the program wants everything that it maps from now on locked in memory (`mlockall` with
/// `MCL_FUTURE`), hence populated at once.
static LOCKED: AtomicBool = AtomicBool::new(false);

/// Finds out whether mappings are populated when they are made. Called when the runtime starts.
pub(crate) fn look_for_locking() {
    let page = page_size();
    let Ok(low) = map(page, libc::PROT_READ | libc::PROT_WRITE) else { return };
    let mut resident = 0u8;
    // SAFETY: the page was just mapped and is not in use; there is one byte of answer for it.
    unsafe {
        if libc::mincore(low as *mut libc::c_void, page, &mut resident) == 0 {
            LOCKED.store(resident & 1 != 0, Ordering::Relaxed);
        }
        libc::munmap(low as *mut libc::c_void, page);
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
        // SAFETY: the call writes `n` bytes, for which there is room, and reads only the page
        // tables.
        if unsafe { libc::mincore(at as *mut libc::c_void, n * page, pages.as_mut_ptr()) } != 0 {
            return None;
        }
        if let Some(first) = pages[..n].iter().position(|state| state & 1 != 0) {
            return Some(at + first * page);
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
    // SAFETY: by contract.
    unsafe { libc::madvise(low as *mut libc::c_void, high - low, libc::MADV_DONTNEED) };
}

fn map(len: usize, prot: libc::c_int) -> io::Result<usize> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: a fresh anonymous mapping at an address of the kernel's choice touches no existing
    // memory.
    let low = unsafe { libc::mmap(ptr::null_mut(), len, prot, flags, -1, 0) };
    if low == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(low as usize) }
}
