//! What a select asks of the channels it waits for.
//!
//! The passes of a select (see [`run`](super::run)) know no message types; each arm does its part through
//! [`Handle`], which senders and receivers implement.

use super::token::{Holds, Token};
use crate::channel::{Channel, Found, Guard, Place};
use crate::error::{RecvError, SendError};
use crate::receiver::Flavor;
use crate::waiters::{BlockedRecv, LateSend, Node, Note};
use crate::{Receiver, Sender};
use narrowboat_runtime::park::{Outcome, Waiter};
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
}

/// What an attempt at an operation found.
pub(crate) enum Attempt {
    /// The operation is chosen; the token holds what completes it.
    Ready,
    NotReady,
    /// A receive has met another select's send, whose message is yet to be made.
    Late(LateSend),
}

/// A waiting select's place at one of its arms.
pub(super) struct Seat {
    pub(super) waiter: Waiter,
    pub(super) node: Node,
    pub(super) outcome: Outcome,
    /// The select has no other arm and no deadline.
    pub(super) sole: bool,
}

/// What came of entering a queue.
pub(super) enum Entry {
    /// The node is in the queue (or the arm needs none).
    Waiting,
    /// The operation had become possible: the select has ended its own wait, and made this attempt.
    Ended(Attempt),
    /// The operation had become possible, but another arm had won.
    Lost,
}

/// The outcome with which a select ends its own wait.
pub(super) const BY_ITSELF: Outcome = Outcome(u32::MAX);

/// An operation as the passes of a select see it.
pub(super) trait Handle {
    /// Which operation this is: the address of what is shared by all clones, made odd for a send. Unique while the
    /// handle lives, so an equal identity also means an equal message type.
    fn id(&self) -> usize;

    /// First pass: chooses the operation if it is possible now. Fills the token if `Ready`.
    fn attempt(&self, token: &mut Token) -> Attempt;

    /// When a waiting select has to look at this arm again.
    fn deadline(&self) -> Option<Instant> {
        None
    }

    /// Second pass: looks again and, if the operation is still impossible, enters the queue, all under one lock.
    ///
    /// # Safety
    /// The seat's node is the caller's, of its current wait, in no queue, on the heap, and stays there until
    /// [`leave`](Handle::leave), or until the caller returns from a park that this node ended.
    unsafe fn enter(&self, seat: Seat, token: &mut Token) -> Entry;

    /// Third pass: leaves the queue.
    ///
    /// # Safety
    /// The node was entered here, and is alive.
    unsafe fn leave(&self, node: Node);

    /// After a wait that this arm's node ended: fills the token. False if there is nothing to fill it with, because
    /// the other side has given up.
    ///
    /// # Safety
    /// The node was entered here (or met a send found here), was chosen, and the caller has returned from its park.
    unsafe fn accept(&self, node: Node, token: &mut Token) -> bool;

    /// Undoes the choice: what the token holds goes back to where it came from, or is dropped if it cannot.
    /// With `foreign` messages are forgotten instead of dropped.
    fn abandon(&self, token: &mut Token, foreign: bool);
}

impl<T> Channel<T> {
    fn attempt_recv(&self, mut state: Guard<'_, T>, token: &mut Token) -> Attempt {
        if let Some(message) = state.ring.pop() {
            self.popped(state);
            token.set_message(message);
            return Attempt::Ready;
        }
        match self.find(state) {
            Found::Held(held) => token.set_message(held.take()),
            Found::Closed => token.set(Holds::Closed),
            Found::Nothing(_) => return Attempt::NotReady,
            Found::Late(sender) => return Attempt::Late(sender),
        }
        Attempt::Ready
    }

