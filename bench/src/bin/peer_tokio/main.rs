//! tokio: the same cases as async tasks. `BENCH_WORKERS` is a number of worker threads, or `current` for the
//! single-threaded flavour.

mod channels;
mod locks;
mod servers;
mod tasks;
mod timers;

use std::time::Duration;

use narrowboat_bench::cli::{Arguments, fail, unknown, workers};
use tokio::runtime::Builder;

fn main() {
    let mut builder = match std::env::var("BENCH_WORKERS").as_deref() {
        Ok("current") => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    // The single-threaded flavour ignores the number.
    builder.worker_threads(workers()).enable_all();
    let runtime = builder.build().unwrap_or_else(|error| fail(&format!("no runtime: {error}")));
    // The case is a task as well: on the multi-threaded flavour, `block_on` itself would stay outside the workers.
    if runtime.block_on(async { tokio::spawn(run(Arguments::read())).await }).is_err() {
        fail("the case panicked");
    }
}

async fn run(arguments: Arguments) {
    match arguments.case() {
        "yield" => tasks::yields(arguments.parse(1), arguments.parse(2)).await,
        "spawn" => tasks::spawns(arguments.parse(1)).await,
        "park" => tasks::park(arguments.parse(1)).await,
        "pingpong" => channels::ping_pong(arguments.parse(1)).await,
        "chan128" => channels::one_to_one(arguments.parse(1)).await,
        "ring" => channels::ring(arguments.parse(1), arguments.parse(2)).await,
        "shared" => channels::select_shared(arguments.parse(1), arguments.parse(2)).await,
        "mutex" => locks::mutex(arguments.parse(1), arguments.parse(2)).await,
        "rwlock" => locks::rwlock(arguments.parse(1), arguments.parse(2)).await,
        "waitgroup" => locks::join_all(arguments.parse(1), arguments.parse(2)).await,
        "sleepers" => timers::sleepers(arguments.parse(1), Duration::from_millis(arguments.parse(2))).await,
        "cancelled" => timers::cancelled(arguments.parse(1)).await,
        "timeouts" => timers::timeouts(arguments.parse(1)).await,
        "timer-stop" => timers::stopped(arguments.parse(1)).await,
        "lateness" => timers::lateness(arguments.parse(1)).await,
        "echo" => servers::echo(&arguments.parse::<String>(1)).await,
        "http" => servers::http(&arguments.parse::<String>(1)).await,
        case @ ("disturbed" | "pooled") => {
            let (address, on_the_pool) = (arguments.parse::<String>(3), case == "pooled");
            servers::disturbed(&address, arguments.parse(1), arguments.parse(2), on_the_pool).await;
        }
        "hello" => tokio::spawn(async { println!("hello") }).await.expect("it does not panic"),
        case => unknown(case),
    }
}
