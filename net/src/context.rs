//! Handles of sockets that fail their operations when a context ends.
//!
//! A tied operation goes through the same loop as any other ([`crate::source`]). Only when it has
//! to wait, it waits for the context beside the socket, as a `select!` would. It needs no goroutine
//! and no timer of its own.

use crate::direction::Direction;
use crate::poller::readiness::Waited;
use crate::ready::ready;
use crate::source::Source;
use narrowboat_chan::__outside::either;
use narrowboat_chan::Receiver;
use narrowboat_chan::context::{Context, Error};
use narrowboat_runtime::lock::OnceLock;
use std::fmt;
use std::io;
use std::panic::Location;
use std::sync::Arc;
use std::time::Instant;

/// A socket and the context that its operations are tied to.
pub(crate) struct Tied {
    pub(crate) source: Arc<Source>,
    context: Context,
    input: OnceLock<Receiver<()>>,
    output: OnceLock<Receiver<()>>,
}

/// Fails if the context is done.
pub(crate) fn check(context: &Context) -> io::Result<()> {
    match context.err() {
        None => Ok(()),
        Some(Error::DeadlineExceeded) => {
            Err(io::Error::new(io::ErrorKind::TimedOut, Error::DeadlineExceeded))
        }
        // Not `Interrupted`: std's loops would try again.
        Some(canceled) => Err(io::Error::other(canceled)),
    }
}

impl Tied {
    fn new(source: &Arc<Source>, context: &Context) -> Tied {
        Tied {
            source: Arc::clone(source),
            context: context.clone(),
            input: OnceLock::new(),
            output: OnceLock::new(),
        }
    }

    /// Fails if the context is done.
    pub(crate) fn check(&self) -> io::Result<()> {
        check(&self.context)
    }

    /// Waits until the socket is ready or the context is done.
    pub(crate) fn wait(
        &self,
        direction: Direction,
        until: Option<Instant>,
        at: &'static Location<'static>,
    ) -> Waited {
        let channel = match direction {
            Direction::Input => &self.input,
            Direction::Output => &self.output,
        };
        let channel = channel.get_or_init(|| ready(&self.source, direction));
        if either(channel, self.context.done(), until, at) { Waited::Woken } else { Waited::TimedOut }
    }
}

/// A handle of a socket that fails its operations when a [`Context`] ends; made by `with_context` of
/// each socket type.
///
/// When the context is done, operations fail: those under way, and those that begin later, even if
/// they would not have to wait. The error's kind is `TimedOut` if the context's deadline has passed
/// and `Other` if it was cancelled; inside it is the context's own [`Error`]. Timeouts and
/// deadlines of the socket count as well. The socket itself stays as it was, and its other handles
/// are not affected.
///
/// # Examples
/// ```
/// use narrowboat::context::{self, background, with_cancel};
/// use narrowboat::net::{TcpListener, TcpStream};
/// use std::io::Read;
///
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let stream = TcpStream::connect(listener.local_addr()?)?;
/// let (ctx, cancel) = with_cancel(&background());
/// let mut reader = stream.with_context(&ctx);
/// let reading = std::thread::spawn(move || reader.read(&mut [0; 8]));
///
/// cancel.cancel();
/// let error = reading.join().unwrap().unwrap_err();
/// let reason = error.get_ref().unwrap().downcast_ref::<context::Error>();
/// assert_eq!(reason, Some(&context::Error::Canceled));
/// # std::io::Result::Ok(())
/// ```
pub struct WithContext<S> {
    socket: S,
    pub(crate) tied: Tied,
}

impl<S> WithContext<S> {
    pub(crate) fn new(socket: S, source: &Arc<Source>, context: &Context) -> WithContext<S> {
        WithContext { socket, tied: Tied::new(source, context) }
    }

    /// The socket, for operations that do not wait.
    ///
    /// # Examples
    /// ```
    /// # use narrowboat::net::{TcpListener, TcpStream};
    /// use narrowboat::context::background;
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let stream = TcpStream::connect(listener.local_addr()?)?.with_context(&background());
    /// stream.get_ref().set_nodelay(true)?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn get_ref(&self) -> &S {
        &self.socket
    }

    /// The socket, not tied to the context any more.
    ///
    /// # Examples
    /// ```
    /// # use narrowboat::net::{TcpListener, TcpStream};
    /// use narrowboat::context::background;
    /// use std::io::Write;
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let stream = TcpStream::connect(listener.local_addr()?)?.with_context(&background());
    /// stream.into_inner().write_all(b"text")?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn into_inner(self) -> S {
        self.socket
    }

    /// The context.
    ///
    /// # Examples
    /// ```
    /// # use narrowboat::net::{TcpListener, TcpStream};
    /// use narrowboat::context::background;
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0")?.with_context(&background());
    /// assert!(!listener.context().is_done());
    /// # std::io::Result::Ok(())
    /// ```
    pub fn context(&self) -> &Context {
        &self.tied.context
    }
}

impl<S: fmt::Debug> fmt::Debug for WithContext<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WithContext")
            .field("socket", &self.socket)
            .field("context", &self.tied.context)
            .finish()
    }
}
