//! Address space for stacks: reserve it, open parts of it, give pages or all of it back.
//!
//! A [`Reservation`] owns its range and nothing else; who may read and write which part is for its owner to say.

use std::io;
use std::ptr;

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
    /// Reserves `len` bytes, a multiple of the page size. They cost nothing until opened and touched, and never
    /// become huge pages: one touched byte shall cost one page, not two megabytes.
    pub(crate) fn new(len: usize) -> io::Result<Reservation> {
        let low = map(len, libc::PROT_NONE)?;
        // SAFETY: the range was just mapped and nobody else knows it. A kernel without huge pages answers EINVAL,
        // which is fine.
        unsafe { libc::madvise(low as *mut libc::c_void, len, libc::MADV_NOHUGEPAGE) };
        Ok(Reservation { low, len })
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
}

impl Drop for Reservation {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and its owner drops it only when no stack in it is in use.
        unsafe { libc::munmap(self.low as *mut libc::c_void, self.len) };
    }
}

/// Whether the system would let us open `len` bytes now: strict overcommit and address-space limits say no here.
pub(crate) fn would_fit(len: usize) -> bool {
    match map(len, libc::PROT_READ | libc::PROT_WRITE) {
        Ok(low) => {
            // SAFETY: mapped in the line above, known to nobody else.
            unsafe { libc::munmap(low as *mut libc::c_void, len) };
            true
        }
        Err(_) => false,
    }
}

fn map(len: usize, prot: libc::c_int) -> io::Result<usize> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: a fresh anonymous mapping at an address of the kernel's choice touches no existing memory.
    let low = unsafe { libc::mmap(ptr::null_mut(), len, prot, flags, -1, 0) };
    if low == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(low as usize) }
}