    fn attempt_send(&self, state: Guard<'_, T>, token: &mut Token) -> Attempt {
        match self.reserve_in(state) {
            Place::Reserved => token.set(Holds::Place),
            Place::Paired(receiver) => token.set_partner(receiver.into_node()),
            Place::Closed => token.set(Holds::Closed),
            Place::None => return Attempt::NotReady,
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

    unsafe fn enter(&self, seat: Seat, token: &mut Token) -> Entry {
        let mut state = self.channel.lock();
        if self.channel.has_place(&state, seat.waiter) {
            if !seat.waiter.try_end(BY_ITSELF) {
                return Entry::Lost;
            }
            return Entry::Ended(self.channel.attempt_send(state, token));
        }
        // SAFETY: by this function's contract; a late send has nothing in its cell.
        unsafe {
            seat.node.set_note(Note::LATE);
            state.sends.enter(seat.node, seat.waiter, seat.outcome, seat.sole);
        }
        Entry::Waiting
    }

    unsafe fn leave(&self, node: Node) {
        // SAFETY: by contract.
        unsafe { self.channel.lock().sends.leave(node) }
    }

    unsafe fn accept(&self, node: Node, token: &mut Token) -> bool {
        // SAFETY: the node is the caller's again; `PAIRED` says that the partner's node is in the cell.
        unsafe {
            match node.note() {
                Note::RESERVED => token.set(Holds::Place),
                Note::PAIRED => token.set_partner(crate::cell::load(node.cell())),
                _ => token.set(Holds::Closed),
            }
        }
        true
    }

    fn abandon(&self, token: &mut Token, _foreign: bool) {
        match token.take() {
            Holds::Place => self.channel.withdraw(),
            // SAFETY: the token was filled by this channel's arm, so the partner is a receive of its type.
            Holds::Partner => unsafe { BlockedRecv::<T>::from_node(token.partner()) }.give_up(),
            Holds::Nothing | Holds::Message | Holds::Closed => {}
        }
    }
}

impl<T> Sender<T> {
    /// Completes a send that a select has chosen.
    ///
    /// # Safety
    /// The token was filled by an arm with this sender's [`id`](Handle::id).
    pub(super) unsafe fn complete(&self, token: &mut Token, message: T) -> Result<(), SendError<T>> {
        match token.take() {
            Holds::Place => self.channel.deliver(message),
            Holds::Partner => {
                // SAFETY: an equal id means the same channel, so the partner is a receive of its type.
                unsafe { BlockedRecv::from_node(token.partner()) }.give(message);
                Ok(())
            }
            Holds::Nothing | Holds::Message | Holds::Closed => Err(SendError(message)),
        }
    }
}

impl<T> Handle for Receiver<T> {
    fn id(&self) -> usize {
        match &self.flavor {
            Flavor::Channel(channel) => channel.address(),
            Flavor::Timer(timer) => std::sync::Arc::as_ptr(timer).addr(),
            // Never chosen.
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
            Flavor::Never => Attempt::NotReady,
        }
    }

    fn deadline(&self) -> Option<Instant> {
        match &self.flavor {
            Flavor::Timer(timer) => timer.next(),
            Flavor::Channel(_) | Flavor::Never => None,
        }
    }

    unsafe fn enter(&self, seat: Seat, token: &mut Token) -> Entry {
        // The other kinds are waited for by the deadline alone.
        let Flavor::Channel(channel) = &self.flavor else { return Entry::Waiting };
        let mut state = channel.lock();
        if channel.has_message(&state, seat.waiter) {
            if !seat.waiter.try_end(BY_ITSELF) {
                return Entry::Lost;
            }
            return Entry::Ended(channel.attempt_recv(state, token));
        }
        // SAFETY: by this function's contract; a receive needs nothing in its node.
        unsafe {
            seat.node.set_note(Note::NONE);
            state.recvs.enter(seat.node, seat.waiter, seat.outcome, seat.sole);
        }
        Entry::Waiting
    }

    unsafe fn leave(&self, node: Node) {
        if let Flavor::Channel(channel) = &self.flavor {
            // SAFETY: by contract.
            unsafe { channel.lock().recvs.leave(node) }
        }
    }

    unsafe fn accept(&self, node: Node, token: &mut Token) -> bool {
        // SAFETY: the node is the caller's again; `DONE` says that a message is in the cell, of this channel's type.
        unsafe {
            match node.note() {
                Note::DONE => token.set_message_from::<T>(node.cell()),
                Note::CLOSED => token.set(Holds::Closed),
                _ => return false,
            }
        }
        true
    }

    fn abandon(&self, token: &mut Token, foreign: bool) {
        if token.take() == Holds::Message && !foreign {
            // SAFETY: the token was filled by this channel's arm, so the message is of its type.
            drop(unsafe { token.message::<T>() });
        }
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
