//! Streams for code that takes tokio's traits: hyper, and what is built like it (feature `tokio`).
//!
//! An [`AsyncStream`] needs no runtime of tokio: whatever polls it, be it a goroutine in
//! `block_on` or a task of any executor, is woken by Narrowboat's netpoller. So a server has a
//! goroutine for each connection, which serves it with `serve_connection(..).wait()`.
//!
//! # Examples
//! ```
//! use narrowboat::future::FutureExt;
//! use narrowboat::net::{TcpListener, TcpStream, tokio::AsyncStream};
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//!
//! let listener = TcpListener::bind("127.0.0.1:0")?;
//! let address = listener.local_addr()?;
//! narrowboat::go!(move || {
//!     let (mut reader, mut writer) = tokio::io::split(AsyncStream::from(listener.accept().unwrap().0));
//!     tokio::io::copy(&mut reader, &mut writer).wait()
//! });
//!
//! let mut stream = AsyncStream::from(TcpStream::connect(address)?);
//! let mut text = String::new();
//! async {
//!     stream.write_all(b"over and back").await?;
//!     stream.shutdown().await?;
//!     stream.read_to_string(&mut text).await
//! }
//! .wait()?;
//! assert_eq!(text, "over and back");
//! # std::io::Result::Ok(())
//! ```

use crate::direction::Direction;
use crate::ready::ready;
use crate::source::Source;
use crate::transfer::Stream;
use ::tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use narrowboat_chan::__outside::PolledReceiver;
use narrowboat_runtime::as_thread::should_give_way;
use narrowboat_runtime::sched::poller::check_polled;
use std::fmt;
use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// A stream of this crate, with tokio's [`AsyncRead`] and [`AsyncWrite`]. Made of a stream by
/// `AsyncStream::from`.
///
/// It is the same socket: clones of the stream may be used by blocking calls at the same time.
/// [Deadlines](crate::TcpStream::set_deadline) and [`close`](crate::TcpStream::close) end what is
/// under way here, too. Timeouts of single reads and writes do not apply: a future is limited by
/// whatever waits for it.
///
/// A read or write that was polled may be given up at any time: what it has not returned, it has
/// neither read nor written.
pub struct AsyncStream<S> {
    stream: S,
    input: Half,
    output: Half,
}

/// One direction, with the wait of the task that polls it.
struct Half {
    source: Arc<Source>,
    direction: Direction,
    /// Made at the first wait.
    ready: Option<PolledReceiver<()>>,
    /// Whether the last poll gave way. The next one does not: in a simulated world each call is
    /// asked to.
    gave_way: bool,
}

impl Half {
    fn new(source: &Arc<Source>, direction: Direction) -> Half {
        Half { source: source.clone(), direction, ready: None, gave_way: false }
    }

    /// Makes `call` whenever it may succeed, until it does or fails.
    fn poll<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut call: impl FnMut(&Source) -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        self.gave_way = !self.gave_way && should_give_way();
        if self.gave_way {
            // An async task does so by coming back.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        loop {
            match call(&self.source) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                end => return Poll::Ready(end),
            }
            check_polled()?;
            self.source.registered()?;
            let ready =
                self.ready.get_or_insert_with(|| PolledReceiver::new(ready(&self.source, self.direction)));
            // An event that is never closed.
            let _ = ready!(ready.poll_recv(cx));
        }
    }
}

impl<S> AsyncStream<S> {
    /// The stream.
    ///
    /// # Examples
    /// ```
    /// use narrowboat::net::{tokio::AsyncStream, unix::UnixStream};
    ///
    /// let (one, _other) = UnixStream::pair()?;
    /// assert!(AsyncStream::from(one).get_ref().peer_addr().is_ok());
    /// # std::io::Result::Ok(())
    /// ```
    pub fn get_ref(&self) -> &S {
        &self.stream
    }

    /// Gives the stream back. Nothing is buffered here, so nothing is lost.
    ///
    /// # Examples
    /// ```
    /// use narrowboat::net::{tokio::AsyncStream, unix::UnixStream};
    /// use std::io::Write;
    ///
    /// let (one, _other) = UnixStream::pair()?;
    /// AsyncStream::from(one).into_inner().write_all(b"blocking again")?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn into_inner(self) -> S {
        self.stream
    }
}

impl<S: Stream> From<S> for AsyncStream<S> {
    fn from(stream: S) -> AsyncStream<S> {
        let source = stream.source();
        let (input, output) = (Half::new(source, Direction::Input), Half::new(source, Direction::Output));
        AsyncStream { stream, input, output }
    }
}

impl<S: Stream + Unpin> AsyncRead for AsyncStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let room = buf.initialize_unfilled();
        if room.is_empty() {
            return Poll::Ready(Ok(()));
        }
        let read = ready!(self.input.poll(cx, |source| {
            source.attempt(Direction::Input, |socket| {
                let read = socket.receive(room, 0)?;
                Ok((read, crate::transfer::emptied::<S>(room.len(), read)))
            })
        }))?;
        buf.advance(read);
        Poll::Ready(Ok(()))
    }
}

impl<S: Stream + Unpin> AsyncWrite for AsyncStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.output
            .poll(cx, |source| source.attempt(Direction::Output, |socket| Ok((socket.send(buf)?, false))))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.output.poll(cx, |source| {
            source.attempt(Direction::Output, |socket| Ok((socket.send_vectored(bufs)?, false)))
        })
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Does nothing: the kernel already has what was written.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Ends the stream for the peer.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(match self.output.source.shutdown(Shutdown::Write) {
            // The peer was first.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
            end => end,
        })
    }
}

impl<S: fmt::Debug> fmt::Debug for AsyncStream<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AsyncStream").field(&self.stream).finish()
    }
}
