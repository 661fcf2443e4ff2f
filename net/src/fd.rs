//! Waiting for descriptors of other kinds: pipes, event counters, terminals, sockets of a C
//! library.
//!
//! [`Async`] wraps any value that has a descriptor. Its operations are closures that try once and
//! return `WouldBlock` if they would have to wait; they run through the same loop as those of
//! sockets.

pub use crate::io_safe::IoSafe;

use crate::direction::Direction;
use crate::methods::deadline_methods;
use crate::ready::ready;
use crate::shared::{self, AttemptLocks};
use crate::source::{Operation, Source};
use crate::sys::socket;
use narrowboat_chan::Receiver;
use narrowboat_runtime::park::{Reason, checkpoint};
use std::fmt;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::panic::Location;
use std::sync::Arc;

/// A descriptor of any kind that goroutines can wait for: a pipe, an `eventfd`, a terminal, a
/// socket that a C library has made. A plain thread that waits blocks.
///
/// Made from any value that owns or borrows a descriptor ([`IoSafe`]). For a C library's
/// descriptor, borrow it ([`BorrowedFd::borrow_raw`]), which is a promise that it stays open for as
/// long as this value is used.
///
/// # Non-blocking mode
/// The descriptor is made non-blocking, unless other processes, or other parts of this one, may
/// have the same open file and would see that. This is so for a terminal, pipe or socket that has
/// no close-on-exec mark (an inherited one has none), or that is the same as one of the standard
/// streams. Such a descriptor keeps its mode, and an operation is tried when the system says that
/// it would not wait. This has two consequences:
///
/// - An operation that waits all the same blocks the thread under the goroutine: a closure that
///   writes more than there is room for ([`Write`] hands over 4 KiB at a time, for which pipes and
///   sockets have room if they have any), a write to a terminal with a nearly full buffer because
///   nothing reads at its other end, and a read of data that another process takes first.
/// - A descriptor that another process has sent through a Unix socket does not look shared, and is
///   made non-blocking.
///
/// A descriptor that is already non-blocking is used as it is.
///
/// The descriptor must be of a kind that the system can watch. Files on a disk are not; use
/// `narrowboat::blocking` for those.
///
/// # Examples
/// ```
/// use narrowboat::net::fd::Async;
/// use std::io::{Read, Write};
///
/// let (reader, mut writer) = std::io::pipe()?;
/// let mut reader = Async::new(reader)?;
/// let reading = narrowboat::spawn(move || {
///     let mut text = String::new();
///     reader.read_to_string(&mut text).map(|_| text)
/// });
/// writer.write_all(b"through the pipe")?;
/// drop(writer);
/// assert_eq!(reading.join().unwrap()?, "through the pipe");
/// # std::io::Result::Ok(())
/// ```
///
/// An event counter:
/// ```
/// use narrowboat::net::fd::Async;
/// use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
///
/// // SAFETY: `eventfd` makes a descriptor that is ours alone.
/// let counter = unsafe { OwnedFd::from_raw_fd(libc::eventfd(0, 0)) };
/// let counter = Async::new(counter)?;
/// let waiting = narrowboat::spawn({
///     let counter = counter.try_clone()?;
///     move || counter.read_with(|fd| {
///         let mut n = 0u64;
///         // SAFETY: eight bytes are written to a live integer.
///         match unsafe { libc::read(fd.as_raw_fd(), (&raw mut n).cast(), 8) } {
///             8 => Ok(n),
///             _ => Err(std::io::Error::last_os_error()),
///         }
///     })
/// });
/// // SAFETY: eight bytes are read from a live integer.
/// let five = 5u64;
/// unsafe { libc::write(counter.as_raw_fd(), (&raw const five).cast(), 8) };
/// assert_eq!(waiting.join().unwrap()?, 5);
/// # std::io::Result::Ok(())
/// ```
pub struct Async<T: IoSafe> {
    source: Arc<Source<T>>,
    mode: Mode,
}

/// The mode of the descriptor.
#[derive(Clone)]
enum Mode {
    /// Non-blocking, as it was before.
    Nonblocking,
    /// Non-blocking, and blocking before.
    MadeNonblocking,
    /// Blocking, because it may be shared.
    Blocking(AttemptLocks),
}

impl Mode {
    /// The mode of a descriptor that is to be watched.
    fn of(fd: BorrowedFd<'_>) -> io::Result<Mode> {
        if socket2::SockRef::from(&fd).nonblocking()? {
            return Ok(Mode::Nonblocking);
        }
        if shared::may_be_shared(fd) {
            return Ok(Mode::Blocking(AttemptLocks::default()));
        }
        socket::set_nonblocking(fd, true)?;
        Ok(Mode::MadeNonblocking)
    }

