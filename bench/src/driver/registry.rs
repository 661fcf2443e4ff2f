//! The registry of cases. A ratio is a promise; what nobody promised has none.

use narrowboat_bench::placement::Placement;

use crate::driver::cases::Better::{Higher, Lower};
use crate::driver::cases::Section::{Channels, Goroutines, Latency, Locks, Network, Selects, Time};
use crate::driver::cases::Target::{Absolute, Ratio, Unset};
use crate::driver::cases::{Better, Case, Metric, Section, Target, Work};

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
    Case { key, label, work, metrics, placement: Placement::Natural }
}

/// The same case with all parties on one processor.
const fn together(key: &'static str, case: Case) -> Case {
    Case { key, placement: Placement::Together, ..case }
}

/// The same case with the parties on processors of their own.
const fn spread(key: &'static str, case: Case) -> Case {
    Case { key, placement: Placement::Spread, ..case }
}

const fn command(name: &'static str, sizes: &'static [usize], operations: usize) -> Work {
    Work::Command { name, sizes, operations: Some(operations), on_threads: 1 }
}

/// Work on which threads are hundreds of times slower, because each operation is a wake-up or a start.
const fn wake_bound(name: &'static str, sizes: &'static [usize], operations: usize) -> Work {
    Work::Command { name, sizes, operations: Some(operations), on_threads: 25 }
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

const P50: Metric = labelled("p50", metric("p50", "us", Lower, Unset, Latency));
const P99: Metric = labelled("p99", metric("p99", "us", Lower, Unset, Latency));
const P999: Metric = labelled("p99.9", metric("p99.9", "us", Lower, Unset, Latency));

const fn rate(ratio: f64) -> Metric {
    metric("rate", "per_s", Higher, Ratio(ratio), Network)
}

const YIELDS: usize = 5_000_000;

const PING_PONG: Case =
    case("pingpong", "ping-pong", wake_bound("pingpong", &[], 500_000), &[ns("pingpong", 0.6, Channels)]);
const CHAN_128: Case =
    case("chan128", "one to one, 128", command("chan128", &[], 5_000_000), &[ns("chan128", 0.6, Channels)]);
const CHAN_0: Case =
    case("chan0", "one to one, 0", wake_bound("chan0", &[], 1_000_000), &[ns("chan0", 0.5, Channels)]);
const FOUR_128: Case = case(
    "four128",
    "four to four, 128",
    command("fourfour128", &[], 4_000_000),
    &[ns("fourfour128", 1.0, Channels)],
);
const RING: Case =
    case("ring-1k", "ring, 1,000", command("ring", &[1_000], 1_000_000), &[ns("ring", 0.6, Channels)]);
const SELECT_8: Case =
    case("select8", "select, 8", wake_bound("select8", &[], 1_000_000), &[ns("select8", 0.4, Selects)]);

const fn arms(key: &'static str, label: &'static str, arms: &'static [usize]) -> Case {
    case(key, label, wake_bound("arms", arms, 200_000), const { &[cost("arms", Selects)] })
}

const MUTEX: Case =
    case("mutex-8", "mutex, 8 contend", command("mutex", &[8], 2_000_000), &[cost("mutex", Locks)]);
const RWLOCK: Case = case(
    "rwlock-8",
    "rwlock, 8 contend, 95% reads",
    command("rwlock", &[8], 2_000_000),
    &[cost("rwlock", Locks)],
);

/// Sleepers wake within this many milliseconds.
const WINDOW: usize = 2_000;

const fn sleepers(key: &'static str, label: &'static str, sizes: &'static [usize]) -> Case {
    case(key, label, sized("sleepers", sizes), const { &[cost("sleepers", Time)] })
}

/// Every case, in the order of the output.
pub const CASES: &[Case] = &[
    case("yield-2", "yield, 2", command("yield", &[2], YIELDS), &[ns("yield", 1.0, Goroutines)]),
    case("yield-10", "yield, 10", command("yield", &[10], YIELDS), &[cost("yield", Goroutines)]),
    case("yield-1k", "yield, 1,000", command("yield", &[1_000], YIELDS), &[ns("yield", 1.0, Goroutines)]),
    case("yield-10k", "yield, 10,000", command("yield", &[10_000], YIELDS), &[cost("yield", Goroutines)]),
    case(
        "yield-100k",
        "yield, 100,000",
        command("yield", &[100_000], YIELDS),
        &[ns("yield", 0.7, Goroutines)],
    ),
    case(
        "yield-1m",
        "yield, 1,000,000",
        command("yield", &[1_000_000], YIELDS),
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
    case(
        "shared-10k",
        "10,000 select on a shared done",
        command("shared", &[10_000], 1_000_000),
        &[cost("shared", Selects)],
    ),
    case("mutex-1", "mutex, nobody contends", command("mutex", &[1], 5_000_000), &[cost("mutex", Locks)]),
    MUTEX,
    spread("mutex-8-spread", MUTEX),
    RWLOCK,
    spread("rwlock-8-spread", RWLOCK),
    case(
        "group-1k",
        "wait group, 1,000",
        wake_bound("waitgroup", &[1_000], 1_000_000),
        &[cost("waitgroup", Locks)],
    ),
    sleepers("sleepers-10k", "10,000 sleepers, CPU each", &[10_000, WINDOW]),
    sleepers("sleepers-100k", "100,000 sleepers, CPU each", &[100_000, WINDOW]),
    sleepers("sleepers-1m", "1,000,000 sleepers, CPU each", &[1_000_000, WINDOW]),
    case(
        "cancelled",
        "1,000,000 timeouts cancelled, CPU each",
        sized("cancelled", &[1_000_000]),
        &[cost("cancelled", Time)],
    ),
    case(
        "timeouts",
        "ping-pong with timeouts",
        wake_bound("timeouts", &[], 500_000),
        &[cost("timeouts", Time)],
    ),
    case(
        "timer-stop",
        "timer made and stopped",
        command("timer-stop", &[], 1_000_000),
        &[cost("timer-stop", Time)],
    ),
    case(
        "lateness",
        "sleep of 1 ms, too long by",
        sized("lateness", &[1_000]),
        &[
            labelled("p50", metric("late-p50", "us", Lower, Unset, Time)),
            labelled("p99", metric("late-p99", "us", Lower, Unset, Time)),
        ],
    ),
    case(
        "context-wide",
        "context with 100,000 children",
        sized("context-wide", &[100_000]),
        &[labelled("make", cost("wide-make", Time)), labelled("cancel", cost("wide-cancel", Time))],
    ),
    case(
        "context-chain",
        "chain of 100,000 contexts",
        sized("context-chain", &[100_000]),
        &[labelled("make", cost("chain-make", Time)), labelled("cancel", cost("chain-cancel", Time))],
    ),
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
            let natural =
                CASES.iter().find(|case| case.placement == Placement::Natural && case.label == placed.label);
            let natural = natural.expect("it is there as the runtime places it, too");
            assert_eq!(placed.metrics[0].target, natural.metrics[0].target, "{}", placed.key);
        }
    }
}
