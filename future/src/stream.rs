//! A channel as a stream.

use futures_core::Stream;
use futures_core::stream::FusedStream;
use narrowboat_chan::__outside::PolledReceiver;
use narrowboat_chan::Receiver;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

/// The messages of a channel as a stream, for async tasks. It ends when the channel is closed and
/// empty.
///
/// It may be dropped at any time, as [`recv_async`](Receiver::recv_async): no message is lost. Each
/// message goes to one receiver, this stream among them.
///
/// # Examples
/// ```
/// use narrowboat::chan;
/// use narrowboat::future::{StreamExt, stream};
///
/// let (tx, rx) = chan::bounded(1);
/// narrowboat::go!(move || (1..=3).for_each(|n| tx.send(n).unwrap()));
/// // Where async code takes a stream. (Here it becomes a receiver again.)
/// assert_eq!(stream(rx).into_receiver().iter().sum::<i32>(), 6);
/// ```
pub fn stream<T: Send + 'static>(receiver: Receiver<T>) -> ReceiverStream<T> {
    ReceiverStream(Some(PolledReceiver::new(receiver)))
}

/// The stream of a channel's messages: [`stream`].
#[must_use = "streams do nothing unless polled"]
pub struct ReceiverStream<T: Send + 'static>(Option<PolledReceiver<T>>);

// Messages pass through, and are never pinned.
impl<T: Send + 'static> Unpin for ReceiverStream<T> {}

impl<T: Send + 'static> Stream for ReceiverStream<T> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let Some(receiver) = &mut self.0 else { return Poll::Ready(None) };
        let item = std::task::ready!(receiver.poll_recv(cx)).ok();
        if item.is_none() {
            self.0 = None;
        }
        Poll::Ready(item)
    }
}

impl<T: Send + 'static> FusedStream for ReceiverStream<T> {
    fn is_terminated(&self) -> bool {
        self.0.is_none()
    }
}

impl<T: Send + 'static> fmt::Debug for ReceiverStream<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("ReceiverStream { .. }")
    }
}
