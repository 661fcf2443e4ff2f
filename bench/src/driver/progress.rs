//! Progress on standard error, with an estimate of what is left.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::driver::schedule::{Key, Turn};

/// How far the run has come.
#[derive(Debug)]
pub struct Progress {
    round: Vec<Key>,
    rounds: usize,
    done: usize,
    spent: Duration,
    /// What a turn costs is remembered for the next round.
    costs: BTreeMap<Key, Duration>,
    begun: Instant,
}

impl Progress {
    /// For `rounds` rounds of these turns.
    pub fn new(round: &[Turn], rounds: usize) -> Progress {
        Progress {
            round: round.iter().map(Turn::key).collect(),
            rounds,
            done: 0,
            spent: Duration::ZERO,
            costs: BTreeMap::new(),
            begun: Instant::now(),
        }
    }

    /// Says which turn begins.
    pub fn begin(&mut self, turn: &Turn) {
        let workers = format!("{} worker{}", turn.workers, if turn.workers == 1 { "" } else { "s" });
        let total = self.round.len() * self.rounds;
        let left = match self.left() {
            Some(left) => format!("about {} left", minutes(left)),
            None => "estimating".to_owned(),
        };
        eprint!("[{}/{total}, {left}] {}: {}, {workers} ... ", self.done + 1, turn.case.key, turn.peer.label);
        self.begun = Instant::now();
    }

    /// Says what came of it.
    pub fn end(&mut self, turn: &Turn, outcome: &str) {
        let cost = self.begun.elapsed();
        self.costs.insert(turn.key(), cost);
        self.spent += cost;
        self.done += 1;
        eprintln!("{outcome} [{:.1} s]", cost.as_secs_f64());
    }

    /// The time that is left, if each turn costs what it did last time, or the mean if it never ran.
    fn left(&self) -> Option<Duration> {
        let mean = self.spent.checked_div(u32::try_from(self.done).ok()?)?;
        let cost = |key: &Key| self.costs.get(key).copied().unwrap_or(mean);
        let total: Duration = self.round.iter().map(cost).sum();
        let position = self.done % self.round.len();
        let behind: Duration = self.round[..position].iter().map(cost).sum();
        let rounds_left = u32::try_from(self.rounds - self.done / self.round.len()).ok()?;
        Some((total * rounds_left).saturating_sub(behind))
    }
}

/// A duration as people say it.
pub fn minutes(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..60 => format!("{seconds} s"),
        seconds => format!("{} min", (seconds + 30) / 60),
    }
}
