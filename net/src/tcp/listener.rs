//! A socket that listens. Safe to use from any number of goroutines and threads at once; see
//! [`crate::source`].

use super::TcpStream;
use crate::convert::descriptor_conversions;
use crate::poller::NetPoller;
use crate::resolve::each_address;
use crate::source::{Direction, Source};
use crate::sys::socket;
use narrowboat_runtime::park::Reason;
use socket2::SockRef;
use std::fmt;
use std::io;
use std::iter::FusedIterator;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::AsRawFd;
use std::panic::Location;
use std::sync::Arc;
use std::time::Instant;

/// A TCP socket that accepts connections: [`std::net::TcpListener`] with an [`accept`](TcpListener::accept)
/// that parks the calling goroutine. From a plain thread it blocks the thread.
///
/// Dropping the last handle closes the socket. A blocked `accept` counts as a handle.
///
/// # Examples
/// ```
/// use narrowboat_net::{TcpListener, TcpStream};
/// use std::io::{Read, Write};
///
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let address = listener.local_addr()?;
/// let server = std::thread::spawn(move || -> std::io::Result<()> {
///     let (mut stream, _peer) = listener.accept()?;
///     stream.write_all(b"welcome")
/// });
///
/// let mut text = String::new();
/// TcpStream::connect(address)?.read_to_string(&mut text)?;
/// assert_eq!(text, "welcome");
/// server.join().unwrap()?;
/// # std::io::Result::Ok(())
/// ```
pub struct TcpListener {
    source: Arc<Source>,
}

