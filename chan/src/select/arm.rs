//! The operations of a select, as its passes see them.
//!
//! The passes of a select (see [`run`](super::run)) know no message types. They call each arm
//! through [`Handle`], which senders and receivers implement.

use super::token::{Holds, Token};
use crate::block::At;
use crate::channel::{Channel, Found, Guard, Reservation};
use crate::describe::{EMPTY, FULL};
use crate::error::{RecvError, SendError};
use crate::pairs::PairOutcome;
use crate::receiver::Flavor;
use crate::timer::{Event, Recheck};
use crate::waiters::{BlockedRecv, LazySend, NodeRef, Note};
use crate::{Receiver, Sender};
use narrowboat_runtime::park::{Outcome, Thing, Waiter};
use std::sync::Arc;
use std::time::Instant;

/// One operation of a select. Public for the macros only.
#[derive(Clone, Copy)]
pub struct Arm<'a> {
    pub(super) handle: &'a dyn Handle,
    pub(super) index: usize,
}

impl<'a> Arm<'a> {
    /// A send.
    #[doc(hidden)]
    pub fn send<T>(sender: &'a Sender<T>, index: usize) -> Arm<'a> {
        Arm { handle: sender, index }
    }

    /// A receive.
    #[doc(hidden)]
    pub fn recv<T>(receiver: &'a Receiver<T>, index: usize) -> Arm<'a> {
        Arm { handle: receiver, index }
    }

    pub(crate) fn describe(&self) -> Thing {
        self.handle.describe()
    }
}

/// What an attempt at an operation found.
pub(crate) enum Attempt {
    /// The operation is chosen; the token holds what completes it.
    Ready,
    NotReady,
    /// A receive has met another select's send, which has yet to make its message.
    Lazy(LazySend),
}

/// What a waiting select leaves at one of its arms: the node, and how it ends the wait.
pub(super) struct ArmNode {
    pub(super) waiter: Waiter,
    pub(super) node: NodeRef,
    pub(super) outcome: Outcome,
    /// The select has no other arm and no limit.
    pub(super) sole: bool,
}

/// The result of [`Handle::enter`].
pub(super) enum EnterResult {
    /// The node is in the queue (or the arm needs none). The select has to look at this arm again
    /// at the instant.
    Waiting(Option<Instant>),
    /// The operation has become possible: the select has ended its own wait, and made this attempt.
    Ended(Attempt),
    /// The operation has become possible, but another arm has ended the wait first.
    Lost,
}

/// The result of [`Handle::accept`] for the node that was chosen.
pub(super) enum Accepted {
    /// The token is filled.
    Filled,
    /// The other side has given up, so the select starts over.
    Retry,
    /// For a receive: its message is being made.
    Paired,
}

/// The outcome with which a select ends its own wait.
pub(super) const ENDED_BY_SELECT: Outcome = Outcome(u32::MAX);

/// An operation as the passes of a select see it.
pub(super) trait Handle {
    /// Identifies the operation: the address of what all clones share, made odd for a send. Unique
    /// while the handle lives, so equal ids also mean equal message types.
    fn id(&self) -> usize;

    /// First pass: chooses the operation if it is possible now. Fills the token if the result is
    /// `Ready`.
    fn attempt(&self, token: &mut Token) -> Attempt;

    /// Second pass: looks again and, if the operation is still impossible, enters the queue, all
    /// under one lock.
    ///
    /// # Safety
    /// The node is the caller's, for its current wait. It is in no queue, and on the heap, where it
    /// stays until [`leave`](Handle::leave), or until the caller returns from a park that this node
    /// ended.
    unsafe fn enter(&self, arm_node: ArmNode, token: &mut Token) -> EnterResult;

    /// Third pass: leaves the queue.
    ///
    /// # Safety
    /// The node was entered here, and is alive.
    unsafe fn leave(&self, node: NodeRef);

    /// After a wait that this arm's node ended: fills the token.
    ///
    /// # Safety
    /// The node was entered here (or met a send that was found here) and was chosen, and the caller
    /// has returned from its park.
    unsafe fn accept(&self, node: NodeRef, token: &mut Token) -> Accepted;

    /// Waits for the message of a selected send that an attempt at this arm has found.
    fn await_lazy_send(&self, sender: LazySend, may_dissolve: bool, at: At) -> PairOutcome;

    /// Waits for the message of a selected send, after [`accept`](Handle::accept) has said
    /// `Paired`.
    ///
    /// # Safety
    /// As for `accept`; the node is in no queue, and stays alive until this returns.
    unsafe fn resume_pair(&self, node: NodeRef, at: At) -> PairOutcome;

    /// Whether the operation is possible now. Changes nothing.
    fn is_ready(&self) -> bool;

    /// Looks again and, if the operation is still impossible, puts the node among its watchers, all
    /// under one lock. Returns `Now` if it is possible; the node is then in no queue.
    ///
    /// # Safety
    /// As for [`enter`](Handle::enter), until [`unwatch`](Handle::unwatch).
    unsafe fn watch(&self, arm_node: ArmNode) -> Recheck;

    /// Leaves the watchers.
    ///
    /// # Safety
    /// [`watch`](Handle::watch) has put the node there, and it is alive.
    unsafe fn unwatch(&self, node: NodeRef);

    /// Undoes the choice: returns what the token holds to where it came from, or drops it if that
    /// is impossible. With `foreign` messages are forgotten instead of dropped.
    fn abandon(&self, token: &mut Token, foreign: bool);

    /// Describes the operation for dumps, while it is impossible.
    fn describe(&self) -> Thing;
}

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

    fn attempt_send(&self, state: Guard<'_, T>, token: &mut Token) -> Attempt {
        match self.reserve_send(state) {
            Reservation::InBuffer => token.set(Holds::Reservation),
            Reservation::Matched(receiver) => token.set_partner(receiver.into_node()),
            Reservation::Paired(key) => token.set_pair(key),
            Reservation::Closed => token.set(Holds::Closed),
            Reservation::Impossible => return Attempt::NotReady,
        }
        Attempt::Ready
    }
}

impl<T> Handle for Sender<T> {
    fn id(&self) -> usize {
        self.channel.address() | 1
    }

