//! What was measured: every sample of every figure, and the failures.

use std::collections::BTreeMap;

pub use narrowboat_bench::harness::figures::Summary;

use crate::driver::process::Failure;
use crate::driver::schedule::{Key, Turn};

/// The figures so far.
#[derive(Debug, Default)]
pub struct Results {
    samples: BTreeMap<(Key, &'static str), Vec<f64>>,
    failures: BTreeMap<Key, Failure>,
}

/// What stands in a cell of the table.
#[derive(Clone, Copy, Debug)]
pub enum Outcome<'a> {
    /// Figures.
    Measured(Summary),
    /// The peer takes part, and failed at least once.
    Failed(&'a Failure),
    /// The peer does not take part.
    Absent,
}

impl Results {
    /// Adds what one turn gave: a sample for each metric, by name.
    pub fn add(&mut self, turn: &Turn, figures: Vec<(&'static str, f64)>) {
        for (metric, value) in figures {
            self.samples.entry((turn.key(), metric)).or_default().push(value);
        }
    }

    /// Notes that a turn failed. It counts for the whole run, whatever other rounds gave.
    pub fn fail(&mut self, turn: &Turn, failure: Failure) {
        self.failures.insert(turn.key(), failure);
    }

    /// Whether that measurement has failed before.
    pub fn has_failed(&self, turn: &Turn) -> bool {
        self.failures.contains_key(&turn.key())
    }

    /// A figure of a turn's.
    pub fn outcome(&self, turn: &Turn, metric: &'static str) -> Outcome<'_> {
        if let Some(failure) = self.failures.get(&turn.key()) {
            return Outcome::Failed(failure);
        }
        match Summary::of(self.samples(turn, metric)) {
            Some(summary) => Outcome::Measured(summary),
            None => Outcome::Absent,
        }
    }

    /// The samples of a figure, in the order of the rounds.
    pub fn samples(&self, turn: &Turn, metric: &'static str) -> &[f64] {
        self.samples.get(&(turn.key(), metric)).map_or(&[], Vec::as_slice)
    }
}
