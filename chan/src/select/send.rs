//! A send as an operation of a select.

use super::handle::{Accepted, ArmNode, Attempt, ENDED_BY_SELECT, EnterResult, Handle};
use super::token::{Holds, Token};
use crate::cell::load;
use crate::channel::{Channel, Guard, Reservation};
use crate::error::SendError;
use crate::event::Recheck;
use crate::info::FULL;
use crate::limit::{At, Limit};
use crate::node::{NodeRef, Note};
use crate::pairing::PairOutcome;
use crate::pairs::PairKey;
use crate::sender::Sender;
use crate::waiters::{BlockedRecv, LazySend};
use narrowboat_runtime::park::Thing;

impl<T> Channel<T> {
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

    /// Hands over the value of a paired send. If the pair has been dissolved, the value goes to the
    /// next receive.
    fn settle(&self, key: PairKey, value: T, at: At) -> Result<(), SendError<T>> {
        let mut state = self.lock();
        // SAFETY: the receives of this channel expect a `T`.
        let settled = unsafe { state.pairs.settle(key, value) };
        drop(state);
        match settled {
            Ok(receiver) => {
                if let Some(receiver) = receiver {
                    receiver.wake();
                }
                Ok(())
            }
            Err(value) => self.send(value, Limit::None, at).map_err(|error| SendError(error.into_inner())),
        }
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
        unsafe { self.channel.lock().sends.leave(node) };
    }

    unsafe fn accept(&self, node: NodeRef, token: &mut Token) -> Accepted {
        // SAFETY: the node is the caller's again; `MATCHED` says that the partner's node is in the
        // cell, `PAIRED` that the key of the pair is.
        unsafe {
            match node.note() {
                Note::RESERVED => token.set(Holds::Reservation),
                Note::MATCHED => token.set_partner(load(node.cell())),
                Note::PAIRED => {
                    let key = load(node.cell());
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