    fn attempt(&self, token: &mut Token) -> Attempt {
        self.channel.attempt_send(self.channel.lock(), token)
    }

    unsafe fn enter(&self, arm_node: ArmNode, token: &mut Token) -> EnterResult {
        let mut state = self.channel.lock();
        if self.channel.send_may_succeed(&state, arm_node.waiter) {
            if !arm_node.waiter.try_end(ENDED_BY_SELECT) {
                return EnterResult::Lost;
            }
            return EnterResult::Ended(self.channel.attempt_send(state, token));
        }
        // SAFETY: by this function's contract; the cell of a lazy send is empty.
        unsafe {
            arm_node.node.set_note(Note::LAZY);
            state.sends.enter(arm_node.node, arm_node.waiter, arm_node.outcome, arm_node.sole);
        }
        let watchers = state.recvs.take_watchers();
        drop(state);
        watchers.wake();
        EnterResult::Waiting(None)
    }

    unsafe fn leave(&self, node: NodeRef) {
        // SAFETY: by contract.
        unsafe { self.channel.lock().sends.leave(node) }
    }

    unsafe fn accept(&self, node: NodeRef, token: &mut Token) -> Accepted {
        // SAFETY: the node is the caller's again; `MATCHED` says that the partner's node is in the
        // cell, `PAIRED` that the key of the pair is.
        unsafe {
            match node.note() {
                Note::RESERVED => token.set(Holds::Reservation),
                Note::MATCHED => token.set_partner(crate::cell::load(node.cell())),
                Note::PAIRED => {
                    let key = crate::cell::load(node.cell());
                    if !self.channel.lock().pairs.begin_message(key) {
                        return Accepted::Retry;
                    }
                    token.set_pair(key);
                }
                Note::RETRY => return Accepted::Retry,
                _ => token.set(Holds::Closed),
            }
        }
        Accepted::Filled
    }

