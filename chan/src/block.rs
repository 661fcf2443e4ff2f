//! Operations outside a select: the fast path, and the wait, for which every waiter owns a node.
//!
//! A parked goroutine takes as much memory as its stack frames, down to the park. So an operation
//! that has to wait makes two calls from the user's own frame: the first enters the queue and
//! returns, which frees its frame; the second, with a very small frame, sleeps. The calls pass only
//! a few words, whatever the type of the message. The message itself stays in a node until the
//! user's frame, which has room for it anyway, takes it from there.

use crate::cell::{load, store};
use crate::channel::{Channel, Found, Guard};
use crate::error::{RecvTimeoutError, SendTimeoutError};
use crate::limit::{At, Limit};
use crate::node::{NodeRef, Note, SINGLE_QUEUE};
use crate::pairing::PairOutcome;
use crate::waiters::NodeValue;
use narrowboat_runtime::park::{self, Outcome, Reason, Waiter, checkpoint};
use std::time::Instant;

/// Why a receive got no message.
enum Missed {
    TimedOut,
    Closed,
    /// The selected send that the receive met gave up, or took long to make its message.
    Retry,
}

/// What `begin_recv` returns.
enum Begun<T> {
    Value(NodeValue<T>),
    /// The caller's own node is in the queue.
    Waiting(Waiter),
    Missed(Missed),
}

impl<T> Channel<T> {
    /// Receives, within the limit.
    #[inline]
    pub(crate) fn recv(&self, limit: Limit, at: At) -> Result<T, RecvTimeoutError> {
        loop {
            let mut state = self.lock();
            if let Some(message) = state.ring.pop() {
                self.after_pop(state);
                checkpoint();
                return Ok(message);
            }
            let value = match self.begin_recv(state, limit, at) {
                Begun::Value(value) => Ok(value),
                Begun::Missed(missed) => Err(missed),
                Begun::Waiting(me) => match limit {
                    Limit::Until(deadline) => self.end_recv(me, deadline, at),
                    _ => note_result(sleep(me)),
                },
            };
            match value {
                Ok(value) => {
                    let message = value.take();
                    checkpoint();
                    return Ok(message);
                }
                Err(Missed::Retry) => {}
                Err(Missed::Closed) => return Err(RecvTimeoutError::Disconnected),
                Err(Missed::TimedOut) => return Err(RecvTimeoutError::Timeout),
            }
        }
    }

    /// Receives when the buffer is empty, or enters the queue.
    #[inline(never)]
    fn begin_recv(&self, state: Guard<'_, T>, limit: Limit, at: At) -> Begun<T> {
        let missed = match self.find(state) {
            Found::Value(value) => return Begun::Value(value),
            Found::Lazy(sender) => {
                match pair_result(self.await_lazy_send(sender, limit != Limit::None, at), limit) {
                    Ok(value) => return Begun::Value(value),
                    Err(missed) => missed,
                }
            }
            Found::Closed => Missed::Closed,
            Found::Nothing(mut state) => {
                if limit.is_reached() {
                    Missed::TimedOut
                } else {
                    let Some(me) = Waiter::try_begin(Reason::Receive, self.address(), at) else {
                        drop(state);
                        park::refuse();
                    };
                    let node = NodeRef::new(me.node());
                    // SAFETY: the node is our own and in no queue, and it lives for ever; a receive
                    // needs nothing in it. Without a deadline, only a holder of the channel's lock
                    // can end the wait.
                    unsafe { state.recvs.enter(node, me, SINGLE_QUEUE, limit == Limit::None) };
                    let watchers = state.sends.take_watchers();
                    drop(state);
                    watchers.wake();
                    return Begun::Waiting(me);
                }
            }
        };
        checkpoint();
        Begun::Missed(missed)
    }

    #[cold]
    #[inline(never)]
    fn end_recv(&self, me: Waiter, deadline: Instant, at: At) -> Result<NodeValue<T>, Missed> {
        match sleep_until(me, deadline) {
            (node, Some(Note::PAIRED)) => pair_result(self.resume_pair(node, at), Limit::Until(deadline)),
            (node, Some(note)) => note_result((node, note)),
            (node, None) => {
                // SAFETY: `begin_recv` has entered the node.
                unsafe { self.lock().recvs.leave(node) };
                Err(Missed::TimedOut)
            }
        }
    }

