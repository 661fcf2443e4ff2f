//! A receive as an operation of a select.

use super::handle::{Accepted, ArmNode, Attempt, ENDED_BY_SELECT, EnterResult, Handle};
use super::token::{Holds, Token};
use crate::channel::{Channel, Found, Guard};
use crate::error::RecvError;
use crate::event::{Event, Recheck};
use crate::info::EMPTY;
use crate::limit::At;
use crate::node::{NodeRef, Note};
use crate::pairing::PairOutcome;
use crate::receiver::{Receiver, Source};
use crate::waiters::LazySend;
use narrowboat_runtime::park::Thing;

impl<T> Channel<T> {
    fn attempt_recv(&self, mut state: Guard<'_, T>, token: &mut Token) -> Attempt {
        if let Some(message) = state.ring.pop() {
            self.after_pop(state);
            token.set_message(message);
            return Attempt::Ready;
        }
        match self.find(state) {
            Found::Value(value) => token.set_message(value.take()),
            Found::Closed => token.set(Holds::Closed),
            Found::Nothing(_) => return Attempt::NotReady,
            Found::Lazy(sender) => return Attempt::Lazy(sender),
        }
        Attempt::Ready
    }
}

impl<T> Handle for Receiver<T> {
    fn id(&self) -> usize {
        match self.flavor.source() {
            Source::Channel(channel) => channel.address(),
            Source::Event(event) => event.id(),
        }
    }

    fn attempt(&self, token: &mut Token) -> Attempt {
        match self.flavor.source() {
            Source::Channel(channel) => channel.attempt_recv(channel.lock(), token),
            Source::Event(event) => attempt_event(event, token),
        }
    }

    unsafe fn enter(&self, arm_node: ArmNode, token: &mut Token) -> EnterResult {
        let channel = match self.flavor.source() {
            Source::Channel(channel) => channel,
            // SAFETY: by contract.
            Source::Event(event) => return unsafe { enter_event(event, arm_node, token) },
        };
        let mut state = channel.lock();
        if channel.recv_may_succeed(&state, arm_node.waiter) {
            if !arm_node.waiter.try_end(ENDED_BY_SELECT) {
                return EnterResult::Lost;
            }
            return EnterResult::Ended(channel.attempt_recv(state, token));
        }
        // SAFETY: by this function's contract; a receive needs nothing in its node.
        unsafe {
            arm_node.node.set_note(Note::NONE);
            state.recvs.enter(arm_node.node, arm_node.waiter, arm_node.outcome, arm_node.sole);
        }
        let watchers = state.sends.take_watchers();
        drop(state);
        watchers.wake();
        EnterResult::Waiting(None)
    }

    unsafe fn leave(&self, node: NodeRef) {
        // SAFETY: by contract.
        unsafe {
            match self.flavor.source() {
                Source::Channel(channel) => drop(channel.lock().recvs.leave(node)),
                Source::Event(event) => event.leave(node),
            }
        }
    }

    unsafe fn accept(&self, node: NodeRef, token: &mut Token) -> Accepted {
        // SAFETY: the node is the caller's again; `DONE` says that a message is in the cell, of
        // this channel's type.
        unsafe {
            match node.note() {
                Note::DONE => token.set_message_from::<T>(node.cell()),
                Note::CLOSED => token.set(Holds::Closed),
                Note::PAIRED => return Accepted::Paired,
                _ => return Accepted::Retry,
            }
        }
        Accepted::Filled
    }

    fn await_lazy_send(&self, sender: LazySend, may_dissolve: bool, at: At) -> PairOutcome {
        match self.flavor.source() {
            Source::Channel(channel) => channel.await_lazy_send(sender, may_dissolve, at),
            Source::Event(_) => unreachable!("only a channel has senders"),
        }
    }

    unsafe fn resume_pair(&self, node: NodeRef, at: At) -> PairOutcome {
        match self.flavor.source() {
            Source::Channel(channel) => channel.resume_pair(node, at),
            Source::Event(_) => unreachable!("only a channel has senders"),
        }
    }

    fn is_ready(&self) -> bool {
        match self.flavor.source() {
            Source::Channel(channel) => channel.can_recv(&channel.lock()),
            Source::Event(event) => event.is_ready(),
        }
    }

    unsafe fn watch(&self, arm_node: ArmNode) -> Recheck {
        let ArmNode { waiter, node, outcome, sole } = arm_node;
        // SAFETY: by contract, all of it.
        unsafe {
            match self.flavor.source() {
                Source::Channel(channel) => {
                    let mut state = channel.lock();
                    if channel.can_recv(&state) {
                        return Recheck::Now;
                    }
                    state.recvs.watch(node, waiter, outcome, sole);
                    Recheck::Later(None)
                }
                // An event hands nothing to its waiters, so a watcher of an event stands in the
                // queue like a receive.
                Source::Event(event) => event.enter(node, waiter, outcome, sole),
            }
        }
    }

    unsafe fn unwatch(&self, node: NodeRef) {
        // SAFETY: by contract.
        unsafe {
            match self.flavor.source() {
                Source::Channel(channel) => channel.lock().recvs.unwatch(node),
                Source::Event(event) => event.leave(node),
            }
        }
    }

    fn abandon(&self, token: &mut Token, foreign: bool) {
        if token.take() == Holds::Message && !foreign {
            // SAFETY: the token was filled by this channel's arm, so the message is of its type.
            drop(unsafe { token.message::<T>() });
        }
    }

    fn describe(&self) -> Thing {
        match self.flavor.source() {
            Source::Channel(channel) => channel.info.thing("receive from", EMPTY),
            Source::Event(event) => event.thing(),
        }
    }
}

fn attempt_event<T>(event: &dyn Event<T>, token: &mut Token) -> Attempt {
    match event.try_recv() {
        Some(Ok(message)) => token.set_message(message),
        Some(Err(RecvError)) => token.set(Holds::Closed),
        None => return Attempt::NotReady,
    }
    Attempt::Ready
}

/// Enters the queue of an event.
///
/// # Safety
/// As for [`Handle::enter`].
unsafe fn enter_event<T>(event: &dyn Event<T>, arm_node: ArmNode, token: &mut Token) -> EnterResult {
    // SAFETY: by contract; a receive needs nothing in its node.
    unsafe { arm_node.node.set_note(Note::NONE) };
    // SAFETY: by contract.
    match unsafe { event.enter(arm_node.node, arm_node.waiter, arm_node.outcome, arm_node.sole) } {
        Recheck::Later(until) => EnterResult::Waiting(until),
        // The other arms' nodes are still in their queues, so code of the program must not run. The
        // select starts over.
        Recheck::Now if event.runs_code() && arm_node.waiter.try_end(ENDED_BY_SELECT) => {
            EnterResult::Ended(Attempt::NotReady)
        }
        Recheck::Now if arm_node.waiter.try_end(ENDED_BY_SELECT) => {
            EnterResult::Ended(attempt_event(event, token))
        }
        Recheck::Now => EnterResult::Lost,
    }
}

impl<T> Receiver<T> {
    /// Completes a receive that a select has chosen.
    ///
    /// # Safety
    /// The token was filled by an arm with this receiver's [`id`](Handle::id).
    #[inline]
    pub(super) unsafe fn complete(&self, token: &mut Token) -> Result<T, RecvError> {
        if token.take() == Holds::Message {
            // SAFETY: an equal id means the same channel, so the message is of its type.
            Ok(unsafe { token.message() })
        } else {
            Err(RecvError)
        }
    }
}
