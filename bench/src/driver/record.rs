//! The recorded run: everything that was measured, for machines.

use std::fs::File;
use std::io;
use std::path::Path;

use serde::Serialize;

use crate::driver::machine::Machine;
use crate::driver::options::Options;
use crate::driver::results::{Outcome, Results};
use crate::driver::schedule::Turn;

#[derive(Serialize)]
struct Record<'a> {
    machine: &'a Machine,
    rounds: usize,
    quick: bool,
    left_out: &'a [String],
    figures: Vec<Figure<'a>>,
}

#[derive(Serialize)]
struct Figure<'a> {
    case: &'static str,
    metric: &'static str,
    unit: &'static str,
    peer: &'static str,
    /// `null` for a peer that takes all cores.
    workers: Option<usize>,
    median: Option<f64>,
    samples: &'a [f64],
    failure: Option<&'a str>,
}

/// Writes the record of the turns to `path`.
///
/// # Errors
///
/// If the file cannot be written.
pub fn write(
    path: &Path,
    machine: &Machine,
    options: &Options,
    left_out: &[String],
    turns: &[Turn],
    results: &Results,
) -> io::Result<()> {
    let mut figures = Vec::new();
    for turn in turns {
        for metric in turn.case.metrics {
            let (median, failure) = match results.outcome(turn, metric.name) {
                Outcome::Measured(summary) => (Some(summary.median), None),
                Outcome::Failed(failure) => (None, Some(failure.0.as_str())),
                Outcome::Absent => continue,
            };
            figures.push(Figure {
                case: turn.case.key,
                metric: metric.name,
                unit: metric.unit,
                peer: turn.peer.key,
                workers: turn.workers,
                median,
                samples: results.samples(turn, metric.name),
                failure,
            });
        }
    }
    let record = Record { machine, rounds: options.rounds, quick: options.quick, left_out, figures };
    serde_json::to_writer_pretty(File::create(path)?, &record)?;
    Ok(())
}
