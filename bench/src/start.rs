//! The starting line of the `yield` case: many goroutines or tasks, one common start, one common end.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

/// When the clock starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// With the last runner to arrive; the others wait by yielding, which is the very work that is measured. The
    /// yield in which a runner notices the start is its first, so that exactly the planned number is timed.
    Together,
    /// With the first runner to arrive, and nobody waits: for a runtime in which those who wait by yielding would
    /// keep the rest from ever arriving. What is left of the others' warm-up counts against it.
    Apart,
}

/// Where runners meet after their warm-up.
#[derive(Debug)]
pub struct StartingLine {
    runners: usize,
    start: Start,
    arrived: AtomicUsize,
    open: AtomicBool,
    begun: OnceLock<Instant>,
    finished: AtomicUsize,
}

impl StartingLine {
    /// A line for that many runners.
    pub fn new(runners: usize, start: Start) -> StartingLine {
        StartingLine {
            runners,
            start,
            arrived: AtomicUsize::new(0),
            open: AtomicBool::new(false),
            begun: OnceLock::new(),
            finished: AtomicUsize::new(0),
        }
    }

    /// Says that a runner is ready. True if it is to run at once, false if it is to yield until the line is open.
    pub fn arrive(&self) -> bool {
        let last = self.arrived.fetch_add(1, SeqCst) + 1 == self.runners;
        let go = last || self.start == Start::Apart;
        if go {
            self.begun.get_or_init(Instant::now);
            self.open.store(true, SeqCst);
        }
        go
    }

    /// Whether the race has begun.
    pub fn is_open(&self) -> bool {
        self.open.load(SeqCst)
    }

    /// Says that a runner is done. The last one gets the time that has passed since the start.
    pub fn finish(&self) -> Option<Duration> {
        let last = self.finished.fetch_add(1, SeqCst) + 1 == self.runners;
        last.then(|| self.begun.get().expect("nobody finishes before the start").elapsed())
    }
}

/// How the yields of the `yield` case are shared out.
#[derive(Clone, Copy, Debug)]
pub struct Laps {
    /// Timed yields of each runner.
    pub each: usize,
    /// Yields of each runner before the starting line.
    pub warm: usize,
}

impl Laps {
    /// Shares `operations` yields among `runners`.
    pub fn new(runners: usize, operations: usize) -> Laps {
        let each = (operations / runners).max(1);
        Laps { each, warm: (each / 10).max(1) }
    }
}
