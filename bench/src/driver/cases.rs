//! What a case is: what it does, how much of it, what it reports, and what Narrowboat is to reach. The cases themselves are
//! in `registry`.

use narrowboat_bench::disturbance::Disturbance;
use narrowboat_bench::placement::Placement;

/// Which table a figure stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// Yield, spawn, park, recursion.
    Goroutines,
    /// Channels.
    Channels,
    /// Selects.
    Selects,
    /// Locks and wait groups.
    Locks,
    /// Blocking functions of the C library.
    Calls,
    /// Timers and contexts.
    Time,
    /// Requests per second, and what the server takes for them.
    Network,
    /// How long a request takes in the closed loop.
    Latency,
    /// How long one takes at a fixed rate.
    Tail,
    /// From the start of the process.
    Start,
}

impl Section {
    /// All of them, in the order of the output.
    pub const ALL: [Section; 10] = [
        Section::Goroutines,
        Section::Channels,
        Section::Selects,
        Section::Locks,
        Section::Calls,
        Section::Time,
        Section::Network,
        Section::Latency,
        Section::Tail,
        Section::Start,
    ];

    /// The heading.
    pub fn title(self) -> &'static str {
        match self {
            Section::Goroutines => "Goroutines",
            Section::Channels => "Channels",
            Section::Selects => "Selects",
            Section::Locks => "Locks and groups",
            Section::Calls => "Blocking functions of the C library, where they need not wait",
            Section::Time => "Timers and contexts",
            Section::Network => "Network",
            Section::Latency => "Network, latency in the closed loop",
            Section::Tail => "Network, latency at a fixed rate",
            Section::Start => "Cold start",
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
    /// It says something about the measurement, not about the peer.
    Neither,
}

impl Better {
    /// What a figure costs in terms of another: of a rate it is the inverse, so that below one is always better.
    pub fn cost(self, ours: f64, theirs: f64) -> f64 {
        match self {
            Better::Higher => theirs / ours,
            Better::Lower | Better::Neither => ours / theirs,
        }
    }
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
    /// Whether the README shows it.
    pub headline: bool,
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
        /// The number of operations in the standard set; those on threads, and shorter or longer runs, do less or more.
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
    /// The peer's echo server at a fixed rate, with goroutines beside it that disturb it.
    Tail {
        /// How they do.
        disturbance: Option<Disturbance>,
        /// Whether they hand that to the threads that their runtime keeps for such.
        pooled: bool,
    },
    /// The memory that connections take in the peer's echo server which say nothing.
    Idle {
        /// Connections.
        open: usize,
    },
    /// From the start of the peer's echo server to its first reply.
    FirstReply,
    /// From the start of the peer's least program to its end.
    Hello,
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
    /// Where Narrowboat is told to put the parties.
    pub placement: Placement,
    /// The case without that, in which the peers are measured: they cannot be told.
    pub base: &'static str,
    /// With how many workers it is measured in the standard set.
    pub workers: Workers,
}

/// Numbers of workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workers {
    /// With each number.
    Each,
    /// With the largest alone, to save time.
    Most,
}

impl Case {
    /// The subcommand that a peer must have to take part.
    pub fn command(&self) -> &'static str {
        match self.work {
            Work::Command { name, .. } => name,
            Work::Tail { pooled: true, .. } => "pooled",
            Work::Tail { disturbance: Some(_), .. } => "disturbed",
            Work::Echo { .. } | Work::Idle { .. } | Work::Tail { .. } | Work::FirstReply => "echo",
            Work::Hello => "hello",
            Work::Http { .. } => "http",
        }
    }

    /// Whether the load generator takes part.
    pub fn needs_a_client(&self) -> bool {
        !matches!(self.work, Work::Command { .. } | Work::FirstReply | Work::Hello)
    }

    /// The first of its sizes, by which cases of the same command differ: so many goroutines, arms, timers, or connections
    /// that are all busy.
    pub fn size(&self) -> Option<usize> {
        match self.work {
            Work::Command { sizes, .. } => sizes.first().copied(),
            Work::Echo { open, busy } => (open == busy).then_some(open),
            _ => None,
        }
    }

    /// What the table calls it, and where the parties are if that was chosen.
    pub fn title(&self) -> String {
        let place = match self.placement {
            Placement::Natural => "",
            Placement::Together => ", one processor",
            Placement::Spread => ", spread",
        };
        format!("{}{place}", self.label)
    }

    /// What the table calls one of its figures.
    pub fn title_of(&self, metric: &Metric) -> String {
        match metric.label {
            "" => self.title(),
            label => format!("{}: {label}", self.title()),
        }
    }
}
