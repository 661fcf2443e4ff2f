//! Services as programs use them.

mod calls;
mod console;
mod failures;
mod memory;
mod watchdog;

use narrowboat::actor::{Handle, Report, Service, System, Turn};
use narrowboat::chan::{Receiver, unbounded};

/// A service that keeps a list, for most tests.
#[derive(Default)]
pub struct List(pub Vec<u64>);

impl Service for List {
    fn info(&self) -> String {
        format!("{} entries", self.0.len())
    }

    fn memory(&self) -> usize {
        self.0.capacity() * 8
    }
}

/// Appends a number. Returns the length.
pub struct Append(pub u64);

impl Handle<Append> for List {
    type Reply = usize;

    fn handle(turn: &mut Turn<Self>, Append(n): Append) -> usize {
        turn.0.push(n);
        turn.0.len()
    }
}

/// Asks for the whole list.
pub struct All;

impl Handle<All> for List {
    type Reply = Vec<u64>;

    fn handle(turn: &mut Turn<Self>, _: All) -> Vec<u64> {
        turn.0.clone()
    }
}

/// Panics.
pub struct Fail;

impl Handle<Fail> for List {
    type Reply = ();

    fn handle(turn: &mut Turn<Self>, _: Fail) {
        panic!("failed with {} entries", turn.0.len());
    }
}

/// A system whose reports come by a channel.
pub fn reporting() -> (System, Receiver<Report>) {
    let (reports, to_read) = unbounded();
    let system = System::builder().no_watchdog().on_report(move |report| drop(reports.send(report.clone())));
    (system.build(), to_read)
}