    /// Restores the mode that the descriptor had.
    fn restore(&self, fd: BorrowedFd<'_>) {
        if let Mode::MadeNonblocking = self {
            let _ = socket::set_nonblocking(fd, false);
        }
    }
}

impl<T: IoSafe> Async<T> {
    /// Registers the descriptor with the netpoller, and makes it non-blocking if nothing else can
    /// see that.
    ///
    /// # Errors
    /// `PermissionDenied` (`EPERM`) if it is of a kind that the system cannot watch, as files on a
    /// disk are; `AlreadyExists` if it is watched already by another `Async`; and the system's
    /// other reasons.
    ///
    /// # Examples
    /// ```
    /// use narrowboat::net::fd::Async;
    ///
    /// let (reader, _writer) = std::io::pipe()?;
    /// Async::new(reader)?;
    /// assert!(Async::new(std::fs::File::open("/proc/self/exe")?).is_err(), "a file is always ready");
    /// # std::io::Result::Ok(())
    /// ```
    pub fn new(io: T) -> io::Result<Async<T>> {
        checkpoint();
        let mode = Mode::of(io.as_fd())?;
        let source = Source::new(io);
        if let Err(error) = source.registered() {
            mode.restore(source.fd());
            return Err(error);
        }
        Ok(Async { source: Arc::new(source), mode })
    }

    /// Another handle of the same descriptor.
    ///
    /// # Errors
    /// None at present.
    ///
    /// # Examples
    /// ```
    /// use narrowboat::net::fd::Async;
    /// use std::os::fd::AsRawFd;
    ///
    /// let reader = Async::new(std::io::pipe()?.0)?;
    /// assert_eq!(reader.try_clone()?.as_raw_fd(), reader.as_raw_fd());
    /// # std::io::Result::Ok(())
    /// ```
    pub fn try_clone(&self) -> io::Result<Async<T>> {
        Ok(Async { source: Arc::clone(&self.source), mode: self.mode.clone() })
    }

    /// The value that was wrapped.
    ///
    /// # Examples
    /// ```
    /// let writer = narrowboat::net::fd::Async::new(std::io::pipe()?.1)?;
    /// let _: &std::io::PipeWriter = writer.get_ref();
    /// # std::io::Result::Ok(())
    /// ```
    pub fn get_ref(&self) -> &T {
        self.source.get_ref()
    }

    /// Removes the descriptor from the netpoller and gives back the value that was wrapped,
    /// blocking if it was so before; or this handle, if there are others.
    ///
    /// # Errors
    /// The handle, if it is not the last.
    ///
    /// # Examples
    /// ```
    /// let writer = narrowboat::net::fd::Async::new(std::io::pipe()?.1)?;
    /// let clone = writer.try_clone()?;
    /// let writer = writer.into_inner().unwrap_err();
    /// drop(clone);
    /// let _: std::io::PipeWriter = writer.into_inner().unwrap();
    /// # std::io::Result::Ok(())
    /// ```
    pub fn into_inner(self) -> Result<T, Async<T>> {
        let Async { source, mode } = self;
        let io = match Arc::try_unwrap(source) {
            Ok(source) => source.into_inner(),
            Err(source) => return Err(Async { source, mode }),
        };
        mode.restore(io.as_fd());
        Ok(io)
    }

    /// Calls `f` and, as long as it fails with `WouldBlock`, waits for input and calls it again.
    /// `f` should try once, must not wait, and must not keep anything of the attempt.
    ///
    /// # Errors
    /// Those of `f`. `TimedOut` after the deadline.
    ///
    /// # Examples
    /// ```
    /// use narrowboat::net::fd::Async;
    /// use std::io::Read;
    /// use std::os::unix::net::UnixStream;
    ///
    /// let (one, other) = UnixStream::pair()?;
    /// let one = Async::new(one)?;
    /// drop(other);
    /// assert_eq!(one.read_with(|mut socket| socket.read(&mut [0; 8]))?, 0);
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn read_with<R>(&self, mut f: impl FnMut(&T) -> io::Result<R>) -> io::Result<R> {
        let operation = Operation::new(Reason::Read, Location::caller());
        self.source.io(operation, |_| self.attempt(Direction::Input, || f(self.source.get_ref())))
    }

