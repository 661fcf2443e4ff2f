//! The part of a processor on which worlds run, one after another.

use super::{World, lock};
use crate::lock::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

/// How many worlds may run at a time. Further ones wait.
pub(in crate::sched) const MOST: usize = 64;

/// The part of a processor that makes it one for worlds.
pub(crate) struct Stage {
    /// It belongs to a caller of [`run`](crate::world::run).
    taken: AtomicBool,
    /// The time of its world, in nanoseconds; [`NO_WORLD`] if there is none. Beside the lock,
    /// because signal handlers read the clock, too.
    clock: AtomicU64,
    /// How far the date of the goroutine that runs is ahead, in nanoseconds.
    skew: AtomicI64,
    world: Mutex<Option<Arc<World>>>,
}

const NO_WORLD: u64 = u64::MAX;

impl Default for Stage {
    fn default() -> Stage {
        Stage {
            taken: AtomicBool::new(false),
            clock: AtomicU64::new(NO_WORLD),
            skew: AtomicI64::new(0),
            world: Mutex::new(None),
        }
    }
}

impl Stage {
    /// Whether the caller has the processor now, which no world had.
    pub(crate) fn take(&self) -> bool {
        // Acquire: as in `give_back`.
        !self.taken.swap(true, Ordering::Acquire)
    }

    /// The world of the caller that had taken the processor is over.
    pub(crate) fn give_back(&self) {
        // Release: the next one to take it sees what this one has left.
        self.taken.store(false, Ordering::Release);
    }

    /// A world begins on the processor that the caller has taken.
    pub(crate) fn begin(&self, world: &Arc<World>) {
        self.set_clock(0);
        *lock(&self.world) = Some(Arc::clone(world));
    }

    /// The time of the world that runs here, in nanoseconds since it began. Async-signal-safe.
    pub(in crate::sched) fn clock(&self) -> Option<u64> {
        // Relaxed: the goroutines that read it run on this processor.
        Some(self.clock.load(Ordering::Relaxed)).filter(|now| *now != NO_WORLD)
    }

    pub(super) fn set_clock(&self, now: u64) {
        self.clock.store(now, Ordering::Relaxed);
    }

    /// How far the date of the running goroutine is ahead. Async-signal-safe.
    pub(super) fn skew(&self) -> i64 {
        self.skew.load(Ordering::Relaxed)
    }

    pub(super) fn set_skew(&self, skew: i64) {
        self.skew.store(skew, Ordering::Relaxed);
    }

    /// The world that runs here.
    pub(super) fn world(&self) -> Option<Arc<World>> {
        lock(&self.world).clone()
    }

    /// The world is over: no code of it runs any more.
    pub(super) fn clear(&self) {
        self.set_clock(NO_WORLD);
        self.set_skew(0);
        *lock(&self.world) = None;
    }
}
