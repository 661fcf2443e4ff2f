//! Channels that tell the time: `after`, `at`, `tick` and `never`, and those of `Timer` and
//! `Ticker`.
//!
//! They have no sender and no thread, and stand in no heap. Such a channel is the instant of its
//! next message; to wait for it is to park with that instant as the deadline, and whoever finds it
//! passed takes the message. Among clones each message is taken once. One that nobody waits for
//! costs nothing, and has nothing to clean up.
//!
//! The instant of some can be *set* while others wait for it: `Timer` and `Ticker` stop and start
//! again. Everything about such a timer is under its one lock:
//!
//! 1. A party that waits enters the timer's queue and reads the instant that it will sleep until,
//!    in one critical section. `asleep_until` is not before the latest of these instants.
//! 2. A receive takes the message if the instant has passed, and moves the instant on or away. A
//!    party that slept until its deadline looks like any other, and may find nothing, or a later
//!    instant.
//! 3. To set the timer is to replace the instant. If the new one is before `asleep_until` then
//!    somebody might oversleep: all are taken out of the queue and woken to look again, when the
//!    lock has been released. If not, they find out by themselves in time; so a timer that is put
//!    off again and again, before it fires, wakes nobody.
//!
//! Hence no message is early or stale: a receive that takes the lock after step 3 sees the new
//! instant only, and one before it has received what was due then.

use crate::block::{At, Limit};
use crate::describe;
use crate::error::RecvTimeoutError;
use crate::waiters::{BlockedRecv, NodeRef, Note, SINGLE_QUEUE, Waiters, WakeList};
use narrowboat_runtime::lock::Mutex;
use narrowboat_runtime::park::{Outcome, Reason, Thing, Waiter, checkpoint};
use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A channel that holds a message from time to time.
pub(crate) struct Timer<T> {
    state: Mutex<State>,
    /// `T` is `Instant`, which the type of a receiver does not know.
    message: fn(Instant) -> T,
}

struct State {
    /// When the next message comes; `None` after the last one.
    next: Option<Instant>,
    /// The distance between messages; `None` if there is but one.
    period: Option<Duration>,
    /// Who waits, if the timer can be set. For one that cannot, the deadline says all.
    sleepers: Option<Sleepers>,
}

struct Sleepers {
    queue: Waiters<BlockedRecv<()>>,
    /// Everybody in the queue looks again by then; `None` if somebody does not.
    asleep_until: Option<Instant>,
}

impl Timer<Instant> {
    pub(crate) fn new(first: Instant, period: Option<Duration>) -> Timer<Instant> {
        Timer::with(first, period, None)
    }

    /// One that can be [`set`](Timer::set).
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

    /// Replaces whatever was to come. True if something was.
    pub(crate) fn set(&self, next: Option<Instant>, period: Option<Duration>) -> bool {
        let mut woken = WakeList::new();
        let mut state = self.lock();
        let was = state.next.is_some();
        state.next = next;
        state.period = period;
        let sleepers = state.sleepers.as_mut().expect("only timers that can be set are set");
        if next.is_some_and(|next| sleepers.asleep_until.is_none_or(|until| next < until)) {
            sleepers.queue.claim_all(Note::RETRY, &mut woken);
        }
        drop(state);
        woken.wake();
        checkpoint();
        was
    }

    pub(crate) fn try_recv(&self) -> Option<T> {
        let mut state = self.lock();
        let when = state.next?;
        let now = Instant::now();
        if now < when {
            return None;
        }
        state.next = state.period.and_then(|period| next_tick(when, period, now));
        drop(state);
        Some((self.message)(when))
    }

    pub(crate) fn recv(&self, limit: Limit, at: At) -> Result<T, RecvTimeoutError> {
        loop {
            if let Some(message) = self.try_recv() {
                checkpoint();
                return Ok(message);
            }
            sleep(self, limit, at)?;
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lock().next.is_none_or(|when| Instant::now() < when)
    }

    pub(crate) fn thing(&self, operation: &'static str) -> Thing {
        let details = describe::until(self.lock().next);
        Thing { operation, address: (&raw const *self).addr(), kind: "timer", details, held_by: None }
    }
}

/// What can be waited for without a message from a counterpart: an instant ends the wait, or a word
/// to look again.
pub(crate) trait Event {
    /// What a party says that waits for this alone.
    const REASON: Reason;

