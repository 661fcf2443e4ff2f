//! A send of an async task, as a future: [`super`] says what happens when it is dropped.

use super::{Spare, node_of};
use crate::cell::{load, store};
use crate::error::SendError;
use crate::node::{NodeRef, Note, SINGLE_QUEUE};
use crate::sender::Sender;
use narrowboat_runtime::park::TaskWait;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

impl<T: Send + 'static> Sender<T> {
    /// Sends a message, as a future: for async tasks, on the same channels that goroutines and
    /// threads use. It is served in its turn among them.
    ///
    /// The future may be dropped at any time. If the message has not been taken by then, it is
    /// dropped with the future.
    ///
    /// # Errors
    /// As [`send`](Sender::send).
    ///
    /// # Examples
    /// ```
    /// use narrowboat::{chan, future::block_on, go};
    ///
    /// let (tx, rx) = chan::bounded(0);
    /// let received = narrowboat::spawn(move || rx.recv());
    /// block_on(async { tx.send_async(5).await }).unwrap();
    /// assert_eq!(received.join().unwrap(), Ok(5));
    /// ```
    pub fn send_async(&self, msg: T) -> SendFuture<'_, T> {
        SendFuture { sender: self, message: Some(msg), wait: None }
    }
}

/// The future of [`Sender::send_async`].
#[must_use = "futures do nothing unless polled"]
pub struct SendFuture<'a, T: Send + 'static> {
    sender: &'a Sender<T>,
    /// The message, until it is sent, or in the node of a wait.
    message: Option<T>,
    wait: Option<TaskWait>,
}

// The message is moved in and out, and never pinned.
impl<T: Send + 'static> Unpin for SendFuture<'_, T> {}

impl<T: Send + 'static> Future for SendFuture<'_, T> {
    type Output = Result<(), SendError<T>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SendError<T>>> {
        if let Some(wait) = &self.wait {
            if !wait.is_over(cx) {
                return Poll::Pending;
            }
            let node = node_of(wait);
            // SAFETY: the wake-up has come, so the node is ours. Unless the message was taken, it is
            // still in the cell, and is taken once, because the wait ends here.
            let end = unsafe {
                if node.note() == Note::DONE { Ok(()) } else { Err(SendError(load::<T, 2>(node.cell()))) }
            };
            self.wait = None;
            return Poll::Ready(end);
        }
        let channel = &*self.sender.channel;
        let mut message = self.message.take().expect("a future is not polled after its end");
        let mut spare = Spare::none();
        loop {
            let (refused, state) = match channel.put(message, |message, full| Err((message, full))) {
                Ok(()) => return Poll::Ready(Ok(())),
                Err((message, None)) => return Poll::Ready(Err(SendError(message))),
                Err((message, Some(state))) => (message, state),
            };
            message = refused;
            let mut state = state;
            let Some(wait) = spare.take() else {
                drop(state);
                spare.fill(cx);
                continue;
            };
            let node = node_of(&wait);
            // SAFETY: our own node, in no queue, on the heap; note and cell are those of a send with
            // a value. The drop takes it out before the wait is given up. Only a holder of the
            // channel's lock can end the wait.
            unsafe {
                store(node.cell(), message);
                node.set_note(Note::VALUE);
                state.sends.enter(node, wait.waiter(), SINGLE_QUEUE, true);
            }
            let watchers = state.recvs.take_watchers();
            drop(state);
            watchers.wake();
            self.wait = Some(wait);
            return Poll::Pending;
        }
    }
}

impl<T: Send + 'static> Drop for SendFuture<'_, T> {
    fn drop(&mut self) {
        let Some(wait) = self.wait.take() else { return };
        let node = node_of(&wait);
        // SAFETY: the poll has entered the node there.
        if unsafe { self.sender.channel.lock().sends.leave_task(&wait) } {
            // SAFETY: the message was not taken, and the node is ours again. Nothing else could end
            // this wait.
            unsafe {
                let message = load::<T, 2>(node.cell());
                wait.cancelled();
                drop(message);
            }
        } else {
            wait.abandon(|node| {
                let node = NodeRef::new(node);
                // SAFETY: the wake-up has come, so the node is ours. Unless the message was taken,
                // it is still in the cell.
                unsafe {
                    if node.note() != Note::DONE {
                        drop(load::<T, 2>(node.cell()));
                    }
                }
            });
        }
    }
}

impl<T: Send + 'static> fmt::Debug for SendFuture<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("SendFuture { .. }")
    }
}
