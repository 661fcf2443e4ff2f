//! The limits of one direction: a timeout for each operation, as in std; a deadline, as in Go; and
//! whether it is closed, after which every operation fails.
//!
//! Guarantees that an operation that begins after a change sees it. Any owner of the socket may
//! change and read a limit at any time; [`crate::source`] wakes the operations under way.

use narrowboat_runtime::world;
use std::io;
use std::num::NonZero;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The limits of one direction, in nanoseconds; zero means none. Deadlines are stored as distances
/// from the runtime's epoch, because an `Instant` does not fit an atomic.
pub(crate) struct Limit {
    timeout: AtomicU64,
    /// From the epoch. A deadline at or before it is stored as 1, which has passed as well.
    /// [`CLOSED`] is final.
    deadline: AtomicU64,
}

/// Stored in place of a deadline, so that one load checks for both. As a deadline it never passes;
/// `close` wakes the waiters itself.
const CLOSED: u64 = NEVER;

/// A point in time that does not come.
const NEVER: u64 = u64::MAX;

impl Limit {
    pub(crate) const fn new() -> Limit {
        Limit { timeout: AtomicU64::new(0), deadline: AtomicU64::new(0) }
    }

    /// Sets the longest time that one operation may wait.
    ///
    /// # Errors
    /// `InvalidInput` if the duration is zero, as std.
    pub(crate) fn set_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        if timeout == Some(Duration::ZERO) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "cannot set a 0 duration timeout"));
        }
        // Relaxed: the value does not order anything else.
        self.timeout.store(timeout.map_or(0, nanoseconds), Ordering::Relaxed);
        Ok(())
    }

    pub(crate) fn timeout(&self) -> Option<Duration> {
        match self.timeout.load(Ordering::Relaxed) {
            0 => None,
            timeout => Some(Duration::from_nanos(timeout)),
        }
    }

    pub(crate) fn set_deadline(&self, deadline: Option<Instant>) {
        let from_base =
            |at: Instant| nanoseconds(at.saturating_duration_since(world::epoch())).clamp(1, CLOSED - 1);
        let deadline = deadline.map_or(0, from_base);
        let unless_closed = |old| (old != CLOSED).then_some(deadline);
        // Relaxed: ordered by the change of the readiness word, or by the lock of the registration,
        // which follows.
        let _ = self.deadline.fetch_update(Ordering::Relaxed, Ordering::Relaxed, unless_closed);
    }

    /// From now on every operation in this direction fails.
    pub(crate) fn close(&self) {
        // Relaxed: as for a deadline.
        self.deadline.store(CLOSED, Ordering::Relaxed);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.deadline.load(Ordering::Relaxed) == CLOSED
    }

    /// Whether there is neither a timeout nor a deadline.
    #[inline]
    pub(crate) fn is_none(&self) -> bool {
        self.timeout.load(Ordering::Relaxed) == 0 && self.deadline.load(Ordering::Relaxed) == 0
    }

    /// The time at which an operation that begins to wait now times out, as a distance from the
    /// epoch.
    pub(crate) fn expiry(&self) -> NonZero<u64> {
        let expiry = match self.timeout.load(Ordering::Relaxed) {
            0 => NEVER,
            timeout => {
                nanoseconds(world::now().saturating_duration_since(world::epoch())).saturating_add(timeout)
            }
        };
        NonZero::new(expiry).unwrap_or(NonZero::<u64>::MIN)
    }

    /// The deadline, as a distance from the epoch.
    pub(crate) fn deadline_or_never(&self) -> u64 {
        match self.deadline.load(Ordering::Relaxed) {
            0 => NEVER,
            deadline => deadline,
        }
    }

    /// The deadline; `None` also for one beyond what an `Instant` can hold.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        instant(self.deadline_or_never())
    }

    /// Fails if the deadline has passed, or after a close. Without a deadline it costs one load and
    /// does not read the clock.
    #[inline]
    pub(crate) fn check(&self) -> io::Result<()> {
        match self.deadline.load(Ordering::Relaxed) {
            0 => Ok(()),
            deadline => check_against(deadline),
        }
    }
}

/// The point in time at this distance from the epoch, unless it never comes.
pub(crate) fn instant(distance: u64) -> Option<Instant> {
    if distance == NEVER { None } else { world::epoch().checked_add(Duration::from_nanos(distance)) }
}

fn nanoseconds(duration: Duration) -> u64 {
    duration.as_nanos().try_into().unwrap_or(u64::MAX)
}

#[inline(never)]
fn check_against(deadline: u64) -> io::Result<()> {
    if deadline == CLOSED {
        let message = "the socket was closed by `close`, here or on another handle";
        return Err(io::Error::new(io::ErrorKind::NotConnected, message));
    }
    match instant(deadline) {
        Some(deadline) if deadline <= world::now() => Err(deadline_passed()),
        _ => Ok(()),
    }
}

#[cold]
pub(crate) fn deadline_passed() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the deadline of the socket has passed; set a later one, or None")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_reads_back_and_zero_is_refused() {
        let limit = Limit::new();
        assert_eq!(limit.timeout(), None);
        limit.set_timeout(Some(Duration::from_nanos(1))).unwrap();
        assert_eq!(limit.timeout(), Some(Duration::from_nanos(1)));
        let error = limit.set_timeout(Some(Duration::ZERO)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert_eq!(limit.timeout(), Some(Duration::from_nanos(1)));
        limit.set_timeout(Some(Duration::MAX)).unwrap();
        assert!(limit.timeout().unwrap() > Duration::from_secs(1 << 33));
        limit.set_timeout(None).unwrap();
        assert_eq!(limit.timeout(), None);
    }

    #[test]
    fn a_past_deadline_fails_and_a_cleared_one_does_not() {
        let limit = Limit::new();
        limit.check().unwrap();
        limit.set_deadline(Some(Instant::now()));
        assert_eq!(limit.check().unwrap_err().kind(), io::ErrorKind::TimedOut);
        limit.set_deadline(Instant::now().checked_sub(Duration::from_secs(3600)));
        assert_eq!(limit.check().is_err(), limit.deadline().is_some());
        limit.set_deadline(Some(Instant::now() + Duration::from_secs(3600)));
        limit.check().unwrap();
        limit.set_deadline(None);
        limit.check().unwrap();
        assert_eq!(limit.deadline(), None);
    }

    #[test]
    fn what_is_closed_stays_closed() {
        let limit = Limit::new();
        limit.close();
        for deadline in [None, Some(Instant::now() + Duration::from_secs(3600))] {
            limit.set_deadline(deadline);
            assert!(limit.is_closed());
            assert_eq!(limit.check().unwrap_err().kind(), io::ErrorKind::NotConnected);
        }
    }
}
