//! What stands behind a socket: a descriptor of the system, or a socket of a
//! [simulated network](crate::simulated).
//!
//! A [`Socket`] owns it, and a [`Handle`] is what an operation borrows. Each call here is one
//! branch to the system's call of the same name in [`crate::sys::socket`], or to the simulated one.
//! Which it is, is decided when the socket is made.

use crate::direction::Direction;
use crate::io_safe::IoSafe;
use crate::simulated::{self, Address, Setting, Transport};
use crate::sys::{address, socket};
use narrowboat_runtime::park::Thing;
use socket2::{SockAddr, Type};
use std::fmt;
use std::io::{self, IoSlice, IoSliceMut};
use std::marker::PhantomData;
use std::mem;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::net as unix;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::Arc;

/// A socket, owned: a [`Handle`] that is never copied, and closes it.
pub(crate) struct Socket(Handle<'static>);

/// A socket of a simulated network.
pub(crate) struct Simulated(Arc<dyn simulated::Socket>);

/// A socket or another descriptor, borrowed by an operation: a number in one word, which is odd, or
/// the address of a [`Simulated`], which is even.
///
/// An enum would have two words, and goroutines keep some while they wait: a hundred bytes of stack
/// for each connection.
#[derive(Clone, Copy)]
pub(crate) struct Handle<'a> {
    word: *const Simulated,
    _borrows: PhantomData<&'a Simulated>,
}

/// What a handle leads to.
pub(crate) enum Kind<'a> {
    System(BorrowedFd<'a>),
    Simulated(&'a Simulated),
}

// SAFETY: descriptors may be used by all threads, and so may simulated sockets: the trait says
// that.
unsafe impl Send for Handle<'_> {}
// SAFETY: as above.
unsafe impl Sync for Handle<'_> {}

impl<'a> From<BorrowedFd<'a>> for Handle<'a> {
    #[inline]
    fn from(fd: BorrowedFd<'a>) -> Handle<'a> {
        let number = (fd.as_raw_fd() as usize) << 1 | 1;
        Handle { word: ptr::without_provenance(number), _borrows: PhantomData }
    }
}

impl<'a> From<&'a Simulated> for Handle<'a> {
    fn from(socket: &'a Simulated) -> Handle<'a> {
        Handle { word: socket, _borrows: PhantomData }
    }
}

impl<'a> Handle<'a> {
    /// The object of a wait for it, as dumps know it. Never zero.
    #[inline]
    pub(crate) fn object(self) -> usize {
        self.word.expose_provenance()
    }

    /// # Safety
    /// The object is that of a handle that is valid for `'a`.
    pub(crate) unsafe fn from_object(object: usize) -> Handle<'a> {
        Handle { word: ptr::with_exposed_provenance(object), _borrows: PhantomData }
    }

    #[inline(always)]
    pub(crate) fn kind(self) -> Kind<'a> {
        let word = self.word.addr();
        if word & 1 != 0 {
            // SAFETY: the number was that of a descriptor which is borrowed for `'a`.
            Kind::System(unsafe { BorrowedFd::borrow_raw((word >> 1) as RawFd) })
        } else {
            // SAFETY: it was made from a reference that lives for `'a`, or leads to the box of a
            // `Socket`, which is borrowed for `'a`. Its address is even, since it contains
            // addresses.
            Kind::Simulated(unsafe { &*self.word })
        }
    }
}

/// Values that lend a handle, always the same one, which is open as long as they live.
pub(crate) trait Lend {
    fn handle(&self) -> Handle<'_>;
}

impl<T: IoSafe> Lend for T {
    #[inline]
    fn handle(&self) -> Handle<'_> {
        self.as_fd().into()
    }
}

impl Lend for Socket {
    #[inline]
    fn handle(&self) -> Handle<'_> {
        self.0
    }
}

impl From<OwnedFd> for Socket {
    fn from(fd: OwnedFd) -> Socket {
        let number = fd.into_raw_fd();
        // SAFETY: it is open until the socket is dropped, which nothing that it lends outlives.
        Socket(unsafe { BorrowedFd::borrow_raw(number) }.into())
    }
}

impl From<Arc<dyn simulated::Socket>> for Socket {
    fn from(socket: Arc<dyn simulated::Socket>) -> Socket {
        let word = Box::into_raw(Box::new(Simulated(socket)));
        Socket(Handle { word, _borrows: PhantomData })
    }
}

