//! Narrowboat. `NARROWBOAT_WORKERS` and `NARROWBOAT_PROCESSORS` configure it, as they do any program. `pingpong`
//! takes a placement: `any` (where the runtime puts the two), `same` (one processor; to be run with
//! `NARROWBOAT_PROCESSORS=1`) or `cross` (two processors).

#[path = "../blocking/channels.rs"]
mod channels;
#[path = "../blocking/goroutines.rs"]
mod goroutines;
#[path = "../blocking/mpmc.rs"]
mod mpmc;
#[path = "../blocking/servers.rs"]
mod servers;

use std::thread::{self, ThreadId};

use narrowboat::chan::{Receiver, Sender};
use narrowboat_bench::cli::{Arguments, fail, unknown};

use backend::{bounded, spawn};

/// What the shared cases call.
mod backend {
    use narrowboat_bench::start::Start;

    pub use narrowboat::chan::{Receiver, Sender, bounded};
    pub use narrowboat::net::{TcpListener, TcpStream};
    pub use narrowboat::{select, sleep, yield_now};

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
    narrowboat::run(move || run(&arguments));
}

fn run(arguments: &Arguments) {
    match arguments.case() {
        "yield" => goroutines::yields(arguments.parse(1), arguments.parse(2)),
        "spawn" => goroutines::spawns(arguments.parse(1)),
        "park" => goroutines::park(arguments.parse(1)),
        "deep" => goroutines::deep(arguments.parse(1)),
        "pingpong" => ping_pong(arguments.parse(1), arguments.word(2).unwrap_or("any")),
        "chan128" => channels::one_to_one("chan128", 128, arguments.parse(1)),
        "chan0" => channels::one_to_one("chan0", 0, arguments.parse(1)),
        "ring" => channels::ring(arguments.parse(1), arguments.parse(2)),
        "fourfour128" => mpmc::four_to_four(arguments.parse(1)),
        "select8" => mpmc::select_eight(arguments.parse(1)),
        "echo" => servers::serve(&arguments.parse::<String>(1), servers::echo),
        "http" => servers::serve(&arguments.parse::<String>(1), servers::http),
        case => unknown(case),
    }
}

fn ping_pong(operations: usize, placement: &str) {
    match placement {
        "any" => channels::ping_pong(operations),
        "same" | "cross" => channels::ping_pong_placed(operations, |answer, ask| {
            let (first, second) = seats(placement == "cross");
            first.send(answer).unwrap();
            second.send(ask).unwrap();
        }),
        other => fail(&format!("pingpong: no placement {other}")),
    }
}

/// A goroutine that waits for something to run, where it is.
type Seat = Sender<channels::Body>;

/// Most goroutines tried before giving up on a pair.
const MOST_SEATS: usize = 4096;

/// Two goroutines on different processors, or on one.
///
/// A goroutine's thread id is its processor's, and it never changes: so goroutines are started, half of them by a plain
/// thread to have them dealt to all processors, until two show what is wanted. The others end when their sender goes.
fn seats(apart: bool) -> (Seat, Seat) {
    let mut seated: Vec<(ThreadId, Seat)> = Vec::new();
    for attempt in 0..MOST_SEATS {
        let (id, seat) = if attempt % 2 == 0 {
            take_seat()
        } else {
            let (tell, told) = bounded(1);
            thread::spawn(move || tell.send(take_seat()));
            told.recv().expect("the thread sends before it ends")
        };
        if let Some(found) = seated.iter().position(|(other, _)| (*other != id) == apart) {
            return (seated.swap_remove(found).1, seat);
        }
        seated.push((id, seat));
    }
    fail("pingpong: no two goroutines were placed as asked")
}

fn take_seat() -> (ThreadId, Seat) {
    let (seat, work): (Seat, Receiver<channels::Body>) = bounded(1);
    let (tell, told) = bounded(1);
    spawn(move || {
        tell.send(thread::current().id()).unwrap();
        if let Ok(work) = work.recv() {
            work();
        }
    });
    (told.recv().expect("a goroutine sends before it ends"), seat)
}
