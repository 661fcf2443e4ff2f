//! may: stackful coroutines that move between threads. Its channels are unbounded, which spares it the wait that a
//! full channel means; it has no select, and no channel with many receivers and a capacity.

#[path = "../blocking/anywhere.rs"]
mod anywhere;
#[path = "../blocking/channels.rs"]
mod channels;
#[path = "../blocking/goroutines.rs"]
mod goroutines;
#[path = "../blocking/hello.rs"]
mod hello;
#[path = "../blocking/locks.rs"]
mod locks;
#[path = "../blocking/servers.rs"]
mod servers;

use narrowboat_bench::cli::{Arguments, unknown, workers};
use narrowboat_bench::disturbance::Disturbance;

/// What the shared cases call.
mod backend {
    use std::sync::Arc;

    use may::go;
    use may::sync::{SyncFlag, mpmc, mpsc};
    use narrowboat_bench::start::Start;

    pub use super::anywhere::Seats;
    pub use may::coroutine::{sleep, yield_now};
    pub use may::net::{TcpListener, TcpStream};
    pub use may::sync::mpsc::{Receiver, Sender};
    pub use may::sync::{Mutex, RwLock};

    /// A worker looks at the global queue only when its own is empty: those who wait there starve.
    pub const START: Start = Start::Apart;

    /// Runs `f` on a coroutine.
    pub fn spawn(f: impl FnOnce() + Send + 'static) {
        go!(f);
    }

    /// The nearest thing to a bounded channel.
    pub fn bounded<T>(_capacity: usize) -> (Sender<T>, Receiver<T>) {
        mpsc::channel()
    }

    /// Something to wait behind, and what lets everyone through at once. Not the end of a channel: `mpmc` can leave a
    /// receiver asleep that comes while the last sender goes.
    pub fn gate() -> (impl FnOnce(), impl Fn() + Send + Sync) {
        let flag = Arc::new(SyncFlag::new());
        let wait = flag.clone();
        (move || flag.fire(), move || wait.wait())
    }

    /// A channel that many goroutines receive from.
    pub fn shared<T>() -> (mpmc::Sender<T>, mpmc::Receiver<T>) {
        mpmc::channel()
    }
}

/// The case itself runs on the main thread: a coroutine that spawns a million others keeps its worker from running
/// any of them, and may ends in `Cannot allocate memory` at some 32,000 stacks. From a thread, spawning works.
fn main() {
    may::config().set_workers(workers());
    let arguments = Arguments::read();
    match arguments.case() {
        "yield" => goroutines::yields(arguments.parse(1), arguments.parse(2)),
        "spawn" => goroutines::spawns(arguments.parse(1)),
        "park" => goroutines::park(arguments.parse(1)),
        "deep" => goroutines::deep(arguments.parse(1)),
        "pingpong" => channels::ping_pong(arguments.parse(1)),
        "chan128" => channels::one_to_one("chan128", 128, arguments.parse(1)),
        "ring" => channels::ring(arguments.parse(1), arguments.parse(2)),
        "mutex" => locks::mutex(arguments.parse(1), arguments.parse(2)),
        "rwlock" => locks::rwlock(arguments.parse(1), arguments.parse(2)),
        "echo" => servers::serve(&arguments.parse::<String>(1), servers::echo),
        "http" => servers::serve(&arguments.parse::<String>(1), servers::http),
        "disturbed" => {
            let address: String = arguments.parse(3);
            servers::disturbed(&address, arguments.parse(1), arguments.parse(2), Disturbance::once);
        }
        "hello" => hello::hello(),
        case => unknown(case),
    }
}