impl Socket {
    /// The descriptor.
    ///
    /// # Panics
    /// If the socket is simulated.
    pub(crate) fn into_fd(self) -> OwnedFd {
        let number = self.0.fd().as_raw_fd();
        mem::forget(self);
        // SAFETY: the socket owned it, and is gone.
        unsafe { OwnedFd::from_raw_fd(number) }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        match self.0.kind() {
            // SAFETY: the socket owns it, and is dropped once.
            Kind::System(fd) => drop(unsafe { OwnedFd::from_raw_fd(fd.as_raw_fd()) }),
            // SAFETY: it came from a box, which the socket owns.
            Kind::Simulated(_) => drop(unsafe { Box::from_raw(self.0.word.cast_mut()) }),
        }
    }
}

/// A socket that listens at `address`; see [`socket::listen`].
pub(crate) fn listen(address: &SocketAddr) -> io::Result<Socket> {
    match simulated::network() {
        None => socket::listen(address).map(Socket::from),
        Some(network) => network.0.listen(&Address::from(*address)).map(Socket::from),
    }
}

/// A socket for datagrams at `address`.
pub(crate) fn bind_datagram(address: &SocketAddr) -> io::Result<Socket> {
    match simulated::network() {
        None => socket::bind_datagram(address).map(Socket::from),
        Some(network) => network.0.bind_datagram(&Address::from(*address)).map(Socket::from),
    }
}

/// Begins a connection; see [`socket::connect`].
pub(crate) fn connect(address: &SocketAddr) -> io::Result<(Socket, bool)> {
    match simulated::network() {
        None => socket::connect(address).map(|(fd, done)| (fd.into(), done)),
        Some(network) => network.0.connect(&Address::from(*address)).map(|socket| (socket.into(), false)),
    }
}

/// A Unix socket that listens at `address`.
pub(crate) fn listen_unix(address: &SockAddr) -> io::Result<Socket> {
    match simulated::network() {
        None => socket::listen_unix(address).map(Socket::from),
        Some(network) => network.0.listen(&simulated_address(address)?).map(Socket::from),
    }
}

/// Connects to a Unix socket; see [`socket::connect_unix`]. False if the connection has only begun.
pub(crate) fn connect_unix(address: &SockAddr) -> io::Result<(Socket, bool)> {
    match simulated::network() {
        None => socket::connect_unix(address).map(|fd| (fd.into(), true)),
        Some(network) => network.0.connect(&simulated_address(address)?).map(|socket| (socket.into(), false)),
    }
}

/// A Unix socket for datagrams, at `address` or without one.
pub(crate) fn datagram_unix(address: Option<&SockAddr>) -> io::Result<Socket> {
    match (simulated::network(), address) {
        (None, address) => socket::datagram_unix(address).map(Socket::from),
        (Some(network), None) => network.0.unbound_datagram().map(Socket::from),
        (Some(network), Some(address)) => {
            network.0.bind_datagram(&simulated_address(address)?).map(Socket::from)
        }
    }
}

/// Two Unix sockets that are connected with each other.
pub(crate) fn pair(transport: Transport) -> io::Result<(Socket, Socket)> {
    match simulated::network() {
        None => {
            let kind = if transport == Transport::Stream { Type::STREAM } else { Type::DGRAM };
            socket::pair(kind).map(|(one, other)| (one.into(), other.into()))
        }
        Some(network) => network.0.pair(transport).map(|(one, other)| (one.into(), other.into())),
    }
}

#[cold]
#[track_caller]
fn no_descriptor() -> ! {
    panic!("a socket of a simulated network has no descriptor")
}

/// The form that simulated networks know of the kernel's address.
#[cold]
#[inline(never)]
fn simulated_address(address: &SockAddr) -> io::Result<Address> {
    match address.as_socket() {
        Some(address) => Ok(address.into()),
        None => Ok(Address::from(&address::shown(address)?)),
    }
}

/// The kernel's form of an address of a simulated network.
#[cold]
#[inline(never)]
fn kernel_address(address: &Address) -> io::Result<SockAddr> {
    match address {
        Address::Internet(address) => Ok((*address).into()),
        Address::Unix(_) => address::of(&address.unix()?),
    }
}

