//! Channels that tell the time: `after`, `at`, `tick` and `never`.
//!
//! They have no sender, no timer object and no thread. Such a channel is the instant of its next message; to wait
//! for it is to park with that instant as the deadline, and whoever finds it passed takes the message. Among
//! clones each message is taken once. One that nobody waits for costs nothing.

use crate::block::{At, Limit};
use crate::error::RecvTimeoutError;
use narrowboat_runtime::park::{Reason, Waiter, checkpoint};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A channel that holds a message from time to time.
pub(crate) struct Timer<T> {
    /// When the next message comes; `None` after the last one.
    next: Mutex<Option<Instant>>,
    /// The distance between messages; `None` if there is but one.
    period: Option<Duration>,
    /// `T` is `Instant`, which the type of a receiver does not know.
    message: fn(Instant) -> T,
}

impl Timer<Instant> {
    pub(crate) fn new(first: Instant, period: Option<Duration>) -> Timer<Instant> {
        Timer { next: Mutex::new(Some(first)), period, message: |when| when }
    }
}

impl<T> Timer<T> {
    pub(crate) fn next(&self) -> Option<Instant> {
        *self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn try_recv(&self) -> Option<T> {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let when = (*next)?;
        let now = Instant::now();
        if now < when {
            return None;
        }
        *next = self.period.and_then(|period| following(when, period, now));
        drop(next);
        Some((self.message)(when))
    }

    pub(crate) fn recv(&self, limit: Limit, at: At) -> Result<T, RecvTimeoutError> {
        loop {
            if let Some(message) = self.try_recv() {
                checkpoint();
                return Ok(message);
            }
            sleep(self.next(), limit, at)?;
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.next().is_none_or(|when| Instant::now() < when)
    }
}

/// A receive on a channel that never has a message.
pub(crate) fn recv_never<T>(limit: Limit, at: At) -> Result<T, RecvTimeoutError> {
    loop {
        sleep(None, limit, at)?;
    }
}

/// The earlier of two instants, where `None` is never.
pub(crate) fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// The first instant after `now` that is a whole number of periods from `when`: a late receiver misses messages, but
/// the clock does not go slow for it. `None` if there is no such instant in the range of the type.
fn following(when: Instant, period: Duration, now: Instant) -> Option<Instant> {
    let late = (now - when).as_nanos();
    let into = late.checked_rem(period.as_nanos()).unwrap_or(0);
    // The remainder is less than the period, of which the nanoseconds may be more than 64 bits.
    let into = Duration::new((into / 1_000_000_000) as u64, (into % 1_000_000_000) as u32);
    now.checked_add(period - into)
}

/// Parks until `next` (`None`: for ever), or until the limit, if that is earlier; the error is for a limit already
/// reached.
#[inline(never)]
fn sleep(next: Option<Instant>, limit: Limit, at: At) -> Result<(), RecvTimeoutError> {
    let Some(deadline) = limit.deadline() else {
        checkpoint();
        return Err(RecvTimeoutError::Timeout);
    };
    let me = Waiter::begin(Reason::Receive, 0, at);
    // SAFETY: `me` is from our latest `begin`. Without an instant to wake at we sleep for ever, as is meant.
    unsafe { me.park(earlier(next, deadline)) };
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_keep_their_phase() {
        let start = Instant::now();
        let ms = Duration::from_millis;
        let next = |late| following(start, ms(50), start + ms(late)).unwrap() - start;
        assert_eq!(next(0), ms(50));
        assert_eq!(next(49), ms(50));
        assert_eq!(next(50), ms(100));
        assert_eq!(next(375), ms(400));
        assert_eq!(following(start, Duration::ZERO, start + ms(3)), Some(start + ms(3)));
        assert_eq!(following(start, Duration::MAX, start), None);
    }
}
