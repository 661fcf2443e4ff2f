//! Counters with one writer each: a processor's belong to whoever carries it, a worker's to the
//! worker.
//!
//! What a switch counts it counts in plain words of the processor, which are published here once
//! per batch; so a figure may be a batch old, and no hot path pays for an atomic operation.

use crate::clock;
use crate::sched::census::OneWriter;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// What a processor publishes at the end of each batch.
#[derive(Default)]
pub(crate) struct ProcessorCounters {
    pub(crate) yields: OneWriter,
    pub(crate) copies: OneWriter,
    pub(crate) copied_bytes: OneWriter,
    pub(crate) ready: OneWriter,
    pub(crate) timers: OneWriter,
    pub(crate) slots: OneWriter,
}

/// What a worker counts.
#[derive(Default)]
pub(crate) struct WorkerCounters {
    pub(crate) steals: OneWriter,
    pub(crate) polls: OneWriter,
    pub(crate) events: OneWriter,
    pub(crate) times: Times,
}

/// What a worker is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
    Running = 0,
    Searching = 1,
    Sleeping = 2,
    /// Its thread has ended.
    Absent = 3,
}

/// How long a worker has been in each phase. Written by the worker, read by anybody; a reader that
/// comes in the middle of a change is off by the length of the phase that has just ended.
pub(crate) struct Times {
    phase: AtomicUsize,
    since: AtomicU64,
    nanos: [AtomicU64; 4],
}

impl Default for Times {
    fn default() -> Times {
        Times {
            phase: AtomicUsize::new(Phase::Absent as usize),
            since: AtomicU64::new(0),
            nanos: Default::default(),
        }
    }
}

impl Times {
    #[inline]
    pub(crate) fn is_running(&self) -> bool {
        self.phase.load(Ordering::Relaxed) == Phase::Running as usize
    }

    /// The worker begins another phase.
    pub(crate) fn enter(&self, phase: Phase) {
        let now = clock::now();
        let total = &self.nanos[self.phase.load(Ordering::Relaxed)];
        let spent = now.saturating_sub(self.since.load(Ordering::Relaxed));
        total.store(total.load(Ordering::Relaxed) + spent, Ordering::Relaxed);
        self.since.store(now, Ordering::Relaxed);
        self.phase.store(phase as usize, Ordering::Relaxed);
    }

    /// The time spent in a phase so far, with what the present one has lasted.
    pub(crate) fn spent(&self, phase: Phase) -> Duration {
        let mut nanos = self.nanos[phase as usize].load(Ordering::Relaxed);
        if self.phase.load(Ordering::Relaxed) == phase as usize {
            nanos += clock::now().saturating_sub(self.since.load(Ordering::Relaxed));
        }
        Duration::from_nanos(nanos)
    }
}
