//! One direction of one descriptor: what is known about its readiness, and the queue of its
//! waiters.
//!
//! Guarantees that an operation which found the direction drained, and waits, tries again after
//! every event that the kernel reports later; and that the system call is skipped where it could
//! only return "would block". The owner of the descriptor calls [`wait`](Readiness::wait) and
//! [`mark_drained`](Readiness::mark_drained), the polling thread calls
//! [`signal`](Readiness::signal). All may be called from any thread.
//!
//! # The state word
//!
//! ```text
//! | generation : 24 | sequence : 32 | (0) : 4 | ALWAYS | HANGUP | WAITING | DRAINED |
//! ```
//!
//! - *generation*: which of the descriptors that used this entry the word belongs to. An event
//!   carries the generation that its descriptor was registered with, and one that does not match
//!   changes nothing: the comparison and the change are one exchange.
//! - *sequence*: counts the events. An operation compares it to learn whether there was an event
//!   meanwhile.
//! - `ALWAYS`: always set, so that a word is never zero, and `Option<Seen>` needs no more room than
//!   a word.
//! - `DRAINED`: a system call made since the sequence last changed found nothing left.
//! - `WAITING`: the queue may have waiters.
//! - `HANGUP`: the kernel reported the end of the stream, an error or urgent data. From then on
//!   `DRAINED` is ignored.
//!
//! # The protocol
//!
//! 1. The operation loads the word (*seen*).
//! 2. It makes its system call. On success it returns the result. If the result was short, it sets
//!    `DRAINED` by exchanging *seen* for *seen + DRAINED*, which fails if an event came since step
//!    1.
//! 3. On "would block", under the lock of the queue, it sets `WAITING` and `DRAINED`, provided that
//!    the sequence is still the one in *seen* (otherwise back to step 1). It pushes its node,
//!    releases the lock and parks.
//! 4. An event adds one to the sequence, clears `DRAINED` and `WAITING` and may set `HANGUP`, all
//!    in one exchange. If `WAITING` was set, it takes the lock, empties the queue and wakes all
//!    waiters that were in it.
//! 5. A woken waiter begins again at step 1.
//!
//! No wake-up is lost: the exchanges of 3 and 4 are on one word, so one comes first. If 4 does, 3
//! sees another sequence and does not park. If 3 does, 4 sees `WAITING`, and gets the lock only
//! when the node is in the queue.
//!
//! # Why a read may skip its system call
//!
//! A read that loads a word with `DRAINED` and without `HANGUP` goes to step 3 at once. Suppose
//! that some byte, or the end of the stream, arrives at time *a*, and that the read is about to
//! sleep all the same.
//!
//! 1. `DRAINED` in the word means that some call, made after a load of the same sequence at time
//!    *l*, found the queue of the socket empty at time *e*, so *l < e*. (A call on a stream that
//!    returns less than it was asked for has emptied the queue: nothing but its end stops it
//!    earlier, with the exception in 6.)
//! 2. A byte with *a < e* was taken by that call or an earlier one. The end of the stream is not
//!    taken; see 5.
//! 3. If *a > e*, the kernel puts the descriptor on its ready list at *a*, or finds it there
//!    already, and a poll collects it at *c > a*: registration is edge-triggered, and every arrival
//!    is an edge.
//! 4. The event of 3 is handled at *h > c > a > e > l*, so it changes the sequence after *l*:
//!    either before step 3 of the read, which then does not park, or after it, and then it wakes
//!    the read.
//! 5. The end of the stream with *a < e* has its event as well. The flags of that event were taken
//!    at some *c > a* and include the end, because `EPOLLRDHUP`, `EPOLLHUP` and `EPOLLERR` are
//!    levels: once set they stay. If the event was handled before *l*, `HANGUP` is in the word. If
//!    after *l*, 4 applies.
//! 6. Urgent data make a call return at their mark although more follows. The arrival of the mark
//!    is reported with `EPOLLPRI`, for as long as the mark was not passed, and that counts as
//!    `HANGUP`: 5 applies.
//! 7. One event may stand for several arrivals, and may report bytes that were read long ago. A
//!    superfluous event costs one call.
//!
//! None of this holds for output. The kernel reports room only when about a third of the buffer is
//! free, while a call succeeds as soon as there is any. If a write skipped its call because an
//! earlier one found no room, it could wait for a peer that reads no further until it has an
//! answer. So a write always makes its call.
//!
//! A selector that cannot detect the end of a stream reports every event as [`Signal::Hangup`]:
//! `DRAINED` then counts only until the first event, and 5 holds.

use crate::shim::{AtomicU64, Mutex, MutexGuard, Ordering};
use narrowboat_runtime::park::{Outcome, Reason, WaitNode, WaitQueue, Waiter};
use std::num::NonZero;
use std::panic::Location;
use std::ptr::NonNull;
use std::sync::PoisonError;
use std::time::Instant;

