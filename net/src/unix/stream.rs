//! A Unix connection. Safe to use from any number of goroutines and threads at once; see
//! [`crate::source`].

use super::SocketAddr;
use crate::convert::descriptor_conversions;
use crate::halves::split_methods;
use crate::handle;
use crate::methods::shared_methods_both_ways;
use crate::simulated::Transport;
use crate::source::{Operation, Source};
use crate::sys::{address, socket};
use crate::transfer::{self, Stream, stream_io};
use narrowboat_runtime::park::{Reason, checkpoint};
use narrowboat_runtime::waiting_for;
use socket2::SockAddr;
use std::fmt;
use std::io;
use std::net::Shutdown;
use std::panic::Location;
use std::path::Path;
use std::sync::Arc;

/// A Unix connection: [`std::os::unix::net::UnixStream`] with blocking calls that park the calling
/// goroutine. From a plain thread they block the thread.
///
/// What [`TcpStream`](crate::TcpStream) says about sharing and dropping holds here, too.
///
/// # Examples
/// ```
/// use narrowboat::net::unix::UnixStream;
/// use std::io::{Read, Write};
///
/// let (mut one, other) = UnixStream::pair()?;
/// let echo = std::thread::spawn(move || std::io::copy(&mut &other, &mut &other));
/// one.write_all(b"over and back")?;
/// one.shutdown(std::net::Shutdown::Write)?;
/// let mut text = String::new();
/// one.read_to_string(&mut text)?;
/// assert_eq!(text, "over and back");
/// echo.join().unwrap()?;
/// # std::io::Result::Ok(())
/// ```
pub struct UnixStream {
    source: Arc<Source>,
}

impl UnixStream {
    pub(super) fn from_source(source: Source) -> UnixStream {
        UnixStream { source: Arc::new(source) }
    }

    /// Connects to the listener at a path.
    ///
    /// If the listener has no room in its queue, this waits until there is some, on a thread of the
    /// pool of [`blocking`](narrowboat_runtime::blocking), because the kernel does not report when
    /// there is.
    ///
    /// # Errors
    /// The system's: `NotFound`, `ConnectionRefused` if no socket listens there any more,
    /// `PermissionDenied`. `InvalidInput` if the path is longer than a socket address can be.
    ///
    /// # Examples
    /// ```
    /// use narrowboat::net::unix::{UnixListener, UnixStream};
    ///
    /// let path = std::env::temp_dir().join(format!("narrowboat-connect-{}", std::process::id()));
    /// let _listener = UnixListener::bind(&path)?;
    /// let stream = UnixStream::connect(&path)?;
    /// assert_eq!(stream.peer_addr()?.as_pathname(), Some(&*path));
    /// std::fs::remove_file(&path)?;
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn connect<P: AsRef<Path>>(path: P) -> io::Result<UnixStream> {
        checkpoint();
        UnixStream::connect_to(address::of_path(path.as_ref())?, Location::caller())
    }

    /// Connects to an address, which may be an abstract one on Linux.
    ///
    /// # Errors
    /// As [`connect`](UnixStream::connect).
    ///
    /// # Examples
    /// ```
    /// use narrowboat::net::unix::{UnixListener, UnixStream};
    ///
    /// let path = std::env::temp_dir().join(format!("narrowboat-connect-addr-{}", std::process::id()));
    /// let listener = UnixListener::bind(&path)?;
    /// UnixStream::connect_addr(&listener.local_addr()?)?;
    /// std::fs::remove_file(&path)?;
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn connect_addr(socket_addr: &SocketAddr) -> io::Result<UnixStream> {
        checkpoint();
        UnixStream::connect_to(address::of(socket_addr)?, Location::caller())
    }

    fn connect_to(address: SockAddr, at: &'static Location<'static>) -> io::Result<UnixStream> {
        let (socket, done) = match handle::connect_unix(&address) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let connecting = move || socket::connect_unix_waiting(&address);
                (waiting_for(Reason::Connect, at, connecting)?.into(), true)
            }
            result => result?,
        };
        let source = Source::new(socket);
        if !done {
            source.io(Operation::new(Reason::Connect, at), |socket| socket.connected())?;
        }
        Ok(UnixStream::from_source(source))
    }

    /// Two streams that are connected with each other.
    ///
    /// # Errors
    /// The system's, if it has no descriptors left.
    ///
    /// # Examples
    /// ```
    /// let (one, other) = narrowboat::net::unix::UnixStream::pair()?;
    /// assert!(one.local_addr()?.is_unnamed() && other.peer_addr()?.is_unnamed());
    /// # std::io::Result::Ok(())
    /// ```
    pub fn pair() -> io::Result<(UnixStream, UnixStream)> {
        checkpoint();
        let (one, other) = handle::pair(Transport::Stream)?;
        Ok((UnixStream::from_source(Source::new(one)), UnixStream::from_source(Source::new(other))))
    }

    /// The address of this end, which usually has none.
    ///
    /// # Errors
    /// The system's, for a descriptor that is no Unix socket.
    ///
    /// # Examples
    /// ```
    /// let (one, _other) = narrowboat::net::unix::UnixStream::pair()?;
    /// assert!(one.local_addr()?.is_unnamed());
    /// # std::io::Result::Ok(())
    /// ```
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        checkpoint();
        self.source.handle().local_unix()
    }

    /// The address of the other end.
    ///
    /// # Errors
    /// `NotConnected`, if there is none.
    ///
    /// # Examples
    /// ```
    /// let (one, _other) = narrowboat::net::unix::UnixStream::pair()?;
    /// assert!(one.peer_addr()?.is_unnamed());
    /// # std::io::Result::Ok(())
    /// ```
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        checkpoint();
        self.source.handle().peer_unix()
    }

    /// Ends the stream in one direction or in both, for every handle, and wakes the operations that
    /// are blocked there.
    ///
    /// If it ends the input alone, later writes of the peer fail. The kernel does not report that,
    /// so a write that waits for room already goes on waiting.
    ///
    /// # Errors
    /// The system's.
    ///
    /// # Examples
    /// ```
    /// use std::io::Read;
    /// use std::net::Shutdown;
    ///
    /// let (one, mut other) = narrowboat::net::unix::UnixStream::pair()?;
    /// one.shutdown(Shutdown::Write)?;
    /// assert_eq!(other.read(&mut [0; 8])?, 0);
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
    /// use std::io::Write;
    ///
    /// let (mut one, other) = narrowboat::net::unix::UnixStream::pair()?;
    /// one.write_all(b"x")?;
    /// assert_eq!((other.peek(&mut [0; 8])?, other.peek(&mut [0; 8])?), (1, 1));
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        transfer::peek(&self.source, Operation::new(Reason::Read, Location::caller()), buf)
    }
}

impl Stream for UnixStream {
    /// A read also stops where the sender's credentials change, and where descriptors were sent
    /// along.
    const SHORT_READ_EMPTIES: bool = false;

    fn source(&self) -> &Arc<Source> {
        &self.source
    }
}

impl fmt::Debug for UnixStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.handle().debug_unix::<std::os::unix::net::UnixStream>("UnixStream", f)
    }
}

stream_io!(UnixStream);
shared_methods_both_ways!(UnixStream, "let (socket, _other) = narrowboat_net::unix::UnixStream::pair()?;");
split_methods!(UnixStream, "let (one, other) = narrowboat_net::unix::UnixStream::pair()?;");
descriptor_conversions!(UnixStream, std::os::unix::net::UnixStream, accepts: false);
