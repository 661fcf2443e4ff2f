//! How many goroutines there are, and how many each processor has.
//!
//! Counters have one writer each where that is possible (plain loads and stores), because spawning
//! and finishing are hot. Sums over them are exact when nothing changes, and close otherwise.

use crate::counter::OneWriter;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The counts of one processor.
#[derive(Default)]
pub(crate) struct Census {
    /// Spawned by goroutines of this processor, to run here.
    pub(crate) spawned: OneWriter,
    /// Taken from other processors before they had started.
    pub(crate) taken: OneWriter,
    pub(crate) finished: OneWriter,
    /// Sent here from other processors, and taken away by them: these have many writers.
    sent: AtomicUsize,
    given: AtomicUsize,
}

impl Census {
    pub(crate) fn note_sent(&self) {
        self.sent.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn note_given(&self, n: usize) {
        self.given.fetch_add(n, Ordering::Relaxed);
    }

    /// Goroutines that were spawned to run here, or taken from other processors before they had
    /// started.
    pub(crate) fn came(&self) -> usize {
        self.spawned.get().wrapping_add(self.taken.get()).wrapping_add(self.sent.load(Ordering::Relaxed))
    }

    /// Goroutines that live here or wait here to be started.
    pub(crate) fn load(&self) -> usize {
        let came = self.came();
        let went = self.finished.get().wrapping_add(self.given.load(Ordering::Relaxed));
        // The parts are read one after the other; a negative sum means "about none".
        (came.wrapping_sub(went) as isize).max(0) as usize
    }
}
