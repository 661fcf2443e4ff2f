//! What stands behind a socket: a descriptor of the system, or a socket of a
//! [simulated network](crate::simulated).
//!
//! A [`Socket`] owns it, and a [`Handle`] is what an operation borrows. Each call here is one branch
//! to the system's call of the same name in [`crate::sys::socket`], or to the simulated one. Which it
//! is, is decided when the socket is made.

use crate::direction::Direction;
use crate::io_safe::IoSafe;
use crate::simulated::{self, Setting};
use crate::sys::socket;
use narrowboat_runtime::park::Thing;
use socket2::SockAddr;
use std::fmt;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

/// A socket, owned.
pub(crate) enum Socket {
    System(OwnedFd),
    Simulated(Simulated),
}

/// A socket of a simulated network.
pub(crate) struct Simulated(Arc<dyn simulated::Socket>);

/// A socket or another descriptor, borrowed by an operation.
#[derive(Clone, Copy)]
pub(crate) enum Handle<'a> {
    System(BorrowedFd<'a>),
    Simulated(&'a Simulated),
}

/// Values that lend a handle, always the same one, which is open as long as they live.
pub(crate) trait Lend {
    fn handle(&self) -> Handle<'_>;
}

impl<T: IoSafe> Lend for T {
    #[inline]
    fn handle(&self) -> Handle<'_> {
        Handle::System(self.as_fd())
    }
}

impl Lend for Socket {
    #[inline]
    fn handle(&self) -> Handle<'_> {
        match self {
            Socket::System(fd) => Handle::System(fd.as_fd()),
            Socket::Simulated(socket) => Handle::Simulated(socket),
        }
    }
}

impl From<OwnedFd> for Socket {
    fn from(fd: OwnedFd) -> Socket {
        Socket::System(fd)
    }
}

impl From<Arc<dyn simulated::Socket>> for Socket {
    fn from(socket: Arc<dyn simulated::Socket>) -> Socket {
        Socket::Simulated(Simulated(socket))
    }
}

impl Socket {
    /// The descriptor.
    ///
    /// # Panics
    /// If the socket is simulated.
    pub(crate) fn into_fd(self) -> OwnedFd {
        match self {
            Socket::System(fd) => fd,
            Socket::Simulated(_) => no_descriptor(),
        }
    }
}

/// A socket that listens at `address`; see [`socket::listen`].
pub(crate) fn listen(address: &SocketAddr) -> io::Result<Socket> {
    match simulated::network() {
        None => socket::listen(address).map(Socket::from),
        Some(network) => network.0.listen(address).map(Socket::from),
    }
}

/// A socket for datagrams at `address`.
pub(crate) fn bind_datagram(address: &SocketAddr) -> io::Result<Socket> {
    match simulated::network() {
        None => socket::bind_datagram(address).map(Socket::from),
        Some(network) => network.0.bind_datagram(address).map(Socket::from),
    }
}

/// Begins a connection; see [`socket::connect`].
pub(crate) fn connect(address: &SocketAddr) -> io::Result<(Socket, bool)> {
    match simulated::network() {
        None => socket::connect(address).map(|(fd, done)| (fd.into(), done)),
        Some(network) => network.0.connect(address).map(|socket| (socket.into(), false)),
    }
}

#[cold]
#[track_caller]
fn no_descriptor() -> ! {
    panic!("a socket of a simulated network has no descriptor")
}

/// The address of the kernel's form, for a call that the simulated network knows.
fn internet(address: &SockAddr) -> io::Result<SocketAddr> {
    socket::internet(address)
}