const DRAINED: u64 = 1;
const WAITING: u64 = 1 << 1;
const HANGUP: u64 = 1 << 2;
const FLAGS: u64 = DRAINED | WAITING | HANGUP;
const ALWAYS: NonZero<u64> = NonZero::new(1 << 3).unwrap();

const SEQUENCE_SHIFT: u32 = 8;
const SEQUENCE_ONE: u64 = 1 << SEQUENCE_SHIFT;
const SEQUENCE: u64 = (u32::MAX as u64) << SEQUENCE_SHIFT;

const GENERATION_SHIFT: u32 = SEQUENCE_SHIFT + u32::BITS;

/// Bits of a generation. A stale event is taken for a fresh one only if the poller holds it while
/// the entry is reused 2^24 times, and even then it costs one superfluous system call.
pub(crate) const GENERATION_BITS: u32 = u64::BITS - GENERATION_SHIFT;

const WOKEN: Outcome = Outcome(Outcome::FIRST);

/// What the poller reports of one direction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Signal {
    /// There may be something to do.
    Ready,
    /// The same, and there may be something that a short result does not show: the end, an error, a
    /// mark in the stream.
    Hangup,
}

/// A state word as an operation loaded it before its system call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Seen(NonZero<u64>);

impl Seen {
    /// The word of an entry that was just given to a new descriptor and has seen no event.
    pub(crate) fn fresh(generation: u32) -> Seen {
        Seen(ALWAYS | u64::from(generation) << GENERATION_SHIFT)
    }

    fn word(self) -> u64 {
        self.0.get()
    }

    /// Whether a read would certainly find nothing.
    pub(crate) fn is_drained(self) -> bool {
        self.word() & (DRAINED | HANGUP) == DRAINED
    }
}

/// How a wait ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Waited {
    /// There was an event; the operation should try again.
    Woken,
    /// The deadline passed first.
    TimedOut,
}

/// The readiness of one direction of one descriptor.
pub(crate) struct Readiness {
    state: AtomicU64,
    waiters: Mutex<WaitQueue>,
}

impl Readiness {
    pub(crate) fn new() -> Readiness {
        Readiness { state: AtomicU64::new(ALWAYS.get()), waiters: Mutex::new(WaitQueue::new()) }
    }

    /// The generation of the descriptor that has the entry now.
    pub(crate) fn generation(&self) -> u32 {
        (self.state.load(Ordering::Relaxed) >> GENERATION_SHIFT) as u32
    }

    /// Prepares the entry for its next descriptor: from here on no event of the last one changes
    /// anything.
    ///
    /// There are no waiters: a waiter holds a reference to the descriptor, and the owner of the
    /// descriptor calls this when there is no reference left.
    pub(crate) fn retire(&self) {
        debug_assert!(self.lock().is_empty());
        let next = self.generation().wrapping_add(1) & ((1 << GENERATION_BITS) - 1);
        // An exchange, as a stale event makes one, so that one of the two comes first. Relaxed: the
        // lock of the slab orders the hand-over of the entry to its next owner. Until then only
        // stale events load the word, and they do nothing with either value.
        self.state.swap(Seen::fresh(next).word(), Ordering::Relaxed);
    }

    /// Step 1.
    #[inline]
    pub(crate) fn look(&self) -> Seen {
        // Acquire: the call that follows sees what the kernel did before the event that is counted
        // here, and the caller sees a deadline that was stored before a `signal`.
        Seen(ALWAYS | self.state.load(Ordering::Acquire))
    }

    /// Step 2: a call made after `seen` was loaded left nothing behind.
    #[inline]
    pub(crate) fn mark_drained(&self, seen: Seen) {
        let seen = seen.word();
        if seen & (DRAINED | HANGUP) == 0 {
            // Release: if an operation sees the flag and makes a call all the same, that call must
            // not be ordered before ours. If the exchange fails, an event or a waiter came between:
            // the next operation makes its call.
            let drained = seen | DRAINED;
            let _ = self.state.compare_exchange(seen, drained, Ordering::Release, Ordering::Relaxed);
        }
    }

    /// Step 3: waits for an event later than `seen`, or until `deadline`.
    ///
    /// Inlined into the operation's wait: a frame of its own would be copied with every goroutine
    /// that waits.
    #[inline(always)]
    pub(crate) fn wait(
        &self,
        seen: Seen,
        deadline: Option<Instant>,
        reason: Reason,
        object: usize,
        at: &'static Location<'static>,
    ) -> Waited {
        let waiter = Waiter::begin(reason, object, at);
        let node = waiter.node();
        // SAFETY: the node is the caller's own, and is in no queue between its waits. It stays
        // alive and in place: records are never unmapped.
        if !unsafe { self.enqueue(seen, node, waiter, WOKEN, deadline.is_none()) } {
            return Waited::Woken;
        }
        // SAFETY: the waiter came from the caller's latest `begin`, and its node was published
        // above.
        let outcome = unsafe { waiter.park(deadline) };
        if deadline.is_some() && outcome == Outcome::TIMED_OUT {
            // SAFETY: enqueued above, and alive as long as its waiter.
            unsafe { self.dequeue(node) };
            return Waited::TimedOut;
        }
        Waited::Woken
    }

