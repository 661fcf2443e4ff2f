//! Latencies of one run, kept one by one: a run has a few hundred thousand of them, and an exact quantile needs no
//! explanation.

use std::time::Duration;

/// The latencies seen so far.
#[derive(Debug, Default)]
pub struct Latencies {
    nanoseconds: Vec<u32>,
}

impl Latencies {
    /// Adds one; above 4.29 seconds it counts as that.
    pub fn add(&mut self, latency: Duration) {
        self.nanoseconds.push(u32::try_from(latency.as_nanos()).unwrap_or(u32::MAX));
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.nanoseconds.len()
    }

    /// The latency that `share` of them do not exceed; zero if there is none.
    pub fn quantile(&mut self, share: f64) -> Duration {
        if self.nanoseconds.is_empty() {
            return Duration::ZERO;
        }
        let rank = (share * self.count() as f64).ceil() as usize;
        let index = rank.clamp(1, self.count()) - 1;
        Duration::from_nanos((*self.nanoseconds.select_nth_unstable(index).1).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_exact() {
        let mut latencies = Latencies::default();
        for n in (1..=1000).rev() {
            latencies.add(Duration::from_nanos(n));
        }
        assert_eq!(latencies.quantile(0.5), Duration::from_nanos(500));
        assert_eq!(latencies.quantile(0.99), Duration::from_nanos(990));
        assert_eq!(latencies.quantile(0.999), Duration::from_nanos(999));
        assert_eq!(latencies.quantile(1.0), Duration::from_nanos(1000));
    }

    #[test]
    fn nothing_has_no_latency() {
        assert_eq!(Latencies::default().quantile(0.5), Duration::ZERO);
    }
}
