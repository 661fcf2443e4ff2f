//! Taking one turn: the peer's own command, or its server under a client, or how long either takes to start.

use std::process::Command;
use std::thread;
use std::time::Duration;

use crate::driver::build::Programs;
use crate::driver::cases::{Case, Work};
use crate::driver::options::{Extent, Options};
use crate::driver::process::{Failure, Server, run};
use crate::driver::schedule::Turn;
use crate::driver::{client, start};

/// Longest time for a command. The slowest takes some ten seconds; a peer that hangs is to fail, not to stop the run.
const COMMAND_LIMIT: Duration = Duration::from_secs(60);

/// Time for the machine to settle after thousands of connections were closed.
const SETTLE: Duration = Duration::from_millis(100);

/// How long those that disturb a server do so before its clients come. Runtimes learn meanwhile what they have to do with.
const SETTLES: Duration = Duration::from_secs(1);

/// Goroutines beside a server that disturb it, for each worker. Each does so for a quarter of the time.
const DISTURBERS: usize = 2;

/// Takes a turn and returns its figures by the names of the metrics.
///
/// # Errors
///
/// If the peer fails, gives a wrong reply, or leaves a figure out.
pub fn take(
    turn: &Turn,
    options: &Options,
    programs: &Programs,
) -> Result<Vec<(&'static str, f64)>, Failure> {
    let mut command = turn.peer.command(programs, turn.case, turn.workers);
    let lines = match turn.case.work {
        Work::Command { sizes, operations, on_threads, .. } => {
            command.args(sizes.iter().map(usize::to_string));
            if let Some(operations) = operations {
                let slow = if turn.peer.on_threads { on_threads } else { 1 };
                command.arg((options.extent.of(operations) / slow).max(1).to_string());
            }
            run(&mut command, COMMAND_LIMIT)?
        }
        Work::Hello => start::hello(|| turn.peer.command(programs, turn.case, turn.workers))?,
        Work::FirstReply => start::first_reply(|| turn.peer.command(programs, turn.case, turn.workers))?,
        Work::Echo { .. } | Work::Http { .. } | Work::Tail { .. } | Work::Idle { .. } => {
            if let Work::Tail { disturbance: Some(disturbance), .. } = turn.case.work {
                command.arg(disturbance.word()).arg((DISTURBERS * turn.workers).to_string());
            }
            serve(command, |server| drive(turn.case.work, server, options.extent, programs))?
        }
    };
    figures(turn.case, &lines)
}

/// Puts a server under the client that the work asks for.
fn drive(work: Work, server: &Server, extent: Extent, programs: &Programs) -> Result<Vec<String>, Failure> {
    match work {
        Work::Http { connections } if programs.wrk => client::wrk(server, connections, extent, programs),
        Work::Http { connections } => {
            client::closed_loop("http", server, connections, connections, extent, programs)
        }
        Work::Echo { open, busy } => client::closed_loop("echo", server, open, busy, extent, programs),
        Work::Tail { disturbance, .. } => {
            if disturbance.is_some() {
                thread::sleep(SETTLES);
            }
            client::open_loop(server, extent, programs)
        }
        Work::Idle { open } => client::idle(server, open, programs),
        Work::Command { .. } | Work::FirstReply | Work::Hello => unreachable!("no client drives these"),
    }
}

fn serve(
    mut command: Command,
    client: impl FnOnce(&Server) -> Result<Vec<String>, Failure>,
) -> Result<Vec<String>, Failure> {
    let server = Server::start(command.arg("127.0.0.1:0"))?;
    match client(&server) {
        Ok(lines) => {
            drop(server);
            thread::sleep(SETTLE);
            Ok(lines)
        }
        Err(failure) => Err(server.explain(failure)),
    }
}

/// The figures of a case in lines of `name value unit`. Any error that a client counted is a failure.
fn figures(case: &Case, lines: &[String]) -> Result<Vec<(&'static str, f64)>, Failure> {
    let value = |name: &str| {
        lines.iter().find_map(|line| match line.split_whitespace().collect::<Vec<_>>()[..] {
            [found, value, _unit] if found == name => value.parse::<f64>().ok(),
            _ => None,
        })
    };
    match value("errors") {
        Some(errors) if errors > 0.0 => return Err(Failure(format!("{errors} wrong or missing replies"))),
        _ => {}
    }
    let found = case.metrics.iter().map(|metric| {
        let value = value(metric.name).filter(|value| value.is_finite());
        Ok((metric.name, value.ok_or_else(|| Failure(format!("no figure for {}", metric.name)))?))
    });
    found.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::registry::CASES;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(String::from).collect()
    }

    #[test]
    fn errors_of_any_client_are_failures() {
        let http = CASES.iter().find(|case| case.key == "http-64").unwrap();
        let right = "rate 5.0 per_s\np50 1 us\np99 2 us\nerrors 0.000 count";
        assert_eq!(figures(http, &lines(right)).unwrap()[0], ("rate", 5.0));
        assert!(figures(http, &lines(&right.replace("0.000", "1.000"))).is_err());
        assert!(figures(http, &lines(&right.replace("p99 ", "p98 "))).is_err());
    }
}