    /// Step 3 without the park. False if there was an event since `seen`. Otherwise the waiter is
    /// in the queue until an event takes it out, or [`dequeue`](Readiness::dequeue) does.
    ///
    /// # Safety
    /// The node is the caller's, in no queue, and on the heap. It stays there until it is out of
    /// the queue again (and, if an event took it out, until the waiter was woken). Only holders of
    /// this lock touch it meanwhile. `sole` as in [`WaitNode::prepare`].
    pub(crate) unsafe fn enqueue(
        &self,
        seen: Seen,
        node: NonNull<WaitNode>,
        me: Waiter,
        outcome: Outcome,
        sole: bool,
    ) -> bool {
        let mut waiters = self.lock();
        let waiting = self.set_waiting(seen);
        if waiting {
            // SAFETY: by contract.
            unsafe {
                (*node.as_ptr()).prepare(me, outcome, sole);
                waiters.push(node);
            }
        }
        waiting
    }

    /// Takes a waiter out of the queue, if it is still in it.
    ///
    /// # Safety
    /// The node was enqueued here, and is alive.
    pub(crate) unsafe fn dequeue(&self, node: NonNull<WaitNode>) {
        // SAFETY: by contract.
        unsafe { self.lock().remove(node) };
    }

    /// The condition of step 3, under the lock: false if there was an event since `seen`.
    fn set_waiting(&self, seen: Seen) -> bool {
        // Relaxed loads and failures: a stale value only makes the exchange fail. On success,
        // acquire and release keep the exchange between our system call and the push; the exchange
        // of step 4 is ordered with both.
        let mut state = self.state.load(Ordering::Relaxed);
        while (state ^ seen.word()) & !FLAGS == 0 {
            let waiting = state | WAITING | DRAINED;
            match self.state.compare_exchange(state, waiting, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(now) => state = now,
            }
        }
        false
    }

    /// Step 4: an event of the descriptor that was registered as `generation`.
    pub(crate) fn signal(&self, generation: u32, signal: Signal) {
        let sticky = if signal == Signal::Hangup { HANGUP } else { 0 };
        let mut state = self.state.load(Ordering::Relaxed);
        loop {
            if (state >> GENERATION_SHIFT) as u32 != generation {
                return;
            }
            let sequence = state.wrapping_add(SEQUENCE_ONE) & SEQUENCE;
            let next = Seen::fresh(generation).word() | sequence | (state & HANGUP) | sticky;
            // Release for `look`; acquire so that the queue is read as the waiter left it.
            match self.state.compare_exchange_weak(state, next, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => break,
                Err(now) => state = now,
            }
        }
        if state & WAITING != 0 {
            self.wake_all();
        }
    }

