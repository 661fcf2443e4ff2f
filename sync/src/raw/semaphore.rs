//! What is under [`Semaphore`](crate::Semaphore).
//!
//! The state word is the number of free permits, and the flag `QUEUED`. While the flag is set, permits are taken only
//! by those who have locked the line, and in the order of the line. To acquire, step by step:
//!
//! 1. If the flag is not set and there are enough permits: exchange the state for one with so many less.
//! 2. Otherwise lock the line and look again. If 1 is still not possible, exchange the state for the same with the
//!    flag, enter the line with the number on the ticket, and sleep.
//! 3. Who is woken has its permits. If the deadline comes first, the party leaves the line, and serves it (5): it may
//!    have stood in front of others that need less.
//!
//! To release, step by step:
//!
//! 4. Add the permits. If the flag was not set, that is all.
//! 5. Otherwise lock the line and serve it: as long as the free permits suffice for the first party, take them away
//!    and the party out. If nobody is left, reset the flag. Unlock the line, and wake the parties.
//!
//! A party in the line is served as soon as it is the first and there are enough permits: who adds some, or takes the
//! first out, looks after that. Nobody is overtaken, however much it wants.
//!
//! Orderings: adding releases and taking acquires, in 5 on behalf of those who are woken.

use crate::lot::{At, Cause, Entered, Line, Parties, Ticket, Told, describer};
use crate::shim::{AtomicUsize, Ordering, const_fn};
use narrowboat_runtime::park::{self, Reason, checkpoint};
use std::time::Instant;

const QUEUED: usize = 1;
const PERMIT: usize = 2;

pub(crate) struct RawSemaphore {
    state: AtomicUsize,
}

const CAUSE: Cause =
    Cause { reason: Reason::Permit, describe: describer!(RawSemaphore, RawSemaphore::describe) };

/// Step 1: the state after `permits` have been taken, if that is possible.
#[inline]
fn take(state: usize, permits: usize) -> Option<usize> {
    if state & QUEUED != 0 || state / PERMIT < permits { None } else { Some(state - permits * PERMIT) }
}

impl RawSemaphore {
    pub(crate) const MAX_PERMITS: usize = usize::MAX / PERMIT;

    const_fn! {
        /// `permits` are [`MAX_PERMITS`](RawSemaphore::MAX_PERMITS) or fewer.
        pub(crate) fn new(permits: usize) -> RawSemaphore {
            RawSemaphore { state: AtomicUsize::new(permits * PERMIT) }
        }
    }

    pub(crate) fn available(&self) -> usize {
        self.state.load(Ordering::Relaxed) / PERMIT
    }

    fn describe(&self) -> (&'static str, String, Option<u16>) {
        let details = match self.available() {
            1 => "1 permit is left".into(),
            n => format!("{n} permits are left"),
        };
        ("semaphore", details, None)
    }

    #[inline]
    pub(crate) fn try_acquire(&self, permits: usize) -> bool {
        checkpoint();
        let mut state = self.state.load(Ordering::Relaxed);
        while let Some(taken) = take(state, permits) {
            match self.state.compare_exchange_weak(state, taken, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(now) => state = now,
            }
        }
        false
    }

    #[inline]
    pub(crate) fn acquire(&self, permits: usize, at: At) {
        if !self.try_acquire(permits) {
            self.acquire_contended(permits, at);
        }
    }

    #[cold]
    #[inline(never)]
    fn acquire_contended(&self, permits: usize, at: At) {
        if let Some(entered) = self.take_or_enter(permits, false, at) {
            entered.sleep();
        }
    }

    /// False if the deadline came first.
    pub(crate) fn acquire_until(&self, permits: usize, deadline: Instant, at: At) -> bool {
        if self.try_acquire(permits) {
            return true;
        }
        if deadline <= Instant::now() {
            return false;
        }
        let Some(entered) = self.take_or_enter(permits, true, at) else {
            return true;
        };
        match entered.sleep_until(deadline) {
            Ok(_) => true,
            Err(late) => {
                self.serve(late.leave());
                false
            }
        }
    }

    /// Steps 1 and 2, with the line locked.
    #[inline(never)]
    fn take_or_enter(&self, permits: usize, deadline: bool, at: At) -> Option<Entered> {
        park::assert_may_park();
        let line = Line::of(self);
        let mut state = self.state.load(Ordering::Relaxed);
        loop {
            let taken = take(state, permits);
            let next = taken.unwrap_or(state | QUEUED);
            match self.state.compare_exchange_weak(state, next, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) if taken.is_some() => return None,
                Ok(_) => break,
                Err(now) => state = now,
            }
        }
        // SAFETY: both callers sleep at once.
        Some(unsafe { line.enter(Ticket { what: permits, since: 0 }, deadline, &CAUSE, at) })
    }

    /// # Panics
    /// If there would be more than [`MAX_PERMITS`](RawSemaphore::MAX_PERMITS).
    #[inline]
    pub(crate) fn release(&self, permits: usize) {
        let added = self.state.fetch_update(Ordering::Release, Ordering::Relaxed, |state| {
            permits.checked_mul(PERMIT).and_then(|permits| state.checked_add(permits))
        });
        match added {
            Ok(before) if before & QUEUED == 0 => {}
            Ok(_) => self.serve(Line::of(self)),
            Err(_) => panic!("a semaphore cannot have more than {} permits", Self::MAX_PERMITS),
        }
    }

    /// Step 5.
    #[cold]
    #[inline(never)]
    fn serve(&self, mut line: Line) {
        let mut served = Parties::new();
        loop {
            // Nobody else takes permits now; that some are added meanwhile does no harm, as who adds them comes here
            // too.
            let free = self.state.load(Ordering::Acquire) / PERMIT;
            let Some(party) = line.pop_if(|ticket| ticket.what <= free) else { break };
            self.state.fetch_sub(party.ticket().what * PERMIT, Ordering::Relaxed);
            served.push(party);
        }
        if line.is_empty() {
            // Relaxed: it stands in the release sequences of those who have added permits, and ends none.
            self.state.fetch_and(!QUEUED, Ordering::Relaxed);
        }
        drop(line);
        served.wake(Told::Granted);
    }
}
