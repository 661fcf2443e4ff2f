//! The registry of peers: which program each is, what it can do, and how its number of workers is set.

use std::process::Command;

use narrowboat_bench::{locks, placement};

use crate::driver::build::{Program, Programs};
use crate::driver::cases::Case;

/// What a peer is in the comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Narrowboat as its users get it: the figure that is compared.
    Ours,
    /// Narrowboat in another configuration, shown beside.
    Variant,
    /// A peer to compare with.
    Peer,
    /// No runtime at all: what could be had at best.
    Limit,
}

/// For which numbers of workers a peer runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scaling {
    /// Each number that is measured.
    Workers,
    /// The largest alone, to save time.
    Most,
    /// One only.
    Single,
}

/// A peer.
#[derive(Debug)]
pub struct Peer {
    /// What the record calls it.
    pub key: &'static str,
    /// What the table calls it.
    pub label: &'static str,
    /// What it is in the comparison.
    pub role: Role,
    /// Its program.
    pub program: Program,
    /// For which numbers of workers it runs. Threads are held to as many cores.
    pub scaling: Scaling,
    /// Whether its goroutines are threads, which are given less work where each operation is a
    /// wake-up of the kernel's.
    pub on_threads: bool,
    /// The subcommands it has.
    pub commands: &'static [&'static str],
    /// Cases of these that it is left out of all the same, by their keys.
    pub without: &'static [&'static str],
    /// Another subcommand in place of one of those.
    pub instead: Option<(&'static str, &'static str)>,
    /// Environment of its own, on top of the number of workers.
    pub environment: &'static [(&'static str, &'static str)],
}

impl Peer {
    /// Whether the peer takes part in the case.
    pub fn takes_part(&self, case: &Case) -> bool {
        self.commands.contains(&case.command()) && !self.without.contains(&case.key)
    }

    /// Under which key its figures of a case are kept: a peer cannot be told where to put the parties.
    pub fn measures(&self, case: &Case) -> &'static str {
        if self.role == Role::Ours { case.key } else { case.base }
    }

    /// The peer's program with the subcommand of the case, told its number of workers and, if it is
    /// ours, where to put the parties.
    pub fn command(&self, programs: &Programs, case: &Case, workers: usize) -> Command {
        let name = match self.instead {
            Some((common, own)) if common == case.command() => own,
            _ => case.command(),
        };
        let mut command = programs.command(self.program, workers);
        command.arg(name).env("RUST_BACKTRACE", "0");
        for variable in ["GOMAXPROCS", "NARROWBOAT_WORKERS", "BENCH_WORKERS"] {
            command.env(variable, workers.to_string());
        }
        if self.role == Role::Ours {
            command.env(placement::VARIABLE, case.placement.word());
        }
        command.envs(self.environment.iter().copied());
        command
    }
}

const PLAIN: Peer = Peer {
    key: "",
    label: "",
    role: Role::Peer,
    program: Program::Go,
    scaling: Scaling::Workers,
    on_threads: false,
    commands: &[],
    without: &[],
    instead: None,
    environment: &[],
};

const EVERYTHING: &[&str] = &[
    "yield",
    "spawn",
    "park",
    "deep",
    "pingpong",
    "chan128",
    "chan0",
    "fourfour128",
    "ring",
    "select8",
    "arms",
    "shared",
    "mutex",
    "rwlock",
    "waitgroup",
    "calls-pipe",
    "calls-socket",
    "sleepers",
    "cancelled",
    "timeouts",
    "timer-stop",
    "lateness",
    "context-wide",
    "context-chain",
    "echo",
    "disturbed",
    "pooled",
    "hello",
    "http",
];

/// No unbuffered channel, no channel with many receivers, no select over a list, no context.
const TOKIO: &[&str] = &[
    "yield",
    "spawn",
    "park",
    "pingpong",
    "chan128",
    "ring",
    "shared",
    "mutex",
    "rwlock",
    "waitgroup",
    "sleepers",
    "cancelled",
    "timeouts",
    "timer-stop",
    "lateness",
    "echo",
    "disturbed",
    "pooled",
    "hello",
    "http",
];

