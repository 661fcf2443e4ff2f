//! The seam to simulated networks: what the sockets of a goroutine in a world use in place of the
//! system's. For the crate of the simulator, which implements these traits.
//!
//! A world has a network if an [`Installed`] hangs in it. Sockets that are made by a goroutine of
//! that world are then the network's for all their lives: every call of theirs takes the branch of
//! `Handle` that leads here. All waiting stays where it is, in `source`: an operation of a
//! simulated socket fails with `WouldBlock`, and the network reports by [`Events`] that it should
//! be tried again, as epoll does.

pub use crate::direction::Direction;
use crate::poller::EntryRef;
use crate::poller::readiness::Signal;
use narrowboat_runtime::world;
use std::any::Any;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;

/// What makes the sockets of a world.
pub trait Network: Any + Send + Sync {
    /// A TCP socket that listens.
    ///
    /// # Errors
    /// `AddrInUse`, `AddrNotAvailable`.
    fn listen(&self, address: &SocketAddr) -> io::Result<Arc<dyn Socket>>;

    /// Begins a connection; [`Socket::connected`] tells when it is made.
    ///
    /// # Errors
    /// `HostUnreachable`.
    fn connect(&self, address: &SocketAddr) -> io::Result<Arc<dyn Socket>>;

    /// A UDP socket.
    ///
    /// # Errors
    /// As [`listen`](Network::listen).
    fn bind_datagram(&self, address: &SocketAddr) -> io::Result<Arc<dyn Socket>>;

    /// The addresses of a name.
    ///
    /// # Errors
    /// If nothing has that name.
    fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>>;
}

/// A simulated socket. No call waits. Dropping it closes it.
pub trait Socket: Send + Sync + UnwindSafe + RefUnwindSafe {
    /// Reads, or receives a datagram; the address is that of its sender.
    ///
    /// # Errors
    /// `WouldBlock` if there is nothing, and what a system call would return.
    fn receive(&self, buffers: &mut [IoSliceMut<'_>], peek: bool) -> io::Result<(usize, Option<SocketAddr>)>;

    /// Writes, or sends a datagram.
    ///
    /// # Errors
    /// `WouldBlock` if there is no room, and what a system call would return.
    fn send(&self, buffers: &[IoSlice<'_>], to: Option<SocketAddr>) -> io::Result<usize>;

    /// Takes a connection that waits.
    ///
    /// # Errors
    /// `WouldBlock` if there is none.
    fn accept(&self) -> io::Result<(Arc<dyn Socket>, SocketAddr)>;

    /// The state of a connection that was begun.
    ///
    /// # Errors
    /// `WouldBlock` if it is not decided; why it has failed.
    fn connected(&self) -> io::Result<()>;

    /// Connects a UDP socket.
    ///
    /// # Errors
    /// `HostUnreachable`.
    fn connect(&self, to: SocketAddr) -> io::Result<()>;

    /// Ends one direction or both.
    ///
    /// # Errors
    /// `NotConnected`.
    fn shutdown(&self, how: Shutdown) -> io::Result<()>;

    /// The address of the socket.
    ///
    /// # Errors
    /// If its host has crashed.
    fn local_address(&self) -> io::Result<SocketAddr>;

    /// The address that it is connected to.
    ///
    /// # Errors
    /// `NotConnected`.
    fn peer_address(&self) -> io::Result<SocketAddr>;

    /// Takes the pending error.
    ///
    /// # Errors
    /// If its host has crashed.
    fn take_error(&self) -> io::Result<Option<io::Error>>;

    /// Whether an operation in this direction would not have to wait.
    fn is_ready(&self, direction: Direction) -> bool;

    /// An option of the socket.
    ///
    /// # Errors
    /// If its host has crashed.
    fn setting(&self, setting: Setting) -> io::Result<u32>;

    /// Sets an option of the socket.
    ///
    /// # Errors
    /// If its host has crashed.
    fn set(&self, setting: Setting, value: u32) -> io::Result<()>;

    /// From now on changes are reported by `events`. Called once, before the first wait.
    fn report_to(&self, events: Events);
}

/// An option of a socket that is a number or a switch.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[allow(missing_docs, reason = "the names are those of the options")]
pub enum Setting {
    NoDelay,
    QuickAck,
    TimeToLive,
    Broadcast,
    MulticastLoopV4,
    MulticastTtlV4,
    MulticastLoopV6,
}

impl Setting {
    /// What a new socket has.
    pub fn default(self) -> u32 {
        match self {
            Setting::NoDelay | Setting::Broadcast => 0,
            Setting::QuickAck | Setting::MulticastLoopV4 | Setting::MulticastLoopV6 => 1,
            Setting::MulticastTtlV4 => 1,
            Setting::TimeToLive => 64,
        }
    }
}

/// How a network reports that operations which wait at a socket should be tried again. Reports to a
/// socket that is gone do nothing.
#[derive(Clone, Copy)]
pub struct Events(pub(crate) EntryRef);

impl Events {
    /// Operations in this direction may have something to do.
    pub fn report(self, direction: Direction) {
        // Not `Ready`: a short read then would mean that the next one may wait without asking,
        // which is true only where the end of a stream has an event that comes after the last
        // bytes.
        self.0.signal(direction, Signal::Hangup);
    }
}

/// What hangs in a world that has a network.
pub struct Installed(pub Box<dyn Network>);

/// The network of the calling goroutine, if its world has one.
#[inline]
pub(crate) fn network() -> Option<Arc<Installed>> {
    world::current()?.existing_extension()?.downcast().ok()
}

/// Fails in a world with a network, which has no sockets of this kind.
///
/// # Errors
/// `Unsupported`, there.
#[inline]
pub(crate) fn refuse_unix() -> io::Result<()> {
    match network() {
        None => Ok(()),
        Some(_) => Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "the simulated network has no Unix sockets; use TCP at a loopback address in this world",
        )),
    }
}
