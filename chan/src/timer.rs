//! Channels that tell the time: `after`, `at` and `tick`, and those of `Timer` and `Ticker`.
//!
//! They have no sender and no thread, and are in no timer heap. Such a channel is the instant of
//! its next message. To wait for the message is to park with that instant as the deadline, and the
//! first receive that finds the instant passed takes the message. Among clones each message is
//! taken once. A channel without waiters costs nothing, and needs no cleanup.
//!
//! `Timer` and `Ticker` can be *set* while goroutines wait for them: their instant then changes.
//! All state of such a timer is under its one lock:
//!
//! 1. A waiter enters the timer's queue and reads the instant that it will sleep until, in one
//!    critical section. `asleep_until` is never before the latest of these instants.
//! 2. A receive takes the message if the instant has passed, and moves the instant to the next
//!    period, or removes it. A waiter that has slept until its deadline looks like any other
//!    receive, and may find no message, or a later instant.
//! 3. To set the timer is to replace the instant. If the new one is before `asleep_until`, a waiter
//!    could sleep too long: then all waiters are taken out of the queue, and woken to look again
//!    when the lock has been released. Otherwise each waiter wakes in time by itself. So a timer
//!    that is postponed again and again before it fires wakes no waiter.
//!
//! Hence no message is early or stale: a receive that takes the lock after step 3 sees only the new
//! instant, and a receive that takes the lock before it received what was due then.

use crate::describe::until;
use crate::error::RecvError;
use crate::event::{Event, Recheck};
use crate::node::{NodeRef, Note};
use crate::waiters::{BlockedRecv, Waiters, WakeList};
use narrowboat_runtime::lock::Mutex;
use narrowboat_runtime::park::{Outcome, Reason, Thing, Waiter, checkpoint};
use narrowboat_runtime::world;
use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A channel that has a message at certain instants.
pub(crate) struct Timer<T> {
    state: Mutex<State>,
    /// Makes the message. `T` is `Instant`, but the type of a receiver does not say so.
    message: fn(Instant) -> T,
}

struct State {
    /// When the next message comes; `None` after the last one.
    next: Option<Instant>,
    /// The interval between messages; `None` if there is only one message.
    period: Option<Duration>,
    /// The waiters, if the timer can be set. If it cannot, each waiter's deadline is enough.
    sleepers: Option<Sleepers>,
}

struct Sleepers {
    queue: Waiters<BlockedRecv<()>>,
    /// Every waiter in the queue looks again by then. `None` if some waiter has no instant to sleep
    /// until.
    asleep_until: Option<Instant>,
}

impl Timer<Instant> {
    pub(crate) fn new(first: Instant, period: Option<Duration>) -> Timer<Instant> {
        Timer::with(first, period, None)
    }

    /// A timer that can be [`set`](Timer::set).
    pub(crate) fn settable(first: Instant, period: Option<Duration>) -> Timer<Instant> {
        Timer::with(first, period, Some(Sleepers { queue: Waiters::new(), asleep_until: None }))
    }

    fn with(first: Instant, period: Option<Duration>, sleepers: Option<Sleepers>) -> Timer<Instant> {
        Timer { state: Mutex::new(State { next: Some(first), period, sleepers }), message: |when| when }
    }
}

impl<T> Timer<T> {
    /// Nothing panics while the lock is held.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a message is there or will come.
    pub(crate) fn is_set(&self) -> bool {
        self.lock().next.is_some()
    }

    /// Replaces the next message. True if there was one.
    pub(crate) fn set(&self, next: Option<Instant>, period: Option<Duration>) -> bool {
        let mut woken = WakeList::new();
        let mut state = self.lock();
        let was = state.next.is_some();
        state.next = next;
        state.period = period;
        let sleepers = state.sleepers.as_mut().expect("`settable` has made this timer");
        if next.is_some_and(|next| sleepers.asleep_until.is_none_or(|until| next < until)) {
            sleepers.queue.claim_all(Note::RETRY, &mut woken);
        }
        drop(state);
        woken.wake();
        checkpoint();
        was
    }
}

// SAFETY: it has the default id, and its reason is that of timers alone, which all have messages
// of one type, as `Timer::with` is the only constructor.
unsafe impl<T> Event<T> for Timer<T> {
    fn reason(&self) -> Reason {
        Reason::Timer
    }

    fn try_recv(&self) -> Option<Result<T, RecvError>> {
        let mut state = self.lock();
        let when = state.next?;
        let now = world::now();
        if now < when {
            return None;
        }
        state.next = state.period.and_then(|period| next_tick(when, period, now));
        drop(state);
        Some(Ok((self.message)(when)))
    }

    fn is_ready(&self) -> bool {
        self.lock().next.is_some_and(|when| world::now() >= when)
    }

    fn thing(&self) -> Thing {
        let details = until(self.lock().next);
        Thing { operation: "receive from", address: self.id(), kind: "timer", details, held_by: None }
    }

    // Not inlined, nor is `leave`: the frame that sleeps is parked with its goroutine, and should
    // be small.
    #[inline(never)]
    unsafe fn enter(&self, node: NodeRef, me: Waiter, outcome: Outcome, sole: bool) -> Recheck {
        let mut state = self.lock();
        let next = state.next;
        if let Some(sleepers) = &mut state.sleepers {
            sleepers.asleep_until = match (sleepers.queue.is_empty(), sleepers.asleep_until) {
                (false, until) => until.and_then(|until| next.map(|next| until.max(next))),
                (true, _) => next,
            };
            // SAFETY: by contract. If the caller waits for nothing else and there is no instant,
            // only a holder of this lock can end its wait.
            unsafe { sleepers.queue.enter(node, me, outcome, sole && next.is_none()) };
        }
        Recheck::Later(next)
    }

    #[inline(never)]
    unsafe fn leave(&self, node: NodeRef) {
        if let Some(sleepers) = &mut self.lock().sleepers {
            // SAFETY: by contract.
            unsafe { sleepers.queue.leave(node) };
        }
    }
}

/// The first instant after `now` that is a whole number of periods from `when`: a late receiver
/// misses messages, but the ticks keep their phase. `None` if there is no such instant in the range
/// of the type.
fn next_tick(when: Instant, period: Duration, now: Instant) -> Option<Instant> {
    let late = (now - when).as_nanos();
    let into = late.checked_rem(period.as_nanos()).unwrap_or(0);
    // The remainder is less than the period, and the nanoseconds of that may need more than 64
    // bits.
    let into = Duration::new((into / 1_000_000_000) as u64, (into % 1_000_000_000) as u32);
    now.checked_add(period - into)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_keep_their_phase() {
        let start = Instant::now();
        let ms = Duration::from_millis;
        let next = |late| next_tick(start, ms(50), start + ms(late)).unwrap() - start;
        assert_eq!(next(0), ms(50));
        assert_eq!(next(49), ms(50));
        assert_eq!(next(50), ms(100));
        assert_eq!(next(375), ms(400));
        assert_eq!(next_tick(start, Duration::ZERO, start + ms(3)), Some(start + ms(3)));
        assert_eq!(next_tick(start, Duration::MAX, start), None);
    }
}
