//! The number of workers that may be awake follows what the machine has for them.
//!
//! The monitor owns the one [`Headcount`]. It lowers and raises the limit that workers read before
//! they look for work, for two reasons:
//!
//! - Other threads want the cores: [`super::supply`] decides how many workers are held back.
//! - The program may use more or fewer cores than when it started: the quota of its control group,
//!   or the set of CPUs that it may use, has changed. This is not followed if the program has chosen
//!   the number of workers.
//!
//! Workers that are stuck have their own part in the limit ([`super::tables`]).

use super::supply::{Reading, Supply};
use super::{Runtime, config};
use crate::sys;
use std::sync::atomic::Ordering;

/// How often it is looked at how many cores there are, in nanoseconds.
const CORES_EVERY: u64 = 1_000_000_000;

pub(super) struct Headcount {
    /// How many there are at most.
    workers: usize,
    supply: Supply,
    /// How many may be awake now, besides those that stand in for stuck ones.
    allowed: usize,
    looked_at_cores: u64,
}

impl Headcount {
    pub(super) fn new(workers: usize) -> Headcount {
        Headcount { workers, supply: Supply::new(workers), allowed: workers, looked_at_cores: 0 }
    }

    /// To be called at each tick of the monitor.
    pub(super) fn tick(&mut self, runtime: &'static Runtime, now: u64) {
        let sizes = &runtime.sizes;
        if !sizes.carried {
            return;
        }
        if sizes.follows_cores && now.saturating_sub(self.looked_at_cores) >= CORES_EVERY {
            self.looked_at_cores = now;
            let workers = config::cores().min(sizes.processors);
            if workers != self.workers {
                self.workers = workers;
                self.supply = Supply::new(workers);
                self.allow(runtime, workers);
            }
        }
        if sizes.follows_load && self.supply.is_due(now) {
            let held_back = self.supply.decide(self.read(runtime, now));
            self.allow(runtime, self.workers - held_back);
        }
    }

    fn read(&self, runtime: &Runtime, now: u64) -> Reading {
        let threads = runtime.workers.all().filter(|worker| !worker.is_retired());
        Reading {
            now,
            delay: threads
                .filter_map(|worker| sys::waited_for_core(worker.kernel_thread.load(Ordering::Relaxed)))
                .sum(),
            idle: if self.supply.holds_back() { sys::idle_time() } else { None },
            turns: runtime
                .processors
                .all()
                .map(|processor| processor.switches.get() as u64)
                .fold(0, u64::wrapping_add),
        }
    }

    fn allow(&mut self, runtime: &'static Runtime, workers: usize) {
        let before = std::mem::replace(&mut self.allowed, workers);
        (workers..before).for_each(|_| runtime.workers.allow_one_less());
        (before..workers).for_each(|_| runtime.workers.allow_one_more());
        if before < workers {
            // There may be work that was left to the workers that were awake.
            runtime.appoint();
        }
    }
}
