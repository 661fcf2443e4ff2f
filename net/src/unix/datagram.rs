//! A Unix socket for datagrams. Safe to use from any number of goroutines and threads at once; see
//! [`crate::source`].

use super::SocketAddr;
use crate::context::WithContext;
use crate::convert::descriptor_conversions;
use crate::datagram::datagram_methods;
use crate::handle;
use crate::methods::shared_methods_both_ways;
use crate::simulated::Transport;
use crate::source::{Operation, Source};
use crate::sys::address;
use crate::transfer;
use narrowboat_runtime::park::{Reason, checkpoint};
use socket2::SockAddr;
use std::fmt;
use std::io;
use std::net::Shutdown;
use std::panic::Location;
use std::path::Path;
use std::sync::Arc;

/// A Unix socket for datagrams: [`std::os::unix::net::UnixDatagram`] with blocking calls that park
/// the calling goroutine. From a plain thread they block the thread.
///
/// # Examples
/// ```
/// use narrowboat::net::unix::UnixDatagram;
///
/// let (one, other) = UnixDatagram::pair()?;
/// let receiving = narrowboat::spawn(move || {
///     let mut text = [0; 16];
///     other.recv(&mut text).map(|length| text[..length].to_vec())
/// });
/// one.send(b"a datagram")?;
/// assert_eq!(receiving.join().unwrap()?, b"a datagram");
/// # std::io::Result::Ok(())
/// ```
pub struct UnixDatagram {
    source: Arc<Source>,
}

impl UnixDatagram {
    fn from_source(source: Source) -> UnixDatagram {
        UnixDatagram { source: Arc::new(source) }
    }

