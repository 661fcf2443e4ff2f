//! The load generator: one thread, closed loop, the same for every server.
//!
//! `load echo|http ADDRESS --open N [--busy M] (--seconds S | --requests R) [--warmup S] [--pid P]`
//!
//! It opens N connections, makes one round trip on each, and then keeps one request under way on each of M of them,
//! spread evenly over the N. Every byte of every reply is checked. It prints the rate, the latencies, the errors and,
//! given the server's process id, the server's memory with all connections open. A server that stops answering ends
//! the run with a failure, so it always ends.

mod client;
mod exchange;
mod latency;

use std::net::SocketAddr;
use std::time::Duration;

use narrowboat_bench::cli::{Arguments, fail, report, unknown};
use narrowboat_bench::limits::raise_descriptors;
use narrowboat_bench::memory::resident;

use client::{Load, Until};
use exchange::Kind;

fn main() {
    let arguments = Arguments::read();
    let kind = match arguments.case() {
        "echo" => Kind::Echo,
        "http" => Kind::Http,
        case => unknown(case),
    };
    let address: SocketAddr = arguments.parse(1);
    let open = arguments.option("open").unwrap_or(1usize).max(1);
    let busy = arguments.option("busy").unwrap_or(open).clamp(1, open);
    let until = match (arguments.option("requests"), arguments.option("seconds")) {
        (Some(requests), _) => Until::Requests(requests),
        (None, seconds) => Until::Elapsed(Duration::from_secs_f64(seconds.unwrap_or(2.0))),
    };
    let warm_up = Duration::from_secs_f64(arguments.option("warmup").unwrap_or(0.5));

    let run = || {
        raise_descriptors()?;
        let mut load = Load::connect(kind, address, open, busy)?;
        let mut outcome = load.run(warm_up, until)?;
        report("rate", outcome.latencies.count() as f64 / outcome.elapsed.as_secs_f64(), "per_s");
        for (name, share) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)] {
            report(name, outcome.latencies.quantile(share).as_secs_f64() * 1e6, "us");
        }
        report("errors", outcome.errors as f64, "count");
        // Read while the connections are open: they are what the memory is for.
        if let Some(bytes) = arguments.option::<u32>("pid").and_then(|pid| resident(&pid.to_string())) {
            report("memory", bytes as f64 / 1e6, "MB");
        }
        std::io::Result::Ok(())
    };
    if let Err(error) = run() {
        fail(&format!("load: {error}"));
    }
}
