//! How a select chooses an operation. It makes three passes over its arms, holds one channel's lock
//! at a time, and carries out one operation.
//!
//! 1. *Try.* The select attempts each operation in turn, in shuffled order (or in the order
//!    written). It takes the first that is possible, and ends. A select that must not wait (any
//!    longer) gives up only if at some moment none was possible (see [`none_is_possible`]).
//! 2. *Enter.* A wait begins. At each channel, under its lock, the select looks again, and if the
//!    operation is still impossible it leaves a node. So a counterpart that makes the operation
//!    possible later finds the node, and the select notices now if one made it possible between the
//!    passes.
//!    - From the first node on, counterparts may end the wait, even while the select is still
//!      entering other queues.
//!    - If an operation turns out to be possible, the select tries to end its wait itself. If that
//!      succeeds, it takes the operation, or finds that the operation was taken meanwhile and
//!      starts over. If it fails, an earlier node was chosen, and the select goes on to step 3
//!      without entering the rest.
//!    - A select that waits to send and to receive on one channel does not count its own nodes, so
//!      it never meets itself.
//! 3. *Park*, until a counterpart or the deadline ends the wait.
//! 4. *Leave.* The select takes out the nodes that were not chosen, each under its channel's lock.
//!    Each takes constant time, and nothing of the select remains in any queue.
//! 5. The node that was chosen says what happened. If the deadline ended the wait, or the other
//!    side gave up, the select starts over with step 1. There it finds the timer that has become
//!    due, or that its own time is up.
//!
//! A receive may meet a selected send that has yet to make its message ([`crate::pairs`]). If that
//! takes long, the select starts over as well: other arms may have become possible, or its time may
//! be up.
//!
//! Starting over makes progress, but needs an order. In step 2 a select S starts over if the select
//! that it found waiting had ended its own wait, because that one had found another select waiting
//! at a later channel, and so on. This chain ends at a select that was still waiting, and that has
//! been served, or it closes into a circle. Without an order, two selects that meet at two channels
//! could make each other start over for ever. So a select that starts over enters channels in the
//! order of their addresses. A circle needs a select that does not do so yet, and after the circle
//! that select does. (To sort the arms every time would cost an eighth of the time of a select over
//! eight channels.)
//!
//! An arm that may become possible at an instant (a timer is due, a context ends) returns that
//! instant when it is entered, under its lock. The deadline of the park is the earliest of these
//! instants and of the select's own.

use super::arm::{Arm, register};
use super::handle::{Accepted, ArmNode, Attempt, ENDED_BY_SELECT, EnterResult};
use super::nodes::Nodes;
use super::order::Order;
use super::ready::none_is_possible;
use super::token::{Holds, Token};
use crate::limit::{At, Limit, earlier};
use crate::pairing::PairOutcome;
use crate::waiters::LazySend;
use narrowboat_runtime::park::{Outcome, Reason, Waiter, checkpoint};
use narrowboat_runtime::world;
use std::time::Instant;

/// Chooses one of the operations. Reorders the list, fills the token, and returns the index of the
/// operation in the list; `None` if the limit was reached first.
#[inline(never)]
pub(super) fn choose(
    arms: &mut [Arm<'_>],
    token: &mut Token,
    order: Order,
    limit: Limit,
    at: At,
) -> Option<usize> {
    // A model sorts the arms from the first wait on: to try all orders of two selects takes
    // minutes, and also ends with sorted arms.
    let mut again = cfg!(loom);
    'again: loop {
        order.arrange(arms);
        let mut took_too_long = false;
        for (i, arm) in arms.iter().enumerate() {
            match arm.handle.attempt(token) {
                Attempt::NotReady => continue,
                // No checkpoint here: the receive of the pair waits for the message, and would take
                // a yield for a pause of the send.
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
            // A send that took too long, and is found again, was not a possible operation
            // meanwhile.
            if !took_too_long && !none_is_possible(arms, at) {
                continue;
            }
            checkpoint();
            return None;
        };
        if std::mem::replace(&mut again, true) {
            // The send and the receive of one channel are neighbours in this order, in any order
            // between them: they have the same lock.
            sort_for_another_try(arms);
        }
        let chosen = wait(arms, deadline, token, at);
        if chosen.is_some() {
            return chosen;
        }
    }
}

/// Puts the arms in the order in which a select enters channels that starts over.
#[cold]
fn sort_for_another_try(arms: &mut [Arm<'_>]) {
    // In a world nothing happens between two of the locks, so there is no circle to break. And the
    // order must not depend on addresses.
    let in_world = world::current().is_some();
    arms.sort_unstable_by_key(|arm| if in_world { arm.index } else { arm.handle.id() });
}

/// Steps 2 to 5. Returns which of the arms filled the token; `None` means to start over.
///
/// The work before the park and the work after it are separate functions, so that their frames are
/// not parked with the goroutine.
#[cold]
#[inline(never)]
fn wait(arms: &[Arm<'_>], limit: Option<Instant>, token: &mut Token, at: At) -> Option<usize> {
    register();
    let waiter = Waiter::begin(Reason::Select, (&raw const arms).expose_provenance(), at);
    let nodes = Nodes::new(waiter, arms.len());
    match enter(arms, waiter, &nodes, limit, token) {
        Entered::All(deadline) => {
            // SAFETY: `waiter` is from our latest `begin`.
            let outcome = unsafe { waiter.park(deadline) };
            let left = leave(arms, &nodes, arms.len(), outcome, token);
            complete(arms, &nodes, left, token, at)
        }
        // A counterpart has ended the wait, and will wake us.
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

/// How far step 2 came. The numbers say how many of the arms were entered.
enum Entered {
    /// All of them. The park ends at this deadline.
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
        // SAFETY: each node is used for one arm of this wait, and the caller keeps `nodes` until
        // all have left.
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
            // SAFETY: `enter` has entered the node, and it is alive.
            unsafe { arm.handle.leave(nodes.get(i)) };
        }
    }
    // SAFETY: the node was entered at this arm and ended the wait, from which we have returned.
    chosen.map(|i| (i, unsafe { arms[i].handle.accept(nodes.get(i), token) }))
}

/// Fills the token of the chosen arm, if that is not done yet, and returns the arm. `None` means to
/// start over.
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
            // SAFETY: the node ended the wait at this arm. All other nodes have left their queues,
            // and this one is alive.
            let outcome = unsafe { arm.handle.resume_pair(nodes.get(chosen), at) };
            matches!(fill(arm, outcome, token), Filled::Yes).then_some(chosen)
        }
    }
}

/// Whether a selected send, found at an arm, filled the token.
enum Filled {
    Yes,
    No,
    /// No, because it took too long. For now the arm counts as if the send had not been there.
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
    // In a model the wait may time out at any moment, so that two selects could start over for
    // ever.
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
        // `Refused`: the caller is in a context that cannot wait. It tries its other arms, and the
        // runtime refuses it when it waits for them.
        PairOutcome::Dissolved | PairOutcome::Refused => Filled::TookTooLong,
    }
}
