//! The registry of cases: what each does, how much of it, what it reports, and what Narrowboat is to reach.

use Better::{Higher, Lower};
use Section::{Channels, Goroutines, Latency, Network};
use Target::{Absolute, Ratio, Unset};

/// Which table a figure stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// Yield, spawn, park, recursion.
    Goroutines,
    /// Channels and select.
    Channels,
    /// Requests per second, and the server's memory.
    Network,
    /// How long a request takes.
    Latency,
}

impl Section {
    /// All of them, in the order of the output.
    pub const ALL: [Section; 4] = [Goroutines, Channels, Network, Latency];

    /// The heading.
    pub fn title(self) -> &'static str {
        match self {
            Goroutines => "Goroutines",
            Channels => "Channels",
            Network => "Network",
            Latency => "Network, latency",
        }
    }
}

/// Which direction is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    /// A cost.
    Lower,
    /// A rate.
    Higher,
}

/// What Narrowboat is to reach.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Target {
    /// That many times the best peer's figure: at most for a cost, at least for a rate.
    Ratio(f64),
    /// The figure itself.
    Absolute(f64),
    /// Nothing was promised.
    Unset,
}

/// A figure that a case reports.
#[derive(Debug)]
pub struct Metric {
    /// The name that the programs print.
    pub name: &'static str,
    /// What the table calls it, after the case's own label.
    pub label: &'static str,
    /// What the figure is in.
    pub unit: &'static str,
    /// Which direction is good.
    pub better: Better,
    /// What is to be reached.
    pub target: Target,
    /// Which table it stands in.
    pub section: Section,
}

/// How a case is run.
#[derive(Clone, Copy, Debug)]
pub enum Work {
    /// The peer's own command, which does a fixed amount of work and ends.
    Command {
        /// The subcommand.
        name: &'static str,
        /// Sizes that stay as they are.
        sizes: &'static [usize],
        /// The number of operations, which `--quick` and slow peers divide.
        operations: Option<usize>,
        /// What a peer on threads divides the operations by.
        on_threads: usize,
    },
    /// The peer's echo server under the load generator.
    Echo {
        /// Connections.
        open: usize,
        /// How many of them are busy.
        busy: usize,
    },
    /// The peer's HTTP server under wrk, or under the load generator where there is no wrk.
    Http {
        /// Connections, all busy.
        connections: usize,
    },
}

/// A case.
#[derive(Debug)]
pub struct Case {
    /// What `--only` and the record call it.
    pub key: &'static str,
    /// What the table calls it.
    pub label: &'static str,
    /// How it is run.
    pub work: Work,
    /// What it reports.
    pub metrics: &'static [Metric],
    /// Whether Narrowboat is told to put the two goroutines on two processors.
    pub across: bool,
}

impl Case {
    /// The subcommand that a peer must have to take part.
    pub fn command(&self) -> &'static str {
        match self.work {
            Work::Command { name, .. } => name,
            Work::Echo { .. } => "echo",
            Work::Http { .. } => "http",
        }
    }
}

const fn metric(
    name: &'static str,
    unit: &'static str,
    better: Better,
    target: Target,
    section: Section,
) -> Metric {
    Metric { name, label: "", unit, better, target, section }
}

const fn labelled(label: &'static str, metric: Metric) -> Metric {
    Metric { label, ..metric }
}

const fn case(key: &'static str, label: &'static str, work: Work, metrics: &'static [Metric]) -> Case {
    Case { key, label, work, metrics, across: false }
}

const fn command(name: &'static str, sizes: &'static [usize], operations: usize) -> Work {
    Work::Command { name, sizes, operations: Some(operations), on_threads: 1 }
}

/// Work on which threads are hundreds of times slower, because each operation is a wake-up.
const fn wake_bound(name: &'static str, operations: usize) -> Work {
    Work::Command { name, sizes: &[], operations: Some(operations), on_threads: 25 }
}

/// Work whose amount is the point of the case.
const fn sized(name: &'static str, sizes: &'static [usize]) -> Work {
    Work::Command { name, sizes, operations: None, on_threads: 1 }
}

const fn ns(name: &'static str, ratio: f64, section: Section) -> Metric {
    metric(name, "ns", Lower, Ratio(ratio), section)
}

