//! Whether a party goes on, as seen by another one.

use super::thread::{self, ThreadWaiter};
use crate::sched::processor::{self, Processor};

/// A look at a party that was running then.
#[derive(Clone, Copy)]
pub struct Activity(Party);

#[derive(Clone, Copy)]
enum Party {
    /// A goroutine of this processor, and how many turns had begun there.
    Goroutine(&'static Processor, usize),
    Thread(&'static ThreadWaiter),
}

impl Activity {
    /// A look at the caller.
    pub fn of_caller() -> Activity {
        Activity(match processor::current_processor() {
            Some(processor) => Party::Goroutine(processor, processor.switches.get()),
            None => Party::Thread(thread::mine()),
        })
    }

    /// Whether the party has paused: a goroutine that has waited or given way since the look, or a
    /// thread that waits in a call of Narrowboat now. False for one that computes, that the system
    /// keeps waiting, or that blocks its thread.
    ///
    /// A hint, which may be late. The party may have ended.
    pub fn has_paused(&self) -> bool {
        match self.0 {
            // No other turn begins on a processor before the goroutine has switched away.
            Party::Goroutine(processor, turns) => processor.switches.get() != turns,
            Party::Thread(thread) => thread.sleeps(),
        }
    }
}