    /// A socket at a path. It makes a file there, which must not exist yet.
    ///
    /// # Errors
    /// As [`UnixListener::bind`](super::UnixListener::bind).
    ///
    /// # Examples
    /// ```
    /// use narrowboat::net::unix::UnixDatagram;
    ///
    /// let path = std::env::temp_dir().join(format!("narrowboat-datagram-{}", std::process::id()));
    /// let socket = UnixDatagram::bind(&path)?;
    /// UnixDatagram::unbound()?.send_to(b"text", &path)?;
    /// assert_eq!(socket.recv(&mut [0; 8])?, 4);
    /// std::fs::remove_file(&path)?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn bind<P: AsRef<Path>>(path: P) -> io::Result<UnixDatagram> {
        checkpoint();
        UnixDatagram::open(Some(&address::of_path(path.as_ref())?))
    }

    /// A socket at an address, which may be an abstract one on Linux.
    ///
    /// # Errors
    /// As [`bind`](UnixDatagram::bind).
    ///
    /// # Examples
    /// ```
    /// # #[cfg(target_os = "linux")] {
    /// use narrowboat::net::unix::{SocketAddr, UnixDatagram};
    /// use std::os::linux::net::SocketAddrExt;
    ///
    /// let name = format!("narrowboat-datagram-{}", std::process::id());
    /// let address = SocketAddr::from_abstract_name(name)?;
    /// let socket = UnixDatagram::bind_addr(&address)?;
    /// UnixDatagram::unbound()?.send_to_addr(b"text", &address)?;
    /// assert_eq!(socket.recv(&mut [0; 8])?, 4);
    /// # }
    /// # std::io::Result::Ok(())
    /// ```
    pub fn bind_addr(socket_addr: &SocketAddr) -> io::Result<UnixDatagram> {
        checkpoint();
        UnixDatagram::open(Some(&address::of(socket_addr)?))
    }

    /// A socket without an address, so that nothing can be sent to it.
    ///
    /// # Errors
    /// The system's, if it has no descriptors left.
    ///
    /// # Examples
    /// ```
    /// let socket = narrowboat::net::unix::UnixDatagram::unbound()?;
    /// assert!(socket.local_addr()?.is_unnamed());
    /// # std::io::Result::Ok(())
    /// ```
    pub fn unbound() -> io::Result<UnixDatagram> {
        checkpoint();
        UnixDatagram::open(None)
    }

    fn open(address: Option<&SockAddr>) -> io::Result<UnixDatagram> {
        Ok(UnixDatagram::from_source(Source::new(handle::datagram_unix(address)?)))
    }

    /// Two sockets that are connected with each other.
    ///
    /// # Errors
    /// The system's, if it has no descriptors left.
    ///
    /// # Examples
    /// ```
    /// let (one, other) = narrowboat::net::unix::UnixDatagram::pair()?;
    /// one.send(b"text")?;
    /// assert_eq!(other.recv(&mut [0; 8])?, 4);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn pair() -> io::Result<(UnixDatagram, UnixDatagram)> {
        checkpoint();
        let (one, other) = handle::pair(Transport::Datagrams)?;
        Ok((UnixDatagram::from_source(Source::new(one)), UnixDatagram::from_source(Source::new(other))))
    }

    /// Connects the socket: [`send`](UnixDatagram::send) sends to that path, and only datagrams
    /// from there are received.
    ///
    /// # Errors
    /// The system's: `NotFound`, and `ConnectionRefused` if no socket is bound there any more.
    ///
    /// # Examples
    /// ```
    /// use narrowboat::net::unix::UnixDatagram;
    ///
    /// let path = std::env::temp_dir().join(format!("narrowboat-dial-{}", std::process::id()));
    /// let _other = UnixDatagram::bind(&path)?;
    /// let socket = UnixDatagram::unbound()?;
    /// socket.connect(&path)?;
    /// assert_eq!(socket.peer_addr()?.as_pathname(), Some(&*path));
    /// std::fs::remove_file(&path)?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn connect<P: AsRef<Path>>(&self, path: P) -> io::Result<()> {
        checkpoint();
        self.source.handle().connect_datagram(&address::of_path(path.as_ref())?)
    }

    /// Connects the socket to an address, which may be an abstract one on Linux.
    ///
    /// # Errors
    /// As [`connect`](UnixDatagram::connect).
    ///
    /// # Examples
    /// ```
    /// use narrowboat::net::unix::UnixDatagram;
    ///
    /// let path = std::env::temp_dir().join(format!("narrowboat-dial-addr-{}", std::process::id()));
    /// let other = UnixDatagram::bind(&path)?;
    /// UnixDatagram::unbound()?.connect_addr(&other.local_addr()?)?;
    /// std::fs::remove_file(&path)?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn connect_addr(&self, socket_addr: &SocketAddr) -> io::Result<()> {
        checkpoint();
        self.source.handle().connect_datagram(&address::of(socket_addr)?)
    }

    /// Sends a datagram to a path, waiting for room there, and returns how many bytes were sent.
    ///
    /// The system does not report when there is room at an address that the socket is not connected
    /// to. So this tries again after pauses of 1 to 32 ms, while a [`send`](UnixDatagram::send) on
    /// a connected socket goes on at once.
    ///
    /// # Errors
    /// The system's: `NotFound`, `ConnectionRefused` if no socket is bound there any more, and a
    /// specific one if the datagram is too long.
    ///
    /// # Examples
    /// ```
    /// use narrowboat::net::unix::UnixDatagram;
    ///
    /// let path = std::env::temp_dir().join(format!("narrowboat-send-to-{}", std::process::id()));
    /// let _other = UnixDatagram::bind(&path)?;
    /// assert_eq!(UnixDatagram::unbound()?.send_to(b"text", &path)?, 4);
    /// std::fs::remove_file(&path)?;
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn send_to<P: AsRef<Path>>(&self, buf: &[u8], path: P) -> io::Result<usize> {
        let operation = Operation::new(Reason::Write, Location::caller()).retried_by_time();
        transfer::send_to(&self.source, operation, buf, &address::of_path(path.as_ref())?)
    }

    /// Sends a datagram to an address, which may be an abstract one on Linux.
    ///
    /// # Errors
    /// As [`send_to`](UnixDatagram::send_to).
    ///
    /// # Examples
    /// ```
    /// use narrowboat::net::unix::UnixDatagram;
    ///
    /// let path = std::env::temp_dir().join(format!("narrowboat-send-to-addr-{}", std::process::id()));
    /// let other = UnixDatagram::bind(&path)?;
    /// assert_eq!(UnixDatagram::unbound()?.send_to_addr(b"text", &other.local_addr()?)?, 4);
    /// std::fs::remove_file(&path)?;
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn send_to_addr(&self, buf: &[u8], socket_addr: &SocketAddr) -> io::Result<usize> {
        let operation = Operation::new(Reason::Write, Location::caller()).retried_by_time();
        transfer::send_to(&self.source, operation, buf, &address::of(socket_addr)?)
    }

    /// The address of this socket.
    ///
    /// # Errors
    /// The system's, for a descriptor that is no Unix socket.
    ///
    /// # Examples
    /// ```
    /// let socket = narrowboat::net::unix::UnixDatagram::unbound()?;
    /// assert!(socket.local_addr()?.is_unnamed());
    /// # std::io::Result::Ok(())
    /// ```
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        checkpoint();
        self.source.handle().local_unix()
    }

    /// The address that the socket is connected to.
    ///
    /// # Errors
    /// `NotConnected`, if the socket is not connected.
    ///
    /// # Examples
    /// ```
    /// let socket = narrowboat::net::unix::UnixDatagram::unbound()?;
    /// assert_eq!(socket.peer_addr().unwrap_err().kind(), std::io::ErrorKind::NotConnected);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        checkpoint();
        self.source.handle().peer_unix()
    }

    /// Ends one direction or both, for every handle, and wakes the operations that are blocked
    /// there.
    ///
    /// # Errors
    /// The system's. Linux has none, also if the socket is not connected.
    ///
    /// # Examples
    /// ```
    /// let (one, _other) = narrowboat::net::unix::UnixDatagram::pair()?;
    /// one.shutdown(std::net::Shutdown::Both)?;
    /// assert!(one.send(b"text").is_err());
    /// # std::io::Result::Ok(())
    /// ```
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        checkpoint();
        self.source.shutdown(how)
    }
}