    /// Wakes all waiters in the queue, a few at a time, so that no waiter is woken under the lock.
    #[cold]
    fn wake_all(&self) {
        // Usually there is one waiter. Waiters that enqueue again meanwhile are behind the old
        // ones; if the last round wakes a few of them, that costs each of them a call.
        const ROUND: usize = 8;
        loop {
            let mut round = [None::<Waiter>; ROUND];
            let mut count = 0;
            let mut waiters = self.lock();
            while count < ROUND
                && let Some(node) = waiters.pop_claim(None)
            {
                // SAFETY: the claim in the loop condition ended the wait of this node, so the node
                // stays valid until the unpark of its waiter.
                round[count] = Some(unsafe { node.as_ref() }.waiter());
                count += 1;
            }
            let emptied = waiters.is_empty();
            drop(waiters);
            for waiter in round.into_iter().flatten() {
                // SAFETY: this call won the claim above and wakes each waiter once; no value
                // passes.
                unsafe { waiter.unpark() };
            }
            if emptied {
                return;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, WaitQueue> {
        // Nothing in here panics under the lock; if it did, the links would still be whole.
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::time::Duration;

    fn wait(readiness: &Readiness, seen: Seen, limit: Option<Duration>) -> Waited {
        let deadline = limit.map(|limit| Instant::now() + limit);
        readiness.wait(seen, deadline, Reason::Read, 0, Location::caller())
    }

    const SHORT: Option<Duration> = Some(Duration::from_millis(5));

    #[test]
    fn an_event_after_the_look_prevents_the_wait() {
        let readiness = Readiness::new();
        let seen = readiness.look();
        readiness.signal(0, Signal::Ready);
        assert_eq!(wait(&readiness, seen, None), Waited::Woken);
    }

    #[test]
    fn an_event_before_the_look_does_not() {
        let readiness = Readiness::new();
        readiness.signal(0, Signal::Ready);
        assert_eq!(wait(&readiness, readiness.look(), SHORT), Waited::TimedOut);
        assert!(readiness.lock().is_empty());
    }

    #[test]
    fn drained_holds_until_the_next_event() {
        let readiness = Readiness::new();
        readiness.mark_drained(readiness.look());
        assert!(readiness.look().is_drained());
        readiness.signal(0, Signal::Ready);
        assert!(!readiness.look().is_drained());
    }

    #[test]
    fn an_event_during_the_call_keeps_drained_from_being_noted() {
        let readiness = Readiness::new();
        let seen = readiness.look();
        readiness.signal(0, Signal::Ready);
        readiness.mark_drained(seen);
        assert!(!readiness.look().is_drained());
    }

    #[test]
    fn after_a_hangup_drained_is_never_believed() {
        let readiness = Readiness::new();
        readiness.signal(0, Signal::Hangup);
        readiness.mark_drained(readiness.look());
        assert!(!readiness.look().is_drained());
        // A wait that found nothing sets the flag, too, and it is ignored as well.
        assert_eq!(wait(&readiness, readiness.look(), SHORT), Waited::TimedOut);
        assert!(!readiness.look().is_drained());
        readiness.signal(0, Signal::Ready);
        readiness.mark_drained(readiness.look());
        assert!(!readiness.look().is_drained());
    }

    #[test]
    fn an_event_of_an_earlier_generation_changes_nothing() {
        let readiness = Readiness::new();
        readiness.signal(0, Signal::Hangup);
        readiness.retire();
        let seen = readiness.look();
        assert_eq!(seen, Seen::fresh(1));
        readiness.signal(0, Signal::Hangup);
        assert_eq!(readiness.look(), seen);
        readiness.signal(1, Signal::Ready);
        assert_ne!(readiness.look(), seen);
    }

    #[test]
    fn generation_and_sequence_wrap_without_touching_each_other() {
        let readiness = Readiness::new();
        let last = (1 << GENERATION_BITS) - 1;
        readiness.state.store(Seen::fresh(last).word() | SEQUENCE | HANGUP, Ordering::Relaxed);
        readiness.signal(last, Signal::Ready);
        assert_eq!(readiness.look().word(), Seen::fresh(last).word() | HANGUP);
        readiness.retire();
        assert_eq!(readiness.look(), Seen::fresh(0));
    }

    #[test]
    fn one_event_wakes_more_waiters_than_a_round_holds() {
        let readiness = Readiness::new();
        let seen = readiness.look();
        std::thread::scope(|scope| {
            let waiters: Vec<_> = (0..20).map(|_| scope.spawn(|| wait(&readiness, seen, None))).collect();
            // A thread that comes after the event does not wait at all, so the order does not
            // matter here.
            std::thread::sleep(Duration::from_millis(20));
            readiness.signal(0, Signal::Ready);
            for waiter in waiters {
                assert_eq!(waiter.join().unwrap(), Waited::Woken);
            }
        });
        assert!(readiness.lock().is_empty());
    }

    /// A counter stands for the socket, and loading it for the system call. The next event comes
    /// only when the last one was noticed. So a lost wake-up stays lost, and the time limit turns
    /// it into a failure.
    #[test]
    #[cfg_attr(miri, ignore = "it takes minutes; models of the same are run")]
    fn no_wake_up_is_lost_among_events_and_timeouts() {
        const EVENTS: u64 = 20_000;
        let readiness = Readiness::new();
        let arrived = AtomicU64::new(0);
        let noticed = AtomicU64::new(0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                loop {
                    let seen = readiness.look();
                    let now = arrived.load(Ordering::Acquire);
                    noticed.store(now, Ordering::Release);
                    if now == EVENTS {
                        return;
                    }
                    let waited = wait(&readiness, seen, Some(Duration::from_secs(60)));
                    assert_eq!(waited, Waited::Woken, "stuck at {now}");
                }
            });
            // A second waiter that enters and leaves the same queue.
            scope.spawn(|| {
                while arrived.load(Ordering::Relaxed) < EVENTS {
                    wait(&readiness, readiness.look(), Some(Duration::from_micros(1)));
                }
            });
            for event in 1..=EVENTS {
                arrived.store(event, Ordering::Release);
                readiness.signal(0, Signal::Ready);
                while noticed.load(Ordering::Acquire) < event {
                    std::thread::yield_now();
                }
            }
        });
    }
}
