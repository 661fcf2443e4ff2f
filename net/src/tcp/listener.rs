//! A socket that listens. Safe to use from any number of goroutines and threads at once; see
//! [`crate::source`].

use super::TcpStream;
use crate::accept::accept;
use crate::context::WithContext;
use crate::convert::descriptor_conversions;
use crate::handle;
use crate::methods::{listener_deadline, shared_methods};
use crate::poller::NetPoller;
use crate::resolve::each_address;
use crate::simulated::Setting;
use crate::source::{Operation, Source};
use crate::sys::socket;
use narrowboat_runtime::park::{Reason, checkpoint};
use std::fmt;
use std::io;
use std::iter::FusedIterator;
use std::net::{SocketAddr, ToSocketAddrs};
use std::panic::Location;
use std::sync::Arc;

/// A TCP socket that accepts connections: [`std::net::TcpListener`] with an
/// [`accept`](TcpListener::accept) that parks the calling goroutine. From a plain thread it blocks
/// the thread.
///
/// Dropping the last handle closes the socket. A blocked `accept` counts as a handle.
///
/// # Examples
/// ```
/// use narrowboat::net::{TcpListener, TcpStream};
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
    /// Listens at `addr`, or at the first of its addresses that works. With port 0 the system
    /// chooses.
    ///
    /// As with std, `SO_REUSEADDR` is set: the address may still be in use by connections of an
    /// earlier listener. A host name is resolved as in [`TcpStream::connect`].
    ///
    /// # Errors
    /// The error of the last address, if none works: `AddrInUse` and `PermissionDenied` are the
    /// usual ones. `InvalidInput` if there is no address at all.
    ///
    /// # Examples
    /// ```
    /// let listener = narrowboat::net::TcpListener::bind("127.0.0.1:0")?;
    /// assert_ne!(listener.local_addr()?.port(), 0);
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn bind<A: ToSocketAddrs>(addr: A) -> io::Result<TcpListener> {
        checkpoint();
        // Now and not at the first wait: by then a burst of connections may have used up the
        // descriptors.
        NetPoller::get()?;
        let socket = each_address(addr, Location::caller(), handle::listen)?;
        Ok(TcpListener { source: Arc::new(Source::new(socket)) })
    }

    /// Waits for a connection and takes it.
    ///
    /// Any number of goroutines and threads may wait at the same listener; each connection goes to
    /// one of them.
    ///
    /// # Errors
    /// The system's. Being out of descriptors (`EMFILE`, `ENFILE`) or out of memory is such an
    /// error, as with std; the connection stays pending, and a later call takes it. That call
    /// pauses before it fails again, for at most a quarter of a second, so that a loop which only
    /// tries again is not a busy one. A connection that the peer abandoned before it could be taken
    /// is `ConnectionAborted` on some systems. `WouldBlock` in non-blocking mode, `TimedOut` after
    /// the deadline, `NotConnected` after [`close`](TcpListener::close), also if `close` is called
    /// during the wait.
    ///
    /// # Examples
    /// ```
    /// use narrowboat::net::{TcpListener, TcpStream};
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
        self.take(Operation::new(Reason::Accept, Location::caller()))
    }

    fn take(&self, operation: Operation<'_>) -> io::Result<(TcpStream, SocketAddr)> {
        let (socket, peer) = accept(&self.source, operation)?;
        Ok((TcpStream::from_source(Arc::new(Source::new(socket))), socket::internet(&peer)?))
    }

    /// An iterator over [`accept`](TcpListener::accept), without the addresses. It ends after
    /// [`close`](TcpListener::close), and otherwise never, as with std.
    ///
    /// # Examples
    /// ```
    /// use narrowboat::net::{TcpListener, TcpStream};
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
    /// let listener = narrowboat::net::TcpListener::bind("127.0.0.1:0")?;
    /// assert!(listener.local_addr()?.ip().is_loopback());
    /// # std::io::Result::Ok(())
    /// ```
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        checkpoint();
        self.source.handle().local_address()
    }

    /// Sets the time to live of packets (`IP_TTL`), which accepted connections inherit.
    ///
    /// # Errors
    /// The system's; 0 is refused.
    ///
    /// # Examples
    /// ```
    /// let listener = narrowboat::net::TcpListener::bind("127.0.0.1:0")?;
    /// listener.set_ttl(42)?;
    /// assert_eq!(listener.ttl()?, 42);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        checkpoint();
        self.source.handle().set(Setting::TimeToLive, ttl)
    }

    /// The time to live of packets (`IP_TTL`).
    ///
    /// # Errors
    /// The system's.
    ///
    /// # Examples
    /// ```
    /// let listener = narrowboat::net::TcpListener::bind("127.0.0.1:0")?;
    /// assert!(listener.ttl()? > 0);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn ttl(&self) -> io::Result<u32> {
        checkpoint();
        self.source.handle().setting(Setting::TimeToLive)
    }
}

impl fmt::Debug for TcpListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.handle().debug("TcpListener", f)
    }
}

shared_methods!(TcpListener, "let socket = narrowboat_net::TcpListener::bind(\"127.0.0.1:0\")?;");
listener_deadline!(TcpListener, "let socket = narrowboat_net::TcpListener::bind(\"127.0.0.1:0\")?;");
descriptor_conversions!(TcpListener, std::net::TcpListener, accepts: true);

impl WithContext<TcpListener> {
    /// [`TcpListener::accept`], until the context is done.
    ///
    /// # Errors
    /// As there, and the context's.
    ///
    /// # Examples
    /// ```
    /// use narrowboat::context::{background, with_cancel};
    /// use narrowboat::net::TcpListener;
    ///
    /// let (ctx, cancel) = with_cancel(&background());
    /// let listener = TcpListener::bind("127.0.0.1:0")?.with_context(&ctx);
    /// let accepting = std::thread::spawn(move || listener.accept().map(|(_, peer)| peer));
    /// cancel.cancel();
    /// assert_eq!(accepting.join().unwrap().unwrap_err().to_string(), "context canceled");
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        self.get_ref().take(Operation::tied(Reason::Accept, Location::caller(), &self.tied))
    }
}

/// The connections of a [`TcpListener`], one after the other, until it is closed; made by
/// [`incoming`](TcpListener::incoming).
///
/// # Examples
/// ```
/// use narrowboat::net::{TcpListener, TcpStream};
///
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let client = TcpStream::connect(listener.local_addr()?)?;
/// let stream = listener.incoming().next().expect("it is not closed")?;
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
        let next = self.listener.accept().map(|(stream, _)| stream);
        (next.is_ok() || !self.listener.source.is_closed()).then_some(next)
    }
}

impl FusedIterator for Incoming<'_> {}
