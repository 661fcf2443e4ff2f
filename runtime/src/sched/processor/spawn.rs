//! Goroutines that a processor spawns, or gets from elsewhere to start.

use super::super::placement::Placement;
use super::super::runtime;
use super::{Carrier, Here, Processor};
use crate::lock::Native;
use crate::sched::record::task::TaskPtr;
use std::sync::atomic::{Ordering, fence};

/// After this many spawns in one turn the goroutine gives way: otherwise the unstarted goroutines
/// would pile up until the monitor looked. It bounds a burst of spawns so that tasks start while
/// they are still cached, and the memory of tasks that have ended is reused.
const SPAWNS_IN_A_TURN: u32 = 1024;

impl Processor {
    /// Sends a goroutine here, to be started, from elsewhere.
    pub(in crate::sched) fn send_task(&'static self, task: TaskPtr, from: Option<Here>) {
        // The worker that is looked up below is ours only as long as nothing parks.
        let _native = Native::begin();
        self.census.note_sent();
        self.arrivals.send(task);
        // Step 2 of the inbox's protocol.
        fence(Ordering::SeqCst);
        if self.inbox.claim() {
            runtime().submit(self, from.and_then(Here::worker));
        }
    }

    /// Whether goroutines wait here to be started.
    pub(in crate::sched) fn has_newcomers(&self) -> bool {
        !self.unstarted.is_empty() || !self.arrivals.is_empty()
    }

    pub(in crate::sched) fn newcomers(&self) -> usize {
        self.unstarted.len() + self.arrivals.len()
    }
}

impl Carrier<'_> {
    /// The number that the next goroutine gets that is spawned here, unless none is reserved.
    pub(in crate::sched) fn next_id(&self) -> u64 {
        self.ids.get().0
    }

    /// Reserves numbers for the goroutines that are spawned here, in the place of those that were.
    pub(in crate::sched) fn set_ids(&mut self, next: u64, end: u64) {
        self.ids.set((next, end));
    }

    /// Has all goroutines that are spawned here start here, for as long as the processor lives.
    pub(in crate::sched) fn keep_children(&mut self) {
        self.placement.set(Placement::here_for_ever());
    }
}

impl Here {
    /// Where the next child of the running goroutine goes: `None` means here.
    pub(in crate::sched) fn choose_processor(self) -> Option<&'static Processor> {
        let mut placement = self.local().placement.get();
        let chosen = placement.next(self.processor().runtime, Some(self.processor()));
        self.local().placement.set(placement);
        chosen
    }

    /// Takes a number for a new goroutine. Processors reserve them in blocks.
    pub(in crate::sched) fn next_id(self) -> u64 {
        let (mut next, mut end) = self.local().ids.get();
        if next == end {
            let reserved = self.processor().runtime.take_ids(256);
            (next, end) = (reserved.start, reserved.end);
        }
        self.local().ids.set((next + 1, end));
        next
    }

    /// Counts a spawn. After [`SPAWNS_IN_A_TURN`] of them the running goroutine is asked to give
    /// way.
    #[inline]
    pub(in crate::sched) fn count_spawn(self) {
        let spawned = self.local().spawned.get() + 1;
        self.local().spawned.set(spawned);
        if spawned == SPAWNS_IN_A_TURN {
            self.with_parts(|parts| parts.admission.many_spawned());
            self.processor().end_batch();
        }
    }

    /// Queues a goroutine that the running one has spawned.
    pub(in crate::sched) fn spawn_here(self, task: TaskPtr) {
        let _native = Native::begin();
        let (processor, local) = (self.processor(), self.local());
        processor.census.spawned.add(1);
        let alone = local.unstarted.is_empty();
        local.unstarted.push(task);
        if !alone && let Some(worker) = local.worker.get() {
            processor.runtime.suggest_search(worker);
        }
    }
}
