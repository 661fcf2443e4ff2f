//! Converts the CPU's counter, which costs an event the least, to the system's monotonic clock.
//!
//! Both are read together before and after whatever is converted, so no rate has to be known or
//! trusted: a time between two such readings is interpolated. The counter runs at a constant rate
//! and alike on all cores, as on every x86-64 of the last decade. Where it does not (the kernel
//! then prefers another clock), a trace may show events in a wrong order.

use crate::arch;
use std::time::Duration;

/// One reading of both.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    ticks: u64,
    nanos: u64,
}

impl Look {
    pub(super) fn new() -> Look {
        // The closest of some, since the thread may be interrupted between the two.
        let closest = (0..5).map(|_| {
            let before = arch::ticks();
            let nanos = nanos(libc::CLOCK_MONOTONIC);
            let after = arch::ticks();
            (after.wrapping_sub(before), Look { ticks: before + (after.wrapping_sub(before)) / 2, nanos })
        });
        closest.min_by_key(|(apart, _)| *apart).expect("five looks").1
    }

    pub(super) fn ticks(&self) -> u64 {
        self.ticks
    }
}

/// The time of one of the system's clocks.
pub(super) fn nanos(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: there is a place for the answer.
    unsafe { libc::clock_gettime(clock, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Converts times between two readings, or a little before or after.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    from: Look,
    nanos_per_tick: f64,
}

impl Clock {
    pub(super) fn between(from: Look, to: Look) -> Clock {
        let (ticks, nanos) = (to.ticks.saturating_sub(from.ticks), to.nanos.saturating_sub(from.nanos));
        Clock { from, nanos_per_tick: nanos as f64 / ticks.max(1) as f64 }
    }

    /// How far the counter runs in this time.
    pub(super) fn ticks_of(&self, length: Duration) -> u64 {
        (length.as_nanos() as f64 / self.nanos_per_tick.max(f64::MIN_POSITIVE)) as u64
    }

    pub(super) fn nanos(&self, ticks: u64) -> u64 {
        let since = ticks.wrapping_sub(self.from.ticks) as i64;
        self.from.nanos.saturating_add_signed((since as f64 * self.nanos_per_tick) as i64)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn what_lies_between_two_looks_is_placed_in_proportion() {
        let (from, to) = (Look { ticks: 1_000, nanos: 50 }, Look { ticks: 4_000, nanos: 1_050 });
        let clock = Clock::between(from, to);
        assert_eq!(
            [1_000, 2_500, 4_000, 700].map(|ticks| clock.nanos(ticks)),
            [50, 550, 1_050, 0].map(|n| if n == 0 { 0 } else { n })
        );
    }
}
