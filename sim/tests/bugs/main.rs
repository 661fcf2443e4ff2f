//! A collection of classic bugs, each with a corrected twin. Each bug is found, and no twin is
//! reported; `write_the_table` says how many schedules it takes.

mod locks;
mod memory;
mod messages;

use narrowboat::sim::{Check, Strategy};
use narrowboat::spawn;
use narrowboat::sync::Mutex;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

/// A program with a bug, and without.
pub struct Bug {
    name: &'static str,
    what: &'static str,
    wrong: fn(),
    right: fn(),
}

/// A bug whose program is generic over whether it is corrected.
macro_rules! bug {
    ($name:literal, $what:literal, $program:ident) => {
        Bug { name: $name, what: $what, wrong: $program::<false>, right: $program::<true> }
    };
}
use bug;

/// A value that goroutines share.
pub fn cell<T>(value: T) -> Arc<Mutex<T>> {
    Arc::new(Mutex::new(value))
}

/// Runs so many goroutines to their end.
pub fn go_all<F: FnOnce() + Send + 'static>(n: usize, mut make: impl FnMut(usize) -> F) {
    let all: Vec<_> = (0..n).map(|n| spawn(make(n))).collect();
    all.into_iter().for_each(|one| one.join().unwrap());
}

fn bugs() -> impl Iterator<Item = &'static Bug> {
    memory::BUGS.iter().chain(locks::BUGS).chain(messages::BUGS)
}

const PCT: Strategy = Strategy::Pct { depth: 3 };
const EXHAUSTIVE: Strategy = Strategy::Exhaustive { preemptions: 2 };
/// More schedules than any of the bugs needs.
const MOST: u64 = 20_000;

fn check(strategy: Strategy, seed: u64) -> Check {
    Check::new()
        .environment(false)
        .shorten(false)
        .worlds(1)
        .seed(seed)
        .strategy(strategy)
        .iterations(MOST)
        .max_turns(20_000)
        .max_time(Duration::from_secs(3600))
}

/// How many schedules it takes to find the bug.
fn schedules(bug: &Bug, strategy: Strategy, seed: u64) -> Option<u64> {
    check(strategy, seed).explore(bug.wrong).err().map(|failure| {
        let _ = failure.trace_file().map(std::fs::remove_file);
        failure.found_by()
    })
}

#[test]
fn each_bug_is_found() {
    let mut missed = vec![];
    for bug in bugs() {
        for strategy in [Strategy::Uniform, PCT, EXHAUSTIVE] {
            if schedules(bug, strategy, 0).is_none() {
                missed.push(format!("{} is not found by {strategy:?}", bug.name));
            }
        }
    }
    assert!(missed.is_empty(), "{missed:#?}");
}

#[test]
fn no_twin_is_reported() {
    let mut reported = vec![];
    for bug in bugs() {
        for (strategy, iterations) in [(Strategy::Uniform, 300), (PCT, 300), (EXHAUSTIVE, 1000)] {
            if let Err(failure) = check(strategy, 0).iterations(iterations).explore(bug.right) {
                reported.push(format!("the corrected '{}' fails with {strategy:?}: {failure}", bug.name));
            }
        }
    }
    assert!(reported.is_empty(), "{}", reported.join("\n"));
}

/// Writes the table of `docs/simulation.md`: run it when a program or a strategy has changed.
#[test]
#[ignore = "writes a file of the project"]
fn write_the_table() {
    const TIMES: u64 = 21;
    let mut table = String::from(
        "| bug | what happens | uniform | PCT | exhaustive |\n| --- | --- | --- | --- | --- |\n",
    );
    for bug in bugs() {
        let median = |strategy| {
            let mut needed: Vec<_> =
                (0..TIMES).map(|time| schedules(bug, strategy, time * 1_000_000).unwrap_or(MOST)).collect();
            needed.sort_unstable();
            needed[needed.len() / 2]
        };
        let (uniform, pct) = (median(Strategy::Uniform), median(PCT));
        let exhaustive = schedules(bug, EXHAUSTIVE, 0).unwrap_or(MOST);
        let _ = writeln!(table, "| {} | {} | {uniform} | {pct} | {exhaustive} |", bug.name, bug.what);
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/simulation.md");
    let page = std::fs::read_to_string(path).unwrap();
    let (before, rest) = page.split_once("<!-- bugs: begin -->\n").unwrap();
    let (_, after) = rest.split_once("<!-- bugs: end -->\n").unwrap();
    let page = format!("{before}<!-- bugs: begin -->\n{table}<!-- bugs: end -->\n{after}");
    std::fs::write(path, page).unwrap();
}