const P50: Metric = labelled("p50", metric("p50", "us", Lower, Unset, Latency));
const P99: Metric = labelled("p99", metric("p99", "us", Lower, Unset, Latency));
const P999: Metric = labelled("p99.9", metric("p99.9", "us", Lower, Unset, Latency));

const fn rate(ratio: f64) -> Metric {
    metric("rate", "per_s", Higher, Ratio(ratio), Network)
}

/// Every case, in the order of the output.
pub const CASES: &[Case] = &[
    case("yield-2", "yield, 2", command("yield", &[2], 5_000_000), &[ns("yield", 1.0, Goroutines)]),
    case("yield-1k", "yield, 1,000", command("yield", &[1_000], 5_000_000), &[ns("yield", 1.0, Goroutines)]),
    case(
        "yield-100k",
        "yield, 100,000",
        command("yield", &[100_000], 5_000_000),
        &[ns("yield", 0.7, Goroutines)],
    ),
    case(
        "yield-1m",
        "yield, 1,000,000",
        command("yield", &[1_000_000], 5_000_000),
        &[ns("yield", 0.4, Goroutines)],
    ),
    case("spawn", "spawn", sized("spawn", &[1_000_000]), &[ns("spawn", 0.5, Goroutines)]),
    case(
        "park",
        "1,000,000 parked",
        sized("park", &[1_000_000]),
        &[
            labelled("memory each", metric("park", "bytes", Lower, Absolute(400.0), Goroutines)),
            labelled("wake each", ns("wake", 0.5, Goroutines)),
        ],
    ),
    case(
        "deep",
        "recursion, 100,000 deep",
        sized("deep", &[100_000]),
        &[
            labelled("first time", metric("deep-first", "ms", Lower, Ratio(0.5), Goroutines)),
            labelled("second time", metric("deep-second", "ms", Lower, Ratio(0.5), Goroutines)),
        ],
    ),
    case("pingpong", "ping-pong", wake_bound("pingpong", 500_000), &[ns("pingpong", 0.6, Channels)]),
    Case {
        across: true,
        ..case(
            "pingpong-cross",
            "ping-pong across processors",
            wake_bound("pingpong", 500_000),
            &[ns("pingpong", 0.6, Channels)],
        )
    },
    case("chan128", "one to one, 128", command("chan128", &[], 5_000_000), &[ns("chan128", 0.6, Channels)]),
    case("chan0", "one to one, 0", wake_bound("chan0", 1_000_000), &[ns("chan0", 0.5, Channels)]),
    case(
        "four128",
        "four to four, 128",
        command("fourfour128", &[], 4_000_000),
        &[ns("fourfour128", 1.0, Channels)],
    ),
    case("select8", "select, 8", wake_bound("select8", 1_000_000), &[ns("select8", 0.4, Channels)]),
    case("ring-1k", "ring, 1,000", command("ring", &[1_000], 1_000_000), &[ns("ring", 0.6, Channels)]),
    case("echo-1", "echo, 1", Work::Echo { open: 1, busy: 1 }, &[rate(1.5), P50, P99, P999]),
    case("echo-64", "echo, 64", Work::Echo { open: 64, busy: 64 }, &[rate(1.1), P50, P99, P999]),
    case("echo-1k", "echo, 1,000", Work::Echo { open: 1_000, busy: 1_000 }, &[rate(1.1), P50, P99, P999]),
    case(
        "echo-9k",
        "echo, 9,000 open, 64 busy",
        Work::Echo { open: 9_000, busy: 64 },
        &[
            rate(1.1),
            labelled("memory", metric("memory", "MB", Lower, Absolute(19.0), Network)),
            P50,
            P99,
            P999,
        ],
    ),
    case("http-64", "http, 64", Work::Http { connections: 64 }, &[rate(1.1), P50, P99]),
    case("http-1k", "http, 1,000", Work::Http { connections: 1_000 }, &[rate(1.1), P50, P99]),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_unique() {
        for (i, case) in CASES.iter().enumerate() {
            assert!(CASES[..i].iter().all(|earlier| earlier.key != case.key), "{} is there twice", case.key);
        }
    }
}
