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
use std::fmt;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::os::unix::net::SocketAddr as UnixAddr;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::path::PathBuf;
use std::sync::Arc;

/// What makes the sockets of a world.
pub trait Network: Any + Send + Sync {
    /// A socket that listens for streams.
    ///
    /// # Errors
    /// `AddrInUse`, `AddrNotAvailable`.
    fn listen(&self, address: &Address) -> io::Result<Arc<dyn Socket>>;

    /// Begins a connection; [`Socket::connected`] tells when it is made.
    ///
    /// # Errors
    /// `HostUnreachable`; for a Unix address `NotFound` and `ConnectionRefused`.
    fn connect(&self, address: &Address) -> io::Result<Arc<dyn Socket>>;

    /// A socket for datagrams.
    ///
    /// # Errors
    /// As [`listen`](Network::listen).
    fn bind_datagram(&self, address: &Address) -> io::Result<Arc<dyn Socket>>;

    /// A Unix socket for datagrams without a name.
    ///
    /// # Errors
    /// None at present.
    fn unbound_datagram(&self) -> io::Result<Arc<dyn Socket>>;

    /// Two Unix sockets that are connected with each other.
    ///
    /// # Errors
    /// None at present.
    fn pair(&self, transport: Transport) -> io::Result<(Arc<dyn Socket>, Arc<dyn Socket>)>;

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
    fn receive(&self, buffers: &mut [IoSliceMut<'_>], peek: bool) -> io::Result<(usize, Option<Address>)>;

    /// Writes, or sends a datagram.
    ///
    /// # Errors
    /// `WouldBlock` if there is no room, and what a system call would return.
    fn send(&self, buffers: &[IoSlice<'_>], to: Option<&Address>) -> io::Result<usize>;

    /// Takes a connection that waits.
    ///
    /// # Errors
    /// `WouldBlock` if there is none.
    fn accept(&self) -> io::Result<(Arc<dyn Socket>, Address)>;

    /// The state of a connection that was begun.
    ///
    /// # Errors
    /// `WouldBlock` if it is not decided; why it has failed.
    fn connected(&self) -> io::Result<()>;

    /// Connects a socket for datagrams.
    ///
    /// # Errors
    /// As [`Network::connect`].
    fn connect(&self, to: &Address) -> io::Result<()>;

    /// Ends one direction or both.
    ///
    /// # Errors
    /// `NotConnected`.
    fn shutdown(&self, how: Shutdown) -> io::Result<()>;

    /// The address of the socket.
    ///
    /// # Errors
    /// If its host has crashed.
    fn local_address(&self) -> io::Result<Address>;

    /// The address that it is connected to.
    ///
    /// # Errors
    /// `NotConnected`.
    fn peer_address(&self) -> io::Result<Address>;

    /// Takes the pending error.
    ///
    /// # Errors
    /// If its host has crashed.
    fn take_error(&self) -> io::Result<Option<io::Error>>;

    /// Whether an operation in this direction would not have to wait.
    fn is_ready(&self, direction: Direction) -> bool;

    /// Whether [`receive`](Socket::receive) fails with `WouldBlock` because the input of the socket
    /// has been shut down.
    fn input_is_shut(&self) -> bool;

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

/// What a socket carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "the names are those of the field")]
pub enum Transport {
    Stream,
    Datagrams,
}

/// The address of a simulated socket.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Address {
    /// That of a TCP or UDP socket.
    Internet(SocketAddr),
    /// That of a Unix socket.
    Unix(Name),
}

/// What a Unix socket is bound to. In contrast to std's type it can be compared.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Name {
    /// Nothing.
    Unnamed,
    /// A path, where a simulated network makes no file.
    Path(PathBuf),
    /// A name that is no path, on Linux.
    Abstract(Box<[u8]>),
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Address {
        Address::Internet(address)
    }
}

impl From<Name> for Address {
    fn from(name: Name) -> Address {
        Address::Unix(name)
    }
}

impl From<&UnixAddr> for Address {
    fn from(address: &UnixAddr) -> Address {
        #[cfg(target_os = "linux")]
        if let Some(name) = std::os::linux::net::SocketAddrExt::as_abstract_name(address) {
            return Address::Unix(Name::Abstract(name.into()));
        }
        Address::Unix(address.as_pathname().map_or(Name::Unnamed, |path| Name::Path(path.into())))
    }
}

impl Address {
    /// std's form of the address of a TCP or UDP socket.
    ///
    /// # Errors
    /// `InvalidInput` for that of a Unix socket.
    pub fn internet(&self) -> io::Result<SocketAddr> {
        match self {
            Address::Internet(address) => Ok(*address),
            Address::Unix(_) => Err(io::Error::from_raw_os_error(libc::EINVAL)),
        }
    }

    /// The name of a Unix socket.
    ///
    /// # Errors
    /// `InvalidInput` for the address of a TCP or UDP socket.
    pub fn name(&self) -> io::Result<&Name> {
        match self {
            Address::Unix(name) => Ok(name),
            Address::Internet(_) => Err(io::Error::from_raw_os_error(libc::EINVAL)),
        }
    }

    /// std's form of the address of a Unix socket.
    ///
    /// # Errors
    /// `InvalidInput` for that of a TCP or UDP socket.
    pub fn unix(&self) -> io::Result<UnixAddr> {
        match self.name()? {
            Name::Unnamed => UnixAddr::from_pathname(""),
            Name::Path(path) => UnixAddr::from_pathname(path),
            #[cfg(target_os = "linux")]
            Name::Abstract(name) => {
                <UnixAddr as std::os::linux::net::SocketAddrExt>::from_abstract_name(name)
            }
            #[cfg(not(target_os = "linux"))]
            Name::Abstract(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Internet(address) => address.fmt(f),
            Address::Unix(Name::Unnamed) => f.write_str("(unnamed)"),
            Address::Unix(Name::Path(path)) => path.display().fmt(f),
            Address::Unix(Name::Abstract(name)) => write!(f, "@{}", name.escape_ascii()),
        }
    }
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
