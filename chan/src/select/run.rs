//! How a select chooses: three passes, no lock held across two channels, one winner.
//!
//! 1. *Try.* Each operation is attempted in turn, in shuffled order (or in the order written). The
//!    first that is possible is taken, and that is all. A select that must not wait, or no longer,
//!    gives up only if there is a moment at which none was possible (see [`none_is_possible`]).
//! 2. *Enter.* A wait begins. At each channel, under its lock, the select looks again, and if the
//!    operation is still impossible it leaves a node. So whoever makes the operation possible later
//!    finds the node, and whoever made it possible between the passes is noticed now.
//!    - From the first node on, counterparts may end the wait, and one of them may while others are
//!      being entered.
//!    - If an operation turns out to be possible, the select ends its wait itself. If it wins, it
//!      takes the operation, or finds that it was taken meanwhile and starts over. If it loses, an
//!      earlier node was chosen, and it goes on to step 3 without entering the rest.
//!    - A select that waits to send and to receive on one channel does not count its own nodes, so
//!      it never meets itself.
//! 3. *Park*, until a counterpart or the deadline ends the wait.
//! 4. *Leave.* The nodes that were not chosen are taken out, each under its channel's lock. A node
//!    that nobody has passed over costs its queue constant time, and nothing of the select remains
//!    anywhere.
//! 5. The node that was chosen says what happened. If the deadline ended the wait, or the other
//!    side gave up, it starts over with step 1; there it finds the timer that has become due, or
//!    that its own time is up.
//!
//! A receive may meet a selected send whose message is being made ([`crate::pairs`]). If that takes
//! long, the select starts over as well: other arms may have become possible, or its time may be
//! up.
//!
//! Starting over is not going in circles. It happens in step 2 when a select that was found waiting
//! at one channel had ended its own wait, because it had found another waiting at a later one; and
//! so on, until one was found that was still waiting, and has been served, or until the chain meets
//! its own beginning. Two selects that meet at two channels could step back from each other like
//! that for ever. So whoever starts over enters channels in the order of their addresses: a circle
//! takes somebody who does not yet, and uses that up. (To sort the arms every time would be one
//! part in eight of what a select over eight channels costs.)
//!
//! An arm that something happens to at an instant (a timer is due, a context ends) names that
//! instant when it is entered, under its lock; the earliest is part of the deadline.

use super::arm::{Accepted, Arm, ArmNode, Attempt, ENDED_BY_SELECT, EnterResult};
use super::ready::none_is_possible;
use super::shuffle::shuffle;
use super::token::{Holds, Token};
use crate::block::{At, Limit};
use crate::describe;
use crate::pairs::PairOutcome;
use crate::timer::earlier;
use crate::waiters::{LazySend, NodeRef};
use narrowboat_runtime::park::{Outcome, Reason, WaitNode, Waiter, checkpoint};
use std::ptr::NonNull;
use std::time::Instant;

/// In which order operations are tried.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// At random: of several possible operations each has the same chance.
    Fair,
    /// As written.
    Biased,
}