    /// Looks, and enters the queue, in one critical section.
    ///
    /// # Safety
    /// As for [`Waiters::enter`]; `sole` says that there is neither another arm nor a limit. After
    /// `Until` the node may be in the queue.
    unsafe fn enter(&self, node: NodeRef, me: Waiter, outcome: Outcome, sole: bool) -> Recheck;

    /// Leaves the queue.
    ///
    /// # Safety
    /// The node was entered here, and is alive.
    unsafe fn leave(&self, node: NodeRef);
}

/// What came of entering.
pub(crate) enum Recheck {
    /// It has happened, and the queue was not entered.
    Now,
    /// The party has to look again at this instant, or when it is woken to.
    Later(Option<Instant>),
}

// Not inlined: the frame that sleeps is parked with its goroutine, and shall be small.
impl<T> Event for Timer<T> {
    const REASON: Reason = Reason::Timer;

    #[inline(never)]
    unsafe fn enter(&self, node: NodeRef, me: Waiter, outcome: Outcome, sole: bool) -> Recheck {
        let mut state = self.lock();
        let next = state.next;
        if let Some(sleepers) = &mut state.sleepers {
            sleepers.asleep_until = match (sleepers.queue.is_empty(), sleepers.asleep_until) {
                (false, until) => until.and_then(|until| next.map(|next| until.max(next))),
                (true, _) => next,
            };
            // SAFETY: by contract; a sole party without an instant of ours to sleep until is woken
            // by nobody else.
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

/// What does not happen.
struct Never;

impl Event for Never {
    const REASON: Reason = Reason::Never;

    unsafe fn enter(&self, _: NodeRef, _: Waiter, _: Outcome, _: bool) -> Recheck {
        Recheck::Later(None)
    }

    unsafe fn leave(&self, _: NodeRef) {}
}

/// A receive on a channel that never has a message.
pub(crate) fn recv_never<T>(limit: Limit, at: At) -> Result<T, RecvTimeoutError> {
    loop {
        sleep(&Never, limit, at)?;
    }
}

/// Parks until the event may have happened, or until the limit, if that is earlier; the error is
/// for a limit already reached.
#[inline(never)]
pub(crate) fn sleep<E: Event>(event: &E, limit: Limit, at: At) -> Result<(), RecvTimeoutError> {
    let Some(deadline) = limit.deadline() else {
        checkpoint();
        return Err(RecvTimeoutError::Timeout);
    };
    describe::register_descriptions();
    let me = Waiter::begin(E::REASON, (&raw const *event).expose_provenance(), at);
    // SAFETY: our own node, which is in no queue and lives for ever. After the park it is taken
    // out, if nobody has. `me` is from our latest `begin`; if there is neither a deadline nor a
    // queue we sleep for ever, as is meant.
    unsafe {
        if let Recheck::Later(until) =
            event.enter(NodeRef::new(me.node()), me, SINGLE_QUEUE, deadline.is_none())
            && me.park(earlier(until, deadline)) == Outcome::TIMED_OUT
        {
            event.leave(NodeRef::new(me.node()));
        }
    }
    Ok(())
}

/// `duration` from now; a hundred years if the clock does not reach that far.
pub(crate) fn from_now(duration: Duration) -> Instant {
    const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);
    let now = Instant::now();
    now.checked_add(duration).unwrap_or_else(|| now + CENTURY)
}

/// The earlier of two instants, where `None` is never.
pub(crate) fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// The first instant after `now` that is a whole number of periods from `when`: a late receiver
/// misses messages, but the clock does not go slow for it. `None` if there is no such instant in
/// the range of the type.
fn next_tick(when: Instant, period: Duration, now: Instant) -> Option<Instant> {
    let late = (now - when).as_nanos();
    let into = late.checked_rem(period.as_nanos()).unwrap_or(0);
    // The remainder is less than the period, of which the nanoseconds may be more than 64 bits.
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
