//! Taking one turn: the peer's own command, or its server under load.

use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use crate::driver::build::Programs;
use crate::driver::cases::{Case, Work};
use crate::driver::options::Options;
use crate::driver::peers::Scaling;
use crate::driver::process::{Failure, Server, run};
use crate::driver::schedule::Turn;

/// Longest time for a command. The slowest takes some ten seconds; a peer that hangs is to fail, not to stop the run.
const COMMAND_LIMIT: Duration = Duration::from_secs(60);

/// Longest time for a client, on top of what it measures: it opens thousands of connections first.
const CLIENT_SLACK: Duration = Duration::from_secs(30);

/// Time for the machine to settle after thousands of connections were closed.
const SETTLE: Duration = Duration::from_millis(100);

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
                let slow = if turn.peer.scaling == Scaling::Unbounded { on_threads } else { 1 };
                command.arg((operations / options.divisor() / slow).max(1).to_string());
            }
            run(&mut command, COMMAND_LIMIT)?
        }
        Work::Echo { open, busy } => {
            serve(command, |server| load("echo", server, open, busy, options, programs))?
        }
        Work::Http { connections } if programs.wrk => {
            serve(command, |server| wrk(server, connections, options))?
        }
        Work::Http { connections } => {
            serve(command, |server| load("http", server, connections, connections, options, programs))?
        }
    };
    figures(turn.case, &lines)
}

fn serve(
    mut command: Command,
    client: impl FnOnce(&Server) -> Result<Vec<String>, Failure>,
) -> Result<Vec<String>, Failure> {
    let server = Server::start(command.arg("127.0.0.1:0"))?;
    let lines = client(&server);
    let outcome = match lines {
        Ok(lines) => Ok(lines),
        Err(failure) => return Err(server.explain(failure)),
    };
    drop(server);
    thread::sleep(SETTLE);
    outcome
}

fn load(
    kind: &str,
    server: &Server,
    open: usize,
    busy: usize,
    options: &Options,
    programs: &Programs,
) -> Result<Vec<String>, Failure> {
    let program: &Path =
        programs.load.as_deref().ok_or_else(|| Failure("the load generator is not there".into()))?;
    let measured = options.measured();
    let mut command = Command::new(program);
    command.arg(kind).arg(server.address.to_string());
    for (option, value) in [
        ("--open", open.to_string()),
        ("--busy", busy.to_string()),
        ("--seconds", measured.as_secs_f64().to_string()),
        ("--pid", server.id().to_string()),
    ] {
        command.args([option, &value]);
    }
    run(&mut command, measured + CLIENT_SLACK)
}

/// Runs wrk, once to warm up and once to measure, and puts its report into our form.
fn wrk(server: &Server, connections: usize, options: &Options) -> Result<Vec<String>, Failure> {
    let once = |seconds: u64| {
        let mut command = Command::new("wrk");
        command.arg("-t1").arg(format!("-c{connections}")).arg(format!("-d{seconds}s")).arg("--latency");
        command.arg(format!("http://{}/", server.address));
        run(&mut command, Duration::from_secs(seconds) + CLIENT_SLACK)
    };
    once(1)?;
    wrk_figures(&once(options.measured().as_secs())?)
}

fn wrk_figures(lines: &[String]) -> Result<Vec<String>, Failure> {
    let words = || lines.iter().map(|line| line.split_whitespace().collect::<Vec<_>>());
    if let Some(line) = lines.iter().find(|line| line.contains("Socket errors") || line.contains("Non-2xx")) {
        return Err(Failure(format!("wrk: {}", line.trim())));
    }
    let mut figures = vec!["errors 0 count".to_owned()];
    for line in words() {
        match line[..] {
            ["Requests/sec:", rate] => figures.push(format!("rate {rate} per_s")),
            ["50%", time] => figures.extend(microseconds(time).map(|us| format!("p50 {us} us"))),
            ["99%", time] => figures.extend(microseconds(time).map(|us| format!("p99 {us} us"))),
            _ => {}
        }
    }
    Ok(figures)
}

/// A time as wrk writes it: `12.34us`, `1.20ms`, `1.01s`.
fn microseconds(time: &str) -> Option<f64> {
    let (number, factor) = [("us", 1.0), ("ms", 1e3), ("s", 1e6)]
        .iter()
        .find_map(|(unit, factor)| Some((time.strip_suffix(unit)?, factor)))?;
    Some(number.parse::<f64>().ok()? * factor)
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
    fn a_report_of_wrk_becomes_figures() {
        let report = "  Latency Distribution\n     50%  1.50ms\n     75%    2.00ms\n     99%    2.00s \n\
                      Requests/sec:  41196.72\nTransfer/sec:      3.10MB";
        let figures = wrk_figures(&lines(report)).unwrap();
        assert_eq!(figures, ["errors 0 count", "p50 1500 us", "p99 2000000 us", "rate 41196.72 per_s"]);
    }

    #[test]
    fn errors_of_any_client_are_failures() {
        assert!(wrk_figures(&lines("  Socket errors: connect 0, read 7, write 0, timeout 0")).is_err());
        let echo = CASES.iter().find(|case| case.key == "echo-1").unwrap();
        let right = "rate 5.0 per_s\np50 1 us\np99 2 us\np99.9 3 us\nerrors 0.000 count";
        assert_eq!(figures(echo, &lines(right)).unwrap()[0], ("rate", 5.0));
        assert!(figures(echo, &lines(&right.replace("0.000", "1.000"))).is_err());
        assert!(figures(echo, &lines(&right.replace("p99 ", "p98 "))).is_err());
    }
}