impl<'a> Handle<'a> {
    /// The descriptor.
    ///
    /// # Panics
    /// If the socket is simulated.
    #[inline]
    #[track_caller]
    pub(crate) fn fd(self) -> BorrowedFd<'a> {
        match self.kind() {
            Kind::System(fd) => fd,
            Kind::Simulated(_) => no_descriptor(),
        }
    }

    /// The descriptor, for what no simulated network does.
    ///
    /// # Errors
    /// `Unsupported` if the socket is simulated.
    pub(crate) fn of_system(self) -> io::Result<BorrowedFd<'a>> {
        match self.kind() {
            Kind::System(fd) => Ok(fd),
            Kind::Simulated(_) => {
                let message = "the simulated network has no multicast";
                Err(io::Error::new(io::ErrorKind::Unsupported, message))
            }
        }
    }

    #[inline]
    pub(crate) fn receive(self, buffer: &mut [u8], flags: libc::c_int) -> io::Result<usize> {
        match self.kind() {
            Kind::System(fd) => socket::receive(fd, buffer, flags),
            Kind::Simulated(it) => from_kernel(it.receive(buffer, flags)),
        }
    }

    pub(crate) fn receive_vectored(self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        match self.kind() {
            Kind::System(fd) => socket::receive_vectored(fd, buffers),
            Kind::Simulated(it) => it.receive_from(buffers, 0).map(|(read, _)| read),
        }
    }

    pub(crate) fn receive_from(self, buffer: &mut [u8], flags: libc::c_int) -> io::Result<(usize, SockAddr)> {
        match self.kind() {
            Kind::System(fd) => socket::receive_from(fd, buffer, flags),
            Kind::Simulated(it) => it.receive_one(buffer, flags),
        }
    }

    #[inline]
    pub(crate) fn send(self, data: &[u8]) -> io::Result<usize> {
        match self.kind() {
            Kind::System(fd) => socket::send(fd, data),
            Kind::Simulated(it) => from_kernel(it.send(data)),
        }
    }

    pub(crate) fn send_vectored(self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        match self.kind() {
            Kind::System(fd) => socket::send_vectored(fd, buffers),
            Kind::Simulated(it) => it.0.send(buffers, None),
        }
    }

    pub(crate) fn send_to(self, data: &[u8], to: &SockAddr) -> io::Result<usize> {
        match self.kind() {
            Kind::System(fd) => socket::send_to(fd, data, to),
            Kind::Simulated(it) => from_kernel(it.send_to(data, to)),
        }
    }

    pub(crate) fn accept(self) -> io::Result<(Socket, SockAddr)> {
        match self.kind() {
            Kind::System(fd) => socket::accept(fd).map(|(fd, from)| (fd.into(), from)),
            Kind::Simulated(it) => it.accept(),
        }
    }

    /// The state of a connection that was begun; see [`socket::connected`].
    pub(crate) fn connected(self) -> io::Result<()> {
        match self.kind() {
            Kind::System(fd) => socket::connected(fd),
            Kind::Simulated(it) => it.0.connected(),
        }
    }

    /// Sets the address that datagrams go to and are taken from.
    pub(crate) fn connect_datagram(self, to: &SockAddr) -> io::Result<()> {
        match self.kind() {
            Kind::System(fd) => socket::connect_datagram(fd, to),
            Kind::Simulated(it) => it.connect(to),
        }
    }

    pub(crate) fn shutdown(self, how: Shutdown) -> io::Result<()> {
        match self.kind() {
            Kind::System(fd) => socket::shutdown(fd, how),
            Kind::Simulated(it) => it.0.shutdown(how),
        }
    }

    pub(crate) fn local_address(self) -> io::Result<SocketAddr> {
        match self.kind() {
            Kind::System(fd) => socket::local_address(fd),
            Kind::Simulated(it) => it.0.local_address()?.internet(),
        }
    }

    pub(crate) fn peer_address(self) -> io::Result<SocketAddr> {
        match self.kind() {
            Kind::System(fd) => socket::peer_address(fd),
            Kind::Simulated(it) => it.0.peer_address()?.internet(),
        }
    }

    /// The address of a Unix socket.
    pub(crate) fn local_unix(self) -> io::Result<unix::SocketAddr> {
        match self.kind() {
            // All of std's Unix sockets ask alike.
            Kind::System(fd) => socket::as_std(fd, unix::UnixDatagram::local_addr),
            Kind::Simulated(it) => it.0.local_address()?.unix(),
        }
    }

    /// The address that a Unix socket is connected to.
    pub(crate) fn peer_unix(self) -> io::Result<unix::SocketAddr> {
        match self.kind() {
            Kind::System(fd) => socket::as_std(fd, unix::UnixDatagram::peer_addr),
            Kind::Simulated(it) => it.0.peer_address()?.unix(),
        }
    }

    pub(crate) fn take_error(self) -> io::Result<Option<io::Error>> {
        match self.kind() {
            Kind::System(fd) => socket::take_error(fd),
            Kind::Simulated(it) => it.0.take_error(),
        }
    }

    pub(crate) fn setting(self, setting: Setting) -> io::Result<u32> {
        match self.kind() {
            Kind::System(fd) => socket::setting(fd, setting),
            Kind::Simulated(it) => it.0.setting(setting),
        }
    }

    pub(crate) fn set(self, setting: Setting, value: impl Into<u32>) -> io::Result<()> {
        match self.kind() {
            Kind::System(fd) => socket::set(fd, setting, value.into()),
            Kind::Simulated(it) => it.0.set(setting, value.into()),
        }
    }

    /// Whether an operation in this direction would not have to wait.
    pub(crate) fn is_ready(self, direction: Direction) -> bool {
        match self.kind() {
            Kind::System(fd) => socket::is_ready(fd, direction),
            Kind::Simulated(it) => it.is_ready(direction),
        }
    }

    /// Whether an error is "would block" only because the input of the socket has been shut down.
    pub(crate) fn means_shut_down(self, error: &io::Error, nonblocking: bool) -> bool {
        match self.kind() {
            Kind::System(fd) => socket::means_shut_down(error, nonblocking, fd),
            Kind::Simulated(it) => it.means_shut_down(error, nonblocking),
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
        match self.kind() {
            Kind::System(fd) => shown.field("fd", &fd.as_raw_fd()).finish(),
            Kind::Simulated(_) => shown.finish(),
        }
    }

    /// Writes a Unix socket as std's type `S` of this name does, with the descriptor if there is
    /// one.
    pub(crate) fn debug_unix<S: From<OwnedFd> + fmt::Debug>(
        self,
        name: &str,
        f: &mut fmt::Formatter<'_>,
    ) -> fmt::Result {
        if let Kind::System(fd) = self.kind() {
            return socket::as_std(fd, |socket: &S| socket.fmt(f));
        }
        let mut shown = f.debug_struct(name);
        if let Ok(address) = self.local_unix() {
            shown.field("local", &address);
        }
        if let Ok(peer) = self.peer_unix() {
            shown.field("peer", &peer);
        }
        shown.finish()
    }
}

