//! A TCP connection. Safe to use from any number of goroutines and threads at once; see
//! [`crate::source`].

use super::connect;
use crate::convert::descriptor_conversions;
use crate::halves::split_methods;
use crate::methods::shared_methods_both_ways;
use crate::simulated::Setting;
use crate::source::{Operation, Source};
use crate::transfer::{self, Stream, stream_io};
use narrowboat_chan::context::Context;
use narrowboat_runtime::park::{Reason, checkpoint};
use std::fmt;
use std::io;
use std::net::{Shutdown, SocketAddr, ToSocketAddrs};
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

/// A TCP connection: [`std::net::TcpStream`] with blocking calls that park the calling goroutine.
/// From a plain thread they block the thread.
///
/// `Read` and `Write` are implemented for `TcpStream` and for `&TcpStream`, so two goroutines may
/// share one, in an [`Arc`] or by [`try_clone`](TcpStream::try_clone), and read and write at the
/// same time. Dropping the last handle closes the connection; an operation under way counts as a
/// handle. Writing to a connection that the peer has closed is an error, never a `SIGPIPE`.
///
/// # Examples
/// ```
/// use narrowboat::net::{TcpListener, TcpStream};
/// use std::io::{Read, Write};
///
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let address = listener.local_addr()?;
/// let echo = std::thread::spawn(move || -> std::io::Result<u64> {
///     let (stream, _) = listener.accept()?;
///     std::io::copy(&mut &stream, &mut &stream)
/// });
///
/// let mut stream = TcpStream::connect(address)?;
/// stream.write_all(b"over and back")?;
/// stream.shutdown(std::net::Shutdown::Write)?;
/// let mut text = String::new();
/// stream.read_to_string(&mut text)?;
/// assert_eq!(text, "over and back");
/// assert_eq!(echo.join().unwrap()?, 13);
/// # std::io::Result::Ok(())
/// ```
pub struct TcpStream {
    pub(super) source: Arc<Source>,
}

impl TcpStream {
    pub(super) fn from_source(source: Arc<Source>) -> TcpStream {
        TcpStream { source }
    }

    /// Connects to `addr`, or to the first of its addresses that answers.
    ///
    /// Several addresses are tried as RFC 8305 ("happy eyeballs") says: alternating between the
    /// families, a quarter of a second apart, or at once after one that failed. The first
    /// connection that is made is the result.
    ///
    /// If `addr` is one of std's types for host names (`&str`, `String`, `&String`, `(&str, u16)`
    /// and `(String, u16)`), names are resolved while the goroutine is parked, as by
    /// [`lookup_host`](crate::lookup_host). Other implementations of [`ToSocketAddrs`] are called
    /// in place; if they call a resolver, they block the thread under the goroutine.
    ///
    /// # Errors
    /// The error of the last address, if none answers: `ConnectionRefused`, `TimedOut`,
    /// `NetworkUnreachable` and so on. `InvalidInput` if there is no address at all.
    ///
    /// # Examples
    /// ```
    /// use narrowboat::net::{TcpListener, TcpStream};
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let stream = TcpStream::connect(listener.local_addr()?)?;
    /// assert_eq!(stream.peer_addr()?, listener.local_addr()?);
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn connect<A: ToSocketAddrs>(addr: A) -> io::Result<TcpStream> {
        checkpoint();
        let at = Location::caller();
        Ok(TcpStream::from_source(connect::connect(addr, at)?))
    }

    /// Connects to one address, and waits for at most `timeout`.
    ///
    /// # Errors
    /// `TimedOut` after that time, `InvalidInput` if `timeout` is zero, and otherwise as
    /// [`connect`](TcpStream::connect).
    ///
    /// # Examples
    /// ```
    /// use narrowboat::net::{TcpListener, TcpStream};
    /// use std::time::Duration;
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// TcpStream::connect_timeout(&listener.local_addr()?, Duration::from_secs(5))?;
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn connect_timeout(addr: &SocketAddr, timeout: Duration) -> io::Result<TcpStream> {
        checkpoint();
        Ok(TcpStream::from_source(connect::connect_timeout(*addr, timeout, Location::caller())?))
    }

