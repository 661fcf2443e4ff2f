//! The load generator: one thread, the same for every server. Every byte of every reply is checked.
//!
//! - `load echo|http ADDRESS --open N [--busy M] (--seconds S | --requests R) [--warmup S] [--pid P]`: the closed loop. It
//!   opens N connections, makes one round trip on each, and then keeps one request under way on each of M of them, spread
//!   evenly over the N. It prints the rate, the latencies, how busy it was itself and, given the server's process id, the
//!   server's CPU time for each reply and its memory with all connections open.
//! - `load tail ADDRESS --open N --rate R [--seconds S] [--warmup S]`: the open loop, see `open_loop`.
//! - `load idle ADDRESS --open N --pid P`: what each of N connections takes in the server that has once spoken, and is
//!   silent now.
//!
//! A server that stops answering ends the run with a failure, so it always ends.

mod client;
mod exchange;
mod latency;
mod open_loop;

use std::io;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use narrowboat_bench::cli::{Arguments, fail, report, unknown};
use narrowboat_bench::limits::{raise_descriptors, sharpen_timers};
use narrowboat_bench::{cpu, memory};

use client::{Load, Until};
use exchange::Kind;
use latency::Latencies;
use open_loop::Schedule;

/// How long a server is left alone before its memory is read: what runtimes put off for a moment is done by then.
const REST: Duration = Duration::from_millis(300);

fn main() {
    let arguments = Arguments::read();
    let outcome = raise_descriptors().and_then(|_| match arguments.case() {
        "echo" => closed_loop(Kind::Echo, &arguments),
        "http" => closed_loop(Kind::Http, &arguments),
        "tail" => open_loop(&arguments),
        "idle" => idle(&arguments),
        case => unknown(case),
    });
    if let Err(error) = outcome {
        fail(&format!("load: {error}"));
    }
}

fn closed_loop(kind: Kind, arguments: &Arguments) -> io::Result<()> {
    let open = connections(arguments);
    let busy = arguments.option("busy").unwrap_or(open).clamp(1, open);
    let until = match arguments.option("requests") {
        Some(requests) => Until::Requests(requests),
        None => Until::Elapsed(seconds(arguments, "seconds", 2.0)),
    };
    let pid = arguments.option::<u32>("pid");
    let server_busy = || pid.and_then(cpu::busy_of);

    let mut load = Load::connect(kind, arguments.parse(1), open, busy)?;
    load.start(seconds(arguments, "warmup", 0.5))?;
    let before = (cpu::busy(), server_busy());
    let mut outcome = load.measure(until)?;
    let after = (cpu::busy(), server_busy());

    let (replies, elapsed) = (outcome.latencies.count() as f64, outcome.elapsed.as_secs_f64());
    report("rate", replies / elapsed, "per_s");
    quantiles(&mut outcome.latencies, "");
    report("errors", outcome.errors as f64, "count");
    report("client", 100.0 * (after.0 - before.0).as_secs_f64() / elapsed, "%");
    if let (Some(before), Some(after)) = (before.1, after.1) {
        report("cpu", (after - before).as_secs_f64() * 1e6 / replies, "us");
    }
    // Read while the connections are open: they are what the memory is for.
    if let Some(bytes) = pid.and_then(|pid| memory::resident(&pid.to_string())) {
        report("memory", bytes as f64 / 1e6, "MB");
    }
    Ok(())
}

fn open_loop(arguments: &Arguments) -> io::Result<()> {
    sharpen_timers()?;
    let schedule = Schedule {
        rate: arguments.option("rate").unwrap_or_else(|| fail("tail: --rate is missing")),
        warm_up: seconds(arguments, "warmup", 0.3),
        measured: seconds(arguments, "seconds", 2.0),
    };
    let mut outcome = open_loop::run(arguments.parse(1), connections(arguments), schedule)?;
    quantiles(&mut outcome.latencies, "");
    quantiles(&mut outcome.late, "late-");
    report("errors", outcome.errors as f64, "count");
    Ok(())
}

/// The first connection is there before the memory is read for the first time: what comes with it does not count.
fn idle(arguments: &Arguments) -> io::Result<()> {
    let (address, open): (SocketAddr, _) = (arguments.parse(1), connections(arguments));
    let pid = arguments.option::<u32>("pid").unwrap_or_else(|| fail("idle: --pid is missing")).to_string();
    let read = || {
        thread::sleep(REST);
        let (resident, anonymous) = (memory::resident(&pid), memory::anonymous(&pid));
        resident.zip(anonymous).ok_or_else(|| io::Error::other("the server is gone"))
    };
    let _first = Load::connect(Kind::Echo, address, 1, 1)?;
    let before = read()?;
    let _load = Load::connect(Kind::Echo, address, open, open)?;
    let after = read()?;
    let each = |before: usize, after: usize| after.saturating_sub(before) as f64 / open as f64;
    report("idle", each(before.0, after.0), "bytes");
    report("idle-user", each(before.1, after.1), "bytes");
    Ok(())
}

fn connections(arguments: &Arguments) -> usize {
    arguments.option("open").unwrap_or(1).max(1)
}

fn seconds(arguments: &Arguments, name: &str, otherwise: f64) -> Duration {
    Duration::from_secs_f64(arguments.option(name).unwrap_or(otherwise))
}

fn quantiles(latencies: &mut Latencies, prefix: &str) {
    for (name, share) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)] {
        report(&format!("{prefix}{name}"), latencies.quantile(share).as_secs_f64() * 1e6, "us");
    }
}
