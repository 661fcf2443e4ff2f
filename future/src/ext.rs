//! Methods of futures and streams.

use crate::error::TimeoutError;
use crate::{block_on, source};
use futures_core::Stream;
use narrowboat_chan::Receiver;
use narrowboat_chan::context::{self, Context};
use std::time::{Duration, Instant};

/// Waits for futures, as methods. Implemented for all futures, and for what `.await` makes one of.
///
/// # Examples
/// ```
/// use narrowboat::future::FutureExt;
///
/// assert_eq!(async { 6 * 7 }.wait(), 42);
/// ```
pub trait FutureExt: IntoFuture + Sized {
    /// Waits until the future is ready: [`block_on`].
    ///
    /// # Panics
    /// As `block_on`.
    ///
    /// # Examples
    /// ```
    /// use narrowboat::future::FutureExt;
    ///
    /// let lock = tokio::sync::Mutex::new(1);
    /// *lock.lock().wait() += 1;
    /// assert_eq!(lock.into_inner(), 2);
    /// ```
    #[track_caller]
    fn wait(self) -> Self::Output {
        block_on(self)
    }

    /// Waits until the future is ready, for at most `timeout`. The future is polled at least once.
    ///
    /// # Errors
    /// If it was not ready in time. It is then dropped, which is how async code is cancelled.
    ///
    /// # Panics
    /// As [`block_on`].
    ///
    /// # Examples
    /// ```
    /// use narrowboat::future::{FutureExt, TimeoutError};
    /// use std::time::Duration;
    ///
    /// let never = std::future::pending::<()>();
    /// assert_eq!(never.wait_timeout(Duration::from_millis(5)), Err(TimeoutError));
    /// ```
    #[track_caller]
    fn wait_timeout(self, timeout: Duration) -> Result<Self::Output, TimeoutError> {
        block_on::within(self.into_future(), timeout)
    }

    /// Waits until the future is ready, but no longer than until `deadline`. The future is polled at
    /// least once.
    ///
    /// # Errors
    /// As for [`wait_timeout`](FutureExt::wait_timeout).
    ///
    /// # Panics
    /// As [`block_on`].
    ///
    /// # Examples
    /// ```
    /// use narrowboat::future::FutureExt;
    /// use std::time::Instant;
    ///
    /// assert_eq!(async { 1 }.wait_deadline(Instant::now()), Ok(1));
    /// ```
    #[track_caller]
    fn wait_deadline(self, deadline: Instant) -> Result<Self::Output, TimeoutError> {
        block_on::until(self.into_future(), Some(deadline))
    }

    /// Waits until the future is ready, or until the context ends. The future is polled at least
    /// once.
    ///
    /// # Errors
    /// If the context ended first: why it ended. The future is then dropped.
    ///
    /// # Panics
    /// As [`block_on`].
    ///
    /// # Examples
    /// ```
    /// use narrowboat::context::{self, background, with_timeout};
    /// use narrowboat::future::FutureExt;
    /// use std::time::Duration;
    ///
    /// let (ctx, _cancel) = with_timeout(&background(), Duration::from_millis(5));
    /// let never = std::future::pending::<()>();
    /// assert_eq!(never.wait_with_context(&ctx), Err(context::Error::DeadlineExceeded));
    /// ```
    #[track_caller]
    fn wait_with_context(self, ctx: &Context) -> Result<Self::Output, context::Error> {
        block_on::with_context(self.into_future(), ctx)
    }

    /// A receiver that delivers the future's output as its one message, and is then closed: for
    /// `select!`, beside channels, timers and sockets.
    ///
    /// Those that receive, or select, poll the future; it makes no progress in between. It lies on
    /// the heap, and a receive moves the goroutine's stack as every receive does: where tens of
    /// thousands of goroutines wait for futures, `into_receiver().recv()` takes less memory than
    /// [`wait`](FutureExt::wait). Dropping the last clone of the receiver drops the future. A panic
    /// in the future passes on to the caller that polls it, and closes the channel.
    ///
    /// # Examples
    /// ```
    /// use narrowboat::future::FutureExt;
    /// use narrowboat::{chan, select};
    ///
    /// let (tx, answer) = tokio::sync::oneshot::channel();
    /// let answer = answer.into_receiver();
    /// let (_commands, commands) = chan::bounded::<&str>(1);
    /// narrowboat::go!(move || tx.send(42).unwrap());
    /// select! {
    ///     recv(commands) -> command => unreachable!("{command:?}"),
    ///     recv(answer) -> answer => assert_eq!(answer.unwrap(), Ok(42)),
    /// }
    /// ```
    fn into_receiver(self) -> Receiver<Self::Output>
    where
        Self::IntoFuture: Send + 'static,
        Self::Output: Send + 'static,
    {
        source::of_future(self.into_future())
    }
}

impl<F: IntoFuture> FutureExt for F {}

/// Receives from streams, as a method. Implemented for all streams.
///
/// # Examples
/// ```
/// use narrowboat::future::StreamExt;
/// # use std::{collections::VecDeque, pin::Pin, task::{Context, Poll}};
/// # struct Numbers(VecDeque<u32>);
/// # impl futures_core::Stream for Numbers {
/// #     type Item = u32;
/// #     fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<u32>> {
/// #         Poll::Ready(self.0.pop_front())
/// #     }
/// # }
/// # let numbers = Numbers(VecDeque::from([1, 2, 3]));
///
/// // `numbers` is a stream.
/// assert_eq!(numbers.into_receiver().iter().sum::<u32>(), 6);
/// ```
pub trait StreamExt: Stream + Sized {
    /// A receiver that delivers the stream's items, and is closed after the last one: for loops
    /// without `.await`, and for `select!`.
    ///
    /// The stream is polled as a future is, see
    /// [`FutureExt::into_receiver`]. Nothing is buffered but one item.
    fn into_receiver(self) -> Receiver<Self::Item>
    where
        Self: Send + 'static,
        Self::Item: Send + 'static,
    {
        source::of_stream(self)
    }
}

impl<S: Stream> StreamExt for S {}
