//! The earliest deadline of all processors, so that some worker wakes up for it.
//!
//! Each processor publishes its earliest timer; this word is at most the least of those. It may be too early (a timer
//! was removed): then somebody looks once for nothing.
//!
//! 1. A processor stores its own deadline, then lowers this word to it.
//! 2. Whoever finds that the word has passed sets it to never, then reads the deadlines of all processors, queues those
//!    that are due and lowers the word to each of the others.
//!
//! If a processor's store in 1 comes after the read in 2, so does its lowering after the reset. All sequentially
//! consistent, since two locations are involved.

use super::Runtime;
use super::processor::Processor;
use crate::clock::NEVER;
use std::sync::atomic::{AtomicU64, Ordering};

pub(crate) struct Deadlines {
    earliest: AtomicU64,
}

impl Deadlines {
    pub(super) fn new() -> Deadlines {
        Deadlines { earliest: AtomicU64::new(NEVER) }
    }

    /// Step 1, second half.
    pub(crate) fn announce(&self, at: u64) {
        self.earliest.fetch_min(at, Ordering::SeqCst);
    }

    pub(super) fn earliest(&self) -> u64 {
        self.earliest.load(Ordering::SeqCst)
    }

    /// Step 2: claims each idle processor that is due and hands it to `queue`. Those that are not idle look at their
    /// timers by themselves.
    pub(super) fn take_due(&self, runtime: &Runtime, now: u64, mut queue: impl FnMut(&'static Processor)) {
        if self.earliest.load(Ordering::Relaxed) > now {
            return;
        }
        self.earliest.swap(NEVER, Ordering::SeqCst);
        for processor in runtime.processors.all() {
            let at = processor.deadline.load(Ordering::SeqCst);
            if at > now {
                if at != NEVER {
                    self.announce(at);
                }
            } else if processor.state.claim() {
                queue(processor);
            }
        }
    }
}