/// The result of a call in the kernel's form: one word, for which a caller needs no place on its
/// stack.
fn as_kernel(result: io::Result<usize>) -> isize {
    // The errors of simulated networks are the system's.
    result.map_or_else(|error| -(error.raw_os_error().unwrap_or(libc::EIO) as isize), |bytes| bytes as isize)
}

#[inline]
fn from_kernel(result: isize) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::from_raw_os_error(-result as i32))
}

// Not inlined: what these need on the stack must not be part of the frames of operations on the
// system's sockets, which goroutines keep while they wait.
impl Simulated {
    #[cold]
    #[inline(never)]
    fn receive(&self, buffer: &mut [u8], flags: libc::c_int) -> isize {
        as_kernel(self.receive_from(&mut [IoSliceMut::new(buffer)], flags).map(|(read, _)| read))
    }

    #[cold]
    #[inline(never)]
    fn send(&self, data: &[u8]) -> isize {
        as_kernel(self.0.send(&[IoSlice::new(data)], None))
    }

    #[cold]
    #[inline(never)]
    fn receive_one(&self, buffer: &mut [u8], flags: libc::c_int) -> io::Result<(usize, SockAddr)> {
        let (read, from) = self.receive_from(&mut [IoSliceMut::new(buffer)], flags)?;
        Ok((read, from.map_or_else(|| Ok(socket::no_address()), |from| kernel_address(&from))?))
    }

    #[cold]
    #[inline(never)]
    fn send_to(&self, data: &[u8], to: &SockAddr) -> isize {
        let sent = simulated_address(to).and_then(|to| self.0.send(&[IoSlice::new(data)], Some(&to)));
        as_kernel(sent)
    }

    #[cold]
    #[inline(never)]
    fn accept(&self) -> io::Result<(Socket, SockAddr)> {
        let (socket, from) = self.0.accept()?;
        Ok((socket.into(), kernel_address(&from)?))
    }

    #[cold]
    #[inline(never)]
    fn connect(&self, to: &SockAddr) -> io::Result<()> {
        self.0.connect(&simulated_address(to)?)
    }

    #[cold]
    #[inline(never)]
    fn means_shut_down(&self, error: &io::Error, nonblocking: bool) -> bool {
        error.kind() == io::ErrorKind::WouldBlock && !nonblocking && self.0.input_is_shut()
    }

    #[inline(never)]
    fn receive_from(
        &self,
        buffers: &mut [IoSliceMut<'_>],
        flags: libc::c_int,
    ) -> io::Result<(usize, Option<Address>)> {
        self.0.receive(buffers, flags & libc::MSG_PEEK != 0)
    }

    /// Never panics, unlike a network: a select asks while it has nodes in other queues, and a
    /// panic would leave them there. An operation that would panic counts as one that would not
    /// wait.
    #[inline(never)]
    fn is_ready(&self, direction: Direction) -> bool {
        catch_unwind(AssertUnwindSafe(|| self.0.is_ready(direction))).unwrap_or(true)
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
