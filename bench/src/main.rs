//! Narrowboat beside Go, tokio, may, go-lib, Java, crossbeam and a bare epoll loop: builds what
//! this machine can build, lets the peers take turns at the same work, and prints Markdown tables
//! on standard output and progress on standard error.

mod driver;

use std::collections::BTreeSet;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use driver::build::Programs;
use driver::instructions::Counts;
use driver::machine::Machine;
use driver::options::{self, Options, Outputs, Request};
use driver::peers::PEERS;
use driver::progress::{Progress, minutes};
use driver::record::Record;
use driver::registry::CASES;
use driver::report::Report;
use driver::results::Results;
use driver::{compare, plot, readme, run, schedule};
use narrowboat_bench::harness::build;

fn main() -> ExitCode {
    match options::parse(std::env::args().skip(1)) {
        Ok(Request::Help) => println!("{}", options::USAGE),
        Ok(Request::List) => list(),
        Ok(Request::Instructions(outputs)) => return count_instructions(&outputs),
        Ok(Request::Measure(options)) => return report(options),
        Err(message) => {
            eprintln!("{message}");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

fn list() {
    println!("cases:");
    CASES.iter().for_each(|case| println!("  {:15} {}", case.key, case.title()));
    println!("peers:");
    PEERS.iter().for_each(|peer| println!("  {:15} {}", peer.key, peer.label));
}

fn count_instructions(outputs: &Outputs) -> ExitCode {
    let program = match build::binary("narrowboat_cases") {
        Ok(path) => path,
        Err(reason) => {
            eprintln!("{reason}");
            return ExitCode::FAILURE;
        }
    };
    let counted = outputs.compare.as_deref().map(Counts::read).transpose().and_then(|before| {
        let counts = Counts::take(&program).map_err(|failure| std::io::Error::other(failure.0))?;
        print!("{}", counts.table(before.as_ref()));
        outputs.json.as_deref().map_or(Ok(()), |path| counts.write(path))
    });
    match counted {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cannot count instructions: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Measures, or takes the figures of a run from a file, and writes what is to be written.
fn report(mut options: Options) -> ExitCode {
    // First of all, so that a mistyped name is reported now and not after half an hour.
    let read = |path: &Option<PathBuf>| match path.as_deref() {
        None => Ok(None),
        Some(path) => Record::read(path).map(Some).map_err(|error| format!("{}: {error}", path.display())),
    };
    let (earlier, from) = match (read(&options.outputs.compare), read(&options.from)) {
        (Ok(earlier), Ok(from)) => (earlier, from),
        (Err(error), _) | (_, Err(error)) => {
            eprintln!("cannot read {error}");
            return ExitCode::from(2);
        }
    };
    let (record, results) = match from {
        Some(record) => {
            let results = record.restore(&mut options);
            (record, results)
        }
        None => measure(&options),
    };
    let report =
        Report { options: &options, machine: &record.machine, left_out: &record.left_out, results: &results };
    println!("{}", report.document());
    if let Some(earlier) = earlier {
        println!("{}", compare::render(&earlier, &record));
    }
    keep(&report, &record)
}

fn measure(options: &Options) -> (Record, Results) {
    let begun = Instant::now();
    let machine = Machine::describe();
    let network = options.cases.iter().any(|case| case.needs_a_client());
    let taking_part =
        options.peers.iter().filter(|peer| options.cases.iter().any(|case| peer.takes_part(case)));
    let programs = Programs::build(&taking_part.map(|peer| peer.program).collect::<BTreeSet<_>>(), network);

    let turns = schedule::round(options, &programs);
    let mut results = Results::default();
    let mut progress = Progress::new(&turns, options.rounds);
    for _ in 0..options.rounds {
        for turn in &turns {
            progress.begin(turn);
            if results.has_failed(turn) {
                progress.end(turn, "has failed before");
                continue;
            }
            match run::take(turn, options, &programs) {
                Ok(figures) => {
                    let shown: Vec<String> =
                        figures.iter().map(|(name, value)| format!("{name} {value:.1}")).collect();
                    progress.end(turn, &shown.join(", "));
                    results.add(turn, figures);
                }
                Err(failure) => {
                    progress.end(turn, &format!("fails: {failure}"));
                    results.fail(turn, failure);
                }
            }
        }
    }
    eprintln!("took {}", minutes(begun.elapsed()));
    (Record::of(machine, options, &programs.left_out, &turns, &results), results)
}

/// Writes what is to be written.
fn keep(report: &Report<'_>, record: &Record) -> ExitCode {
    let (options, results) = (report.options, report.results);
    let outputs = &options.outputs;
    let mut kept = ExitCode::SUCCESS;
    let mut note = |path: &Path, written: Result<(), Box<dyn Error>>| {
        if let Err(error) = written {
            eprintln!("cannot write {}: {error}", path.display());
            kept = ExitCode::FAILURE;
        }
    };
    if let Some(path) = &outputs.json {
        note(path, record.write(path).map_err(Into::into));
    }
    if let Some(directory) = &outputs.plots {
        note(directory, plot::draw(directory, options, results));
    }
    if let Some(path) = &outputs.record {
        note(path, fs::write(path, report.document()).map_err(Into::into));
    }
    if let Some(path) = &outputs.readme {
        note(path, readme::update(path, report).map_err(Into::into));
    }
    kept
}
