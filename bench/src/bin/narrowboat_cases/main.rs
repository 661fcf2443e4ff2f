//! Narrowboat. `NARROWBOAT_WORKERS` and `NARROWBOAT_PROCESSORS` configure it, as they do any program;
//! `BENCH_PLACEMENT` says where the parties of a case sit.

mod calls;
mod cancelled;
#[path = "../../blocking/channels.rs"]
mod channels;
#[path = "../../blocking/contexts.rs"]
mod contexts;
mod copies;
#[path = "../../blocking/goroutines.rs"]
mod goroutines;
#[path = "../../blocking/group.rs"]
mod group;
#[path = "../../blocking/hello.rs"]
mod hello;
#[path = "../../blocking/locks.rs"]
mod locks;
#[path = "../../blocking/mpmc.rs"]
mod mpmc;
mod seats;
#[path = "../../blocking/selects.rs"]
mod selects;
#[path = "../../blocking/servers.rs"]
mod servers;
#[path = "../../blocking/shared_done.rs"]
mod shared_done;
mod std_locks;
#[path = "../../blocking/timeouts.rs"]
mod timeouts;
#[path = "../../blocking/timers.rs"]
mod timers;

use std::time::Duration;

use narrowboat::chan::time::Timer;
use narrowboat_bench::cli::{Arguments, fail, unknown, warmed};
use narrowboat_bench::disturbance::Disturbance;
use narrowboat_bench::locks::{STD, VARIABLE};
use narrowboat_bench::placement::Placement;
use narrowboat_bench::timing::HOUR;

/// What the shared cases call.
mod backend {
    use narrowboat::chan::context::Error;
    use narrowboat_bench::start::Start;

    pub use super::seats::Seats;
    pub use narrowboat::chan::context::{Context, background, with_cancel};
    pub use narrowboat::chan::{Receiver, Select, Sender, bounded};
    pub use narrowboat::net::{TcpListener, TcpStream};
    pub use narrowboat::sync::{Mutex, RwLock, WaitGroup};
    pub use narrowboat::{select, sleep, yield_now};
    /// A channel closes when its last sender goes.
    pub use std::mem::drop as close;

    /// Why a context has ended that was cancelled.
    pub const CANCELLED: Error = Error::Canceled;

    /// Processors are fair to whoever waits for them.
    pub const START: Start = Start::Together;

    /// Runs `f` on a goroutine.
    #[track_caller]
    pub fn spawn(f: impl FnOnce() + Send + 'static) {
        drop(narrowboat::spawn(f));
    }

    /// Something to wait behind, and what lets everyone through at once.
    pub fn gate() -> (impl FnOnce(), impl Fn() + Send + Sync) {
        let (open, wait) = bounded::<()>(0);
        let pass = move || {
            // The sender goes, and that is the signal.
            let _ = wait.recv();
        };
        (move || drop(open), pass)
    }

    /// A channel that many goroutines receive from.
    pub fn shared<T>() -> (Sender<T>, Receiver<T>) {
        bounded(0)
    }
}

fn main() {
    let arguments = Arguments::read();
    if Placement::asked() == Ok(Placement::Together)
        && let Err(error) = narrowboat::Config::new().processors(1).start()
    {
        fail(&error.to_string());
    }
    narrowboat::run(move || run(&arguments));
}

fn run(arguments: &Arguments) {
    let stds_locks = std::env::var(VARIABLE).is_ok_and(|whose| whose == STD);
    match arguments.case() {
        "yield" => goroutines::yields(arguments.parse(1), arguments.parse(2)),
        "spawn" => goroutines::spawns(arguments.parse(1)),
        "park" => goroutines::park(arguments.parse(1)),
        "deep" => goroutines::deep(arguments.parse(1)),
        "copies" => warmed("copies", arguments.parse(3), |operations| {
            copies::switches(arguments.parse(1), arguments.parse(2), operations);
        }),
        "pingpong" => channels::ping_pong(arguments.parse(1)),
        "chan128" => channels::one_to_one("chan128", 128, arguments.parse(1)),
        "chan0" => channels::one_to_one("chan0", 0, arguments.parse(1)),
        "ring" => channels::ring(arguments.parse(1), arguments.parse(2)),
        "fourfour128" => mpmc::four_to_four(arguments.parse(1)),
        "select8" => selects::select_eight(arguments.parse(1)),
        "arms" => selects::select_arms(arguments.parse(1), arguments.parse(2)),
        "shared" => shared_done::select_shared(arguments.parse(1), arguments.parse(2)),
        "mutex" if stds_locks => std_locks::mutex(arguments.parse(1), arguments.parse(2)),
        "rwlock" if stds_locks => std_locks::rwlock(arguments.parse(1), arguments.parse(2)),
        "mutex" => locks::mutex(arguments.parse(1), arguments.parse(2)),
        "rwlock" => locks::rwlock(arguments.parse(1), arguments.parse(2)),
        "calls-pipe" => calls::pipe(arguments.parse(1)),
        "calls-socket" => calls::socket(arguments.parse(1)),
        "waitgroup" => group::fan_out(arguments.parse(1), arguments.parse(2)),
        "timeouts" => timeouts::timeouts(arguments.parse(1)),
        "sleepers" => timers::sleepers(arguments.parse(1), Duration::from_millis(arguments.parse(2))),
        "cancelled" => cancelled::cancelled(arguments.parse(1)),
        "timer-stop" => stopped_timers(arguments.parse(1)),
        "lateness" => timers::lateness(arguments.parse(1)),
        "context-wide" => contexts::wide(arguments.parse(1)),
        "context-chain" => contexts::chain(arguments.parse(1)),
        "echo" => servers::serve(&arguments.parse::<String>(1), servers::echo),
        "http" => servers::serve(&arguments.parse::<String>(1), servers::http),
        "disturbed" => disturbed(arguments, Disturbance::once),
        "pooled" => disturbed(arguments, |disturbance| narrowboat::blocking(move || disturbance.once())),
        "hello" => hello::hello(),
        case => unknown(case),
    }
}

/// The echo server with others beside it.
fn disturbed(arguments: &Arguments, how: fn(Disturbance)) {
    servers::disturbed(&arguments.parse::<String>(3), arguments.parse(1), arguments.parse(2), how);
}

/// Timers that are made and stopped again, by one goroutine.
fn stopped_timers(operations: usize) {
    warmed("timer-stop", operations, |operations| {
        for _ in 0..operations {
            assert!(Timer::new(HOUR).stop(), "an hour has not passed");
        }
    });
}
