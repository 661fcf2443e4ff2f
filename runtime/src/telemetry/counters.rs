//! Counters with one writer each: only the carrier writes a processor's, only the worker a
//! worker's.
//!
//! A switch counts in plain words of the processor, which are published here once per batch. So a
//! figure may be a batch old, and no hot path pays for an atomic operation.

use crate::clock;
use crate::counter::OneWriter;
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

/// How long a worker has been in each phase. The worker writes it, any thread reads it. A reader
/// that comes in the middle of a change is off by the length of the phase that has just ended.
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

    /// Notes that the worker begins another phase.
    pub(crate) fn enter(&self, phase: Phase) {
        let now = clock::now();
        let total = &self.nanos[self.phase.load(Ordering::Relaxed)];
        let spent = now.saturating_sub(self.since.load(Ordering::Relaxed));
        total.store(total.load(Ordering::Relaxed) + spent, Ordering::Relaxed);
        self.since.store(now, Ordering::Relaxed);
        self.phase.store(phase as usize, Ordering::Relaxed);
    }

    /// The time spent in a phase so far, the present phase included.
    pub(crate) fn spent(&self, phase: Phase) -> Duration {
        let mut nanos = self.nanos[phase as usize].load(Ordering::Relaxed);
        if self.phase.load(Ordering::Relaxed) == phase as usize {
            nanos += clock::now().saturating_sub(self.since.load(Ordering::Relaxed));
        }
        Duration::from_nanos(nanos)
    }
}
