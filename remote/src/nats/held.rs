//! Values of the client's, dropped where it expects that: some of its destructors start tasks, and so
//! need the context of tokio. A future may hold such values, too, when a time-out ends it.

use futures_core::Stream;
use narrowboat_future::tokio;
use std::pin::Pin;
use std::task::{Context, Poll};

/// A value that is dropped in the context of tokio.
pub(super) struct Held<T>(Option<T>);

/// A future that is.
pub(super) fn held<F: Future>(future: F) -> Held<Pin<Box<F>>> {
    Held(Some(Box::pin(future)))
}

/// A stream that is.
pub(super) fn held_stream<S: Stream + Unpin>(stream: S) -> Held<S> {
    Held(Some(stream))
}

impl<T: Unpin> Held<T> {
    fn get(self: Pin<&mut Self>) -> Pin<&mut T> {
        Pin::new(self.get_mut().0.as_mut().expect("it is there until it is dropped"))
    }
}

impl<F: Future + Unpin> Future for Held<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<F::Output> {
        self.get().poll(task)
    }
}

impl<S: Stream + Unpin> Stream for Held<S> {
    type Item = S::Item;

    fn poll_next(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<S::Item>> {
        self.get().poll_next(task)
    }
}

impl<T> Drop for Held<T> {
    fn drop(&mut self) {
        let handle = tokio::handle();
        let _context = handle.enter();
        drop(self.0.take());
    }
}
