//! How a select waits until an operation is possible, without carrying it out.
//!
//! 1. *Look.* The select looks at each operation in turn, in shuffled order (or in the order
//!    written). The first that is possible is the result.
//! 2. *Watch.* A wait begins. At each channel, under its lock, the select looks again, and if the
//!    operation is still impossible it leaves a node among its watchers. A counterpart that makes
//!    the operation possible wakes all watchers. A watcher is handed nothing, and takes no waiter's
//!    turn.
//! 3. *Park*, until a counterpart wakes the select or the deadline comes. If an operation turned
//!    out to be possible in step 2, the select ends its wait itself, or, if a counterpart has ended
//!    it meanwhile, parks to receive that wake-up.
//! 4. *Leave*, each node under its channel's lock, and start over with step 1. If other operations
//!    have taken what was possible in between, the select goes on waiting.
//!
//! Two selects that watch the two ends of a channel without a buffer wait for each other for ever:
//! an operation is possible only when a counterpart has begun its own.

use super::arm::{Arm, register};
use super::handle::{ArmNode, ENDED_BY_SELECT};
use super::nodes::Nodes;
use super::order::Order;
use crate::event::Recheck;
use crate::limit::{At, Limit, earlier};
use crate::receiver::Receiver;
use narrowboat_runtime::park::{Outcome, Reason, Waiter, checkpoint};
use std::time::Instant;

