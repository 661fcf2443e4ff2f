//! The command line.

use std::time::Duration;

pub struct Options {
    pub address: String,
    /// The maximum number of open connections. A client beyond it is told to come back later.
    pub max_connections: usize,
    /// How long a connection may stay open between requests, or while its client does not read its
    /// answers.
    pub idle_timeout: Duration,
    /// How long a request may take to arrive, from its first byte to its last.
    pub request_timeout: Duration,
    /// How long requests in progress may take to finish after the server is told to stop.
    pub grace: Duration,
    /// How many clients of its own the server runs, if any, and after what time it then ends.
    pub load: Option<usize>,
    pub load_for: Duration,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            address: "127.0.0.1:8080".into(),
            max_connections: 20_000,
            idle_timeout: Duration::from_secs(60),
            request_timeout: Duration::from_secs(30),
            grace: Duration::from_secs(30),
            load: None,
            load_for: Duration::from_secs(10),
        }
    }
}

impl Options {
    pub fn from_args() -> Options {
        let mut options = Options::default();
        let mut args = std::env::args().skip(1);
        while let Some(arg) = args.next() {
            let understood = match arg.as_str() {
                "--max-connections" => set(&mut options.max_connections, args.next(), |n| n.parse().ok()),
                "--idle-timeout" => set(&mut options.idle_timeout, args.next(), seconds),
                "--request-timeout" => set(&mut options.request_timeout, args.next(), seconds),
                "--grace" => set(&mut options.grace, args.next(), seconds),
                "--load" => set(&mut options.load, args.next(), |n| n.parse().ok().map(Some)),
                "--load-for" => set(&mut options.load_for, args.next(), seconds),
                option if option.starts_with('-') => None,
                _ => set(&mut options.address, Some(arg), |address| Some(address.into())),
            };
            if understood.is_none() {
                eprintln!(
                    "usage: http_server [ADDRESS] [--max-connections N] [--idle-timeout SECONDS] \
                     [--request-timeout SECONDS] [--grace SECONDS] [--load CLIENTS] [--load-for SECONDS]"
                );
                std::process::exit(2);
            }
        }
        options
    }
}

fn set<T>(option: &mut T, value: Option<String>, parse: impl Fn(&str) -> Option<T>) -> Option<()> {
    *option = parse(&value?)?;
    Some(())
}

/// A number of seconds greater than zero, because a timeout of zero means no timeout.
fn seconds(text: &str) -> Option<Duration> {
    Duration::try_from_secs_f64(text.parse().ok()?).ok().filter(|seconds| !seconds.is_zero())
}