impl WithContext<UnixDatagram> {
    /// [`UnixDatagram::send_to`], until the context is done.
    ///
    /// # Errors
    /// As there, and the context's.
    ///
    /// # Examples
    /// ```
    /// use narrowboat::context::background;
    /// use narrowboat::net::unix::UnixDatagram;
    ///
    /// let path = std::env::temp_dir().join(format!("narrowboat-send-with-{}", std::process::id()));
    /// let _other = UnixDatagram::bind(&path)?;
    /// assert_eq!(UnixDatagram::unbound()?.with_context(&background()).send_to(b"text", &path)?, 4);
    /// std::fs::remove_file(&path)?;
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn send_to<P: AsRef<Path>>(&self, buf: &[u8], path: P) -> io::Result<usize> {
        let operation = Operation::tied(Reason::Write, Location::caller(), &self.tied).retried_by_time();
        transfer::send_to(&self.tied.source, operation, buf, &address::of_path(path.as_ref())?)
    }
}

impl fmt::Debug for UnixDatagram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.handle().debug_unix::<std::os::unix::net::UnixDatagram>("UnixDatagram", f)
    }
}

datagram_methods!(
    UnixDatagram,
    SocketAddr,
    address::shown,
    "let (one, other) = narrowboat_net::unix::UnixDatagram::pair()?;"
);
shared_methods_both_ways!(
    UnixDatagram,
    "let (socket, _other) = narrowboat_net::unix::UnixDatagram::pair()?;"
);
descriptor_conversions!(UnixDatagram, std::os::unix::net::UnixDatagram, accepts: false);