/// No select, no context, no timer, and no array on a stack for a recursion to touch.
const JAVA: &[&str] = &[
    "yield",
    "spawn",
    "park",
    "pingpong",
    "chan128",
    "chan0",
    "fourfour128",
    "ring",
    "mutex",
    "rwlock",
    "waitgroup",
    "sleepers",
    "cancelled",
    "timeouts",
    "lateness",
    "echo",
    "disturbed",
    "pooled",
    "hello",
    "http",
];

/// No select over more than four channels or over a list, no timeout that is taken back, no timer.
const GO_LIB: &[&str] = &[
    "yield",
    "spawn",
    "park",
    "deep",
    "pingpong",
    "chan128",
    "chan0",
    "fourfour128",
    "ring",
    "shared",
    "mutex",
    "rwlock",
    "waitgroup",
    "sleepers",
    "lateness",
    "context-wide",
    "context-chain",
    "echo",
    "disturbed",
    "pooled",
    "hello",
    "http",
];

/// Every peer, in the order of the columns.
pub const PEERS: &[Peer] = &[
    Peer {
        key: "narrowboat",
        label: "Narrowboat",
        role: Role::Ours,
        program: Program::Binary("narrowboat_cases"),
        commands: EVERYTHING,
        ..PLAIN
    },
    Peer {
        key: "narrowboat-1p",
        label: "Narrowboat, one processor",
        role: Role::Variant,
        program: Program::Binary("narrowboat_cases"),
        scaling: Scaling::Single,
        commands: &["yield", "spawn"],
        environment: &[("NARROWBOAT_PROCESSORS", "1")],
        ..PLAIN
    },
    Peer {
        key: "narrowboat-std",
        label: "Narrowboat, std's locks",
        role: Role::Variant,
        program: Program::Binary("narrowboat_cases"),
        commands: &["mutex", "rwlock"],
        environment: &[(locks::VARIABLE, locks::STD)],
        ..PLAIN
    },
    Peer {
        key: "go",
        label: "Go",
        commands: EVERYTHING,
        // It does not call the C library.
        without: &["calls-pipe", "calls-socket"],
        // It has no pool to hand anything to, and needs none.
        instead: Some(("pooled", "disturbed")),
        ..PLAIN
    },
    Peer {
        key: "go-nethttp",
        label: "Go net/http",
        commands: &["http"],
        instead: Some(("http", "nethttp")),
        ..PLAIN
    },
    Peer { key: "tokio", label: "tokio", program: Program::Binary("peer_tokio"), commands: TOKIO, ..PLAIN },
    Peer {
        key: "tokio-current",
        label: "tokio, current thread",
        program: Program::Binary("peer_tokio"),
        scaling: Scaling::Single,
        commands: TOKIO,
        environment: &[("BENCH_WORKERS", "current")],
        ..PLAIN
    },
    Peer {
        key: "may",
        label: "may",
        program: Program::Binary("peer_may"),
        // No one to one of capacity 0: its channels are unbounded.
        commands: &[
            "yield",
            "spawn",
            "park",
            "deep",
            "pingpong",
            "chan128",
            "ring",
            "mutex",
            "rwlock",
            "echo",
            "disturbed",
            "hello",
            "http",
        ],
        ..PLAIN
    },
    Peer {
        key: "go-lib",
        label: "go-lib",
        program: Program::Binary("peer_go_lib"),
        scaling: Scaling::Most,
        commands: GO_LIB,
        ..PLAIN
    },
    Peer {
        key: "java",
        label: "Java",
        program: Program::Java,
        scaling: Scaling::Most,
        commands: JAVA,
        ..PLAIN
    },
    Peer {
        key: "crossbeam",
        label: "crossbeam, threads",
        program: Program::Binary("peer_crossbeam"),
        on_threads: true,
        commands: &["pingpong", "chan128", "chan0", "fourfour128", "select8", "arms", "timeouts"],
        ..PLAIN
    },
    Peer {
        key: "std",
        label: "std, threads",
        program: Program::Binary("peer_std"),
        on_threads: true,
        commands: &["mutex", "rwlock", "waitgroup", "lateness", "echo", "hello"],
        // Thousands of threads are no rival, and the time of a run is short.
        without: &["echo-8", "echo-9k", "echo-9k-busy", "idle-1k", "idle-9k", "tail"],
        ..PLAIN
    },
    Peer {
        key: "epoll",
        label: "bare epoll",
        role: Role::Limit,
        program: Program::Binary("peer_epoll"),
        commands: &["echo", "disturbed", "http"],
        ..PLAIN
    },
];
