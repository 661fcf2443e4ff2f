//! A receive of an async task, as a future: [`super`] says what happens when it is dropped.

use super::{Spare, node_of};
use crate::cell::load;
use crate::channel::{Channel, Found};
use crate::error::{RecvError, RecvTimeoutError};
use crate::event::{Event, Recheck};
use crate::make::bounded;
use crate::node::{NodeRef, Note, SINGLE_QUEUE};
use crate::receiver::{Flavor, Receiver, Source};
use crate::sender::Sender;
use narrowboat_runtime::park::{Cancel, ENDED_BY_TASK, TaskWait};
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

impl<T: Send + 'static> Receiver<T> {
    /// Receives a message, as a future: for async tasks, on the same channels that goroutines and
    /// threads use. It is served in its turn among them.
    ///
    /// The future may be dropped at any time. It then leaves the queue; if it has been handed a
    /// message that it has not returned, the message goes back into the channel, in front of the
    /// others (also if the channel has no buffer).
    ///
    /// A receiver of timers or of contexts starts a goroutine for each wait, which watches the time.
    ///
    /// # Errors
    /// As [`recv`](Receiver::recv).
    ///
    /// # Examples
    /// ```
    /// use narrowboat::{chan, future::block_on, go};
    ///
    /// let (tx, rx) = chan::bounded(0);
    /// go!(move || tx.send(5).unwrap());
    /// // In a task of tokio as here: `rx.recv_async().await`.
    /// assert_eq!(block_on(async { rx.recv_async().await }), Ok(5));
    /// ```
    pub fn recv_async(&self) -> RecvFuture<'_, T> {
        RecvFuture { receiver: self, state: RecvState::default() }
    }
}

/// The future of [`Receiver::recv_async`].
#[must_use = "futures do nothing unless polled"]
pub struct RecvFuture<'a, T: Send + 'static> {
    receiver: &'a Receiver<T>,
    state: RecvState,
}

impl<T: Send + 'static> Future for RecvFuture<'_, T> {
    type Output = Result<T, RecvError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T, RecvError>> {
        let receiver = self.receiver;
        self.state.poll(receiver, cx)
    }
}

impl<T: Send + 'static> Drop for RecvFuture<'_, T> {
    fn drop(&mut self) {
        self.state.leave(self.receiver);
    }
}

impl<T: Send + 'static> fmt::Debug for RecvFuture<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("RecvFuture { .. }")
    }
}

/// A receiver that is polled for one message after the other. For the other crates of Narrowboat.
pub struct PolledReceiver<T: Send + 'static> {
    receiver: Receiver<T>,
    state: RecvState,
}

impl<T: Send + 'static> PolledReceiver<T> {
    /// No poll has begun.
    pub fn new(receiver: Receiver<T>) -> PolledReceiver<T> {
        PolledReceiver { receiver, state: RecvState::default() }
    }

    /// The next message, or the error that there will be none.
    pub fn poll_recv(&mut self, cx: &Context<'_>) -> Poll<Result<T, RecvError>> {
        self.state.poll(&self.receiver, cx)
    }
}

impl<T: Send + 'static> Drop for PolledReceiver<T> {
    fn drop(&mut self) {
        self.state.leave(&self.receiver);
    }
}

/// The wait of a receive that has not ended. Its owner polls it with one receiver, and calls
/// [`leave`](RecvState::leave) in the end; otherwise a message may be lost.
#[derive(Default)]
struct RecvState {
    wait: Option<TaskWait>,
    alarm: Option<Alarm>,
}

