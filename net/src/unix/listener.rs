//! A Unix socket that listens. Safe to use from any number of goroutines and threads at once; see
//! [`crate::source`].

use super::{SocketAddr, UnixStream};
use crate::accept::accept;
use crate::context::WithContext;
use crate::convert::descriptor_conversions;
use crate::handle;
use crate::methods::{listener_deadline, shared_methods};
use crate::poller::NetPoller;
use crate::source::{Operation, Source};
use crate::sys::address;
use narrowboat_runtime::park::{Reason, checkpoint};
use socket2::SockAddr;
use std::fmt;
use std::io;
use std::iter::FusedIterator;
use std::panic::Location;
use std::path::Path;
use std::sync::Arc;

/// A Unix socket that accepts connections: [`std::os::unix::net::UnixListener`] with an
/// [`accept`](UnixListener::accept) that parks the calling goroutine. From a plain thread it blocks
/// the thread.
///
/// Dropping the last handle closes the socket. The file at its path stays, as with std.
///
/// # Examples
/// ```
/// use narrowboat::net::unix::{UnixListener, UnixStream};
/// use std::io::{Read, Write};
///
/// let path = std::env::temp_dir().join(format!("narrowboat-listener-{}", std::process::id()));
/// let listener = UnixListener::bind(&path)?;
/// let server = std::thread::spawn(move || -> std::io::Result<()> {
///     let (mut stream, _peer) = listener.accept()?;
///     stream.write_all(b"welcome")
/// });
///
/// let mut text = String::new();
/// UnixStream::connect(&path)?.read_to_string(&mut text)?;
/// assert_eq!(text, "welcome");
/// server.join().unwrap()?;
/// std::fs::remove_file(&path)?;
/// # std::io::Result::Ok(())
/// ```
pub struct UnixListener {
    source: Arc<Source>,
}

impl UnixListener {
    /// Listens at a path. It makes a file there, which must not exist yet.
    ///
    /// # Errors
    /// The system's: `AddrInUse` if there is a file, `NotFound` and `PermissionDenied` of the
    /// directory. `InvalidInput` if the path is longer than a socket address can be.
    ///
    /// # Examples
    /// ```
    /// use narrowboat::net::unix::UnixListener;
    ///
    /// let path = std::env::temp_dir().join(format!("narrowboat-bind-{}", std::process::id()));
    /// let listener = UnixListener::bind(&path)?;
    /// assert_eq!(listener.local_addr()?.as_pathname(), Some(&*path));
    /// std::fs::remove_file(&path)?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn bind<P: AsRef<Path>>(path: P) -> io::Result<UnixListener> {
        checkpoint();
        UnixListener::listen(&address::of_path(path.as_ref())?)
    }

    /// Listens at an address, which may be an abstract one on Linux.
    ///
    /// # Errors
    /// As [`bind`](UnixListener::bind).
    ///
    /// # Examples
    /// ```
    /// # #[cfg(target_os = "linux")] {
    /// use narrowboat::net::unix::{SocketAddr, UnixListener, UnixStream};
    /// use std::os::linux::net::SocketAddrExt;
    ///
    /// let name = format!("narrowboat-{}", std::process::id());
    /// let address = SocketAddr::from_abstract_name(name)?;
    /// let listener = UnixListener::bind_addr(&address)?;
    /// UnixStream::connect_addr(&address)?;
    /// listener.accept()?;
    /// # }
    /// # std::io::Result::Ok(())
    /// ```
    pub fn bind_addr(socket_addr: &SocketAddr) -> io::Result<UnixListener> {
        checkpoint();
        UnixListener::listen(&address::of(socket_addr)?)
    }

    fn listen(address: &SockAddr) -> io::Result<UnixListener> {
        // Now and not at the first wait, as for TCP.
        NetPoller::get()?;
        Ok(UnixListener { source: Arc::new(Source::new(handle::listen_unix(address)?)) })
    }

    /// Waits for a connection and takes it. As [`TcpListener::accept`](crate::TcpListener::accept).
    ///
    /// # Errors
    /// As there.
    ///
    /// # Examples
    /// ```
    /// use narrowboat::net::unix::{UnixListener, UnixStream};
    ///
    /// let path = std::env::temp_dir().join(format!("narrowboat-accept-{}", std::process::id()));
    /// let listener = UnixListener::bind(&path)?;
    /// let _client = UnixStream::connect(&path)?;
    /// let (_stream, peer) = listener.accept()?;
    /// assert!(peer.is_unnamed());
    /// std::fs::remove_file(&path)?;
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn accept(&self) -> io::Result<(UnixStream, SocketAddr)> {
        self.take(Operation::new(Reason::Accept, Location::caller()))
    }

    fn take(&self, operation: Operation<'_>) -> io::Result<(UnixStream, SocketAddr)> {
        let (socket, peer) = accept(&self.source, operation)?;
        Ok((UnixStream::from_source(Source::new(socket)), address::shown(&peer)?))
    }

    /// An iterator over [`accept`](UnixListener::accept), without the addresses. It ends after
    /// [`close`](UnixListener::close), and otherwise never, as with std.
    ///
    /// # Examples
    /// ```
    /// use narrowboat::net::unix::{UnixListener, UnixStream};
    ///
    /// let path = std::env::temp_dir().join(format!("narrowboat-incoming-{}", std::process::id()));
    /// let listener = UnixListener::bind(&path)?;
    /// let _clients = [UnixStream::connect(&path)?, UnixStream::connect(&path)?];
    /// assert_eq!(listener.incoming().take(2).filter_map(Result::ok).count(), 2);
    /// std::fs::remove_file(&path)?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn incoming(&self) -> Incoming<'_> {
        Incoming { listener: self }
    }

    /// The address that this listener listens at.
    ///
    /// # Errors
    /// The system's, for a descriptor that is no Unix socket.
    ///
    /// # Examples
    /// ```
    /// let path = std::env::temp_dir().join(format!("narrowboat-local-{}", std::process::id()));
    /// let listener = narrowboat::net::unix::UnixListener::bind(&path)?;
    /// assert!(!listener.local_addr()?.is_unnamed());
    /// std::fs::remove_file(&path)?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        checkpoint();
        self.source.handle().local_unix()
    }
}

