//! Receivers of futures and streams: what polls them, and when.
//!
//! A future is a stream with one item. Any number of goroutines and threads may receive from one
//! stream, or select over it; each of them may be the one that polls. The protocol, each step under
//! the lock of [`Readiness`] but for the poll itself:
//!
//! 1. A receiver looks. If an item is there, it takes it. If a poll is due and no other receiver
//!    polls, it marks the stream as being polled, clears `due`, and polls without the lock.
//! 2. A wake sets `due`. If nothing polls, it takes all receivers out of the queue and wakes those
//!    with a wait that it ends. Each of them looks again. All of them, because one that is woken may
//!    take another arm of its select.
//! 3. A receiver that finds nothing to do enters the queue. It is refused there if an item has come,
//!    or a poll has become due, since it looked.
//! 4. The end of a poll stores the item, or that there are no more. If there is something to look
//!    at, be it a wake during the poll, it wakes all receivers as in step 2.
//!
//! While a poll is under way, wakes need wake no receiver: step 4 sees `due`.

use crate::context::in_context;
use crate::shim::{Mutex, MutexGuard, lock};
use futures_core::Stream;
use narrowboat_chan::__outside::{MessageSource, message_receiver};
use narrowboat_chan::{Receiver, RecvError};
use narrowboat_runtime::park::{Outcome, Reason, Thing, WaitNode, WaitQueue, Waiter};
use std::pin::Pin;
use std::ptr::NonNull;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

/// A receiver of a future's output.
pub(crate) fn of_future<F>(future: F) -> Receiver<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    receiver(Once(Some(Box::pin(future))), "future")
}

/// A receiver of a stream's items.
pub(crate) fn of_stream<S>(stream: S) -> Receiver<S::Item>
where
    S: Stream + Send + 'static,
    S::Item: Send + 'static,
{
    receiver(Box::pin(stream), "stream")
}

fn receiver<S>(stream: S, kind: &'static str) -> Receiver<S::Item>
where
    S: Stream + Unpin + Send + 'static,
    S::Item: Send + 'static,
{
    let readiness = Arc::new(Readiness(Mutex::new(State {
        due: true,
        polling: false,
        has_item: false,
        is_over: false,
        queue: WaitQueue::new(),
    })));
    message_receiver(Source {
        waker: Waker::from(readiness.clone()),
        readiness,
        stream: Mutex::new(Some(stream)),
        item: Mutex::new(None),
        kind,
    })
}

/// A future as a stream of one item.
struct Once<F>(Option<Pin<Box<F>>>);

impl<F: Future> Stream for Once<F> {
    type Item = F::Output;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<F::Output>> {
        let Some(future) = &mut self.0 else { return Poll::Ready(None) };
        let output = std::task::ready!(future.as_mut().poll(cx));
        self.0 = None;
        Poll::Ready(Some(output))
    }
}

/// What wakers reach: neither the stream nor an item, so that a waker keeps neither alive.
struct Readiness(Mutex<State>);

struct State {
    /// Whether there was a wake since the last poll began, or no poll yet.
    due: bool,
    polling: bool,
    has_item: bool,
    /// The stream has ended, or has panicked.
    is_over: bool,
    queue: WaitQueue,
}

impl State {
    /// Whether it is worth to look.
    fn is_worth_a_look(&self) -> bool {
        self.has_item || self.is_over || (self.due && !self.polling)
    }
}

/// Wakes all receivers, after the lock is released.
fn wake_all(mut state: MutexGuard<'_, State>) {
    let mut ended = WaitQueue::new();
    while let Some(node) = state.queue.pop_claim(None) {
        // SAFETY: a claimed node is in no queue, is ours, and lives until its waiter is woken.
        unsafe { ended.push(node) };
    }
    drop(state);
    while let Some(node) = ended.front() {
        // SAFETY: as above. The wake-up is the last use of the node; the next one in the queue is
        // that of a waiter which is still asleep.
        unsafe {
            ended.remove(node);
            (*node.as_ptr()).waiter().unpark();
        }
    }
}

impl Readiness {
    /// Step 2.
    fn notify(&self) {
        let mut state = lock(&self.0);
        state.due = true;
        if !state.polling {
            wake_all(state);
        }
    }
}

impl Wake for Readiness {
    fn wake(self: Arc<Readiness>) {
        self.notify();
    }

    fn wake_by_ref(self: &Arc<Readiness>) {
        self.notify();
    }
}

struct Source<S: Stream> {
    readiness: Arc<Readiness>,
    waker: Waker,
    /// Locked by the receiver that polls, which is one at a time, and never waited for. `None` when
    /// it is over.
    stream: Mutex<Option<S>>,
    /// There if `has_item`. Locked under the lock of the state.
    item: Mutex<Option<S::Item>>,
    kind: &'static str,
}

/// Drops what is left of a stream where it was polled, and without its lock, because that runs code
/// of the program.
fn end<T>(left: Option<T>) {
    if let Some(left) = left {
        in_context(|| drop(left));
    }
}

impl<S: Stream> Drop for Source<S> {
    fn drop(&mut self) {
        let item = lock(&self.item).take();
        end(item);
        let stream = lock(&self.stream).take();
        end(stream);
    }
}

impl<S: Stream + Unpin> Source<S> {
    /// Steps 1 and 4. Polls if that is due, and leaves an item where a receiver finds it.
    fn poll(&self) {
        {
            let mut state = lock(&self.readiness.0);
            if state.has_item || state.is_over || state.polling || !state.due {
                return;
            }
            state.polling = true;
            state.due = false;
        }
        let end = EndOfPoll { source: self, result: None };
        end.poll();
    }
}

/// Step 4, also if the poll panics.
struct EndOfPoll<'a, S: Stream + Unpin> {
    source: &'a Source<S>,
    /// `None` if the poll has panicked.
    result: Option<Poll<Option<S::Item>>>,
}

