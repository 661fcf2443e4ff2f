//! The registry of cases. A ratio is a promise; what nobody promised has none.
//!
//! The amounts of work are those of the standard set, which is to end within half an hour on two
//! cores: the fastest works for some tens of milliseconds, and the slowest for a second or two.

use narrowboat_bench::disturbance::Disturbance;
use narrowboat_bench::placement::Placement;

use crate::driver::cases::Better::{Higher, Lower, Neither};
use crate::driver::cases::Section::{
    Calls, Channels, Goroutines, Latency, Locks, Network, Selects, Start, Tail, Time,
};
use crate::driver::cases::Target::{Absolute, Ratio, Unset};
use crate::driver::cases::{Better, Case, Metric, Section, Target, Work, Workers};

/// A figure; the README shows those that were promised.
const fn metric(
    name: &'static str,
    unit: &'static str,
    better: Better,
    target: Target,
    section: Section,
) -> Metric {
    let headline = !matches!(target, Unset);
    Metric { name, label: "", unit, better, target, section, headline }
}

const fn labelled(label: &'static str, metric: Metric) -> Metric {
    Metric { label, ..metric }
}

/// The README shows it, though nothing was promised.
const fn headline(metric: Metric) -> Metric {
    Metric { headline: true, ..metric }
}

const fn case(key: &'static str, label: &'static str, work: Work, metrics: &'static [Metric]) -> Case {
    Case { key, label, work, metrics, placement: Placement::Natural, base: key, workers: Workers::Each }
}

/// The same case with all parties on one processor.
const fn together(key: &'static str, case: Case) -> Case {
    Case { key, placement: Placement::Together, ..case }
}

/// The same case with the parties on processors of their own.
const fn spread(key: &'static str, case: Case) -> Case {
    Case { key, placement: Placement::Spread, ..case }
}

/// The same case, in the standard set with the largest number of workers alone.
const fn most(case: Case) -> Case {
    Case { workers: Workers::Most, ..case }
}

const fn command(name: &'static str, sizes: &'static [usize], operations: usize) -> Work {
    Work::Command { name, sizes, operations: Some(operations), on_threads: 1 }
}

/// Work on which threads are hundreds of times slower, because each operation is a wake-up or a start.
const fn wake_bound(name: &'static str, sizes: &'static [usize], operations: usize) -> Work {
    Work::Command { name, sizes, operations: Some(operations), on_threads: 80 }
}

/// Work whose amount is the point of the case.
const fn sized(name: &'static str, sizes: &'static [usize]) -> Work {
    Work::Command { name, sizes, operations: None, on_threads: 1 }
}

/// A cost that was promised to be that many times the best peer's.
const fn ns(name: &'static str, ratio: f64, section: Section) -> Metric {
    metric(name, "ns", Lower, Ratio(ratio), section)
}

/// A cost without a promise.
const fn cost(name: &'static str, section: Section) -> Metric {
    metric(name, "ns", Lower, Unset, section)
}

const fn latency(label: &'static str, section: Section) -> Metric {
    labelled(label, metric(label, "us", Lower, Unset, section))
}

const fn rate(target: Target) -> Metric {
    metric("rate", "per_s", Higher, target, Network)
}

const CPU: Metric = labelled("server's CPU time for each", metric("cpu", "us", Lower, Unset, Network));
const CLIENT: Metric =
    labelled("of a core, the load generator", metric("client", "%", Neither, Unset, Network));

const fn yields(
    key: &'static str,
    label: &'static str,
    sizes: &'static [usize],
    metrics: &'static [Metric],
) -> Case {
    // A goroutine yields twice at least, however many there are.
    case(key, label, command("yield", sizes, 2_000_000), metrics)
}

const YIELD: &[Metric] = &[cost("yield", Goroutines)];

const PING_PONG: Case =
    case("pingpong", "ping-pong", wake_bound("pingpong", &[], 500_000), &[ns("pingpong", 0.6, Channels)]);
