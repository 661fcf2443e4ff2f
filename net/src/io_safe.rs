//! The promise that a value keeps its descriptor open.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

/// Types with a descriptor that can be watched for as long as a value lives.
///
/// # Safety
/// [`as_fd`](AsFd::as_fd) always returns the same descriptor, and it stays open until the value is
/// dropped, whatever is done through shared references.
pub unsafe trait IoSafe: AsFd {}

macro_rules! io_safe {
    ($($Owner:ty),* $(,)?) => {
        // SAFETY: a type of std's, which owns one descriptor for all its life.
        $(unsafe impl IoSafe for $Owner {})*
    };
}

io_safe!(
    OwnedFd,
    std::fs::File,
    std::io::PipeReader,
    std::io::PipeWriter,
    std::io::Stdin,
    std::io::Stdout,
    std::io::Stderr,
    std::net::TcpListener,
    std::net::TcpStream,
    std::net::UdpSocket,
    std::os::unix::net::UnixDatagram,
    std::os::unix::net::UnixListener,
    std::os::unix::net::UnixStream,
    std::process::ChildStderr,
    std::process::ChildStdin,
    std::process::ChildStdout,
);

// SAFETY: by the contract of `BorrowedFd`, the descriptor stays open for this long.
unsafe impl IoSafe for BorrowedFd<'_> {}
// SAFETY: the referent lives longer than the reference, and `as_fd` gives the same descriptor
// through every reference.
unsafe impl<T: IoSafe + ?Sized> IoSafe for &T {}
// SAFETY: as above.
unsafe impl<T: IoSafe + ?Sized> IoSafe for Arc<T> {}
// SAFETY: as above.
unsafe impl<T: IoSafe + ?Sized> IoSafe for Box<T> {}