    /// Calls `f` and, as long as it fails with `WouldBlock`, waits for room for output and calls it
    /// again.
    ///
    /// # Errors
    /// Those of `f`. `TimedOut` after the deadline.
    ///
    /// # Examples
    /// ```
    /// use narrowboat::net::fd::Async;
    /// use std::io::Write;
    ///
    /// let (_reader, writer) = std::io::pipe()?;
    /// let writer = Async::new(writer)?;
    /// assert_eq!(writer.write_with(|mut pipe| pipe.write(b"text"))?, 4);
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn write_with<R>(&self, mut f: impl FnMut(&T) -> io::Result<R>) -> io::Result<R> {
        let operation = Operation::new(Reason::Write, Location::caller());
        self.source.io(operation, |_| self.attempt(Direction::Output, || f(self.source.get_ref())))
    }

    fn attempt<R>(&self, direction: Direction, f: impl FnOnce() -> io::Result<R>) -> io::Result<R> {
        match &self.mode {
            Mode::Blocking(locks) => locks.attempt(self.source.fd(), direction, f),
            Mode::Nonblocking | Mode::MadeNonblocking => f(),
        }
    }
}

impl<T: IoSafe + Send + Sync + 'static> Async<T> {
    /// A channel that has a message whenever there is input, an end or an error. Receive from it to
    /// wait, alone or in a `select!`. See [`TcpStream::readable`](crate::TcpStream::readable).
    ///
    /// # Examples
    /// ```
    /// use std::io::Write;
    ///
    /// let (reader, mut writer) = std::io::pipe()?;
    /// let reader = narrowboat::net::fd::Async::new(reader)?;
    /// assert!(reader.readable().try_recv().is_err());
    /// writer.write_all(b"x")?;
    /// reader.readable().recv().unwrap();
    /// # std::io::Result::Ok(())
    /// ```
    pub fn readable(&self) -> Receiver<()> {
        checkpoint();
        ready(&self.source, Direction::Input)
    }

    /// A channel that has a message whenever there is room for output.
    ///
    /// # Examples
    /// ```
    /// let (_reader, writer) = std::io::pipe()?;
    /// let writer = narrowboat::net::fd::Async::new(writer)?;
    /// writer.writable().recv().unwrap();
    /// # std::io::Result::Ok(())
    /// ```
    pub fn writable(&self) -> Receiver<()> {
        checkpoint();
        ready(&self.source, Direction::Output)
    }
}

deadline_methods!(
    Async<T: IoSafe>,
    "let socket = narrowboat_net::fd::Async::new(std::os::unix::net::UnixStream::pair()?.0)?;"
);

impl<T: IoSafe> AsFd for Async<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.source.fd()
    }
}

impl<T: IoSafe> AsRawFd for Async<T> {
    fn as_raw_fd(&self) -> RawFd {
        self.source.fd().as_raw_fd()
    }
}

impl<T: IoSafe> Read for &Async<T>
where
    for<'a> &'a T: Read,
{
    #[track_caller]
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.read_with(|mut io| io.read(buf))
    }

    #[track_caller]
    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.read_with(|mut io| io.read_vectored(bufs))
    }
}

impl<T: IoSafe> Write for &Async<T>
where
    for<'a> &'a T: Write,
{
    #[track_caller]
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let room = if let Mode::Blocking(_) = self.mode { shared::GUARANTEED_ROOM } else { buf.len() };
        let buf = &buf[..buf.len().min(room)];
        self.write_with(|mut io| io.write(buf))
    }

    #[track_caller]
    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        if let Mode::Blocking(_) = self.mode {
            let first = bufs.iter().find(|buf| !buf.is_empty());
            return self.write(first.map_or(&[], |buf| buf));
        }
        self.write_with(|mut io| io.write_vectored(bufs))
    }

    #[track_caller]
    fn flush(&mut self) -> io::Result<()> {
        self.write_with(|mut io| io.flush())
    }
}

impl<T: IoSafe> Read for Async<T>
where
    for<'a> &'a T: Read,
{
    #[track_caller]
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buf)
    }

    #[track_caller]
    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        (&*self).read_vectored(bufs)
    }
}

impl<T: IoSafe> Write for Async<T>
where
    for<'a> &'a T: Write,
{
    #[track_caller]
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        (&*self).write(buf)
    }

    #[track_caller]
    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        (&*self).write_vectored(bufs)
    }

    #[track_caller]
    fn flush(&mut self) -> io::Result<()> {
        (&*self).flush()
    }
}

impl<T: IoSafe + fmt::Debug> fmt::Debug for Async<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Async").field(self.get_ref()).finish()
    }
}
