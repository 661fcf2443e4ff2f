//! The system calls of sockets; none of them blocks, except where its comment says so.
//!
//! Guarantees that every descriptor made here is close-on-exec and non-blocking. Writing to a
//! connection that is gone is an error and never a signal, however the process handles signals.
//! Data calls also pass `MSG_DONTWAIT`, so that they do not block if another process makes the
//! shared open file blocking.

use crate::direction::Direction;
use crate::simulated::Setting;
use socket2::{Domain, Protocol, SockAddr, SockAddrStorage, SockRef, Socket, Type};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::{ManuallyDrop, MaybeUninit};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

/// As many pending connections as the kernel allows, which is its own limit (`somaxconn`) on every
/// system.
const BACKLOG: libc::c_int = 4096;

/// The number of buffers that one call may carry. Linux and the BSDs have the same.
const MAX_BUFFERS: usize = 1024;

// Apple has a socket option instead, which `socket2` sets when it makes a socket, and `adopt` sets
// for a socket made elsewhere.
#[cfg(target_vendor = "apple")]
const NO_SIGNAL: libc::c_int = 0;
#[cfg(not(target_vendor = "apple"))]
const NO_SIGNAL: libc::c_int = libc::MSG_NOSIGNAL;

/// A new socket.
fn open(domain: Domain, kind: Type, protocol: Option<Protocol>) -> io::Result<Socket> {
    #[cfg(any(target_os = "linux", target_os = "freebsd"))]
    let kind = kind.nonblocking();
    let socket = Socket::new(domain, kind, protocol)?;
    #[cfg(not(any(target_os = "linux", target_os = "freebsd")))]
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// A TCP socket for addresses of the family of this one.
fn stream(address: &SocketAddr) -> io::Result<Socket> {
    open(Domain::for_address(*address), Type::STREAM, Some(Protocol::TCP))
}

/// A socket that listens at `address`, which may still be in use by connections of an earlier
/// listener.
pub(crate) fn listen(address: &SocketAddr) -> io::Result<OwnedFd> {
    let socket = stream(address)?;
    socket.set_reuse_address(true)?;
    socket.bind(&SockAddr::from(*address))?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// A socket for datagrams at `address`.
pub(crate) fn bind_datagram(address: &SocketAddr) -> io::Result<OwnedFd> {
    let socket = open(Domain::for_address(*address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.bind(&SockAddr::from(*address))?;
    Ok(socket.into())
}

/// Sets the address that datagrams go to and are taken from. It never has to wait.
pub(crate) fn connect_datagram(fd: BorrowedFd<'_>, address: &SockAddr) -> io::Result<()> {
    SockRef::from(&fd).connect(address)
}

/// A Unix socket that listens at `address`.
pub(crate) fn listen_unix(address: &SockAddr) -> io::Result<OwnedFd> {
    let socket = open(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// A connection to a Unix socket. "Would block" if the listener has no room in its queue; the
/// kernel does not report when it has room again.
pub(crate) fn connect_unix(address: &SockAddr) -> io::Result<OwnedFd> {
    let socket = open(Domain::UNIX, Type::STREAM, None)?;
    socket.connect(address)?;
    Ok(socket.into())
}

/// The same, waiting for room. It blocks the calling thread.
pub(crate) fn connect_unix_waiting(address: &SockAddr) -> io::Result<OwnedFd> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    while let Err(error) = socket.connect(address) {
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// A Unix socket for datagrams, at `address` or without one.
pub(crate) fn datagram_unix(address: Option<&SockAddr>) -> io::Result<OwnedFd> {
    let socket = open(Domain::UNIX, Type::DGRAM, None)?;
    if let Some(address) = address {
        socket.bind(address)?;
    }
    Ok(socket.into())
}

/// Two Unix sockets that are connected with each other.
pub(crate) fn pair(kind: Type) -> io::Result<(OwnedFd, OwnedFd)> {
    let (one, other) = Socket::pair(Domain::UNIX, kind, None)?;
    one.set_nonblocking(true)?;
    other.set_nonblocking(true)?;
    Ok((one.into(), other.into()))
}

/// Takes a pending connection: one system call where there is `accept4`.
#[inline(never)]
pub(crate) fn accept(listener: BorrowedFd<'_>) -> io::Result<(OwnedFd, SockAddr)> {
    let listener = SockRef::from(&listener);
    #[cfg(any(target_os = "linux", target_os = "freebsd"))]
    let (socket, address) = listener.accept4(libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK)?;
    #[cfg(not(any(target_os = "linux", target_os = "freebsd")))]
    let (socket, address) = {
        let (socket, address) = listener.accept()?;
        socket.set_nonblocking(true)?;
        (socket, address)
    };
    Ok((socket.into(), address))
}

/// Begins a connection. True if it was made at once; otherwise [`connected`] tells when it is.
pub(crate) fn connect(address: &SocketAddr) -> io::Result<(OwnedFd, bool)> {
    let socket = stream(address)?;
    let made = loop {
        let Err(error) = socket.connect(&SockAddr::from(*address)) else { break true };
        match error.raw_os_error() {
            // It may have been begun, which the next call says, or not: then nothing would end the
            // wait for it.
            Some(libc::EINTR) => {}
            Some(libc::EINPROGRESS | libc::EALREADY) => break false,
            Some(libc::EISCONN) => break true,
            _ => return Err(error),
        }
    };
    Ok((socket.into(), made))
}

/// The state of a connection that was begun: made, failed, or "would block".
///
/// Asking for the peer first answers the usual case with one call. The error is read only when
/// there may be one.
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
    // SAFETY: the header names live, exclusive buffers with their lengths, and the kernel keeps no
    // pointer to them.
    let read = unsafe { libc::recvmsg(fd.as_raw_fd(), &raw mut message, libc::MSG_DONTWAIT) };
    usize::try_from(read).map_err(|_| io::Error::last_os_error())
}

/// Writes as much as there is room for.
#[inline]
pub(crate) fn send(fd: BorrowedFd<'_>, data: &[u8]) -> io::Result<usize> {
    SockRef::from(&fd).send_with_flags(data, NO_SIGNAL | libc::MSG_DONTWAIT)
}

/// Writes from several buffers in turn, the first [`MAX_BUFFERS`] of them.
pub(crate) fn send_vectored(fd: BorrowedFd<'_>, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
    let buffers = &buffers[..buffers.len().min(MAX_BUFFERS)];
    SockRef::from(&fd).send_vectored_with_flags(buffers, NO_SIGNAL | libc::MSG_DONTWAIT)
}

/// Receives a datagram, and returns also the address that it came from.
pub(crate) fn receive_from(
    fd: BorrowedFd<'_>,
    buffer: &mut [u8],
    flags: libc::c_int,
) -> io::Result<(usize, SockAddr)> {
    // SAFETY: the call writes bytes to the buffer, or leaves what was there; both are initialised.
    let buffer = unsafe { &mut *(std::ptr::from_mut(buffer) as *mut [MaybeUninit<u8>]) };
    SockRef::from(&fd).recv_from_with_flags(buffer, flags | libc::MSG_DONTWAIT)
}

/// The address as the kernel leaves it if there was no datagram.
pub(crate) fn no_address() -> SockAddr {
    // SAFETY: zero bytes of address are valid.
    unsafe { SockAddr::new(SockAddrStorage::zeroed(), 0) }
}

/// Sends a datagram to an address.
pub(crate) fn send_to(fd: BorrowedFd<'_>, data: &[u8], to: &SockAddr) -> io::Result<usize> {
    SockRef::from(&fd).send_to_with_flags(data, to, NO_SIGNAL | libc::MSG_DONTWAIT)
}

/// Whether an operation in this direction would not have to wait, which includes one that would
/// fail.
pub(crate) fn is_ready(fd: BorrowedFd<'_>, direction: Direction) -> bool {
    let events = match direction {
        Direction::Input => INPUT,
        Direction::Output => libc::POLLOUT,
    };
    let mut asked = libc::pollfd { fd: fd.as_raw_fd(), events, revents: 0 };
    // SAFETY: one live entry; the call does not wait.
    let found = unsafe { libc::poll(&raw mut asked, 1, 0) };
    // If it fails, for want of memory, the operation itself reports why it fails, or waits.
    found != 0
}

/// Whether an error is "would block" only because the input of the socket has been shut down.
///
/// A stream reports that itself, by its end. For datagram sockets and listening Unix sockets the
/// kernel reports it only to a caller that may block. In non-blocking mode users of std do not
/// learn it either.
pub(crate) fn means_shut_down(error: &io::Error, nonblocking: bool, fd: BorrowedFd<'_>) -> bool {
    error.kind() == io::ErrorKind::WouldBlock && !nonblocking && input_is_shut(fd)
}

fn input_is_shut(fd: BorrowedFd<'_>) -> bool {
    #[cfg(target_os = "linux")]
    {
        let mut asked = libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLRDHUP, revents: 0 };
        // SAFETY: one live entry; the call does not wait.
        unsafe { libc::poll(&raw mut asked, 1, 0) == 1 && asked.revents & libc::POLLRDHUP != 0 }
    }
    // Other systems have no such flag.
    #[cfg(not(target_os = "linux"))]
    {
        let _ = fd;
        false
    }
}

#[cfg(target_os = "linux")]
const INPUT: libc::c_short = libc::POLLIN | libc::POLLRDHUP | libc::POLLPRI;
#[cfg(not(target_os = "linux"))]
const INPUT: libc::c_short = libc::POLLIN | libc::POLLPRI;

/// Whether the system lacks descriptors or memory for a connection, for the time being.
pub(crate) fn is_out_of_resources(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM))
}

/// Lends the socket to `f` as one of std's types, for its queries and its `Debug`.
pub(crate) fn as_std<S: From<OwnedFd>, R>(fd: BorrowedFd<'_>, f: impl FnOnce(&S) -> R) -> R {
    // SAFETY: the descriptor is open for as long as it is borrowed, and nothing closes it here: the
    // value that nominally owns it is never dropped, even if `f` panics.
    let socket = ManuallyDrop::new(S::from(unsafe { OwnedFd::from_raw_fd(fd.as_raw_fd()) }));
    f(&socket)
}

/// How many bytes a vectored call with these buffers can carry; one call is limited to a number of
/// buffers.
pub(crate) fn capacity<B: std::ops::Deref<Target = [u8]>>(buffers: &[B]) -> usize {
    buffers.iter().take(MAX_BUFFERS).map(|buffer| buffer.len()).sum()
}

pub(crate) fn take_error(fd: BorrowedFd<'_>) -> io::Result<Option<io::Error>> {
    SockRef::from(&fd).take_error()
}

/// An option that is a number, or a switch: 0 or 1.
pub(crate) fn setting(fd: BorrowedFd<'_>, setting: Setting) -> io::Result<u32> {
    let socket = SockRef::from(&fd);
    match setting {
        Setting::NoDelay => socket.tcp_nodelay().map(u32::from),
        #[cfg(any(target_os = "linux", target_os = "android"))]
        Setting::QuickAck => socket.tcp_quickack().map(u32::from),
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        Setting::QuickAck => Err(io::ErrorKind::Unsupported.into()),
        Setting::TimeToLive => socket.ttl_v4(),
        Setting::Broadcast => socket.broadcast().map(u32::from),
        Setting::MulticastLoopV4 => socket.multicast_loop_v4().map(u32::from),
        Setting::MulticastTtlV4 => socket.multicast_ttl_v4(),
        Setting::MulticastLoopV6 => socket.multicast_loop_v6().map(u32::from),
    }
}

/// Sets such an option.
pub(crate) fn set(fd: BorrowedFd<'_>, setting: Setting, value: u32) -> io::Result<()> {
    let (socket, on) = (SockRef::from(&fd), value != 0);
    match setting {
        Setting::NoDelay => socket.set_tcp_nodelay(on),
        #[cfg(any(target_os = "linux", target_os = "android"))]
        Setting::QuickAck => socket.set_tcp_quickack(on),
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        Setting::QuickAck => Err(io::ErrorKind::Unsupported.into()),
        Setting::TimeToLive => socket.set_ttl_v4(value),
        Setting::Broadcast => socket.set_broadcast(on),
        Setting::MulticastLoopV4 => socket.set_multicast_loop_v4(on),
        Setting::MulticastTtlV4 => socket.set_multicast_ttl_v4(value),
        Setting::MulticastLoopV6 => socket.set_multicast_loop_v6(on),
    }
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

/// The kind of a socket, and its addresses, local and (if it is connected) the peer's. `None` if
/// the descriptor is no socket.
pub(crate) fn describe(fd: BorrowedFd<'_>) -> Option<(&'static str, String)> {
    let socket = SockRef::from(&fd);
    let local = socket.local_addr().ok()?;
    let kind = match (local.domain(), socket.r#type().ok()?) {
        (Domain::UNIX, Type::STREAM) => "Unix stream",
        (Domain::UNIX, _) => "Unix datagram socket",
        (_, Type::STREAM) => "TCP socket",
        (_, Type::DGRAM) => "UDP socket",
        _ => "socket",
    };
    let text = |address: SockAddr| match (address.as_socket(), address.as_pathname()) {
        (Some(address), _) => address.to_string(),
        (None, Some(path)) => path.display().to_string(),
        (None, None) => "(unnamed)".into(),
    };
    let peer = socket.peer_addr().map(|peer| format!(" -> {}", text(peer))).unwrap_or_default();
    Some((kind, text(local) + &peer))
}

pub(crate) fn internet(address: &SockAddr) -> io::Result<SocketAddr> {
    let error = || io::Error::new(io::ErrorKind::InvalidInput, "the socket has no internet address");
    address.as_socket().ok_or_else(error)
}

/// Sets the mode of a descriptor of any kind, and returns the previous one. If it is the same,
/// nothing is written.
pub(crate) fn set_nonblocking(fd: BorrowedFd<'_>, nonblocking: bool) -> io::Result<bool> {
    let fd = SockRef::from(&fd);
    let before = fd.nonblocking()?;
    if before != nonblocking {
        fd.set_nonblocking(nonblocking)?;
    }
    Ok(before)
}

/// Takes over a socket that was made elsewhere: returns whether it is non-blocking, and its
/// timeouts.
///
/// Another process may share its open file, or it may be a standard stream, and the data calls here
/// need no mode. For accepting there is no such call, so a socket that `accepts` is made
/// non-blocking.
pub(crate) fn adopt(fd: BorrowedFd<'_>, accepts: bool) -> (bool, Option<Duration>, Option<Duration>) {
    let socket = SockRef::from(&fd);
    let nonblocking = if accepts { set_nonblocking(fd, true) } else { socket.nonblocking() }.unwrap_or(false);
    #[cfg(target_vendor = "apple")]
    let _ = socket.set_nosigpipe(true);
    (nonblocking, socket.read_timeout().unwrap_or(None), socket.write_timeout().unwrap_or(None))
}

/// Gives a socket the mode and the timeouts that its next owner expects of it. The system refuses
/// these only for a descriptor that is no socket.
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
