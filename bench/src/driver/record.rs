//! The recorded run: everything that was measured, for machines and for later comparison.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::driver::machine::Machine;
use crate::driver::options::Options;
use crate::driver::results::{Outcome, Results};
use crate::driver::schedule::Turn;

/// A run.
#[derive(Debug, Serialize, Deserialize)]
pub struct Record {
    /// What it was taken on.
    pub machine: Machine,
    /// How often each measurement was taken.
    pub rounds: usize,
    /// Whether less was done of everything.
    pub quick: bool,
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
    /// The number of workers; `null` for a peer that takes all cores.
    pub workers: Option<usize>,
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
                    case: turn.case.key.into(),
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
        Record { machine, rounds: options.rounds, quick: options.quick, left_out: left_out.to_vec(), figures }
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
