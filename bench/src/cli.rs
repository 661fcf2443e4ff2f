//! The protocol between the driver and the programs it runs: sizes come as arguments, figures leave as lines of
//! `name value unit`. The Go peer speaks the same one.

use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::process::exit;
use std::str::FromStr;
use std::time::{Duration, Instant};

use crate::cores;

/// The arguments of this process: a case and its sizes.
#[derive(Debug)]
pub struct Arguments(Vec<String>);

impl Arguments {
    /// Reads the command line; ends the process with a usage line if there is no case on it.
    pub fn read() -> Arguments {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        if arguments.is_empty() {
            fail("usage: PROGRAM CASE [ARGUMENT]...");
        }
        Arguments(arguments)
    }

    /// The case to run.
    pub fn case(&self) -> &str {
        &self.0[0]
    }

    /// The word at `index`, counted from 1, if there is one.
    pub fn word(&self, index: usize) -> Option<&str> {
        self.0.get(index).map(String::as_str)
    }

    /// The argument at `index`, counted from 1; ends the process if it is missing or malformed.
    pub fn parse<T: FromStr>(&self, index: usize) -> T {
        self.word(index)
            .and_then(|word| word.parse().ok())
            .unwrap_or_else(|| fail(&format!("{}: argument {index} is missing or malformed", self.case())))
    }

    /// The value after `--name`, if the option is given; ends the process if it is malformed.
    pub fn option<T: FromStr>(&self, name: &str) -> Option<T> {
        let at = self.0.iter().position(|word| word.strip_prefix("--") == Some(name))?;
        match self.word(at + 1).and_then(|word| word.parse().ok()) {
            Some(value) => Some(value),
            None => fail(&format!("--{name} needs a value")),
        }
    }
}

/// The number of worker threads asked for in `BENCH_WORKERS`, or one per core.
pub fn workers() -> usize {
    let asked = std::env::var("BENCH_WORKERS").ok().and_then(|value| value.parse().ok());
    asked.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
}

/// Holds a program of plain threads to as many cores as it is to have workers; ends the process if that cannot be.
pub fn hold_to_workers() {
    if let Err(error) = cores::hold_to(workers()) {
        fail(&format!("cannot be held to {} cores: {error}", workers()));
    }
}

/// Ends the process, unsuccessfully, with `message` on standard error.
pub fn fail(message: &str) -> ! {
    eprintln!("{message}");
    exit(2)
}

/// Ends the process because this peer has no such case.
pub fn unknown(case: &str) -> ! {
    fail(&format!("unknown case {case}"))
}

/// Prints one figure.
pub fn report(name: &str, value: f64, unit: &str) {
    println!("{name} {value:.3} {unit}");
}

/// Prints the nanoseconds that each of `operations` took.
pub fn per_operation(name: &str, elapsed: Duration, operations: usize) {
    report(name, elapsed.as_nanos() as f64 / operations as f64, "ns");
}

/// Runs the case with a tenth of the work to warm up, then times the whole of it.
pub fn warmed(name: &str, operations: usize, mut run: impl FnMut(usize)) {
    run((operations / 10).max(1));
    let begun = Instant::now();
    run(operations);
    per_operation(name, begun.elapsed(), operations);
}

/// Tells the driver where a server listens; port 0 was asked for, so only the server knows.
pub fn listening(address: SocketAddr) {
    println!("listening {address}");
}

/// A listener of std on `address`, announced; ends the process if the address cannot be had.
pub fn listen(address: impl ToSocketAddrs) -> TcpListener {
    let bound = TcpListener::bind(address).and_then(|listener| Ok((listener.local_addr()?, listener)));
    match bound {
        Ok((local, listener)) => {
            listening(local);
            listener
        }
        Err(error) => fail(&format!("cannot listen: {error}")),
    }
}
