//! Narrowboat beside Go, tokio, may, crossbeam and a bare epoll loop: builds what this machine can build, lets the
//! peers take turns at the same work, and prints Markdown tables on standard output and progress on standard error.

mod driver;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use driver::build::Programs;
use driver::cases::Work;
use driver::machine::Machine;
use driver::options::{self, Options, Request};
use driver::peers::{PEERS, Program};
use driver::progress::{Progress, minutes};
use driver::record::Record;
use driver::registry::CASES;
use driver::results::Results;
use driver::{compare, instructions, plot, run, schedule, table};

fn main() -> ExitCode {
    match options::parse(std::env::args().skip(1)) {
        Ok(Request::Help) => println!("{}", options::USAGE),
        Ok(Request::List) => list(),
        Ok(Request::Instructions) => return count_instructions(),
        Ok(Request::Measure(options)) => return measure(&options),
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

fn count_instructions() -> ExitCode {
    let program = Program::Binary("narrowboat_cases");
    let programs = Programs::build(&BTreeSet::from([program]), false);
    if !programs.has(program) {
        return ExitCode::FAILURE;
    }
    match instructions::table(programs.path(program)) {
        Ok(table) => print!("{table}"),
        Err(failure) => {
            eprintln!("cannot count instructions: {failure}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn measure(options: &Options) -> ExitCode {
    // First of all: nobody wants to learn after twenty minutes that a name was mistyped.
    let earlier = match options.compare.as_deref().map(|path| (path, Record::read(path))) {
        None => None,
        Some((_, Ok(record))) => Some(record),
        Some((path, Err(error))) => {
            eprintln!("cannot compare with {}: {error}", path.display());
            return ExitCode::from(2);
        }
    };
    let begun = Instant::now();
    let machine = Machine::describe();
    let network = options.cases.iter().any(|case| !matches!(case.work, Work::Command { .. }));
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

    print_tables(options, &machine, &programs, &results);
    let record = Record::of(machine, options, &programs.left_out, &turns, &results);
    if let Some(earlier) = earlier {
        println!("{}", compare::render(&earlier, &record));
    }
    eprintln!("took {}", minutes(begun.elapsed()));
    keep(options, &record, &results)
}

/// Writes what is to be written.
fn keep(options: &Options, record: &Record, results: &Results) -> ExitCode {
    let mut kept = ExitCode::SUCCESS;
    let mut complain = |path: &Path, error: &dyn std::error::Error| {
        eprintln!("cannot write {}: {error}", path.display());
        kept = ExitCode::FAILURE;
    };
    if let Some(path) = &options.json
        && let Err(error) = record.write(path)
    {
        complain(path, &error);
    }
    if let Some(directory) = &options.plots
        && let Err(error) = plot::draw(directory, options, results)
    {
        complain(directory, &*error);
    }
    kept
}

fn print_tables(options: &Options, machine: &Machine, programs: &Programs, results: &Results) {
    println!("## Side by side, {}\n", machine.date);
    for (name, value) in &machine.facts {
        println!("- {name}: {value}");
    }
    let rounds =
        if options.rounds == 1 { "one round" } else { "the median of all rounds (smallest-largest)" };
    println!("\nPeers took turns; each figure is {rounds}. Rounds: {}.\n", options.rounds);
    if options.quick {
        println!("**A quick run**: a fifth of the work. It shows that everything runs, and little else.\n");
    }
    if !programs.left_out.is_empty() {
        println!("Left out:\n");
        programs.left_out.iter().for_each(|reason| println!("- {reason}"));
        println!();
    }
    print!("{}", table::render(options, results));
}
