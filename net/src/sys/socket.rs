//! The system calls of sockets, each made once and never blocking.
//!
//! Guarantees that every descriptor made here is close-on-exec and non-blocking, and that writing to a
//! connection that is gone is an error and never a signal, whoever set up the process's signal handling. Data
//! calls say `MSG_DONTWAIT` besides, so that somebody who makes the shared description blocking cannot make
//! them block.

use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// As many connections as the kernel lets wait for `accept`, which is its own limit (`somaxconn`) on every
/// system.
const BACKLOG: libc::c_int = 4096;

/// As many buffers as one call may carry. Linux and the BSDs agree on it.
const MAX_BUFFERS: usize = 1024;

// Apple has a socket option instead, which `socket2` sets when it makes a socket, and `adopt` when we get
// one.
#[cfg(target_vendor = "apple")]
const NO_SIGNAL: libc::c_int = 0;
#[cfg(not(target_vendor = "apple"))]
const NO_SIGNAL: libc::c_int = libc::MSG_NOSIGNAL;

/// A TCP socket for addresses like this one.
fn stream(address: &SocketAddr) -> io::Result<Socket> {
    let kind = Type::STREAM;
    #[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
    let kind = kind.nonblocking();
    let socket = Socket::new(Domain::for_address(*address), kind, Some(Protocol::TCP))?;
    #[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd")))]
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// A socket that listens at `address`, which may still be in use by connections of an earlier listener.
pub(crate) fn listen(address: &SocketAddr) -> io::Result<OwnedFd> {
    let socket = stream(address)?;
    socket.set_reuse_address(true)?;
    socket.bind(&SockAddr::from(*address))?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Takes a connection that waits: one system call where there is `accept4`.
#[inline(never)]
pub(crate) fn accept(listener: BorrowedFd<'_>) -> io::Result<(OwnedFd, SocketAddr)> {
    let listener = SockRef::from(&listener);
    #[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
    let (socket, address) = listener.accept4(libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK)?;
    #[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd")))]
    let (socket, address) = {
        let (socket, address) = listener.accept()?;
        socket.set_nonblocking(true)?;
        (socket, address)
    };
    Ok((socket.into(), internet(&address)?))
}

/// Begins a connection; true if it was made at once, else [`connected`] tells.
pub(crate) fn connect(address: &SocketAddr) -> io::Result<(OwnedFd, bool)> {
    let socket = stream(address)?;
    match socket.connect(&SockAddr::from(*address)) {
        Ok(()) => Ok((socket.into(), true)),
        // Interrupted: the connection is being made all the same.
        Err(error) if matches!(error.raw_os_error(), Some(libc::EINPROGRESS | libc::EINTR)) => {
            Ok((socket.into(), false))
        }
        Err(error) => Err(error),
    }
}

/// How far a connection is: made, failed, or "would block".
///
/// Asking for the peer first answers the usual case with one call, and the error is looked at only when there
/// may be one.
pub(crate) fn connected(fd: BorrowedFd<'_>) -> io::Result<()> {
    let socket = SockRef::from(&fd);
    match socket.peer_addr() {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotConnected => match socket.take_error()? {
            Some(error) => Err(error),
            None => Err(io::Error::from_raw_os_error(libc::EAGAIN)),
        },
        Err(error) => Err(error),
    }
}

/// Reads; with `libc::MSG_PEEK` in `flags` the data stay.
#[inline]
pub(crate) fn receive(fd: BorrowedFd<'_>, buffer: &mut [u8], flags: libc::c_int) -> io::Result<usize> {
    // SAFETY: the kernel writes at most the buffer's length to it, before the call returns.
    let read = unsafe {
        libc::recv(fd.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), flags | libc::MSG_DONTWAIT)
    };
    usize::try_from(read).map_err(|_| io::Error::last_os_error())
}

/// Reads into several buffers in turn, the first [`MAX_BUFFERS`] of them.
pub(crate) fn receive_vectored(fd: BorrowedFd<'_>, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
    // SAFETY: all zero is a message header without address, buffers or ancillary data.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    // std promises that an `IoSliceMut` has the layout of an `iovec`.
    message.msg_iov = buffers.as_mut_ptr().cast();
    message.msg_iovlen = buffers.len().min(MAX_BUFFERS) as _;
    // SAFETY: the header names live, exclusive buffers with their lengths, and the kernel keeps no pointer to
    // them.
    let read = unsafe { libc::recvmsg(fd.as_raw_fd(), &raw mut message, libc::MSG_DONTWAIT) };
    usize::try_from(read).map_err(|_| io::Error::last_os_error())
}

/// Writes what there is room for.
#[inline]
pub(crate) fn send(fd: BorrowedFd<'_>, data: &[u8]) -> io::Result<usize> {
    SockRef::from(&fd).send_with_flags(data, NO_SIGNAL | libc::MSG_DONTWAIT)
}

/// Writes from several buffers in turn, the first [`MAX_BUFFERS`] of them.
pub(crate) fn send_vectored(fd: BorrowedFd<'_>, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
    let buffers = &buffers[..buffers.len().min(MAX_BUFFERS)];
    SockRef::from(&fd).send_vectored_with_flags(buffers, NO_SIGNAL | libc::MSG_DONTWAIT)
}

/// How much a vectored call with these buffers can carry, as far as one call reaches.
pub(crate) fn capacity<B: std::ops::Deref<Target = [u8]>>(buffers: &[B]) -> usize {
    buffers.iter().take(MAX_BUFFERS).map(|buffer| buffer.len()).sum()
}

pub(crate) fn shutdown(fd: BorrowedFd<'_>, how: Shutdown) -> io::Result<()> {
    SockRef::from(&fd).shutdown(how)
}

pub(crate) fn local_address(fd: BorrowedFd<'_>) -> io::Result<SocketAddr> {
    internet(&SockRef::from(&fd).local_addr()?)
}

pub(crate) fn peer_address(fd: BorrowedFd<'_>) -> io::Result<SocketAddr> {
    internet(&SockRef::from(&fd).peer_addr()?)
}

fn internet(address: &SockAddr) -> io::Result<SocketAddr> {
    let error = || io::Error::new(io::ErrorKind::InvalidInput, "the socket has no internet address");
    address.as_socket().ok_or_else(error)
}

/// Makes somebody else's socket non-blocking. Says whether it was so before, and what its timeouts are.
pub(crate) fn adopt(fd: BorrowedFd<'_>) -> (bool, Option<Duration>, Option<Duration>) {
    let socket = SockRef::from(&fd);
    let nonblocking = socket.nonblocking().unwrap_or(false);
    if !nonblocking {
        let _ = socket.set_nonblocking(true);
    }
    #[cfg(target_vendor = "apple")]
    let _ = socket.set_nosigpipe(true);
    (nonblocking, socket.read_timeout().unwrap_or(None), socket.write_timeout().unwrap_or(None))
}

/// Gives a socket the mode and the timeouts that its next owner expects of it. Those can only be refused by a
/// descriptor that is no socket.
pub(crate) fn release(
    fd: BorrowedFd<'_>,
    nonblocking: bool,
    read: Option<Duration>,
    write: Option<Duration>,
) {
    let socket = SockRef::from(&fd);
    if !nonblocking {
        let _ = socket.set_nonblocking(false);
    }
    let _ = socket.set_read_timeout(read);
    let _ = socket.set_write_timeout(write);
}
