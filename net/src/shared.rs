//! Descriptors whose open file belongs to others as well.
//!
//! "Non-blocking" is a property of the open file, not of the descriptor. A terminal is one open
//! file for the standard streams of a program, of the shell that started it and of everything else
//! that the shell has started; a pipe or a socket that was inherited may be one, too. If it became
//! non-blocking, the prints of this program would fail, and so would other programs, also after
//! this one has ended. So such an open file is left as it is, and an operation on it is tried only
//! when the system says that it would not wait.
//!
//! What may be shared is a terminal, pipe or socket
//! - that an exec would have passed on, hence may have: one without the mark close-on-exec,
//! - or that is the same as a standard stream, of which it may be a duplicate.
//!
//! Between the look and the operation another party may take what was there. Parties of this
//! process take turns at that. Against others nothing helps: the operation then blocks its thread
//! until there is something again.

use crate::source::Direction;
use crate::sys::socket::is_ready;
use narrowboat_runtime::yield_now;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// As many bytes as can be written without waiting where there is room at all: a pipe has a page
/// then, and a socket has more. A terminal may have less, which it does not tell.
pub(crate) const GUARANTEED_ROOM: usize = 4096;

/// Whether others may have the open file that the descriptor stands for.
pub(crate) fn may_be_shared(fd: BorrowedFd<'_>) -> bool {
    let Some(file) = identity(fd.as_raw_fd()) else { return false };
    // SAFETY: a plain query.
    let flags = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFD) };
    flags & libc::FD_CLOEXEC == 0
        || (libc::STDIN_FILENO..=libc::STDERR_FILENO).any(|stream| identity(stream) == Some(file))
}

/// Which terminal, pipe or socket it is; none for what is something else, such as an event counter.
fn identity(fd: RawFd) -> Option<(libc::dev_t, libc::ino_t)> {
    let mut found = MaybeUninit::uninit();
    // SAFETY: there is room for the answer, which is read only if it was given.
    let found = unsafe {
        if libc::fstat(fd, found.as_mut_ptr()) != 0 {
            return None;
        }
        found.assume_init()
    };
    let kind = found.st_mode & libc::S_IFMT;
    matches!(kind, libc::S_IFCHR | libc::S_IFIFO | libc::S_IFSOCK).then_some((found.st_dev, found.st_ino))
}

/// Whose turn it is to look and then to operate, in either direction.
#[derive(Clone, Default)]
pub(crate) struct AttemptLocks(Arc<[AtomicBool; 2]>);

/// A turn, over when dropped.
struct AttemptGuard<'a>(&'a AtomicBool);

impl Drop for AttemptGuard<'_> {
    fn drop(&mut self) {
        // Release: the next one looks after this one has operated.
        self.0.store(false, Ordering::Release);
    }
}

impl AttemptLocks {
    /// Operates if that would not wait, else says that it would.
    pub(crate) fn attempt<R>(
        &self,
        fd: BorrowedFd<'_>,
        direction: Direction,
        operate: impl FnOnce() -> io::Result<R>,
    ) -> io::Result<R> {
        let taken = &self.0[direction as usize];
        let would_block = || io::Error::from_raw_os_error(libc::EAGAIN);
        // A look before the turn, too: the party that has it may be blocked after all, and then
        // there is nothing.
        while is_ready(fd, direction) {
            // Acquire: see `drop`.
            if !taken.swap(true, Ordering::Acquire) {
                let _guard = AttemptGuard(taken);
                return if is_ready(fd, direction) { operate() } else { Err(would_block()) };
            }
            yield_now();
        }
        Err(would_block())
    }
}
