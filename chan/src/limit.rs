//! How long an operation may wait, and the instants that end waits.

use narrowboat_runtime::world;
use std::panic::Location;
use std::time::{Duration, Instant};

/// The source line of the operation, for diagnostics.
pub(crate) type At = &'static Location<'static>;

/// How long an operation may wait.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limit {
    /// Not at all.
    Now,
    Until(Instant),
    None,
}

impl Limit {
    /// `timeout` from now.
    pub(crate) fn within(timeout: Duration) -> Limit {
        // A deadline past the range of the clock is no deadline.
        world::now().checked_add(timeout).map_or(Limit::None, Limit::Until)
    }

    /// Whether the operation must not wait (any longer).
    #[inline]
    pub(crate) fn is_reached(self) -> bool {
        match self {
            Limit::Now => true,
            Limit::Until(deadline) => world::now() >= deadline,
            Limit::None => false,
        }
    }

    /// The deadline of a wait, or `None` if the operation must not wait because the time is already
    /// up.
    pub(crate) fn deadline(self) -> Option<Option<Instant>> {
        match self {
            Limit::None => Some(None),
            Limit::Until(deadline) if world::now() < deadline => Some(Some(deadline)),
            Limit::Until(_) | Limit::Now => None,
        }
    }
}

/// `duration` from now; a hundred years from now if that is past the range of the clock.
pub(crate) fn from_now(duration: Duration) -> Instant {
    const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);
    let now = world::now();
    now.checked_add(duration).unwrap_or_else(|| now + CENTURY)
}

/// The earlier of two instants, where `None` is never.
pub(crate) fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
