//! The operations of a select, as its passes see them.
//!
//! The passes of a select (see [`run`](super::run) and [`ready`](super::ready)) know neither
//! channels nor message types. They call each operation through [`Handle`], which senders
//! ([`send`](super::send)) and receivers ([`recv`](super::recv)) implement.

use super::token::Token;
use crate::event::Recheck;
use crate::limit::At;
use crate::node::NodeRef;
use crate::pairing::PairOutcome;
use crate::waiters::LazySend;
use narrowboat_runtime::park::{Outcome, Thing, Waiter};
use std::time::Instant;

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
