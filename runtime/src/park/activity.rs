//! Whether a goroutine or thread makes progress, as seen by another one.

use super::thread::{self, ThreadWaiter};
use crate::sched::processor::{self, Processor};

/// An observation of a goroutine or thread while it was running.
#[derive(Clone, Copy)]
pub struct Activity(Observed);

#[derive(Clone, Copy)]
enum Observed {
    /// A goroutine of this processor, and how many turns had begun there.
    Goroutine(&'static Processor, usize),
    Thread(&'static ThreadWaiter),
}

impl Activity {
    /// Observes the caller.
    pub fn of_caller() -> Activity {
        Activity(match processor::current_processor() {
            Some(processor) => Observed::Goroutine(processor, processor.switches.get()),
            None => Observed::Thread(thread::mine()),
        })
    }

    /// Whether it has paused: true for a goroutine that has waited or given way since the
    /// observation, and for a thread that waits in a call of Narrowboat now. False for one that
    /// computes, that the system does not schedule, or that blocks its thread.
    ///
    /// A hint, which may be late. The goroutine or thread may have ended.
    pub fn has_paused(&self) -> bool {
        match self.0 {
            // No other turn begins on a processor before the goroutine has switched away.
            Observed::Goroutine(processor, turns) => processor.switches.get() != turns,
            Observed::Thread(thread) => thread.sleeps(),
        }
    }
}