impl Order {
    pub(super) fn arrange(self, arms: &mut [Arm<'_>]) {
        match self {
            Order::Fair => shuffle(arms),
            // A wait may have left them in another.
            Order::Biased => arms.sort_unstable_by_key(|arm| arm.index),
        }
    }
}

/// Chooses one of the operations: its place in the list, which is rearranged, and the token filled;
/// `None` if the limit was reached first.
#[inline(never)]
pub(super) fn choose(
    arms: &mut [Arm<'_>],
    token: &mut Token,
    order: Order,
    limit: Limit,
    at: At,
) -> Option<usize> {
    // A model is spared the first attempt in any order: all orders of two such take minutes, and
    // end in order as well.
    let mut again = cfg!(loom);
    'again: loop {
        order.arrange(arms);
        let mut took_too_long = false;
        for (i, arm) in arms.iter().enumerate() {
            match arm.handle.attempt(token) {
                Attempt::NotReady => continue,
                // A receive waits for the message, and would take giving way for waiting.
                Attempt::Ready if token.holds() == Holds::Pair => {}
                Attempt::Ready => checkpoint(),
                Attempt::Lazy(sender) => {
                    match await_lazy_send(arms, i, sender, limit != Limit::None, token, at) {
                        Filled::Yes => {}
                        Filled::No => continue 'again,
                        Filled::TookTooLong => {
                            took_too_long = true;
                            continue;
                        }
                    }
                }
            }
            return Some(i);
        }
        let Some(deadline) = limit.deadline() else {
            // A send that took too long and is found again has been no counterpart all the time.
            if !took_too_long && !none_is_possible(arms, at) {
                continue;
            }
            checkpoint();
            return None;
        };
        if std::mem::replace(&mut again, true) {
            // A channel's send and receive are side by side, as good as equal: their lock is one.
            arms.sort_unstable_by_key(|arm| arm.handle.id());
        }
        let chosen = wait(arms, deadline, token, at);
        if chosen.is_some() {
            return chosen;
        }
    }
}

/// Steps 2 to 5. Returns which of the arms filled the token; `None` means to start over.
///
/// What comes before the park and what comes after it are functions of their own, so that their
/// frames are not parked with the goroutine.
#[cold]
#[inline(never)]
fn wait(arms: &[Arm<'_>], limit: Option<Instant>, token: &mut Token, at: At) -> Option<usize> {
    describe::register_descriptions();
    let waiter = Waiter::begin(Reason::Select, (&raw const arms).expose_provenance(), at);
    let nodes = Nodes::new(waiter, arms.len());
    match enter(arms, waiter, &nodes, limit, token) {
        Entered::All(deadline) => {
            // SAFETY: `waiter` is from our latest `begin`.
            let outcome = unsafe { waiter.park(deadline) };
            let left = leave(arms, &nodes, arms.len(), outcome, token);
            complete(arms, &nodes, left, token, at)
        }
        // Another party has ended the wait, and will wake us.
        Entered::Lost(entered) => {
            // SAFETY: as above.
            let outcome = unsafe { waiter.park(None) };
            let left = leave(arms, &nodes, entered, outcome, token);
            complete(arms, &nodes, left, token, at)
        }
        Entered::Ended(entered, attempt) => {
            leave(arms, &nodes, entered, ENDED_BY_SELECT, token);
            match attempt {
                Attempt::Ready => Some(entered),
                Attempt::NotReady => None,
                Attempt::Lazy(sender) => {
                    let outcome = await_lazy_send(arms, entered, sender, limit.is_some(), token, at);
                    matches!(outcome, Filled::Yes).then_some(entered)
                }
            }
        }
    }
}

/// How far step 2 came; the numbers say how many of the arms were entered.
enum Entered {
    /// All of them. The park is to end at this deadline.
    All(Option<Instant>),
    Lost(usize),
    Ended(usize, Attempt),
}

/// Step 2.
#[inline(never)]
fn enter(
    arms: &[Arm<'_>],
    waiter: Waiter,
    nodes: &Nodes,
    limit: Option<Instant>,
    token: &mut Token,
) -> Entered {
    let mut deadline = limit;
    let sole = arms.len() == 1 && limit.is_none();
    for (i, arm) in arms.iter().enumerate() {
        let arm_node =
            ArmNode { waiter, node: nodes.get(i), outcome: Outcome(Outcome::FIRST + i as u32), sole };
        // SAFETY: each node is used for one arm of this wait, and the caller keeps `nodes` until it
        // has left.
        match unsafe { arm.handle.enter(arm_node, token) } {
            EnterResult::Waiting(until) => deadline = earlier(deadline, until),
            EnterResult::Lost => return Entered::Lost(i),
            EnterResult::Ended(attempt) => return Entered::Ended(i, attempt),
        }
    }
    Entered::All(deadline)
}

/// Steps 4 and 5.
#[inline(never)]
fn leave(
    arms: &[Arm<'_>],
    nodes: &Nodes,
    entered: usize,
    outcome: Outcome,
    token: &mut Token,
) -> Option<(usize, Accepted)> {
    let chosen = outcome.0.checked_sub(Outcome::FIRST).map(|n| n as usize).filter(|n| *n < entered);
    for (i, arm) in arms[..entered].iter().enumerate() {
        if chosen != Some(i) {
            // SAFETY: entered by `enter`, and alive.
            unsafe { arm.handle.leave(nodes.get(i)) };
        }
    }
    // SAFETY: the node was entered at this arm and ended the wait, from which we have returned.
    chosen.map(|i| (i, unsafe { arms[i].handle.accept(nodes.get(i), token) }))
}

/// The arm that was chosen, once its token is filled; `None` means to start over.
#[inline]
fn complete(
    arms: &[Arm<'_>],
    nodes: &Nodes,
    left: Option<(usize, Accepted)>,
    token: &mut Token,
    at: At,
) -> Option<usize> {
    match left? {
        (chosen, Accepted::Filled) => Some(chosen),
        (_, Accepted::Retry) => None,
        (chosen, Accepted::Paired) => {
            let arm = &arms[chosen];
            // SAFETY: the node ended the wait at this arm; all others have left their queues, and
            // it is alive.
            let outcome = unsafe { arm.handle.resume_pair(nodes.get(chosen), at) };
            matches!(fill(arm, outcome, token), Filled::Yes).then_some(chosen)
        }
    }
}

/// What came of meeting a selected send.
enum Filled {
    Yes,
    No,
    /// The same as if the send had not been there, for now.
    TookTooLong,
}

/// Waits for the message of a selected send that was found at an arm.
#[cold]
fn await_lazy_send(
    arms: &[Arm<'_>],
    found_at: usize,
    sender: LazySend,
    limited: bool,
    token: &mut Token,
    at: At,
) -> Filled {
    let arm = &arms[found_at];
    // In a model the patience ends at any time, so that two selects could start over for ever.
    let may_dissolve = limited || (arms.len() > 1 && !cfg!(loom));
    fill(arm, arm.handle.await_lazy_send(sender, may_dissolve, at), token)
}

/// Fills the token with the message of a selected send that `arm`, a receive, has met.
#[cold]
fn fill(arm: &Arm<'_>, outcome: PairOutcome, token: &mut Token) -> Filled {
    match outcome {
        // SAFETY: the node met a send that was found at this arm, and the wait is over.
        PairOutcome::Settled(node, _) => match unsafe { arm.handle.accept(node, token) } {
            Accepted::Filled => Filled::Yes,
            Accepted::Retry | Accepted::Paired => Filled::No,
        },
        // One that must not wait where it is tries its other arms, and is refused when it waits for
        // them.
        PairOutcome::Dissolved | PairOutcome::Refused => Filled::TookTooLong,
    }
}

/// One node for each arm: the party's own for the first, a boxed slice for the others.
pub(super) struct Nodes {
    own: NodeRef,
    /// From a box, and back into one at the end. Between the two only pointers go to the nodes.
    others: NonNull<[WaitNode]>,
}

impl Nodes {
    pub(super) fn new(waiter: Waiter, arms: usize) -> Nodes {
        let others: Box<[WaitNode]> = (1..arms).map(|_| WaitNode::new()).collect();
        Nodes { own: NodeRef::new(waiter.node()), others: NonNull::from(Box::leak(others)) }
    }

    pub(super) fn get(&self, arm: usize) -> NodeRef {
        if arm == 0 {
            return self.own;
        }
        assert!(arm <= self.others.len());
        // SAFETY: within the slice, by the line above.
        NodeRef::new(unsafe { self.others.cast::<WaitNode>().add(arm - 1) })
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        // SAFETY: the slice came from a box; by the contract of `enter` all its nodes have left
        // their queues.
        drop(unsafe { Box::from_raw(self.others.as_ptr()) });
    }
}
