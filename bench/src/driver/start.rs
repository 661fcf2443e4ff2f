//! Cold start: how long it takes from starting a process until it has done the first thing for somebody. The file of the
//! program is in the page cache.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use narrowboat_bench::harness::process::{Failure, Server, run};

use crate::driver::results::Summary;

/// How often a process is started in one turn; the figure is the median. The first time of all does not count.
const TIMES: usize = 15;

/// Longest time for a reply, and for a program that says hello.
const LIMIT: Duration = Duration::from_secs(5);

/// From the start of the program to the end of it.
pub fn hello(command: impl Fn() -> Command) -> Result<Vec<String>, Failure> {
    median("start-hello", || {
        let begun = Instant::now();
        let lines = run(&mut command(), LIMIT)?;
        let took = begun.elapsed();
        if lines == ["hello"] { Ok(took) } else { Err(Failure(format!("it says {lines:?}"))) }
    })
}

/// From the start of an echo server to its first reply, on the first connection.
pub fn first_reply(command: impl Fn() -> Command) -> Result<Vec<String>, Failure> {
    median("start-reply", || {
        let begun = Instant::now();
        let server = Server::start(command().arg("127.0.0.1:0"))?;
        match echoed(&server) {
            Ok(true) => Ok(begun.elapsed()),
            Ok(false) => Err(Failure("the first reply is wrong".into())),
            Err(error) => Err(server.explain(Failure(error.to_string()))),
        }
    })
}

fn echoed(server: &Server) -> std::io::Result<bool> {
    let message = *b"is anybody there";
    let mut stream = TcpStream::connect_timeout(&server.address, LIMIT)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.write_all(&message)?;
    let mut reply = [0; 16];
    stream.read_exact(&mut reply)?;
    Ok(reply == message)
}

fn median(name: &str, once: impl Fn() -> Result<Duration, Failure>) -> Result<Vec<String>, Failure> {
    once()?;
    let times: Vec<f64> =
        (0..TIMES).map(|_| once().map(|took| took.as_secs_f64() * 1e3)).collect::<Result<_, _>>()?;
    let summary = Summary::of(&times).ok_or_else(|| Failure("never started".into()))?;
    Ok(vec![format!("{name} {} ms", summary.median)])
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
    fn a_hello_counts_if_it_is_said() {
        let lines = hello(|| shell("echo hello")).unwrap();
        let value: f64 = lines[0].split(' ').nth(1).unwrap().parse().unwrap();
        assert!(lines[0].starts_with("start-hello ") && value > 0.0, "{lines:?}");
        assert!(hello(|| shell("echo hullo")).is_err());
    }

    #[test]
    fn a_server_that_says_nothing_has_no_first_reply() {
        let failure = first_reply(|| shell("exit 3")).unwrap_err();
        assert!(failure.0.contains("where it listens"), "{failure}");
    }
}