impl TcpListener {
    /// Listens at `addr`, or at the first of its addresses where that is possible. Port 0 lets the system
    /// choose.
    ///
    /// As with std, `SO_REUSEADDR` is set: the address may still be in use by connections of an earlier
    /// listener. A host name is resolved as in [`TcpStream::connect`].
    ///
    /// # Errors
    /// The last address's, if none works: `AddrInUse` and `PermissionDenied` are the usual ones.
    /// `InvalidInput` if there is no address at all.
    ///
    /// # Examples
    /// ```
    /// let listener = narrowboat_net::TcpListener::bind("127.0.0.1:0")?;
    /// assert_ne!(listener.local_addr()?.port(), 0);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn bind<A: ToSocketAddrs>(addr: A) -> io::Result<TcpListener> {
        // Now and not at the first wait: by then a burst of connections may have taken every descriptor.
        NetPoller::get()?;
        let fd = each_address(addr, socket::listen)?;
        Ok(TcpListener { source: Arc::new(Source::new(fd)) })
    }

    /// Waits for a connection and takes it.
    ///
    /// Any number of goroutines and threads may wait at the same listener; each connection goes to one of
    /// them.
    ///
    /// # Errors
    /// The system's. Out of descriptors (`EMFILE`, `ENFILE`) or out of memory is such an error, as with std;
    /// the connection keeps waiting, and a later call takes it. A connection that was given up before it
    /// could be taken is `ConnectionAborted` on some systems. `WouldBlock` in non-blocking mode, `TimedOut`
    /// after the deadline.
    ///
    /// # Examples
    /// ```
    /// use narrowboat_net::{TcpListener, TcpStream};
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let client = TcpStream::connect(listener.local_addr()?)?;
    /// let (stream, peer) = listener.accept()?;
    /// assert_eq!(peer, client.local_addr()?);
    /// assert_eq!(stream.peer_addr()?, peer);
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let (fd, peer) = self.source.io(Reason::Accept, Location::caller(), socket::accept)?;
        Ok((TcpStream::from_source(Source::new(fd)), peer))
    }

    /// An endless iterator over [`accept`](TcpListener::accept), without the addresses.
    ///
    /// # Examples
    /// ```
    /// use narrowboat_net::{TcpListener, TcpStream};
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let address = listener.local_addr()?;
    /// let _clients = [TcpStream::connect(address)?, TcpStream::connect(address)?];
    /// for stream in listener.incoming().take(2) {
    ///     stream?.set_nodelay(true)?;
    /// }
    /// # std::io::Result::Ok(())
    /// ```
    pub fn incoming(&self) -> Incoming<'_> {
        Incoming { listener: self }
    }

    /// The address that this listener listens at.
    ///
    /// # Errors
    /// The system's, for a descriptor that is no internet socket.
    ///
    /// # Examples
    /// ```
    /// let listener = narrowboat_net::TcpListener::bind("127.0.0.1:0")?;
    /// assert!(listener.local_addr()?.ip().is_loopback());
    /// # std::io::Result::Ok(())
    /// ```
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        socket::local_address(self.source.fd())
    }

    /// Another handle to the same listening socket.
    ///
    /// Unlike std's it shares the descriptor too, so that both are one to the netpoller. Mode and deadline
    /// are shared, as they are with std.
    ///
    /// # Errors
    /// None at present; the signature is std's.
    ///
    /// # Examples
    /// ```
    /// let listener = narrowboat_net::TcpListener::bind("127.0.0.1:0")?;
    /// let another = listener.try_clone()?;
    /// assert_eq!(another.local_addr()?, listener.local_addr()?);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn try_clone(&self) -> io::Result<TcpListener> {
        Ok(TcpListener { source: Arc::clone(&self.source) })
    }

    /// Sets the time to live of packets (`IP_TTL`), which accepted connections inherit.
    ///
    /// # Errors
    /// The system's; 0 is refused.
    ///
    /// # Examples
    /// ```
    /// let listener = narrowboat_net::TcpListener::bind("127.0.0.1:0")?;
    /// listener.set_ttl(42)?;
    /// assert_eq!(listener.ttl()?, 42);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        SockRef::from(self).set_ttl_v4(ttl)
    }

    /// The time to live of packets (`IP_TTL`).
    ///
    /// # Errors
    /// The system's.
    ///
    /// # Examples
    /// ```
    /// let listener = narrowboat_net::TcpListener::bind("127.0.0.1:0")?;
    /// assert!(listener.ttl()? > 0);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn ttl(&self) -> io::Result<u32> {
        SockRef::from(self).ttl_v4()
    }

    /// Takes the error that is pending on the socket (`SO_ERROR`), if there is one.
    ///
    /// # Errors
    /// The system's, if it cannot even be asked.
    ///
    /// # Examples
    /// ```
    /// let listener = narrowboat_net::TcpListener::bind("127.0.0.1:0")?;
    /// assert!(listener.take_error()?.is_none());
    /// # std::io::Result::Ok(())
    /// ```
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        SockRef::from(self).take_error()
    }

    /// In non-blocking mode, [`accept`](TcpListener::accept) fails with `WouldBlock` instead of waiting. It
    /// is for code that does its own waiting; goroutines need it no more than threads do.
    ///
    /// # Errors
    /// None at present; the signature is std's.
    ///
    /// # Examples
    /// ```
    /// let listener = narrowboat_net::TcpListener::bind("127.0.0.1:0")?;
    /// listener.set_nonblocking(true)?;
    /// assert_eq!(listener.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.source.set_nonblocking(nonblocking);
        Ok(())
    }

    /// Sets the point in time after which `accept` fails with `TimedOut`, also one that is waiting now.
    /// `None` takes the limit away.
    ///
    /// # Errors
    /// None at present.
    ///
    /// # Examples
    /// ```
    /// use std::time::{Duration, Instant};
    ///
    /// let listener = narrowboat_net::TcpListener::bind("127.0.0.1:0")?;
    /// listener.set_deadline(Some(Instant::now() + Duration::from_millis(10)))?;
    /// assert_eq!(listener.accept().unwrap_err().kind(), std::io::ErrorKind::TimedOut);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn set_deadline(&self, deadline: Option<Instant>) -> io::Result<()> {
        self.source.set_deadline(Direction::Input, deadline);
        Ok(())
    }
}

impl fmt::Debug for TcpListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("TcpListener");
        if let Ok(address) = self.local_addr() {
            shown.field("addr", &address);
        }
        shown.field("fd", &self.as_raw_fd()).finish()
    }
}

descriptor_conversions!(TcpListener, std::net::TcpListener);

/// The connections of a [`TcpListener`], one after the other, without end; made by
/// [`incoming`](TcpListener::incoming).
///
/// # Examples
/// ```
/// use narrowboat_net::{TcpListener, TcpStream};
///
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let client = TcpStream::connect(listener.local_addr()?)?;
/// let stream = listener.incoming().next().expect("it never ends")?;
/// assert_eq!(stream.peer_addr()?, client.local_addr()?);
/// # std::io::Result::Ok(())
/// ```
#[derive(Debug)]
#[must_use = "an iterator does nothing unless it is consumed"]
pub struct Incoming<'a> {
    listener: &'a TcpListener,
}

impl Iterator for Incoming<'_> {
    type Item = io::Result<TcpStream>;

    #[track_caller]
    fn next(&mut self) -> Option<io::Result<TcpStream>> {
        Some(self.listener.accept().map(|(stream, _)| stream))
    }
}

impl FusedIterator for Incoming<'_> {}