    fn await_lazy_send(&self, _: LazySend, _: bool, _: At) -> PairOutcome {
        unreachable!("a send never finds another send")
    }

    unsafe fn resume_pair(&self, _: NodeRef, _: At) -> PairOutcome {
        unreachable!("a send never returns `Paired` from `accept`")
    }

    fn is_ready(&self) -> bool {
        self.channel.can_send(&self.channel.lock())
    }

    unsafe fn watch(&self, arm_node: ArmNode) -> Recheck {
        let mut state = self.channel.lock();
        if self.channel.can_send(&state) {
            return Recheck::Now;
        }
        // SAFETY: by contract.
        unsafe { state.sends.watch(arm_node.node, arm_node.waiter, arm_node.outcome, arm_node.sole) };
        Recheck::Later(None)
    }

    unsafe fn unwatch(&self, node: NodeRef) {
        // SAFETY: by contract.
        unsafe { self.channel.lock().sends.unwatch(node) }
    }

    fn abandon(&self, token: &mut Token, _foreign: bool) {
        match token.take() {
            Holds::Reservation => self.channel.withdraw(),
            // SAFETY: the token was filled by this channel's arm, so the partner is a receive of
            // its type.
            Holds::Partner => unsafe { BlockedRecv::<T>::from_node(token.partner()) }.retry(),
            // SAFETY: the token has just said so.
            Holds::Pair => self.channel.give_up(unsafe { token.pair() }),
            Holds::Nothing | Holds::Message | Holds::Closed => {}
        }
    }

    fn describe(&self) -> Thing {
        self.channel.info.thing("send to", FULL)
    }
}

impl<T> Sender<T> {
    /// Completes a send that a select has chosen.
    ///
    /// # Safety
    /// The token was filled by an arm with this sender's [`id`](Handle::id).
    pub(super) unsafe fn complete(&self, token: &mut Token, message: T, at: At) -> Result<(), SendError<T>> {
        match token.take() {
            Holds::Reservation => self.channel.deliver(message),
            Holds::Partner => {
                // SAFETY: an equal id means the same channel, so the partner is a receive of its
                // type.
                unsafe { BlockedRecv::from_node(token.partner()) }.deliver(message);
                Ok(())
            }
            // SAFETY: the token has just said so; an equal id means the same channel, which the
            // pair belongs to.
            Holds::Pair => self.channel.settle(unsafe { token.pair() }, message, at),
            Holds::Nothing | Holds::Message | Holds::Closed => Err(SendError(message)),
        }
    }
}

impl<T> Handle for Receiver<T> {
    fn id(&self) -> usize {
        match &self.flavor {
            Flavor::Channel(channel) => channel.address(),
            Flavor::Timer(timer) => Arc::as_ptr(timer).addr(),
            Flavor::Done(scope) => Arc::as_ptr(scope).addr(),
            Flavor::Event(source) => Arc::as_ptr(source).addr(),
            // It is never chosen.
            Flavor::Never => 0,
        }
    }

    fn attempt(&self, token: &mut Token) -> Attempt {
        match &self.flavor {
            Flavor::Channel(channel) => channel.attempt_recv(channel.lock(), token),
            Flavor::Timer(timer) => match timer.try_recv() {
                Some(message) => {
                    token.set_message(message);
                    Attempt::Ready
                }
                None => Attempt::NotReady,
            },
            Flavor::Done(scope) if scope.is_over() => {
                token.set(Holds::Closed);
                Attempt::Ready
            }
            Flavor::Event(source) => match source.try_recv() {
                Some(message) => {
                    token.set_message(message);
                    Attempt::Ready
                }
                None => Attempt::NotReady,
            },
            Flavor::Done(_) | Flavor::Never => Attempt::NotReady,
        }
    }

