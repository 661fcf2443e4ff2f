//! Runs clients in processes of their own, one after the other, and makes the table.

use crate::crates::{ALL, Client, version};
use crate::servers::{Servers, ends_within, signal};
use crate::work::{Failure, Mode};
use std::fs::{self, File};
use std::process::Stdio;
use std::time::Duration;

/// How much is run, and how long it may take.
pub struct Scale {
    /// At most so many callers and calls.
    pub callers: usize,
    pub calls: usize,
    /// For each client in each mode.
    pub limit: Duration,
    /// Names of those that are run; all if there are none.
    pub names: Vec<String>,
    pub modes: Vec<Mode>,
    /// How often each is measured; the run with the middle rate counts.
    pub times: usize,
}

/// How long a client has that is known to hang.
const KNOWN_TO_HANG: Duration = Duration::from_secs(20);

struct Outcome {
    /// The line of figures, or why there is none.
    figures: Result<String, String>,
    /// What a goroutine was in that held up its processor for more than 20 ms, if that was said.
    held: String,
}

fn figure<'a>(line: &'a str, name: &str) -> &'a str {
    let start = line.find(&format!("{name}=")).map_or(line.len(), |at| at + name.len() + 1);
    if name == "first" { line[start..].trim() } else { line[start..].split(' ').next().unwrap_or_default() }
}

fn number(line: &str, name: &str) -> f64 {
    figure(line, name).trim().parse().unwrap_or(f64::NAN)
}

fn measure(servers: &Servers, client: &Client, mode: Mode, scale: &Scale) -> Result<Outcome, Failure> {
    let callers = client.callers.min(scale.callers);
    let calls = client.calls.min(scale.calls);
    let numbers = [callers.to_string(), calls.to_string()];
    let (output, log) = (
        servers.file(format!("{}.{}.out", client.name, mode.name())),
        servers.file(format!("{}.log", client.name)),
    );
    let mut child = servers
        .command(&["measure", client.name, mode.name(), &numbers[0], &numbers[1]])?
        .stdin(Stdio::null())
        .stdout(File::create(&output)?)
        .stderr(File::create(&log)?)
        .spawn()?;
    let is_known = client.fails.is_some() && mode == Mode::Goroutines;
    let limit = if is_known { scale.limit.min(KNOWN_TO_HANG) } else { scale.limit };
    let in_time = ends_within(&mut child, limit);
    if !in_time {
        // Prints what each goroutine waits for.
        signal(&child, libc::SIGQUIT);
        if !ends_within(&mut child, Duration::from_secs(5)) {
            let _ = child.kill();
        }
    }
    let code = child.wait()?;
    let said = fs::read_to_string(&log).unwrap_or_default();
    if !said.is_empty() && !is_known {
        eprintln!("--- {} on {} said:", client.name, mode.name());
        said.lines().take(60).for_each(|line| eprintln!("    {line}"));
    }
    let held = said.lines().find(|line| line.contains("has kept its processor"));
    let held = held
        .and_then(|line| line.split("it ").last())
        .map_or("", |what| what.trim_start_matches("is blocked in the system call "));
    let figures = if !in_time {
        Err(format!("not within {} s", limit.as_secs()))
    } else if !code.success() {
        Err(code.to_string())
    } else {
        Ok(fs::read_to_string(&output)?.trim().to_string())
    };
    Ok(Outcome { figures, held: held.to_string() })
}

/// The run with the middle rate, or the first one that went wrong.
fn middle(servers: &Servers, client: &Client, mode: Mode, scale: &Scale) -> Result<Outcome, Failure> {
    let mut runs = Vec::new();
    for _ in 0..scale.times.max(1) {
        let run = measure(servers, client, mode, scale)?;
        match &run.figures {
            Ok(line) if number(line, "errors") + number(line, "panics") == 0.0 => runs.push(run),
            _ => return Ok(run),
        }
    }
    let rate = |run: &Outcome| run.figures.as_ref().map_or(0.0, |line| number(line, "rate"));
    runs.sort_by(|a, b| rate(a).total_cmp(&rate(b)));
    Ok(runs.swap_remove(runs.len() / 2))
}

/// Counts, and whether nothing failed that was not known to.
#[derive(Default)]
pub struct Counts {
    pub passed: usize,
    pub failed: usize,
    pub skipped: usize,
}

pub fn run(scale: &Scale) -> Result<Counts, Failure> {
    let chosen: Vec<&Client> = ALL
        .iter()
        .filter(|client| scale.names.is_empty() || scale.names.iter().any(|name| name == client.name))
        .collect();
    let servers = Servers::start(&wanted(&chosen))?;
    let mut counts = Counts::default();
    let mut rows = vec![
        "| crate | work | callers | on | calls/s | p50, ms | p99, ms | memory, MB | threads | errors |"
            .to_string(),
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |".to_string(),
    ];
    for client in chosen {
        let package = format!("{} {}", client.package, version(client.package));
        let package = package.trim();
        if let Some(why) = missing(client, &servers) {
            println!("*** SKIPPED {}: {why}", client.name);
            rows.push(format!("| {package} | {} | | | | | | | | SKIPPED: {why} | |", client.work));
            counts.skipped += 1;
            continue;
        }
        let callers = client.callers.min(scale.callers);
        for &mode in &scale.modes {
            let known = client.fails.filter(|_| mode == Mode::Goroutines);
            let begin = format!("| {package} | {} | {callers} | {} |", client.work, mode.name());
            let Outcome { figures, held } = middle(&servers, client, mode, scale)?;
            let (row, error) = match figures {
                Err(why) => (format!("{begin} | | | | | {why} | {held} |"), Some(why)),
                Ok(line) => {
                    let errors = number(&line, "errors") + number(&line, "panics");
                    let row = format!(
                        "{begin} {} | {:.1} | {:.1} | {:.1} | {} | {errors} | {held} |",
                        figure(&line, "rate"),
                        number(&line, "p50") / 1000.0,
                        number(&line, "p99") / 1000.0,
                        number(&line, "memory") / 1024.0,
                        figure(&line, "threads"),
                    );
                    let right = callers * client.calls.min(scale.calls);
                    let error = (number(&line, "right") != right as f64)
                        .then(|| format!("{errors} errors, the first: {}", figure(&line, "first")));
                    (row, error)
                }
            };
            match (error, known) {
                (None, _) => {
                    println!("ok      {row}");
                    counts.passed += 1;
                }
                (Some(error), Some(why)) => {
                    println!("known   {row} {error} (it {why})");
                    counts.passed += 1;
                }
                (Some(error), None) => {
                    println!("FAILED  {row} {error}");
                    counts.failed += 1;
                }
            }
            rows.push(row);
        }
    }
    println!();
    rows.iter().for_each(|row| println!("{row}"));
    println!();
    Ok(counts)
}

/// The servers that these clients need.
pub fn wanted(clients: &[&Client]) -> Vec<crate::server::Server> {
    let needed = |server: &_| clients.iter().any(|client| client.needs.contains(server));
    crate::server::Server::ALL.into_iter().filter(needed).collect()
}

/// Why this client cannot run here.
pub fn missing(client: &Client, servers: &Servers) -> Option<String> {
    if client.prepare.is_none() {
        return Some(format!("built without {}", client.library));
    }
    let server = client.needs.iter().find(|server| !servers.has(**server))?;
    let why = servers.missing.iter().find(|(missing, _)| missing == server);
    Some(why.map_or(server.name().to_string(), |(_, why)| why.clone()))
}