const CHAN_128: Case =
    case("chan128", "one to one, 128", command("chan128", &[], 5_000_000), &[ns("chan128", 0.6, Channels)]);
const CHAN_0: Case =
    case("chan0", "one to one, 0", wake_bound("chan0", &[], 800_000), &[ns("chan0", 0.5, Channels)]);
const FOUR_128: Case = case(
    "four128",
    "four to four, 128",
    command("fourfour128", &[], 3_000_000),
    &[ns("fourfour128", 1.0, Channels)],
);
const RING: Case =
    case("ring-1k", "ring, 1,000", command("ring", &[1_000], 800_000), &[ns("ring", 0.6, Channels)]);
const SELECT_8: Case =
    case("select8", "select, 8", wake_bound("select8", &[], 800_000), &[ns("select8", 0.4, Selects)]);

const fn arms(key: &'static str, label: &'static str, arms: &'static [usize]) -> Case {
    most(case(key, label, wake_bound("arms", arms, 100_000), const { &[cost("arms", Selects)] }))
}

const MUTEX: Case = most(case(
    "mutex-8",
    "mutex, 8 contend",
    command("mutex", &[8], 2_000_000),
    &[headline(cost("mutex", Locks))],
));
const RWLOCK: Case = most(case(
    "rwlock-8",
    "rwlock, 8 contend, 95% reads",
    command("rwlock", &[8], 2_000_000),
    &[headline(cost("rwlock", Locks))],
));

/// What a call of ours costs, and how much of that is not the system call's.
const fn calls(key: &'static str, label: &'static str) -> Case {
    const fn beyond(name: &'static str, label: &'static str) -> Metric {
        labelled(label, metric(name, "ns", Lower, Absolute(60.0), Calls))
    }
    most(case(
        key,
        label,
        command(key, &[], 1_000_000),
        const {
            &[
                labelled("write", cost("write", Calls)),
                beyond("write-beyond", "write, beyond the bare call"),
                labelled("read", cost("read", Calls)),
                beyond("read-beyond", "read, beyond the bare call"),
            ]
        },
    ))
}

/// Sleepers wake within this many milliseconds.
const WINDOW: usize = 1_000;

const SLEEPERS: &[Metric] = &[cost("sleepers", Time)];

const fn sleepers(
    key: &'static str,
    label: &'static str,
    sizes: &'static [usize],
    metrics: &'static [Metric],
) -> Case {
    most(case(key, label, sized("sleepers", sizes), metrics))
}

const fn echo(
    key: &'static str,
    label: &'static str,
    open: usize,
    busy: usize,
    metrics: &'static [Metric],
) -> Case {
    case(key, label, Work::Echo { open, busy }, metrics)
}

const ECHO: &[Metric] = &[
    rate(Ratio(1.1)),
    CPU,
    CLIENT,
    latency("p50", Latency),
    latency("p99", Latency),
    latency("p99.9", Latency),
];

const HTTP: &[Metric] = &[rate(Ratio(1.1)), latency("p50", Latency), latency("p99", Latency)];

const fn tail(
    key: &'static str,
    label: &'static str,
    disturbance: Option<Disturbance>,
    pooled: bool,
) -> Case {
    most(case(
        key,
        label,
        Work::Tail { disturbance, pooled },
        const {
            &[
                latency("p50", Tail),
                headline(latency("p99", Tail)),
                headline(latency("p99.9", Tail)),
                labelled("p99.9, sent late by", metric("late-p99.9", "us", Neither, Unset, Tail)),
            ]
        },
    ))
}

const fn idle(key: &'static str, label: &'static str, open: usize) -> Case {
    most(case(
        key,
        label,
        Work::Idle { open },
        const {
            &[
                labelled("memory each", headline(metric("idle", "bytes", Lower, Unset, Network))),
                labelled("anonymous memory each", metric("idle-user", "bytes", Lower, Unset, Network)),
            ]
        },
    ))
}

