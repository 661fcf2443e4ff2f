//! Where the parties of a case sit: Narrowboat's side of `placement`.

use std::collections::HashMap;
use std::thread;

use narrowboat::chan::{Receiver, Sender, bounded};
use narrowboat_bench::cli::fail;
use narrowboat_bench::placement::Placement;

/// What a party does.
type Body = Box<dyn FnOnce() + Send>;

/// Most processors that parties are spread over: as many as there are on the smallest machine.
const WIDEST: usize = 16;

/// Goroutines tried for each that is wanted before giving up.
const TRIES: usize = 64;

/// The parties of a case, placed as asked.
pub enum Seats {
    /// Wherever they are spawned: where the runtime puts them, or where there is but one processor.
    Anywhere,
    /// Goroutines that wait for bodies to run, where they are.
    Spread(Vec<Sender<Body>>),
}

impl Seats {
    /// For that many parties. They stay where they are over several runs of a case.
    pub fn of(parties: usize) -> Seats {
        match Placement::asked() {
            Ok(Placement::Natural | Placement::Together) => Seats::Anywhere,
            Ok(Placement::Spread) => {
                let (tell, told) = bounded(1);
                thread::spawn(move || tell.send(spread(parties)));
                Seats::Spread(told.recv().expect("the thread sends before it ends"))
            }
            Err(message) => fail(&message),
        }
    }

    /// Starts what a party does.
    #[track_caller]
    pub fn spawn(&self, party: usize, body: impl FnOnce() + Send + 'static) {
        match self {
            Seats::Anywhere => drop(narrowboat::spawn(body)),
            Seats::Spread(seats) => {
                seats[party].send(Box::new(body)).expect("a seat lasts as long as the case")
            }
        }
    }
}

/// Seats on different processors, in turn if there are more of them. To be called on a plain thread, whose goroutines
/// are dealt to all processors.
///
/// The C library's name for a goroutine's thread is its processor's, and it never changes: so
/// goroutines are spawned until there are enough on enough processors. The others end when their
/// sender goes.
fn spread(parties: usize) -> Vec<Sender<Body>> {
    let processors = parties.min(WIDEST);
    let mut found: HashMap<_, Vec<Sender<Body>>> = HashMap::new();
    for _ in 0..TRIES * parties.max(WIDEST) {
        let (processor, seat) = take_seat();
        found.entry(processor).or_default().push(seat);
        let enough = |seats: &&Vec<_>| seats.len() >= parties.div_ceil(processors);
        if found.values().filter(enough).count() >= processors {
            let mut rows: Vec<_> = found.into_values().filter(|seats| enough(&seats)).collect();
            return (0..parties)
                .map(|party| rows[party % processors].pop().expect("they are enough"))
                .collect();
        }
    }
    fail(&format!(
        "{parties} goroutines were not placed on {processors} processors: there are {}",
        found.len()
    ))
}

/// A goroutine that runs what it is sent, and its processor.
fn take_seat() -> (u64, Sender<Body>) {
    let (seat, work): (Sender<Body>, Receiver<Body>) = bounded(1);
    let (tell, told) = bounded(1);
    drop(narrowboat::spawn(move || {
        // SAFETY: no arguments.
        tell.send(unsafe { libc::pthread_self() }).unwrap();
        for body in work {
            body();
        }
    }));
    (told.recv().expect("a goroutine tells before it ends"), seat)
}