    /// Sends, within the limit.
    #[inline]
    pub(crate) fn send(&self, message: T, limit: Limit, at: At) -> Result<(), SendTimeoutError<T>> {
        let result = self.put(message, |message, full| {
            let Some(state) = full else { return Err(SendTimeoutError::Disconnected(message)) };
            if limit.is_reached() {
                return Err(SendTimeoutError::Timeout(message));
            }
            let me = self.begin_send(state, message, limit == Limit::None, at);
            let (node, note) = match limit {
                Limit::Until(deadline) => self.end_send(me, deadline),
                _ => {
                    let (node, note) = sleep(me);
                    (node, Some(note))
                }
            };
            if note == Some(Note::DONE) {
                return Ok(());
            }
            // SAFETY: this was our last wait, and the value was not taken when it ended.
            Err(unsafe { take_back(node, note) })
        });
        checkpoint();
        result
    }

    #[cold]
    #[inline(never)]
    fn begin_send(&self, mut state: Guard<'_, T>, message: T, sole: bool, at: At) -> Waiter {
        let Some(me) = Waiter::try_begin(Reason::Send, self.address(), at) else {
            drop(state);
            park::refuse();
        };
        let node = NodeRef::new(me.node());
        // SAFETY: the node is our own and in no queue, and it lives for ever; note and cell are
        // those of a send with a value. Without a deadline, only a holder of the channel's lock can
        // end the wait.
        unsafe {
            store(node.cell(), message);
            node.set_note(Note::VALUE);
            state.sends.enter(node, me, SINGLE_QUEUE, sole);
        }
        let watchers = state.recvs.take_watchers();
        drop(state);
        watchers.wake();
        me
    }

    #[cold]
    #[inline(never)]
    fn end_send(&self, me: Waiter, deadline: Instant) -> (NodeRef, Option<Note>) {
        let (node, note) = sleep_until(me, deadline);
        if note.is_none() {
            // SAFETY: `begin_send` has entered the node.
            unsafe { self.lock().sends.leave(node) };
        }
        (node, note)
    }
}

/// Translates the outcome of a receive that was half of a pair.
#[cold]
fn pair_result<T>(outcome: PairOutcome, limit: Limit) -> Result<NodeValue<T>, Missed> {
    match outcome {
        PairOutcome::Settled(node, note) => note_result((node, note)),
        // In a model a sleep may time out at once. The limit then counts as reached, too.
        PairOutcome::Dissolved if limit.is_reached() || cfg!(loom) => Err(Missed::TimedOut),
        PairOutcome::Dissolved => Err(Missed::Retry),
        PairOutcome::Refused if limit.is_reached() => Err(Missed::TimedOut),
        PairOutcome::Refused => park::refuse(),
    }
}

/// Translates the note of the caller's own node after a wait for a message.
#[inline]
fn note_result<T>((node, note): (NodeRef, Note)) -> Result<NodeValue<T>, Missed> {
    match note {
        // SAFETY: `DONE` says that there is a message, which the caller takes at once.
        Note::DONE => Ok(unsafe { NodeValue::in_own_node(node) }),
        Note::CLOSED => Err(Missed::Closed),
        _ => Err(Missed::Retry),
    }
}

/// Takes the message of a failed send back: after a timeout (`None`), or because the channel was
/// closed.
///
/// # Safety
/// The node is that of the caller's last wait, which was such a send.
#[cold]
unsafe fn take_back<T>(node: NodeRef, note: Option<Note>) -> SendTimeoutError<T> {
    // SAFETY: the value is still in the cell, and the node is the caller's own.
    let message = unsafe { load::<T, 2>(node.cell()) };
    match note {
        None => SendTimeoutError::Timeout(message),
        Some(_) => SendTimeoutError::Disconnected(message),
    }
}

/// Parks until the wait that `begin_recv` or `begin_send` has just begun is over. Returns the
/// caller's own node and its note.
#[inline(never)]
fn sleep(me: Waiter) -> (NodeRef, Note) {
    let node = NodeRef::new(me.node());
    // SAFETY: `me` is from our latest `begin`, and its node is in a queue. The operation that ends
    // the wait takes the node out.
    unsafe {
        me.park(None);
        (node, node.note())
    }
}

/// As [`sleep`], but no longer than until `deadline`: there is no note if the deadline ended the
/// wait.
#[inline(never)]
fn sleep_until(me: Waiter, deadline: Instant) -> (NodeRef, Option<Note>) {
    let node = NodeRef::new(me.node());
    // SAFETY: as in `sleep`; after a timeout the node is still in the queue, and is not read.
    unsafe {
        let outcome = me.park(Some(deadline));
        (node, (outcome != Outcome::TIMED_OUT).then(|| node.note()))
    }
}