/// Every case, in the order of the output.
pub const CASES: &[Case] = &[
    yields("yield-2", "yield, 2", &[2], &[ns("yield", 1.0, Goroutines)]),
    most(yields("yield-10", "yield, 10", &[10], YIELD)),
    most(yields("yield-100", "yield, 100", &[100], YIELD)),
    yields("yield-1k", "yield, 1,000", &[1_000], &[ns("yield", 1.0, Goroutines)]),
    most(yields("yield-10k", "yield, 10,000", &[10_000], YIELD)),
    yields("yield-100k", "yield, 100,000", &[100_000], &[ns("yield", 0.7, Goroutines)]),
    yields("yield-1m", "yield, 1,000,000", &[1_000_000], &[ns("yield", 0.4, Goroutines)]),
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
    PING_PONG,
    together("pingpong-one", PING_PONG),
    spread("pingpong-spread", PING_PONG),
    CHAN_128,
    together("chan128-one", CHAN_128),
    spread("chan128-spread", CHAN_128),
    CHAN_0,
    together("chan0-one", CHAN_0),
    spread("chan0-spread", CHAN_0),
    FOUR_128,
    together("four128-one", FOUR_128),
    spread("four128-spread", FOUR_128),
    RING,
    together("ring-1k-one", RING),
    spread("ring-1k-spread", RING),
    SELECT_8,
    together("select8-one", SELECT_8),
    spread("select8-spread", SELECT_8),
    arms("arms-1", "select, 1 arm", &[1]),
    arms("arms-2", "select, 2 arms", &[2]),
    arms("arms-8", "select, 8 arms", &[8]),
    arms("arms-64", "select, 64 arms", &[64]),
    most(case(
        "shared-10k",
        "10,000 select on a shared done",
        command("shared", &[10_000], 500_000),
        &[cost("shared", Selects)],
    )),
    most(case(
        "mutex-1",
        "mutex, nobody contends",
        command("mutex", &[1], 5_000_000),
        &[cost("mutex", Locks)],
    )),
    MUTEX,
    spread("mutex-8-spread", MUTEX),
    RWLOCK,
    spread("rwlock-8-spread", RWLOCK),
    most(case(
        "group-1k",
        "wait group, 1,000",
        wake_bound("waitgroup", &[1_000], 500_000),
        &[headline(cost("waitgroup", Locks))],
    )),
    calls("calls-pipe", "pipe"),
    calls("calls-socket", "pair of sockets"),
    sleepers("sleepers-1", "1 sleeper, CPU time", &[1, WINDOW], SLEEPERS),
    sleepers("sleepers-100", "100 sleepers, CPU time each", &[100, WINDOW], SLEEPERS),
    sleepers("sleepers-1k", "1,000 sleepers, CPU time each", &[1_000, WINDOW], SLEEPERS),
    sleepers("sleepers-10k", "10,000 sleepers, CPU time each", &[10_000, WINDOW], SLEEPERS),
    sleepers(
        "sleepers-100k",
        "100,000 sleepers, CPU time each",
        &[100_000, WINDOW],
        &[headline(cost("sleepers", Time))],
    ),
    sleepers(
        "sleepers-1m",
        "1,000,000 sleepers, CPU time each",
        &[1_000_000, WINDOW],
        &[headline(cost("sleepers", Time))],
    ),
    most(case(
        "cancelled",
        "300,000 timeouts cancelled, CPU time each",
        sized("cancelled", &[300_000]),
        &[cost("cancelled", Time)],
    )),
    most(case(
        "timeouts",
        "ping-pong with timeouts",
        wake_bound("timeouts", &[], 200_000),
        &[headline(cost("timeouts", Time))],
    )),
    most(case(
        "timer-stop",
        "timer made and stopped",
        command("timer-stop", &[], 1_000_000),
        &[cost("timer-stop", Time)],
    )),
    most(case(
        "lateness",
        "sleep of 1 ms, too long by",
        sized("lateness", &[500]),
        &[
            labelled("p50", metric("late-p50", "us", Lower, Unset, Time)),
            labelled("p99", metric("late-p99", "us", Lower, Unset, Time)),
        ],
    )),
    most(case(
        "context-wide",
        "context with 100,000 children",
        sized("context-wide", &[100_000]),
        &[labelled("make", cost("wide-make", Time)), labelled("cancel", cost("wide-cancel", Time))],
    )),
    most(case(
        "context-chain",
        "chain of 100,000 contexts",
        sized("context-chain", &[100_000]),
        &[labelled("make", cost("chain-make", Time)), labelled("cancel", cost("chain-cancel", Time))],
    )),
    echo(
        "echo-1",
        "echo, 1",
        1,
        1,
        &[
            rate(Ratio(1.5)),
            CPU,
            CLIENT,
            latency("p50", Latency),
            latency("p99", Latency),
            latency("p99.9", Latency),
        ],
    ),
    most(echo("echo-8", "echo, 8", 8, 8, &[rate(Unset), CPU, CLIENT])),
    echo("echo-64", "echo, 64", 64, 64, ECHO),
    echo("echo-1k", "echo, 1,000", 1_000, 1_000, ECHO),
    most(echo("echo-9k-busy", "echo, 9,000, all busy", 9_000, 9_000, &[headline(rate(Unset)), CPU, CLIENT])),
    echo(
        "echo-9k",
        "echo, 9,000 open, 64 busy",
        9_000,
        64,
        &[
            rate(Ratio(1.1)),
            labelled("memory", metric("memory", "MB", Lower, Absolute(19.0), Network)),
            CPU,
            CLIENT,
            latency("p50", Latency),
            latency("p99", Latency),
            latency("p99.9", Latency),
        ],
    ),
    idle("idle-1k", "1,000 idle connections", 1_000),
    idle("idle-9k", "9,000 idle connections", 9_000),
    case("http-64", "http, 64", Work::Http { connections: 64 }, HTTP),
    case("http-1k", "http, 1,000", Work::Http { connections: 1_000 }, HTTP),
    tail("tail", "echo at 10,000/s", None, false),
    tail("tail-compute", "echo at 10,000/s, others compute for 5 ms", Some(Disturbance::Compute), false),
    tail(
        "tail-compute-pool",
        "echo at 10,000/s, others compute on the pool",
        Some(Disturbance::Compute),
        true,
    ),
    tail("tail-block", "echo at 10,000/s, others block for 20 ms", Some(Disturbance::Block), false),
    tail("tail-call", "echo at 10,000/s, others in system calls of 20 ms", Some(Disturbance::Call), false),
    tail("tail-block-pool", "echo at 10,000/s, others block on the pool", Some(Disturbance::Block), true),
    most(case(
        "start-reply",
        "process start to first reply",
        Work::FirstReply,
        &[headline(metric("start-reply", "ms", Lower, Unset, Start))],
    )),
    most(case(
        "start-hello",
        "process start to end of hello",
        Work::Hello,
        &[headline(metric("start-hello", "ms", Lower, Unset, Start))],
    )),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn keys_and_titles_are_unique() {
        let keys: BTreeSet<_> = CASES.iter().map(|case| case.key).collect();
        let titles: BTreeSet<_> = CASES.iter().map(Case::title).collect();
        assert_eq!((keys.len(), titles.len()), (CASES.len(), CASES.len()));
    }

    #[test]
    fn a_promise_holds_wherever_the_parties_are() {
        for placed in CASES.iter().filter(|case| case.placement != Placement::Natural) {
            let natural = CASES.iter().find(|case| case.key == placed.base);
            let natural = natural.expect("it is there as the runtime places it, too");
            assert_eq!(natural.placement, Placement::Natural);
            assert_eq!(placed.metrics[0].target, natural.metrics[0].target, "{}", placed.key);
        }
    }
}
