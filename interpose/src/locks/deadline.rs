//! Deadlines of timed operations: a time of one of two clocks.

use libc::{CLOCK_MONOTONIC, CLOCK_REALTIME, clockid_t, timespec};
use std::time::{Duration, Instant};

/// How long a wait until a time of the real clock may not notice that this has been set.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Longer than any program runs, and short enough to be added to any instant.
const FOR_EVER: Duration = Duration::from_secs(1 << 32);

/// A point in time, on a clock.
pub(super) struct Deadline {
    clock: clockid_t,
    at: Duration,
}

/// Whether libc has timed operations on this clock.
pub(super) fn is_usable(clock: clockid_t) -> bool {
    matches!(clock, CLOCK_REALTIME | CLOCK_MONOTONIC)
}

impl Deadline {
    /// `None` for what libc refuses. A time before the clock's beginning has passed.
    ///
    /// # Safety
    /// The time can be read, if it is not null.
    pub(super) unsafe fn read(clock: clockid_t, time: *const timespec) -> Option<Deadline> {
        // SAFETY: by contract.
        let time = unsafe { time.as_ref() }.filter(|_| is_usable(clock))?;
        let nanos = u32::try_from(time.tv_nsec).ok().filter(|nanos| *nanos < 1_000_000_000)?;
        let at = u64::try_from(time.tv_sec).map_or(Duration::ZERO, |seconds| Duration::new(seconds, nanos));
        Some(Deadline { clock, at })
    }

    fn left(&self) -> Duration {
        let mut now = timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: there is room for the time.
        unsafe { libc::clock_gettime(self.clock, &mut now) };
        self.at.saturating_sub(Duration::new(now.tv_sec as u64, now.tv_nsec as u32))
    }

    pub(super) fn has_passed(&self) -> bool {
        self.left().is_zero()
    }

    /// When to look next whether it has passed.
    pub(super) fn instant(&self) -> Instant {
        let longest = if self.clock == CLOCK_REALTIME { LOOK_AGAIN } else { FOR_EVER };
        Instant::now() + self.left().min(longest)
    }
}