impl<S: Stream + Unpin> EndOfPoll<'_, S> {
    fn poll(mut self) {
        let mut stream = lock(&self.source.stream);
        let mut cx = Context::from_waker(&self.source.waker);
        if let Some(stream) = &mut *stream {
            self.result = Some(in_context(|| Pin::new(stream).poll_next(&mut cx)));
        }
    }
}

impl<S: Stream + Unpin> Drop for EndOfPoll<'_, S> {
    fn drop(&mut self) {
        let mut over = None;
        let item = match self.result.take() {
            Some(Poll::Ready(Some(item))) => Some(item),
            Some(Poll::Pending) => None,
            Some(Poll::Ready(None)) | None => {
                over = Some(lock(&self.source.stream).take());
                None
            }
        };
        let mut state = lock(&self.source.readiness.0);
        state.polling = false;
        state.is_over |= over.is_some();
        if item.is_some() {
            // The stream has not been asked what comes after it.
            state.due = true;
            state.has_item = true;
            *lock(&self.source.item) = item;
        }
        if state.is_worth_a_look() {
            wake_all(state);
        } else {
            drop(state);
        }
        end(over.flatten());
    }
}

// SAFETY: the queue and its nodes are touched under the lock of the state, and `wake_all` wakes each
// waiter that it takes out. `enter` and `leave` do nothing but that.
unsafe impl<S> MessageSource<S::Item> for Source<S>
where
    S: Stream + Unpin + Send,
    S::Item: Send,
{
    fn reason(&self) -> Reason {
        Reason::Future
    }

    fn try_recv(&self) -> Option<Result<S::Item, RecvError>> {
        self.poll();
        let mut state = lock(&self.readiness.0);
        if std::mem::take(&mut state.has_item) {
            return lock(&self.item).take().map(Ok);
        }
        state.is_over.then_some(Err(RecvError))
    }

    fn is_ready(&self) -> bool {
        self.poll();
        let state = lock(&self.readiness.0);
        state.has_item || state.is_over
    }

    fn is_closed(&self) -> bool {
        let state = lock(&self.readiness.0);
        state.is_over && !state.has_item
    }

    unsafe fn enter(&self, node: NonNull<WaitNode>, me: Waiter, outcome: Outcome, sole: bool) -> bool {
        let mut state = lock(&self.readiness.0);
        if state.is_worth_a_look() {
            return false;
        }
        // SAFETY: by contract.
        unsafe {
            (*node.as_ptr()).prepare(me, outcome, sole);
            state.queue.push(node);
        }
        true
    }

    unsafe fn leave(&self, node: NonNull<WaitNode>) {
        // SAFETY: by contract.
        unsafe { lock(&self.readiness.0).queue.remove(node) };
    }

    fn describe(&self) -> Thing {
        let address = Arc::as_ptr(&self.readiness).addr();
        Thing { operation: "receive from", address, kind: self.kind, details: String::new(), held_by: None }
    }
}
