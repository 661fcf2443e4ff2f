//! Monotonic time as nanoseconds since the first look, so that a point in time fits in one atomic
//! word.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// A point in time that never comes.
pub(crate) const NEVER: u64 = u64::MAX;

/// The first look at the clock. The runtime takes it when it starts, so it is never that of a
/// world.
pub(crate) fn epoch() -> Instant {
    static EPOCH: OnceLock<Instant> = OnceLock::new();
    *EPOCH.get_or_init(Instant::now)
}

/// Nanoseconds from the epoch to now.
pub(crate) fn now() -> u64 {
    nanos(epoch().elapsed())
}

/// The same for any instant; those before the epoch count as the epoch. Rounds up to the next
/// nanosecond that is not before `at`.
pub(crate) fn at(at: Instant) -> u64 {
    nanos(at.saturating_duration_since(epoch()))
}

fn nanos(d: Duration) -> u64 {
    u64::try_from(d.as_nanos()).unwrap_or(NEVER - 1)
}

/// How long from `now` until `deadline`; zero if it has passed.
pub(crate) fn until(deadline: u64, now: u64) -> Duration {
    Duration::from_nanos(deadline.saturating_sub(now))
}
