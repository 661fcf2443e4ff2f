//! How close together alarms may go off.
//!
//! To sleep until a deadline and to wake up again costs the kernel, and a virtual machine's host,
//! many times what most sleepers do then. So a lone alarm goes off to the microsecond, and so do a
//! few at short intervals. If alarms follow each other without a pause, they are moved apart, and
//! everything that has become due in between is handled at once.
//!
//! An account says up to when alarms have been paid for. Each costs [`APART`], and the account can
//! be overdrawn by [`OVERDRAFT`]. So no alarm is later than [`APART`] after the one before it.

/// What one alarm costs, in nanoseconds. Deadlines that keep coming close together are then late by
/// half of it on average, and a thousand wake-ups a second cost a few per cent of a core.
pub(super) const APART: u64 = 1_000_000;
/// How far alarms may go ahead of what is paid for: 16 of them may follow each other closely.
const OVERDRAFT: u64 = 16 * APART;

pub(super) struct Pace {
    paid_until: u64,
}

impl Pace {
    pub(super) const fn new() -> Pace {
        Pace { paid_until: 0 }
    }

    /// When an alarm for `deadline` must go off.
    pub(super) fn alarm_for(&self, deadline: u64) -> u64 {
        deadline.max(self.paid_until.saturating_sub(OVERDRAFT))
    }

    /// Records that an alarm has gone off. (Two workers may each have set one, so the limit does
    /// not follow from `alarm_for`.)
    pub(super) fn went_off(&mut self, now: u64) {
        self.paid_until = (self.paid_until.max(now) + APART).min(now + OVERDRAFT + APART);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::NEVER;

    /// When alarms for `count` deadlines, `step` apart, go off.
    fn alarms(step: u64, count: u64) -> Vec<u64> {
        let mut pace = Pace::new();
        let mut at = 1_000_000_000;
        let first = at;
        let last = at + step * (count - 1);
        std::iter::from_fn(|| {
            // The earliest deadline that the alarm before has not handled.
            let deadline = (first..=last).step_by(step as usize).find(|deadline| *deadline > at)?;
            at = pace.alarm_for(deadline);
            pace.went_off(at);
            Some(at)
        })
        .collect()
    }

    #[test]
    fn a_lone_alarm_and_a_few_in_a_row_are_not_late() {
        let count = if cfg!(miri) { 50 } else { 1000 };
        assert_eq!(alarms(APART, count).len() as u64, count - 1);
        assert!(alarms(APART, count).windows(2).all(|pair| pair[1] - pair[0] == APART));
        let burst = alarms(10_000, 16);
        assert!(burst.windows(2).all(|pair| pair[1] - pair[0] == 10_000), "{burst:?}");
        assert_eq!(Pace::new().alarm_for(NEVER), NEVER);
    }

    #[test]
    fn dense_alarms_are_moved_apart_and_none_by_more_than_that() {
        // So many milliseconds, of which each has its alarm; and the first sixteen have theirs.
        let millis = if cfg!(miri) { 3 } else { 100 };
        let dense = alarms(10_000, 100 * millis);
        let expected = millis as usize..millis as usize + 30;
        assert!(expected.contains(&dense.len()), "{} for {millis} ms", dense.len());
        assert!(dense.windows(2).all(|pair| pair[1] - pair[0] <= APART));
    }

    #[test]
    fn a_pause_is_paid_for_and_no_more() {
        let mut pace = Pace::new();
        for _ in 0..1000 {
            pace.went_off(7);
        }
        assert_eq!(pace.alarm_for(8), 7 + APART);
        let later = 1_000 * OVERDRAFT;
        for n in 0..16 {
            assert_eq!(pace.alarm_for(later + n), later + n);
            pace.went_off(later + n);
        }
        assert_eq!(pace.alarm_for(later + 16), later + 16, "the last");
        pace.went_off(later + 16);
        assert_eq!(pace.alarm_for(later + 17), later + APART);
    }
}