impl fmt::Debug for UnixListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.handle().debug_unix::<std::os::unix::net::UnixListener>("UnixListener", f)
    }
}

shared_methods!(
    UnixListener,
    "# let path = std::env::temp_dir().join(format!(\"narrowboat-docs-{}\", std::process::id()));\n\
     # let _ = std::fs::remove_file(&path);\n\
     let socket = narrowboat_net::unix::UnixListener::bind(&path)?;\n\
     # std::fs::remove_file(&path)?;"
);
listener_deadline!(
    UnixListener,
    "# let path = std::env::temp_dir().join(format!(\"narrowboat-docs-deadline-{}\", std::process::id()));\n\
     let socket = narrowboat_net::unix::UnixListener::bind(&path)?;\n\
     # std::fs::remove_file(&path)?;"
);
descriptor_conversions!(UnixListener, std::os::unix::net::UnixListener, accepts: true);

impl WithContext<UnixListener> {
    /// [`UnixListener::accept`], until the context is done.
    ///
    /// # Errors
    /// As there, and the context's.
    ///
    /// # Examples
    /// ```
    /// use narrowboat::context::{background, with_deadline};
    /// use std::io::ErrorKind;
    ///
    /// let path = std::env::temp_dir().join(format!("narrowboat-context-{}", std::process::id()));
    /// let (ctx, _cancel) = with_deadline(&background(), std::time::Instant::now());
    /// let listener = narrowboat::net::unix::UnixListener::bind(&path)?.with_context(&ctx);
    /// assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::TimedOut);
    /// std::fs::remove_file(&path)?;
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn accept(&self) -> io::Result<(UnixStream, SocketAddr)> {
        self.get_ref().take(Operation::tied(Reason::Accept, Location::caller(), &self.tied))
    }
}

/// The connections of a [`UnixListener`], one after the other, until it is closed; made by
/// [`incoming`](UnixListener::incoming).
///
/// # Examples
/// ```
/// use narrowboat::net::unix::{UnixListener, UnixStream};
///
/// let path = std::env::temp_dir().join(format!("narrowboat-next-{}", std::process::id()));
/// let listener = UnixListener::bind(&path)?;
/// let _client = UnixStream::connect(&path)?;
/// listener.incoming().next().expect("it is not closed")?;
/// std::fs::remove_file(&path)?;
/// # std::io::Result::Ok(())
/// ```
#[derive(Debug)]
#[must_use = "an iterator does nothing unless it is consumed"]
pub struct Incoming<'a> {
    listener: &'a UnixListener,
}

impl Iterator for Incoming<'_> {
    type Item = io::Result<UnixStream>;

    #[track_caller]
    fn next(&mut self) -> Option<io::Result<UnixStream>> {
        let next = self.listener.accept().map(|(stream, _)| stream);
        (next.is_ok() || !self.listener.source.is_closed()).then_some(next)
    }
}

impl FusedIterator for Incoming<'_> {}

impl<'a> IntoIterator for &'a UnixListener {
    type Item = io::Result<UnixStream>;
    type IntoIter = Incoming<'a>;

    fn into_iter(self) -> Incoming<'a> {
        self.incoming()
    }
}
