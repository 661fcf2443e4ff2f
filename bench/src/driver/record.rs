//! The recorded run: everything that was measured, for machines and for later comparison.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::driver::machine::Machine;
use crate::driver::options::{Extent, Options};
use crate::driver::peers::PEERS;
use crate::driver::process::Failure;
use crate::driver::registry::CASES;
use crate::driver::results::{Outcome, Results};
use crate::driver::schedule::Turn;

/// A run.
#[derive(Debug, Serialize, Deserialize)]
pub struct Record {
    /// What it was taken on.
    pub machine: Machine,
    /// How often each measurement was taken.
    pub rounds: usize,
    /// How much work was done.
    #[serde(default)]
    pub extent: Extent,
    /// What was not there, and why.
    pub left_out: Vec<String>,
    /// What was measured.
    pub figures: Vec<Figure>,
}

/// A figure of one peer's, with one number of workers. What it is of are keys of the registries, and these change
/// less often than labels do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Figure {
    /// The case.
    pub case: String,
    /// Which of its figures.
    pub metric: String,
    /// What it is in.
    pub unit: String,
    /// The peer.
    pub peer: String,
    /// The number of workers.
    pub workers: usize,
    /// The middle of the samples; `null` if the peer failed.
    pub median: Option<f64>,
    /// One for each round.
    pub samples: Vec<f64>,
    /// Why there is no figure.
    pub failure: Option<String>,
}

impl Figure {
    /// Whether both are the same figure, of two runs.
    pub fn is_same(&self, other: &Figure) -> bool {
        (&self.case, &self.metric, &self.peer, self.workers)
            == (&other.case, &other.metric, &other.peer, other.workers)
    }
}

impl Record {
    /// The record of the turns.
    pub fn of(
        machine: Machine,
        options: &Options,
        left_out: &[String],
        turns: &[Turn],
        results: &Results,
    ) -> Record {
        let mut figures = Vec::new();
        for turn in turns {
            for metric in turn.case.metrics {
                let (median, failure) = match results.outcome(turn, metric.name) {
                    Outcome::Measured(summary) => (Some(summary.median), None),
                    Outcome::Failed(failure) => (None, Some(failure.0.clone())),
                    Outcome::Absent => continue,
                };
                figures.push(Figure {
                    case: turn.peer.measures(turn.case).into(),
                    metric: metric.name.into(),
                    unit: metric.unit.into(),
                    peer: turn.peer.key.into(),
                    workers: turn.workers,
                    median,
                    samples: results.samples(turn, metric.name).to_vec(),
                    failure,
                });
            }
        }
        Record {
            machine,
            rounds: options.rounds,
            extent: options.extent,
            left_out: left_out.to_vec(),
            figures,
        }
    }

    /// What was measured, as if it had just been: the options that ask for it, and the results. Figures of cases and peers
    /// that are no longer there are left behind.
    pub fn restore(&self, options: &mut Options) -> Results {
        let mut results = Results::default();
        for figure in &self.figures {
            let case = CASES.iter().find(|case| case.key == figure.case);
            let peer = PEERS.iter().find(|peer| peer.key == figure.peer);
            let (Some(case), Some(peer)) = (case, peer) else { continue };
            let turn = Turn { case, peer, workers: figure.workers };
            if let Some(failure) = &figure.failure {
                results.fail(&turn, Failure(failure.clone()));
            } else if let Some(metric) = case.metrics.iter().find(|metric| metric.name == figure.metric) {
                figure.samples.iter().for_each(|&sample| results.add(&turn, vec![(metric.name, sample)]));
            }
        }
        let has = |is: &dyn Fn(&Figure) -> bool| self.figures.iter().any(is);
        options.cases.retain(|case| has(&|figure| figure.case == case.key));
        options.peers.retain(|peer| has(&|figure| figure.peer == peer.key));
        options.workers = self.figures.iter().map(|figure| figure.workers).collect();
        options.workers.sort_unstable();
        options.workers.dedup();
        // Rows in which nothing was measured are not shown.
        options.each = true;
        (options.rounds, options.extent) = (self.rounds, self.extent);
        results
    }

    /// Writes it to `path`.
    ///
    /// # Errors
    ///
    /// If the file cannot be written.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        serde_json::to_writer_pretty(File::create(path)?, self)?;
        Ok(())
    }

    /// Reads the one in `path`.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or holds something else.
    pub fn read(path: &Path) -> io::Result<Record> {
        Ok(serde_json::from_reader(BufReader::new(File::open(path)?))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::options::measure;
    use crate::driver::table;

    #[test]
    fn tables_of_a_record_that_was_read_back_are_those_of_the_run() {
        let options = measure("--only pingpong,tail-block --peers narrowboat,go,may --workers 1,2");
        let mut results = Results::default();
        let mut turns = Vec::new();
        for (&case, workers) in options.cases.iter().zip([1, 2, 1, 2]) {
            for &peer in &options.peers {
                let turn = Turn { case, peer, workers };
                let figures = case.metrics.iter().map(|metric| (metric.name, 12.5 + workers as f64));
                match peer.key {
                    "may" => results.fail(&turn, Failure("out of maps".into())),
                    _ => results.add(&turn, figures.collect()),
                }
                turns.push(turn);
            }
        }
        let machine = Machine { date: "Monday".into(), facts: Vec::new() };
        let record = Record::of(machine, &options, &[], &turns, &results);
        let text = serde_json::to_string(&record).unwrap();
        let read: Record = serde_json::from_str(&text).unwrap();
        let mut again = measure("");
        let restored = read.restore(&mut again);
        let tables = table::render(&options, &results);
        assert!(tables.contains("13.5 ns"), "{tables}");
        assert_eq!(table::render(&again, &restored), tables);
    }
}
