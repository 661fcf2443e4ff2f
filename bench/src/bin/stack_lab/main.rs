//! The stack lab: the same programs on every way to give a goroutine its stack, in one run and in turns, as Markdown tables
//! and plots.
//!
//!     cargo run --release --manifest-path bench/Cargo.toml --bin stack_lab -- [--quick] [--only PROGRAM] [--rounds N] [--workers N] [--plots DIR]
//!
//! Every measurement is a process of its own: this program again, or the Go peer.

mod crowd;
mod depth;
mod echo;
mod plan;
mod plots;
mod report;
mod strategy;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use narrowboat_bench::cli::{Arguments, fail, unknown};
use narrowboat_bench::harness::build;
use narrowboat_bench::harness::machine::Machine;
use narrowboat_bench::harness::process::{Failure, run};

use crate::plan::Case;
use crate::report::Results;
use crate::strategy::Strategy;

/// Longest time for one measurement; the slowest takes some seconds.
const LIMIT: Duration = Duration::from_secs(120);

const USAGE: &str = "usage: stack_lab [--quick] [--only PROGRAM] [--rounds N] [--workers N] [--plots DIR]

Runs every program on every strategy in turns, and prints Markdown. --quick: smaller crowds, a fifth of the work, once.
--only PROGRAM: crowd, edge, deep or echo. --rounds N: 3 by default. --workers N: 1 by default, because stacks are compared here, and not schedulers.";

struct Options {
    quick: bool,
    only: Option<String>,
    rounds: usize,
    workers: usize,
    plots: Option<PathBuf>,
}

impl Options {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Options, String> {
        let mut options = Options { quick: false, only: None, rounds: 0, workers: 1, plots: None };
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or(format!("{word} needs a value"));
            let number = |value: String| match value.parse() {
                Ok(number) if number > 0 => Ok(number),
                _ => Err(format!("{value} is no number above zero")),
            };
            match word.as_str() {
                "--quick" => options.quick = true,
                "--only" => options.only = Some(value()?),
                "--rounds" => options.rounds = number(value()?)?,
                "--workers" => options.workers = number(value()?)?,
                "--plots" => options.plots = Some(value()?.into()),
                _ => return Err(USAGE.into()),
            }
        }
        if options.rounds == 0 {
            options.rounds = if options.quick { 1 } else { 3 };
        }
        Ok(options)
    }
}

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some("run") {
        let arguments = Arguments::read();
        narrowboat::run(move || run_here(&arguments));
        return ExitCode::SUCCESS;
    }
    match Options::parse(std::env::args().skip(1)) {
        Ok(options) => measure(&options),
        Err(message) => {
            eprintln!("{message}");
            ExitCode::from(2)
        }
    }
}

/// One measurement of our own.
fn run_here(arguments: &Arguments) {
    let strategy = arguments.word(1).and_then(Strategy::named);
    let strategy = strategy.unwrap_or_else(|| fail("no such strategy"));
    match arguments.word(2).unwrap_or_default() {
        "crowd" => crowd::run(strategy, arguments.parse(3), arguments.parse(4), arguments.parse(5)),
        "edge" if arguments.parse::<usize>(3) == depth::DEPTHS => {
            depth::edge(strategy, arguments.parse(4), arguments.parse(5));
        }
        "deep" => depth::deep(strategy, arguments.parse(3)),
        "echo" => echo::serve(strategy, arguments.parse(3), &arguments.parse::<String>(4)),
        program => unknown(program),
    }
}

fn measure(options: &Options) -> ExitCode {
    let machine = Machine::describe();
    let go = build::go();
    let mut results = Results::default();
    if let Err(reason) = &go {
        results.leave_out(reason);
    }
    let go = go.ok();
    let load = build::binary("load");
    if let Err(reason) = &load {
        results.leave_out(reason);
    }
    let begun = Instant::now();
    for round in 1..=options.rounds {
        let wanted = |case: &Case| options.only.as_ref().is_none_or(|only| case.title().starts_with(only));
        for case in plan::cases(options.quick).into_iter().filter(wanted) {
            for &strategy in case.strategies() {
                if strategy == Strategy::Go && go.is_none() || results.has_failed(case, strategy) {
                    continue;
                }
                let mut command = case.command(strategy, options.workers, options.quick, go.as_ref());
                let lines = match (case, &load) {
                    (Case::Echo { .. }, Ok(load)) => echo::measure(&mut command, load, options.quick),
                    (Case::Echo { .. }, Err(_)) => continue,
                    _ => run(&mut command, LIMIT),
                };
                let outcome = lines.and_then(|lines| figures(&lines));
                let said = match &outcome {
                    Ok(figures) if figures.len() <= 6 => format!("{figures:?}"),
                    Ok(figures) => format!("{} figures", figures.len()),
                    Err(failure) => failure.0.clone(),
                };
                let seconds = begun.elapsed().as_secs();
                eprintln!("[{seconds} s] round {round}, {}, {}: {said}", case.title(), strategy.label());
                results.add(case, strategy, outcome);
            }
        }
    }
    print!("{}", report::render(&results, &machine, options.rounds, options.workers, options.quick));
    if let Some(directory) = &options.plots
        && let Err(error) = plots::draw(directory, &results)
    {
        eprintln!("cannot write {}: {error}", directory.display());
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// Lines of `name value unit`.
fn figures(lines: &[String]) -> Result<Vec<(String, f64)>, Failure> {
    let figure = |line: &String| match line.split_whitespace().collect::<Vec<_>>()[..] {
        // Go's recursion is shared with the other benchmark.
        [name, value, _unit] => Some((name.trim_start_matches("deep-").to_owned(), value.parse().ok()?)),
        _ => None,
    };
    let figures: Vec<_> = lines.iter().filter_map(figure).collect();
    if figures.is_empty() { Err(Failure("no figures".into())) } else { Ok(figures) }
}
