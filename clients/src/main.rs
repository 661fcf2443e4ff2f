//! Crates that know nothing of Narrowboat, blocking and async, on goroutines and on threads,
//! against real servers.
//!
//! ```text
//! clients list                    what is there
//! clients run [NAME...]           all at full scale, and a table in Markdown
//! clients check [NAME...]         the same with 50 callers, as a test
//! clients soak SECONDS [goroutines|threads [NAME...]]
//!                                 all at once, while the servers restart
//! ```
//! `--callers N`, `--calls N`, `--limit SECONDS`, `--mode goroutines|threads` and `--times N` (the run
//! with the middle rate counts) go with `run` and `check`.

mod crates;
mod measure;
mod own;
mod report;
mod server;
mod servers;
mod soak;
mod work;

use report::Scale;
use std::process::ExitCode;
use std::time::Duration;
use work::{Failure, Mode};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match command(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("clients: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether all went well.
fn command(arguments: &[String]) -> Result<bool, Failure> {
    let argument = |index: usize| arguments.get(index).map(String::as_str).ok_or("an argument is missing");
    match argument(0)? {
        "list" => {
            for client in crates::ALL {
                println!(
                    "{:<18} {} {}: {}",
                    client.name,
                    client.package,
                    crates::version(client.package),
                    client.work
                );
            }
            Ok(true)
        }
        "run" => report(&arguments[1..], usize::MAX, usize::MAX, 120),
        "check" => report(&arguments[1..], 50, 5, 60),
        "soak" => soak::run(
            argument(1)?.parse()?,
            argument(2).unwrap_or("goroutines").parse()?,
            arguments.get(3..).unwrap_or_default(),
        ),

        // The processes that the others start.
        "serve" => {
            let ports = arguments[1..arguments.len() - 1]
                .iter()
                .map(|port| port.parse())
                .collect::<Result<Vec<_>, _>>()?;
            measure::raise_descriptors();
            own::serve(&ports, argument(arguments.len() - 1)?.as_ref())?;
            Ok(true)
        }
        "measure" => {
            measure::run(argument(1)?, argument(2)?.parse()?, argument(3)?.parse()?, argument(4)?.parse()?)?;
            Ok(true)
        }
        "soak-clients" => soak::clients(argument(1)?.parse()?, argument(2)?.parse()?, &arguments[3..]),
        other => Err(format!("there is no command {other}").into()),
    }
}

fn report(arguments: &[String], callers: usize, calls: usize, limit: u64) -> Result<bool, Failure> {
    let mut scale = Scale {
        callers,
        calls,
        limit: Duration::from_secs(limit),
        names: Vec::new(),
        modes: vec![Mode::Goroutines, Mode::Threads],
        times: 1,
    };
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{argument} has no value"));
        match argument.as_str() {
            "--callers" => scale.callers = value()?.parse()?,
            "--calls" => scale.calls = value()?.parse()?,
            "--limit" => scale.limit = Duration::from_secs(value()?.parse()?),
            "--times" => scale.times = value()?.parse()?,
            "--mode" => scale.modes = vec![value()?.parse()?],
            name if crates::find(name).is_some() => scale.names.push(name.to_string()),
            other => return Err(format!("there is no client {other}").into()),
        }
    }
    let counts = report::run(&scale)?;
    println!("{} passed, {} failed, {} skipped", counts.passed, counts.failed, counts.skipped);
    Ok(counts.failed == 0)
}
