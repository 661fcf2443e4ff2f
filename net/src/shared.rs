//! Descriptors with an open file that other processes may share.
//!
//! "Non-blocking" is a property of the open file, not of the descriptor. A terminal is one open
//! file for the standard streams of a program, of the shell that started it and of everything else
//! that the shell has started; a pipe or a socket that was inherited may be one, too. If it became
//! non-blocking, the prints of this program would fail, and so would other programs, also after
//! this one has ended. So such an open file is left as it is, and an operation on it is tried only
//! when the system says that it would not wait.
//!
//! A terminal, pipe or socket may be shared
//! - if an exec would pass it on, and so may have: it is not marked close-on-exec,
//! - or if it is the same as a standard stream, of which it may be a duplicate.
//!
//! Between the check and the operation, other code may take what was there. Within this process,
//! locks serialise such attempts. Against other processes nothing helps: the operation then blocks
//! its thread until there is something again.

use crate::direction::Direction;
use crate::sys::socket::is_ready;
use narrowboat_runtime::yield_now;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// How many bytes can be written without waiting if there is room at all: a pipe then has a page,
/// and a socket has more. A terminal may have less, and does not report it.
pub(crate) const GUARANTEED_ROOM: usize = 4096;

/// Whether another process may share the open file of the descriptor.
pub(crate) fn may_be_shared(fd: BorrowedFd<'_>) -> bool {
    let Some(file) = identity(fd.as_raw_fd()) else { return false };
    // SAFETY: a plain query.
    let flags = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFD) };
    flags & libc::FD_CLOEXEC == 0
        || (libc::STDIN_FILENO..=libc::STDERR_FILENO).any(|stream| identity(stream) == Some(file))
}

/// Which terminal, pipe or socket it is; `None` for anything else, such as an event counter.
fn identity(fd: RawFd) -> Option<(libc::dev_t, libc::ino_t)> {
    let mut found = MaybeUninit::uninit();
    // SAFETY: there is room for the answer, which is read only if the call has succeeded.
    let found = unsafe {
        if libc::fstat(fd, found.as_mut_ptr()) != 0 {
            return None;
        }
        found.assume_init()
    };
    let kind = found.st_mode & libc::S_IFMT;
    matches!(kind, libc::S_IFCHR | libc::S_IFIFO | libc::S_IFSOCK).then_some((found.st_dev, found.st_ino))
}

/// For each direction, a lock for the check and the operation after it.
#[derive(Clone, Default)]
pub(crate) struct AttemptLocks(Arc<[AtomicBool; 2]>);

/// One lock, released when dropped.
struct AttemptGuard<'a>(&'a AtomicBool);

impl Drop for AttemptGuard<'_> {
    fn drop(&mut self) {
        // Release: the next check comes after this operation.
        self.0.store(false, Ordering::Release);
    }
}

impl AttemptLocks {
    /// Operates if that would not wait; otherwise returns "would block".
    pub(crate) fn attempt<R>(
        &self,
        fd: BorrowedFd<'_>,
        direction: Direction,
        operate: impl FnOnce() -> io::Result<R>,
    ) -> io::Result<R> {
        let taken = &self.0[direction as usize];
        let would_block = || io::Error::from_raw_os_error(libc::EAGAIN);
        // Checks before locking, too: the holder of the lock may be blocked after all, and then
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
