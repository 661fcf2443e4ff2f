//! What the cases of time share: deadlines that come in no order, the same ones for every peer in every run, and how
//! late a sleeper wakes.

use std::time::Duration;

use crate::cli::{fail, report};

/// A timeout that does not pass.
pub const HOUR: Duration = Duration::from_secs(3600);

/// What is asked for each time.
pub const ASKED: Duration = Duration::from_millis(1);

/// 2^64 divided by the golden ratio: its multiples, cut to 64 bits, fill the range evenly and jump about in it.
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// The deadline of sleeper `index`, somewhere in `window`.
pub fn scattered(index: usize, window: Duration) -> Duration {
    let part = (index as u64 + 1).wrapping_mul(GOLDEN) >> 32;
    let nanoseconds = (u128::from(part) * window.as_nanos()) >> 32;
    Duration::from_nanos(nanoseconds as u64)
}

/// How much longer each sleep took than was asked.
#[derive(Debug, Default)]
pub struct Lateness(Vec<Duration>);

impl Lateness {
    /// Notes how long a sleep took; ends the process if it was too short.
    pub fn note(&mut self, slept: Duration) {
        match slept.checked_sub(ASKED) {
            Some(late) => self.0.push(late),
            None => fail(&format!("woke early, after {slept:?}")),
        }
    }

    /// The lateness that the given part of all sleeps do not exceed.
    fn quantile(&mut self, part: f64) -> Duration {
        self.0.sort_unstable();
        let last = self.0.len() - 1;
        self.0[(last as f64 * part).round() as usize]
    }

    /// Prints the figures.
    ///
    /// # Panics
    ///
    /// If nothing was noted.
    pub fn report(mut self) {
        for (name, part) in [("late-p50", 0.5), ("late-p99", 0.99)] {
            report(name, self.quantile(part).as_secs_f64() * 1e6, "us");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_what_came_on_top_in_the_middle_of_all_sleeps() {
        let mut lateness = Lateness::default();
        for microseconds in [1_900, 1_001, 1_060, 1_050, 1_070] {
            lateness.note(Duration::from_micros(microseconds));
        }
        assert_eq!(lateness.quantile(0.5), Duration::from_micros(60));
        assert_eq!(lateness.quantile(0.99), Duration::from_micros(900));
    }

    #[test]
    fn deadlines_are_even_and_out_of_order() {
        let window = Duration::from_secs(2);
        let all: Vec<Duration> = (0..1_000).map(|index| scattered(index, window)).collect();
        assert!(all.iter().all(|&deadline| deadline < window));
        for tenth in 0..10 {
            let within = |deadline: &&Duration| (deadline.as_millis() / 200) as usize == tenth;
            assert!((95..=105).contains(&all.iter().filter(within).count()), "tenth {tenth}");
        }
        assert!(all.windows(2).filter(|pair| pair[0] > pair[1]).count() > 300);
    }
}