/// Waits until one of the operations is possible. Returns its index, or `None` if the limit was
/// reached first.
pub(crate) fn ready(arms: &mut [Arm<'_>], order: Order, limit: Limit, at: At) -> Option<usize> {
    loop {
        order.arrange(arms);
        if let Some(arm) = arms.iter().find(|arm| arm.handle.is_ready()) {
            checkpoint();
            return Some(arm.index);
        }
        match limit.deadline() {
            Some(deadline) => sleep(arms, deadline, at),
            None if none_is_possible(arms, at) => {
                checkpoint();
                return None;
            }
            None => {}
        }
    }
}

/// Waits until one of two receivers has a message or is closed, without receiving. False if
/// `deadline` came first. For the other crates of Narrowboat.
pub fn either(one: &Receiver<()>, other: &Receiver<()>, deadline: Option<Instant>, at: At) -> bool {
    let mut arms = [Arm::recv(one, 0), Arm::recv(other, 1)];
    ready(&mut arms, Order::Biased, deadline.map_or(Limit::None, Limit::Until), at).is_some()
}

/// Whether there is a moment at which no operation is possible. Called after each has been found
/// impossible on its own.
///
/// Without this a select could give up although one of its operations was possible at any time: the
/// first became possible after it had been looked at, and the second was possible until shortly
/// before. So the select watches all of them together. If it can then end its wait itself, no
/// operation has become possible in between.
pub(super) fn none_is_possible(arms: &[Arm<'_>], at: At) -> bool {
    // With one operation, the look at it was such a moment.
    arms.len() < 2
        || watch(arms, true, false, None, at, |waiter, deadline| {
            let quiet = waiter.try_end(ENDED_BY_SELECT);
            if !quiet {
                // SAFETY: `waiter` is from our latest `begin`. A counterpart has ended the wait,
                // and wakes us.
                unsafe { waiter.park(None) };
            }
            deadline.is_some() && quiet
        })
}

/// Sleeps until an operation becomes possible, or until a timer among them or the limit is due.
#[cold]
#[inline(never)]
fn sleep(arms: &[Arm<'_>], limit: Option<Instant>, at: At) {
    watch(arms, false, arms.len() == 1 && limit.is_none(), limit, at, |waiter, deadline| {
        if deadline.is_some() || !waiter.try_end(ENDED_BY_SELECT) {
            // SAFETY: `waiter` is from our latest `begin`. If we do not watch at all arms, a
            // counterpart has already ended the wait, and wakes us.
            unsafe { waiter.park(deadline.flatten()) };
        }
    });
}

/// Steps 2 to 4. `then` ends the wait that it is called with. If the select watches at all arms,
/// which it does unless one is found possible, `then` also gets the latest instant at which the
/// wait has to end. `brief`: the wait parks only to receive a wake-up that is on its way.
#[inline(always)]
fn watch<R>(
    arms: &[Arm<'_>],
    brief: bool,
    sole: bool,
    limit: Option<Instant>,
    at: At,
    then: impl FnOnce(Waiter, Option<Option<Instant>>) -> R,
) -> R {
    register();
    let object = (&raw const arms).expose_provenance();
    let waiter = if brief {
        Waiter::begin_brief(Reason::Select, object, at)
    } else {
        Waiter::begin(Reason::Select, object, at)
    };
    let nodes = Nodes::new(waiter, arms.len());
    let mut deadline = limit;
    let mut watching = 0;
    for (i, arm) in arms.iter().enumerate() {
        // All nodes have the same outcome: step 1 finds which operation is possible.
        let arm_node = ArmNode { waiter, node: nodes.get(i), outcome: Outcome(Outcome::FIRST), sole };
        // SAFETY: each node is used for one arm of this wait, and `nodes` lives until all have
        // left.
        let Recheck::Later(until) = (unsafe { arm.handle.watch(arm_node) }) else { break };
        deadline = earlier(deadline, until);
        watching += 1;
    }
    let result = then(waiter, (watching == arms.len()).then_some(deadline));
    for (i, arm) in arms[..watching].iter().enumerate() {
        // SAFETY: `watch` above has put the node there, and it is alive.
        unsafe { arm.handle.unwatch(nodes.get(i)) };
    }
    result
}

#[cfg(test)]
mod tests {
    use crate::channel::Guard;
    use crate::receiver::Flavor;
    use crate::{Receiver, Select, bounded};
    use std::time::{Duration, Instant};

    fn state<T>(rx: &Receiver<T>) -> Guard<'_, T> {
        let Flavor::Channel(channel) = &rx.flavor else { unreachable!() };
        channel.lock()
    }

    /// Waits until the queues are in the expected state.
    fn until<T>(rx: &Receiver<T>, holds: impl Fn(&Guard<'_, T>) -> bool) {
        let start = Instant::now();
        while !holds(&state(rx)) {
            assert!(start.elapsed() < Duration::from_secs(60));
            std::thread::yield_now();
        }
    }

    #[test]
    fn watching_leaves_nothing() {
        let (tx, rx) = bounded::<i32>(0);
        for _ in 0..if cfg!(miri) { 10 } else { 100 } {
            let mut select = Select::new();
            select.recv(&rx);
            select.send(&tx);
            select.recv(&rx);
            assert!(select.ready_timeout(Duration::from_micros(20)).is_err());
            let state = state(&rx);
            assert!(state.recvs.is_empty() && state.sends.is_empty());
        }
        let watcher = {
            let (tx, rx) = (tx.clone(), rx.clone());
            std::thread::spawn(move || {
                let mut select = Select::new();
                select.send(&tx);
                select.recv(&rx);
                select.ready()
            })
        };
        until(&rx, |state| state.recvs.is_watched() && state.sends.is_watched());
        tx.close();
        watcher.join().unwrap();
        assert!(state(&rx).recvs.is_empty() && state(&rx).sends.is_empty());
    }

    #[test]
    fn room_that_a_blocked_send_gets_is_no_news() {
        let (tx, rx) = bounded(1);
        tx.send(1).unwrap();
        let sender = {
            let tx = tx.clone();
            std::thread::spawn(move || tx.send(2).unwrap())
        };
        until(&rx, |state| state.sends.has_waiter());
        let watcher = std::thread::spawn(move || {
            let mut select = Select::new();
            select.send(&tx);
            select.ready()
        });
        until(&rx, |state| state.sends.is_watched());
        assert_eq!(rx.recv(), Ok(1));
        sender.join().unwrap();
        assert!(state(&rx).sends.is_watched());
        assert_eq!(rx.recv(), Ok(2));
        assert_eq!(watcher.join().unwrap(), 0);
        assert!(rx.is_empty());
    }
}