    /// Connects as [`connect`](TcpStream::connect) does, but fails when the context is done: Go's
    /// `DialContext`. The stream is not tied to the context;
    /// [`with_context`](TcpStream::with_context) ties it.
    ///
    /// # Errors
    /// `TimedOut` if the context's deadline has passed and `Other` if it was cancelled, with the
    /// context's own [`Error`](narrowboat_chan::context::Error) inside; otherwise as
    /// [`connect`](TcpStream::connect).
    ///
    /// # Examples
    /// ```
    /// use narrowboat::context::{background, with_timeout};
    /// use narrowboat::net::{TcpListener, TcpStream};
    /// use std::time::Duration;
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let (ctx, _cancel) = with_timeout(&background(), Duration::from_secs(5));
    /// TcpStream::connect_with_context(listener.local_addr()?, &ctx)?;
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn connect_with_context<A: ToSocketAddrs>(addr: A, ctx: &Context) -> io::Result<TcpStream> {
        checkpoint();
        Ok(TcpStream::from_source(connect::connect_until_done(addr, ctx, Location::caller())?))
    }

    /// The address of the other end.
    ///
    /// # Errors
    /// `NotConnected`, if the connection is gone.
    ///
    /// # Examples
    /// ```
    /// # use narrowboat::net::{TcpListener, TcpStream};
    /// # let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let stream = TcpStream::connect(listener.local_addr()?)?;
    /// assert_eq!(stream.peer_addr()?, listener.local_addr()?);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        checkpoint();
        self.source.handle().peer_address()
    }

    /// The address of this end.
    ///
    /// # Errors
    /// The system's, for a descriptor that is no internet socket.
    ///
    /// # Examples
    /// ```
    /// # use narrowboat::net::{TcpListener, TcpStream};
    /// # let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let stream = TcpStream::connect(listener.local_addr()?)?;
    /// assert!(stream.local_addr()?.ip().is_loopback());
    /// # std::io::Result::Ok(())
    /// ```
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        checkpoint();
        self.source.handle().local_address()
    }

    /// Ends the connection in one direction or in both, for every handle, and wakes the operations
    /// that are blocked there.
    ///
    /// # Errors
    /// `NotConnected`, if the connection is gone.
    ///
    /// # Examples
    /// ```
    /// # use narrowboat::net::{TcpListener, TcpStream};
    /// use std::io::Read;
    /// use std::net::Shutdown;
    ///
    /// # let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let stream = TcpStream::connect(listener.local_addr()?)?;
    /// let (mut peer, _) = listener.accept()?;
    /// stream.shutdown(Shutdown::Write)?;
    /// assert_eq!(peer.read(&mut [0; 8])?, 0);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        checkpoint();
        self.source.shutdown(how)
    }

    /// Reads without removing: the next read gets the same data again. It waits as a read does.
    ///
    /// # Errors
    /// As a read.
    ///
    /// # Examples
    /// ```
    /// # use narrowboat::net::{TcpListener, TcpStream};
    /// use std::io::{Read, Write};
    ///
    /// # let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let mut stream = TcpStream::connect(listener.local_addr()?)?;
    /// listener.accept()?.0.write_all(b"x")?;
    /// let mut first = [0; 1];
    /// assert_eq!(stream.peek(&mut first)?, 1);
    /// let mut again = [0; 1];
    /// stream.read_exact(&mut again)?;
    /// assert_eq!(first, again);
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        transfer::peek(&self.source, Operation::new(Reason::Read, Location::caller()), buf)
    }

    /// With `nodelay`, small writes are sent at once instead of being gathered (`TCP_NODELAY`, off
    /// by default as with std).
    ///
    /// # Errors
    /// The system's.
    ///
    /// # Examples
    /// ```
    /// # use narrowboat::net::{TcpListener, TcpStream};
    /// # let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let stream = TcpStream::connect(listener.local_addr()?)?;
    /// stream.set_nodelay(true)?;
    /// assert!(stream.nodelay()?);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        checkpoint();
        self.source.handle().set(Setting::NoDelay, nodelay)
    }

    /// Whether small writes are sent at once (`TCP_NODELAY`).
    ///
    /// # Errors
    /// The system's.
    ///
    /// # Examples
    /// ```
    /// # use narrowboat::net::{TcpListener, TcpStream};
    /// # let listener = TcpListener::bind("127.0.0.1:0")?;
    /// assert!(!TcpStream::connect(listener.local_addr()?)?.nodelay()?);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn nodelay(&self) -> io::Result<bool> {
        checkpoint();
        Ok(self.source.handle().setting(Setting::NoDelay)? != 0)
    }

    /// With `quickack`, data is acknowledged at once and not with the next write (`TCP_QUICKACK`),
    /// until the kernel decides otherwise. It is the method of std's
    /// `os::linux::net::TcpStreamExt`.
    ///
    /// # Errors
    /// The system's.
    ///
    /// # Examples
    /// ```
    /// # use narrowboat::net::{TcpListener, TcpStream};
    /// # let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let stream = TcpStream::connect(listener.local_addr()?)?;
    /// stream.set_quickack(false)?;
    /// assert!(!stream.quickack()?);
    /// # std::io::Result::Ok(())
    /// ```
    #[cfg(target_os = "linux")]
    pub fn set_quickack(&self, quickack: bool) -> io::Result<()> {
        checkpoint();
        self.source.handle().set(Setting::QuickAck, quickack)
    }

    /// Whether data is acknowledged at once (`TCP_QUICKACK`).
    ///
    /// # Errors
    /// The system's.
    ///
    /// # Examples
    /// ```
    /// # use narrowboat::net::{TcpListener, TcpStream};
    /// # let listener = TcpListener::bind("127.0.0.1:0")?;
    /// TcpStream::connect(listener.local_addr()?)?.quickack()?;
    /// # std::io::Result::Ok(())
    /// ```
    #[cfg(target_os = "linux")]
    pub fn quickack(&self) -> io::Result<bool> {
        checkpoint();
        Ok(self.source.handle().setting(Setting::QuickAck)? != 0)
    }

    /// Sets the time to live of packets (`IP_TTL`).
    ///
    /// # Errors
    /// The system's; 0 is refused.
    ///
    /// # Examples
    /// ```
    /// # use narrowboat::net::{TcpListener, TcpStream};
    /// # let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let stream = TcpStream::connect(listener.local_addr()?)?;
    /// stream.set_ttl(100)?;
    /// assert_eq!(stream.ttl()?, 100);
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
    /// # use narrowboat::net::{TcpListener, TcpStream};
    /// # let listener = TcpListener::bind("127.0.0.1:0")?;
    /// assert!(TcpStream::connect(listener.local_addr()?)?.ttl()? > 0);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn ttl(&self) -> io::Result<u32> {
        checkpoint();
        self.source.handle().setting(Setting::TimeToLive)
    }
}

impl Stream for TcpStream {
    const SHORT_READ_EMPTIES: bool = true;

    fn source(&self) -> &Arc<Source> {
        &self.source
    }
}

impl fmt::Debug for TcpStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.handle().debug("TcpStream", f)
    }
}

stream_io!(TcpStream);
shared_methods_both_ways!(
    TcpStream,
    "# let listener = narrowboat_net::TcpListener::bind(\"127.0.0.1:0\")?;\n\
     let socket = narrowboat_net::TcpStream::connect(listener.local_addr()?)?;"
);
split_methods!(
    TcpStream,
    "# let listener = narrowboat_net::TcpListener::bind(\"127.0.0.1:0\")?;\n\
     let one = narrowboat_net::TcpStream::connect(listener.local_addr()?)?;\n\
     let (other, _) = listener.accept()?;"
);
descriptor_conversions!(TcpStream, std::net::TcpStream, accepts: false);