    unsafe fn enter(&self, arm_node: ArmNode, token: &mut Token) -> EnterResult {
        let channel = match &self.flavor {
            Flavor::Channel(channel) => channel,
            // SAFETY: by contract.
            Flavor::Timer(timer) => return unsafe { self.enter_event(&**timer, arm_node, token) },
            // SAFETY: by contract.
            Flavor::Done(scope) => return unsafe { self.enter_event(&**scope, arm_node, token) },
            // SAFETY: by contract.
            Flavor::Event(source) => return unsafe { self.enter_event(&**source, arm_node, token) },
            Flavor::Never => return EnterResult::Waiting(None),
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
            match &self.flavor {
                Flavor::Channel(channel) => channel.lock().recvs.leave(node),
                Flavor::Timer(timer) => timer.leave(node),
                Flavor::Done(scope) => scope.leave(node),
                Flavor::Event(source) => source.leave(node),
                Flavor::Never => {}
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
        let Flavor::Channel(channel) = &self.flavor else { unreachable!("only a channel has senders") };
        channel.await_lazy_send(sender, may_dissolve, at)
    }

    unsafe fn resume_pair(&self, node: NodeRef, at: At) -> PairOutcome {
        let Flavor::Channel(channel) = &self.flavor else { unreachable!("only a channel has senders") };
        channel.resume_pair(node, at)
    }

    fn is_ready(&self) -> bool {
        match &self.flavor {
            Flavor::Channel(channel) => channel.can_recv(&channel.lock()),
            Flavor::Timer(timer) => !timer.is_empty(),
            Flavor::Done(scope) => scope.is_over(),
            Flavor::Event(source) => source.is_ready(),
            Flavor::Never => false,
        }
    }

    unsafe fn watch(&self, arm_node: ArmNode) -> Recheck {
        let ArmNode { waiter, node, outcome, sole } = arm_node;
        // An event hands nothing to its waiters, so a watcher of an event stands in the queue like
        // a receive.
        // SAFETY: by contract, all of it.
        unsafe {
            match &self.flavor {
                Flavor::Channel(channel) => {
                    let mut state = channel.lock();
                    if channel.can_recv(&state) {
                        return Recheck::Now;
                    }
                    state.recvs.watch(node, waiter, outcome, sole);
                    Recheck::Later(None)
                }
                Flavor::Timer(timer) => timer.enter(node, waiter, outcome, sole),
                Flavor::Done(scope) => scope.enter(node, waiter, outcome, sole),
                Flavor::Event(source) => source.enter(node, waiter, outcome, sole),
                Flavor::Never => Recheck::Later(None),
            }
        }
    }

    unsafe fn unwatch(&self, node: NodeRef) {
        // SAFETY: by contract.
        unsafe {
            match &self.flavor {
                Flavor::Channel(channel) => channel.lock().recvs.unwatch(node),
                Flavor::Timer(timer) => timer.leave(node),
                Flavor::Done(scope) => scope.leave(node),
                Flavor::Event(source) => source.leave(node),
                Flavor::Never => {}
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
        const OPERATION: &str = "receive from";
        match &self.flavor {
            Flavor::Channel(channel) => channel.info.thing(OPERATION, EMPTY),
            Flavor::Timer(timer) => timer.thing(OPERATION),
            Flavor::Done(scope) => scope.thing("end of"),
            Flavor::Event(source) => source.thing(),
            Flavor::Never => Thing {
                operation: OPERATION,
                address: 0,
                kind: "never",
                details: String::new(),
                held_by: None,
            },
        }
    }
}

impl<T> Receiver<T> {
    /// Enters the queue of an event.
    ///
    /// # Safety
    /// As for [`enter`](Handle::enter).
    unsafe fn enter_event(&self, event: &impl Event, arm_node: ArmNode, token: &mut Token) -> EnterResult {
        // SAFETY: by contract; a receive needs nothing in its node.
        unsafe { arm_node.node.set_note(Note::NONE) };
        // SAFETY: by contract.
        match unsafe { event.enter(arm_node.node, arm_node.waiter, arm_node.outcome, arm_node.sole) } {
            Recheck::Later(until) => EnterResult::Waiting(until),
            Recheck::Now if arm_node.waiter.try_end(ENDED_BY_SELECT) => {
                EnterResult::Ended(self.attempt(token))
            }
            Recheck::Now => EnterResult::Lost,
        }
    }

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
