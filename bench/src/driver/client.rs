//! The clients that a server is put under: our own load generator, and wrk.

use std::process::Command;
use std::time::Duration;

use crate::driver::build::Programs;
use crate::driver::options::Extent;
use crate::driver::process::{Failure, Server, run};

/// Longest time for a client, on top of what it measures: it opens thousands of connections first.
const SLACK: Duration = Duration::from_secs(30);

/// Warm-up of our own client, in seconds.
const WARM_UP: &str = "0.2";

/// Requests per second at a fixed rate, on so many connections in turn: a tenth of what the slowest peer can do.
const RATE: usize = 10_000;
const OPEN: usize = 64;

/// Requests whose replies are checked byte by byte before wrk, which looks at no body, measures; they warm the server up.
const CHECKED: usize = 10_000;

/// Keeps `busy` of `open` connections busy.
pub fn closed_loop(
    kind: &str,
    server: &Server,
    open: usize,
    busy: usize,
    extent: Extent,
    programs: &Programs,
) -> Result<Vec<String>, Failure> {
    let mut command = load(kind, server, open, programs)?;
    let measured = extent.measured();
    command.args(["--busy", &busy.to_string(), "--warmup", WARM_UP, "--pid", &server.id().to_string()]);
    command.args(["--seconds", &measured.as_secs_f64().to_string()]);
    run(&mut command, measured + SLACK)
}

/// Sends at a fixed rate. It takes longer than other measurements, for the sake of the last quantile.
pub fn open_loop(server: &Server, extent: Extent, programs: &Programs) -> Result<Vec<String>, Failure> {
    let mut command = load("tail", server, OPEN, programs)?;
    let measured = extent.measured() * 3 / 2;
    command.args(["--rate", &RATE.to_string(), "--warmup", WARM_UP]);
    command.args(["--seconds", &measured.as_secs_f64().to_string()]);
    run(&mut command, measured + SLACK)
}

/// Opens connections and leaves them alone.
pub fn idle(server: &Server, open: usize, programs: &Programs) -> Result<Vec<String>, Failure> {
    let mut command = load("idle", server, open, programs)?;
    run(command.args(["--pid", &server.id().to_string()]), SLACK)
}

/// Runs wrk, and puts its report into our form. Before that, our own client checks what the server replies.
pub fn wrk(
    server: &Server,
    connections: usize,
    extent: Extent,
    programs: &Programs,
) -> Result<Vec<String>, Failure> {
    let mut check = load("http", server, connections, programs)?;
    let lines = run(check.args(["--warmup", "0", "--requests", &CHECKED.to_string()]), SLACK)?;
    if !lines.iter().any(|line| line.starts_with("errors 0.0")) {
        return Err(Failure("wrong or missing replies".into()));
    }
    let seconds = extent.measured().as_secs();
    let mut command = Command::new("wrk");
    command.arg("-t1").arg(format!("-c{connections}")).arg(format!("-d{seconds}s")).arg("--latency");
    command.arg(format!("http://{}/", server.address));
    wrk_figures(&run(&mut command, Duration::from_secs(seconds) + SLACK)?)
}

/// The load generator, told which loop, and over how many connections.
fn load(kind: &str, server: &Server, open: usize, programs: &Programs) -> Result<Command, Failure> {
    let program =
        programs.load.as_deref().ok_or_else(|| Failure("the load generator is not there".into()))?;
    let mut command = Command::new(program);
    command.args([kind, &server.address.to_string(), "--open", &open.to_string()]);
    Ok(command)
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

#[cfg(test)]
mod tests {
    use super::*;

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
    fn errors_that_wrk_counts_are_failures() {
        assert!(wrk_figures(&lines("  Socket errors: connect 0, read 7, write 0, timeout 0")).is_err());
    }
}
