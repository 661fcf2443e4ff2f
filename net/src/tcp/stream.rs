//! A connection. Safe to use from any number of goroutines and threads at once; see [`crate::source`].

use crate::convert::descriptor_conversions;
use crate::resolve::each_address;
use crate::source::{Direction, Source};
use crate::sys::socket;
use narrowboat_runtime::park::Reason;
use socket2::SockRef;
use std::fmt;
use std::io;
use std::net::{Shutdown, SocketAddr, ToSocketAddrs};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::panic::Location;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A TCP connection: [`std::net::TcpStream`], whose blocking calls park the calling goroutine. From a plain
/// thread they block the thread.
///
/// `Read` and `Write` are implemented for `TcpStream` and for `&TcpStream`, so two goroutines may share one,
/// in an [`Arc`] or by [`try_clone`](TcpStream::try_clone), and read and write at the same time. Dropping the
/// last handle closes the connection; an operation under way counts as a handle. Writing to a connection that
/// the peer has closed is an error, never a `SIGPIPE`.
///
/// # Examples
/// ```
/// use narrowboat_net::{TcpListener, TcpStream};
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
    pub(super) fn from_source(source: Source) -> TcpStream {
        TcpStream { source: Arc::new(source) }
    }

    /// Connects to `addr`, or to the first of its addresses where somebody answers.
    ///
    /// The waiting parks the goroutine. *Resolving a host name does not*: that is [`ToSocketAddrs`]'
    /// business, whose implementation for names calls the system's resolver, which blocks the thread under
    /// the goroutine. Addresses in numbers need no resolver. Where it matters, resolve with
    /// [`lookup_host`](crate::lookup_host) and connect to what it returns.
    ///
    /// # Errors
    /// The last address's, if none answers: `ConnectionRefused`, `TimedOut`, `NetworkUnreachable` and so on.
    /// `InvalidInput` if there is no address at all.
    ///
    /// # Examples
    /// ```
    /// use narrowboat_net::{TcpListener, TcpStream};
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let stream = TcpStream::connect(listener.local_addr()?)?;
    /// assert_eq!(stream.peer_addr()?, listener.local_addr()?);
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn connect<A: ToSocketAddrs>(addr: A) -> io::Result<TcpStream> {
        let at = Location::caller();
        each_address(addr, |address| TcpStream::dial(address, None, at))
    }

    /// Connects to one address, waiting for at most `timeout`.
    ///
    /// # Errors
    /// `TimedOut` after that time, `InvalidInput` if `timeout` is zero, and otherwise as
    /// [`connect`](TcpStream::connect).
    ///
    /// # Examples
    /// ```
    /// use narrowboat_net::{TcpListener, TcpStream};
    /// use std::time::Duration;
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// TcpStream::connect_timeout(&listener.local_addr()?, Duration::from_secs(5))?;
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn connect_timeout(addr: &SocketAddr, timeout: Duration) -> io::Result<TcpStream> {
        TcpStream::dial(addr, Some(timeout), Location::caller())
    }

    fn dial(
        address: &SocketAddr,
        timeout: Option<Duration>,
        at: &'static Location<'static>,
    ) -> io::Result<TcpStream> {
        if timeout == Some(Duration::ZERO) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "cannot set a 0 duration timeout"));
        }
        let (fd, done) = socket::connect(address)?;
        let source = Source::new(fd);
        if !done {
            // Nobody else has the socket yet, so its own timeout can serve for this one wait.
            source.set_timeout(Direction::Output, timeout)?;
            source.io(Reason::Connect, at, socket::connected).map_err(|error| {
                if error.kind() == io::ErrorKind::WouldBlock {
                    io::Error::new(io::ErrorKind::TimedOut, "connection timed out")
                } else {
                    error
                }
            })?;
            source.set_timeout(Direction::Output, None)?;
        }
        Ok(TcpStream::from_source(source))
    }

    /// The address of the other end.
    ///
    /// # Errors
    /// `NotConnected`, if the connection is gone.
    ///
    /// # Examples
    /// ```
    /// # use narrowboat_net::{TcpListener, TcpStream};
    /// # let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let stream = TcpStream::connect(listener.local_addr()?)?;
    /// assert_eq!(stream.peer_addr()?, listener.local_addr()?);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        socket::peer_address(self.source.fd())
    }

    /// The address of this end.
    ///
    /// # Errors
    /// The system's, for a descriptor that is no internet socket.
    ///
    /// # Examples
    /// ```
    /// # use narrowboat_net::{TcpListener, TcpStream};
    /// # let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let stream = TcpStream::connect(listener.local_addr()?)?;
    /// assert!(stream.local_addr()?.ip().is_loopback());
    /// # std::io::Result::Ok(())
    /// ```
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        socket::local_address(self.source.fd())
    }

    /// Ends the connection in one direction or in both, for every handle, and wakes whoever is blocked there.
    ///
    /// # Errors
    /// `NotConnected`, if the connection is gone.
    ///
    /// # Examples
    /// ```
    /// # use narrowboat_net::{TcpListener, TcpStream};
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
        self.source.shutdown(how)
    }

    /// Another handle to the same connection.
    ///
    /// Unlike std's it shares the descriptor too, so that both are one to the netpoller and cloning costs no
    /// descriptor. Timeouts, deadlines and mode are shared, as they are with std.
    ///
    /// # Errors
    /// None at present; the signature is std's.
    ///
    /// # Examples
    /// ```
    /// # use narrowboat_net::{TcpListener, TcpStream};
    /// # let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let reader = TcpStream::connect(listener.local_addr()?)?;
    /// let writer = reader.try_clone()?;
    /// assert_eq!(reader.local_addr()?, writer.local_addr()?);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn try_clone(&self) -> io::Result<TcpStream> {
        Ok(TcpStream { source: Arc::clone(&self.source) })
    }

    /// Sets the longest that one read may wait; `None` is without limit. A read that waits longer fails with
    /// `WouldBlock`, which is what std gives on Unix. It holds from the next read on.
    ///
    /// # Errors
    /// `InvalidInput` if the timeout is zero.
    ///
    /// # Examples
    /// ```
    /// # use narrowboat_net::{TcpListener, TcpStream};
    /// use std::io::{ErrorKind, Read};
    /// use std::time::Duration;
    ///
    /// # let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let mut stream = TcpStream::connect(listener.local_addr()?)?;
    /// stream.set_read_timeout(Some(Duration::from_millis(10)))?;
    /// assert_eq!(stream.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn set_read_timeout(&self, dur: Option<Duration>) -> io::Result<()> {
        self.source.set_timeout(Direction::Input, dur)
    }

    /// Sets the longest that one write may wait; `None` is without limit. A write that waits longer fails
    /// with `WouldBlock`, which is what std gives on Unix. It holds from the next write on.
    ///
    /// # Errors
    /// `InvalidInput` if the timeout is zero.
    ///
    /// # Examples
    /// ```
    /// # use narrowboat_net::{TcpListener, TcpStream};
    /// use std::io::{ErrorKind, Write};
    /// use std::time::Duration;
    ///
    /// # let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let mut stream = TcpStream::connect(listener.local_addr()?)?;
    /// stream.set_write_timeout(Some(Duration::from_millis(10)))?;
    /// // Nobody reads, so at some point there is no room any more.
    /// let error = std::iter::repeat_with(|| stream.write(&[0; 65_536])).find_map(Result::err);
    /// assert_eq!(error.unwrap().kind(), ErrorKind::WouldBlock);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn set_write_timeout(&self, dur: Option<Duration>) -> io::Result<()> {
        self.source.set_timeout(Direction::Output, dur)
    }

    /// The longest that one read may wait.
    ///
    /// # Errors
    /// None at present; the signature is std's.
    ///
    /// # Examples
    /// ```
    /// # use narrowboat_net::{TcpListener, TcpStream};
    /// # let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let stream = TcpStream::connect(listener.local_addr()?)?;
    /// assert_eq!(stream.read_timeout()?, None);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn read_timeout(&self) -> io::Result<Option<Duration>> {
        Ok(self.source.timeout(Direction::Input))
    }

    /// The longest that one write may wait.
    ///
    /// # Errors
    /// None at present; the signature is std's.
    ///
    /// # Examples
    /// ```
    /// # use narrowboat_net::{TcpListener, TcpStream};
    /// # let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let stream = TcpStream::connect(listener.local_addr()?)?;
    /// assert_eq!(stream.write_timeout()?, None);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn write_timeout(&self) -> io::Result<Option<Duration>> {
        Ok(self.source.timeout(Direction::Output))
    }

    /// Sets the point in time after which reads and writes fail with `TimedOut`: those that begin later, even
    /// if data are there, and those under way. `None` takes the limit away. It is Go's `SetDeadline`.
    ///
    /// # Errors
    /// None at present.
    ///
    /// # Examples
    /// ```
    /// # use narrowboat_net::{TcpListener, TcpStream};
    /// use std::io::{ErrorKind, Read};
    /// use std::time::{Duration, Instant};
    ///
    /// # let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let mut stream = TcpStream::connect(listener.local_addr()?)?;
    /// stream.set_deadline(Some(Instant::now() + Duration::from_millis(10)))?;
    /// assert_eq!(stream.read_to_end(&mut Vec::new()).unwrap_err().kind(), ErrorKind::TimedOut);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn set_deadline(&self, deadline: Option<Instant>) -> io::Result<()> {
        self.set_read_deadline(deadline)?;
        self.set_write_deadline(deadline)
    }

    /// [`set_deadline`](TcpStream::set_deadline) for reads only.
    ///
    /// # Errors
    /// None at present.
    ///
    /// # Examples
    /// ```
    /// # use narrowboat_net::{TcpListener, TcpStream};
    /// use std::io::{ErrorKind, Read, Write};
    /// use std::time::Instant;
    ///
    /// # let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let mut stream = TcpStream::connect(listener.local_addr()?)?;
    /// stream.set_read_deadline(Some(Instant::now()))?;
    /// assert_eq!(stream.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::TimedOut);
    /// stream.write_all(b"still works")?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn set_read_deadline(&self, deadline: Option<Instant>) -> io::Result<()> {
        self.source.set_deadline(Direction::Input, deadline);
        Ok(())
    }

    /// [`set_deadline`](TcpStream::set_deadline) for writes only.
    ///
    /// # Errors
    /// None at present.
    ///
    /// # Examples
    /// ```
    /// # use narrowboat_net::{TcpListener, TcpStream};
    /// use std::io::{ErrorKind, Write};
    /// use std::time::Instant;
    ///
    /// # let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let mut stream = TcpStream::connect(listener.local_addr()?)?;
    /// stream.set_write_deadline(Some(Instant::now()))?;
    /// assert_eq!(stream.write(b"too late").unwrap_err().kind(), ErrorKind::TimedOut);
    /// stream.set_write_deadline(None)?;
    /// stream.write_all(b"in time")?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn set_write_deadline(&self, deadline: Option<Instant>) -> io::Result<()> {
        self.source.set_deadline(Direction::Output, deadline);
        Ok(())
    }

    /// Reads without taking: the next read gets the same data again. It waits as a read does.
    ///
    /// # Errors
    /// As a read.
    ///
    /// # Examples
    /// ```
    /// # use narrowboat_net::{TcpListener, TcpStream};
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
        if buf.is_empty() {
            return Ok(0);
        }
        // Not `read_stream`: what was peeked at is still there, so a short result says nothing.
        let call = |fd: BorrowedFd<'_>| socket::receive(fd, buf, libc::MSG_PEEK);
        self.source.io(Reason::Read, Location::caller(), call)
    }

    /// With `nodelay`, small writes are sent at once instead of being gathered (`TCP_NODELAY`, off by default
    /// as with std).
    ///
    /// # Errors
    /// The system's.
    ///
    /// # Examples
    /// ```
    /// # use narrowboat_net::{TcpListener, TcpStream};
    /// # let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let stream = TcpStream::connect(listener.local_addr()?)?;
    /// stream.set_nodelay(true)?;
    /// assert!(stream.nodelay()?);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        SockRef::from(self).set_tcp_nodelay(nodelay)
    }

    /// Whether small writes are sent at once (`TCP_NODELAY`).
    ///
    /// # Errors
    /// The system's.
    ///
    /// # Examples
    /// ```
    /// # use narrowboat_net::{TcpListener, TcpStream};
    /// # let listener = TcpListener::bind("127.0.0.1:0")?;
    /// assert!(!TcpStream::connect(listener.local_addr()?)?.nodelay()?);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn nodelay(&self) -> io::Result<bool> {
        SockRef::from(self).tcp_nodelay()
    }

    /// Sets the time to live of packets (`IP_TTL`).
    ///
    /// # Errors
    /// The system's; 0 is refused.
    ///
    /// # Examples
    /// ```
    /// # use narrowboat_net::{TcpListener, TcpStream};
    /// # let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let stream = TcpStream::connect(listener.local_addr()?)?;
    /// stream.set_ttl(100)?;
    /// assert_eq!(stream.ttl()?, 100);
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
    /// # use narrowboat_net::{TcpListener, TcpStream};
    /// # let listener = TcpListener::bind("127.0.0.1:0")?;
    /// assert!(TcpStream::connect(listener.local_addr()?)?.ttl()? > 0);
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
    /// # use narrowboat_net::{TcpListener, TcpStream};
    /// # let listener = TcpListener::bind("127.0.0.1:0")?;
    /// assert!(TcpStream::connect(listener.local_addr()?)?.take_error()?.is_none());
    /// # std::io::Result::Ok(())
    /// ```
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        SockRef::from(self).take_error()
    }

    /// In non-blocking mode, reads and writes fail with `WouldBlock` instead of waiting. It is for code that
    /// does its own waiting; goroutines need it no more than threads do.
    ///
    /// # Errors
    /// None at present; the signature is std's.
    ///
    /// # Examples
    /// ```
    /// # use narrowboat_net::{TcpListener, TcpStream};
    /// use std::io::{ErrorKind, Read};
    ///
    /// # let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let mut stream = TcpStream::connect(listener.local_addr()?)?;
    /// stream.set_nonblocking(true)?;
    /// assert_eq!(stream.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.source.set_nonblocking(nonblocking);
        Ok(())
    }
}

impl fmt::Debug for TcpStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("TcpStream");
        if let Ok(address) = self.local_addr() {
            shown.field("addr", &address);
        }
        if let Ok(peer) = self.peer_addr() {
            shown.field("peer", &peer);
        }
        shown.field("fd", &self.as_raw_fd()).finish()
    }
}

descriptor_conversions!(TcpStream, std::net::TcpStream);