impl<'a> Handle<'a> {
    /// The descriptor.
    ///
    /// # Panics
    /// If the socket is simulated.
    #[inline]
    #[track_caller]
    pub(crate) fn fd(self) -> BorrowedFd<'a> {
        match self {
            Handle::System(fd) => fd,
            Handle::Simulated(_) => no_descriptor(),
        }
    }

    /// The descriptor, for what no simulated network does.
    ///
    /// # Errors
    /// `Unsupported` if the socket is simulated.
    pub(crate) fn of_system(self) -> io::Result<BorrowedFd<'a>> {
        match self {
            Handle::System(fd) => Ok(fd),
            Handle::Simulated(_) => {
                let message = "the simulated network has no multicast";
                Err(io::Error::new(io::ErrorKind::Unsupported, message))
            }
        }
    }

    #[inline]
    pub(crate) fn receive(self, buffer: &mut [u8], flags: libc::c_int) -> io::Result<usize> {
        match self {
            Handle::System(fd) => socket::receive(fd, buffer, flags),
            Handle::Simulated(it) => it.receive(&mut [IoSliceMut::new(buffer)], flags).map(|(read, _)| read),
        }
    }

    pub(crate) fn receive_vectored(self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        match self {
            Handle::System(fd) => socket::receive_vectored(fd, buffers),
            Handle::Simulated(it) => it.receive(buffers, 0).map(|(read, _)| read),
        }
    }

    pub(crate) fn receive_from(self, buffer: &mut [u8], flags: libc::c_int) -> io::Result<(usize, SockAddr)> {
        match self {
            Handle::System(fd) => socket::receive_from(fd, buffer, flags),
            Handle::Simulated(it) => {
                let (read, from) = it.receive(&mut [IoSliceMut::new(buffer)], flags)?;
                Ok((read, from.map_or_else(socket::no_address, SockAddr::from)))
            }
        }
    }

    #[inline]
    pub(crate) fn send(self, data: &[u8]) -> io::Result<usize> {
        match self {
            Handle::System(fd) => socket::send(fd, data),
            Handle::Simulated(it) => it.0.send(&[IoSlice::new(data)], None),
        }
    }

    pub(crate) fn send_vectored(self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Handle::System(fd) => socket::send_vectored(fd, buffers),
            Handle::Simulated(it) => it.0.send(buffers, None),
        }
    }

    pub(crate) fn send_to(self, data: &[u8], to: &SockAddr) -> io::Result<usize> {
        match self {
            Handle::System(fd) => socket::send_to(fd, data, to),
            Handle::Simulated(it) => it.0.send(&[IoSlice::new(data)], Some(internet(to)?)),
        }
    }

    pub(crate) fn accept(self) -> io::Result<(Socket, SockAddr)> {
        match self {
            Handle::System(fd) => socket::accept(fd).map(|(fd, from)| (fd.into(), from)),
            Handle::Simulated(it) => it.0.accept().map(|(socket, from)| (socket.into(), from.into())),
        }
    }

    /// The state of a connection that was begun; see [`socket::connected`].
    pub(crate) fn connected(self) -> io::Result<()> {
        match self {
            Handle::System(fd) => socket::connected(fd),
            Handle::Simulated(it) => it.0.connected(),
        }
    }

    /// Sets the address that datagrams go to and are taken from.
    pub(crate) fn connect_datagram(self, to: &SockAddr) -> io::Result<()> {
        match self {
            Handle::System(fd) => socket::connect_datagram(fd, to),
            Handle::Simulated(it) => it.0.connect(internet(to)?),
        }
    }

    pub(crate) fn shutdown(self, how: Shutdown) -> io::Result<()> {
        match self {
            Handle::System(fd) => socket::shutdown(fd, how),
            Handle::Simulated(it) => it.0.shutdown(how),
        }
    }

    pub(crate) fn local_address(self) -> io::Result<SocketAddr> {
        match self {
            Handle::System(fd) => socket::local_address(fd),
            Handle::Simulated(it) => it.0.local_address(),
        }
    }

    pub(crate) fn peer_address(self) -> io::Result<SocketAddr> {
        match self {
            Handle::System(fd) => socket::peer_address(fd),
            Handle::Simulated(it) => it.0.peer_address(),
        }
    }

    pub(crate) fn take_error(self) -> io::Result<Option<io::Error>> {
        match self {
            Handle::System(fd) => socket::take_error(fd),
            Handle::Simulated(it) => it.0.take_error(),
        }
    }

    pub(crate) fn setting(self, setting: Setting) -> io::Result<u32> {
        match self {
            Handle::System(fd) => socket::setting(fd, setting),
            Handle::Simulated(it) => it.0.setting(setting),
        }
    }

    pub(crate) fn set(self, setting: Setting, value: impl Into<u32>) -> io::Result<()> {
        match self {
            Handle::System(fd) => socket::set(fd, setting, value.into()),
            Handle::Simulated(it) => it.0.set(setting, value.into()),
        }
    }

    /// Whether an operation in this direction would not have to wait.
    pub(crate) fn is_ready(self, direction: Direction) -> bool {
        match self {
            Handle::System(fd) => socket::is_ready(fd, direction),
            Handle::Simulated(it) => it.0.is_ready(direction),
        }
    }

    /// Whether an error is "would block" only because the input of the socket has been shut down. A
    /// simulated socket says that itself.
    pub(crate) fn means_shut_down(self, error: &io::Error, nonblocking: bool) -> bool {
        match self {
            Handle::System(fd) => socket::means_shut_down(error, nonblocking, fd),
            Handle::Simulated(_) => false,
        }
    }

    /// Writes the socket as std does, with the descriptor if there is one.
    pub(crate) fn debug(self, name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct(name);
        if let Ok(address) = self.local_address() {
            shown.field("addr", &address);
        }
        if let Ok(peer) = self.peer_address() {
            shown.field("peer", &peer);
        }
        match self {
            Handle::System(fd) => shown.field("fd", &std::os::fd::AsRawFd::as_raw_fd(&fd)).finish(),
            Handle::Simulated(_) => shown.finish(),
        }
    }
}

impl Simulated {
    #[inline(never)]
    fn receive(
        &self,
        buffers: &mut [IoSliceMut<'_>],
        flags: libc::c_int,
    ) -> io::Result<(usize, Option<SocketAddr>)> {
        self.0.receive(buffers, flags & libc::MSG_PEEK != 0)
    }

    pub(crate) fn report_to(&self, events: simulated::Events) {
        self.0.report_to(events);
    }

    pub(crate) fn describe(&self) -> Thing {
        let local = self.0.local_address().map(|address| address.to_string()).unwrap_or_default();
        let peer = self.0.peer_address().map(|peer| format!(" -> {peer}")).unwrap_or_default();
        let details = local + &peer;
        Thing { operation: "", address: 0, kind: "simulated socket", details, held_by: None }
    }
}
