//! Shortens a schedule that fails: the fewest decisions with which the program still fails.
//!
//! Delta debugging over the entries of the schedule. Halves are left out, then quarters, and so on.
//! A shorter schedule need not fit everywhere: entries that cannot be followed are passed over, and
//! what the run has really done is what counts. So each step ends with a schedule that fails.
//!
//! What several decisions do can often be done by one, at another place, which is not found by
//! leaving out. So each single decision that a run without any comes to is tried at the end.

use crate::failure::{Failure, Kind};
use crate::schedule::{Point, Schedule};

/// After so many runs the best schedule so far is good enough.
const MOST_RUNS: usize = 400;

/// Shortens what `failure` has done. `run` follows a schedule, as far as it can, and returns the
/// failure, if it is one.
pub(crate) fn shorten(
    mut failure: Box<Failure>,
    mut run: impl FnMut(&Schedule) -> Option<Box<Failure>>,
    singles: impl FnOnce() -> Vec<(Point, Vec<u32>)>,
) -> Box<Failure> {
    let kind: Kind = failure.kind().clone();
    let mut runs = 0;
    // Whether a schedule is shorter and fails; `None` if there were enough runs.
    let mut attempt = |entries: Vec<_>, failure: &mut Box<Failure>, most: usize| {
        runs += 1;
        if runs > most {
            return None;
        }
        let shorter = run(&Schedule { entries })
            .filter(|found| found.kind().is_like(&kind))
            .filter(|found| found.schedule().len() < failure.schedule().len());
        let better = shorter.is_some();
        if let Some(shorter) = shorter {
            *failure = shorter;
        }
        Some(better)
    };
    attempt(Vec::new(), &mut failure, MOST_RUNS);
    let mut chunk = failure.schedule().len().div_ceil(2).max(1);
    'all: loop {
        let (mut at, mut better) = (0, false);
        while at < failure.schedule().len() {
            let mut entries = failure.schedule().entries.clone();
            entries.drain(at..(at + chunk).min(entries.len()));
            match attempt(entries, &mut failure, MOST_RUNS) {
                None => break 'all,
                Some(true) => better = true,
                Some(false) => at += chunk,
            }
        }
        if chunk == 1 && !better {
            break;
        }
        chunk = (chunk / 2).max(1);
    }
    if failure.schedule().len() > 1 {
        let all = singles()
            .into_iter()
            .flat_map(|(point, values)| values.into_iter().map(move |value| (point, value)));
        for entry in all {
            if attempt(vec![entry], &mut failure, 2 * MOST_RUNS) != Some(false) {
                break;
            }
        }
    }
    failure
}