impl RecvState {
    /// Polls the receive. All polls have the same receiver.
    fn poll<T: Send + 'static>(
        &mut self,
        receiver: &Receiver<T>,
        cx: &Context<'_>,
    ) -> Poll<Result<T, RecvError>> {
        match &receiver.flavor {
            Flavor::Channel(channel) => self.poll_channel(channel, cx),
            flavor => {
                let Source::Event(event) = flavor.source() else { unreachable!("the others are events") };
                self.poll_event(event, cx)
            }
        }
    }

    fn poll_channel<T: Send + 'static>(
        &mut self,
        channel: &Channel<T>,
        cx: &Context<'_>,
    ) -> Poll<Result<T, RecvError>> {
        if let Some(wait) = &self.wait {
            if !wait.is_over(cx) {
                return Poll::Pending;
            }
            let node = node_of(wait);
            // SAFETY: the wake-up has come, so the node is ours. With `DONE` its cell holds a
            // message of this channel, which is taken once, because the wait ends here.
            let end = unsafe {
                match node.note() {
                    Note::DONE => Some(Ok(load::<T, 2>(node.cell()))),
                    Note::CLOSED => Some(Err(RecvError)),
                    _ => None,
                }
            };
            self.wait = None;
            if let Some(end) = end {
                return Poll::Ready(end);
            }
        }
        let mut spare = Spare::none();
        loop {
            let mut state = channel.lock();
            if let Some(message) = state.ring.pop() {
                channel.after_pop(state);
                return Poll::Ready(Ok(message));
            }
            match channel.find(state) {
                Found::Value(value) => return Poll::Ready(Ok(value.take())),
                Found::Closed => return Poll::Ready(Err(RecvError)),
                Found::Lazy(sender) => {
                    // The send is ours to wake. It has the wait to itself, however long its message
                    // takes: if we are dropped meanwhile, the message goes back.
                    let wait = TaskWait::begin(cx);
                    let node = node_of(&wait);
                    // SAFETY: our own node, in no queue. We end the wait on behalf of the send, so
                    // nothing else can.
                    unsafe {
                        node.prepare(wait.waiter(), SINGLE_QUEUE, false);
                        let ended = wait.waiter().try_end(SINGLE_QUEUE);
                        debug_assert!(ended);
                    }
                    sender.match_with(node);
                    self.wait = Some(wait);
                    return Poll::Pending;
                }
                Found::Nothing(mut state) => {
                    let Some(wait) = spare.take() else {
                        drop(state);
                        spare.fill(cx);
                        continue;
                    };
                    // SAFETY: our own node, in no queue, on the heap; a receive needs nothing in it.
                    // `leave` takes it out before the wait is given up. Only a holder of the
                    // channel's lock can end the wait.
                    unsafe {
                        state.recvs.enter(node_of(&wait), wait.waiter(), SINGLE_QUEUE, true);
                    }
                    let watchers = state.sends.take_watchers();
                    drop(state);
                    watchers.wake();
                    self.wait = Some(wait);
                    return Poll::Pending;
                }
            }
        }
    }

    fn poll_event<T>(&mut self, event: &dyn Event<T>, cx: &Context<'_>) -> Poll<Result<T, RecvError>> {
        if let Some(wait) = &self.wait {
            if !wait.is_over(cx) {
                return Poll::Pending;
            }
            // SAFETY: `enter` below has put the node there, and it is alive. (An alarm may have
            // ended the wait.)
            unsafe { event.leave(node_of(wait)) };
            (self.wait, self.alarm) = (None, None);
        }
        loop {
            if let Some(message) = event.try_recv() {
                return Poll::Ready(message);
            }
            let wait = TaskWait::begin(cx);
            // SAFETY: our own node, in no queue, on the heap. We take it out before the wait is
            // given up.
            match unsafe { event.enter(node_of(&wait), wait.waiter(), SINGLE_QUEUE, false) } {
                Recheck::Later(until) => {
                    self.alarm = until.map(|until| Alarm::set(until, wait.handle()));
                    self.wait = Some(wait);
                    return Poll::Pending;
                }
                Recheck::Now => {
                    // SAFETY: the node is in no queue, so nothing wakes the wait.
                    unsafe { wait.cancelled() };
                    if event.runs_code() {
                        // Others have their turns first.
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                }
            }
        }
    }

    /// Ends the wait, if there is one, because its future is dropped.
    fn leave<T: Send + 'static>(&mut self, receiver: &Receiver<T>) {
        let Some(wait) = self.wait.take() else { return };
        self.alarm = None;
        match &receiver.flavor {
            Flavor::Channel(channel) => {
                // SAFETY: the node was entered there, or the wait was ended for a selected send.
                if unsafe { channel.lock().recvs.leave_task(&wait) } {
                    // SAFETY: nothing else could end this wait, and we have taken out its node.
                    unsafe { wait.cancelled() };
                } else {
                    give_back_later(channel, wait);
                }
            }
            flavor => {
                let Source::Event(event) = flavor.source() else { unreachable!("the others are events") };
                let found = wait.cancel();
                if found != Cancel::TakenOut {
                    // SAFETY: `enter` has put the node there, it is alive, and the event has not
                    // ended the wait.
                    unsafe { event.leave(node_of(&wait)) };
                }
                if found == Cancel::Ended {
                    // SAFETY: we have ended the wait, and the node is in no queue.
                    unsafe { wait.cancelled() };
                } else {
                    // An event hands over nothing.
                    wait.abandon(|_| ());
                }
            }
        }
    }
}

/// Leaves word with a wait that was ended, that its message, if there is one, goes back.
#[cold]
fn give_back_later<T: Send + 'static>(channel: &Arc<Channel<T>>, wait: TaskWait) {
    let channel = channel.clone();
    wait.abandon(move |node| {
        let node = NodeRef::new(node);
        // SAFETY: the wake-up has come, so the node is ours. The cell holds a message with `DONE`,
        // which the task has not taken: it has no wait any more once it has.
        unsafe {
            if node.note() == Note::DONE {
                channel.give_back(load::<T, 2>(node.cell()));
            }
        }
    });
}

/// Ends a wait at an instant. A goroutine watches the time, and ends when this is dropped.
struct Alarm {
    _stop: Sender<()>,
}

impl Alarm {
    fn set(until: Instant, wait: TaskWait) -> Alarm {
        let (stop, stopped) = bounded::<()>(0);
        narrowboat_runtime::spawn(move || {
            if stopped.recv_deadline(until) == Err(RecvTimeoutError::Timeout)
                && wait.waiter().try_end(ENDED_BY_TASK)
            {
                // SAFETY: we have ended the wait, and nothing is handed over.
                unsafe { wait.waiter().unpark() };
            }
        });
        Alarm { _stop: stop }
    }
}
