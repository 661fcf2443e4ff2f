//! Plain threads with what std gives them: its locks, its joins, its sleep, its sockets with a thread for each connection.

#[path = "../blocking/anywhere.rs"]
mod anywhere;
#[path = "../blocking/hello.rs"]
mod hello;
#[path = "../blocking/locks.rs"]
mod locks;
#[path = "../blocking/servers.rs"]
mod servers;

use std::thread;
use std::time::Instant;

use narrowboat_bench::cli::{Arguments, hold_to_workers, unknown, warmed};
use narrowboat_bench::disturbance::Disturbance;
use narrowboat_bench::timing::{ASKED, Lateness};

/// What the shared cases call.
mod backend {
    pub use super::anywhere::Seats;
    pub use std::net::{TcpListener, TcpStream};
    pub use std::sync::mpsc::sync_channel as bounded;
    pub use std::sync::{Mutex, RwLock};
    pub use std::thread::sleep;

    /// Runs `f` on a thread of its own.
    pub fn spawn(f: impl FnOnce() + Send + 'static) {
        std::thread::spawn(f);
    }
}

fn main() {
    hold_to_workers();
    let arguments = Arguments::read();
    match arguments.case() {
        "mutex" => locks::mutex(arguments.parse(1), arguments.parse(2)),
        "rwlock" => locks::rwlock(arguments.parse(1), arguments.parse(2)),
        "waitgroup" => join_all(arguments.parse(1), arguments.parse(2)),
        "lateness" => lateness(arguments.parse(1)),
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

/// Rounds of `size` threads that end at once and are all joined: the nearest thing to a wait group.
fn join_all(size: usize, operations: usize) {
    warmed("waitgroup", operations / size * size, |operations| {
        for _ in 0..(operations / size).max(1) {
            let threads: Vec<_> = (0..size).map(|number| thread::spawn(move || number)).collect();
            let sum: usize = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
            assert_eq!(sum, size * (size - 1) / 2);
        }
    });
}

/// `count` sleeps of a millisecond, one after the other.
fn lateness(count: usize) {
    let mut lateness = Lateness::default();
    for _ in 0..count {
        let begun = Instant::now();
        thread::sleep(ASKED);
        lateness.note(begun.elapsed());
    }
    lateness.report();
}
