//! Child processes: every one has a time limit, and none outlives the value that stands for it.

use std::fmt;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How long a server may take to say where it listens.
const START_LIMIT: Duration = Duration::from_secs(5);

/// Longest reason shown for a failure.
const LONGEST_REASON: usize = 120;

/// Why a program gave no figures, in its own words where it had any.
#[derive(Clone, Debug)]
pub struct Failure(pub String);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A running program, killed by its id when this goes.
struct Running {
    child: Child,
    lines: Receiver<String>,
    complaints: Option<JoinHandle<String>>,
}

impl Running {
    fn start(command: &mut Command) -> Result<Running, Failure> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| Failure(format!("cannot start {:?}: {error}", command.get_program())))?;
        let stdout = child.stdout.take().expect("it is piped");
        let mut stderr = child.stderr.take().expect("it is piped");
        let (send, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                // Read on when nobody listens any more: a full pipe would stop the program.
                let _ = send.send(line);
            }
        });
        let complaints = thread::spawn(move || {
            let mut text = Vec::new();
            let _ = stderr.read_to_end(&mut text);
            String::from_utf8_lossy(&text).into_owned()
        });
        Ok(Running { child, lines, complaints: Some(complaints) })
    }

    /// All lines until the end, or a failure at the deadline.
    fn lines_until(&mut self, deadline: Instant) -> Result<Vec<String>, RecvTimeoutError> {
        let mut lines = Vec::new();
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => lines.push(line),
                Err(RecvTimeoutError::Disconnected) => return Ok(lines),
                Err(timeout) => return Err(timeout),
            }
        }
    }

    /// The exit status; `None` at the deadline. Called once output has ended, so that it hardly ever has to look twice.
    fn status_until(&mut self, deadline: Instant) -> Option<ExitStatus> {
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => return Some(status),
                _ if Instant::now() > deadline => return None,
                _ => thread::sleep(Duration::from_micros(50)),
            }
        }
    }

    /// Ends the program and finds out what it had to say.
    fn fail(mut self, fallback: &str) -> Failure {
        self.kill();
        let complaints = self.complaints.take().and_then(|reader| reader.join().ok()).unwrap_or_default();
        let mut reason = reason(&complaints).unwrap_or(fallback).to_owned();
        if let Some((cut, _)) = reason.char_indices().nth(LONGEST_REASON) {
            reason.truncate(cut);
        }
        Failure(reason)
    }

    fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The line of standard error that says most: a panic's message, or else the last.
fn reason(complaints: &str) -> Option<&str> {
    let mut lines =
        complaints.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("note:"));
    let after_panic = complaints.lines().skip_while(|line| !line.contains("panicked at")).nth(1);
    after_panic.or_else(|| lines.next_back())
}

/// Runs a program to its end and returns its lines.
///
/// # Errors
///
/// If it cannot be started, does not end within `limit`, or ends without success.
pub fn run(command: &mut Command, limit: Duration) -> Result<Vec<String>, Failure> {
    let deadline = Instant::now() + limit;
    let mut running = Running::start(command)?;
    let late = format!("does not end within {} s", limit.as_secs());
    let Ok(lines) = running.lines_until(deadline) else { return Err(running.fail(&late)) };
    match running.status_until(deadline) {
        Some(status) if status.success() => Ok(lines),
        Some(status) => Err(running.fail(&status.to_string())),
        None => Err(running.fail(&late)),
    }
}

/// A server under test.
pub struct Server {
    running: Running,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Server {
    /// Starts a program that prints `listening ADDRESS` once it does.
    ///
    /// # Errors
    ///
    /// If it cannot be started, or does not say so in time.
    pub fn start(command: &mut Command) -> Result<Server, Failure> {
        let running = Running::start(command)?;
        let line = running.lines.recv_timeout(START_LIMIT);
        match line.ok().and_then(|line| line.strip_prefix("listening ")?.parse().ok()) {
            Some(address) => Ok(Server { running, address }),
            None => Err(running.fail("the server does not say where it listens")),
        }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.running.child.id()
    }

    /// What the failure of a client means, seen from here: the server's own words count for more.
    pub fn explain(self, failure: Failure) -> Failure {
        self.running.fail(&failure.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_program_that_does_not_end_is_killed_in_time() {
        let begun = Instant::now();
        let failure = run(&mut shell("exec sleep 60"), Duration::from_millis(100)).unwrap_err();
        assert!(failure.0.contains("does not end"), "{failure}");
        assert!(begun.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn a_failure_is_told_in_the_words_of_the_program() {
        let failure =
            run(&mut shell("echo one; echo because >&2; exit 3"), Duration::from_secs(30)).unwrap_err();
        assert_eq!(failure.0, "because");
        let panic =
            "thread 'main' panicked at src/x.rs:1:1:\nout of maps\nnote: run with `RUST_BACKTRACE=1`\n";
        assert_eq!(reason(panic), Some("out of maps"));
        assert_eq!(reason(""), None);
    }

    #[test]
    fn lines_come_back_in_order() {
        assert_eq!(run(&mut shell("echo a; echo b"), Duration::from_secs(30)).unwrap(), ["a", "b"]);
    }
}
