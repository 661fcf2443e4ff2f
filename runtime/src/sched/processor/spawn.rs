//! Goroutines that a processor spawns, or gets from elsewhere to start.

use super::super::runtime;
use super::Processor;
use crate::goroutine::task::TaskPtr;
use crate::lock::Native;
use std::sync::atomic::Ordering;

/// After this many spawns in one turn the goroutine gives way: otherwise the unstarted goroutines
/// would pile up until the monitor looked. It bounds a burst of spawns so that tasks start while
/// they are still cached, and the memory of tasks that have ended is reused.
const SPAWNS_IN_A_TURN: u32 = 1024;

impl Processor {
    /// Sends a goroutine here, to be started, from elsewhere.
    pub(in crate::sched) fn send_task(&'static self, task: TaskPtr, from: Option<&'static Processor>) {
        // The worker that is looked up below is ours only as long as nothing parks.
        let _native = Native::begin();
        self.census.note_sent();
        self.arrivals.push(task);
        // Step 2 of the inbox's protocol.
        std::sync::atomic::fence(Ordering::SeqCst);
        if self.inbox.claim() {
            // SAFETY: `from` is the processor we run on, if any.
            let worker = from.and_then(|p| unsafe { (*p.local.get()).worker.as_ref() });
            runtime().submit(self, worker);
        }
    }

    /// Whether goroutines have been sent here to be started. (`is_empty` uses sequentially
    /// consistent loads, as the inbox's protocol requires.)
    pub(in crate::sched) fn has_arrivals(&self) -> bool {
        !self.arrivals.is_empty()
    }

    /// Whether goroutines wait here to be started.
    pub(in crate::sched) fn has_newcomers(&self) -> bool {
        !self.unstarted.is_empty() || self.has_arrivals()
    }

    pub(in crate::sched) fn newcomers(&self) -> usize {
        self.unstarted.len() + self.arrivals.len()
    }

    /// Where the next child of the running goroutine goes: `None` means here.
    ///
    /// # Safety
    /// Called by a goroutine of this processor.
    pub(in crate::sched) unsafe fn choose_processor(&'static self) -> Option<&'static Processor> {
        // SAFETY: we are the carrying thread.
        let local = unsafe { &mut *self.local.get() };
        local.placement.next(local.runtime, Some(self))
    }

    /// Takes a number for a new goroutine. Processors reserve them in blocks.
    ///
    /// # Safety
    /// Called by a goroutine of this processor.
    pub(in crate::sched) unsafe fn next_id(&self) -> u64 {
        // SAFETY: we are the carrying thread.
        let local = unsafe { &mut *self.local.get() };
        if local.ids.is_empty() {
            local.ids = local.runtime.take_ids(256);
        }
        local.ids.next().unwrap_or_default()
    }

    /// Counts a spawn. After [`SPAWNS_IN_A_TURN`] of them the running goroutine is asked to give
    /// way.
    ///
    /// # Safety
    /// Called by a goroutine of this processor.
    #[inline]
    pub(in crate::sched) unsafe fn count_spawn(&self) {
        // SAFETY: we are the carrying thread.
        let local = unsafe { &mut *self.local.get() };
        local.spawned += 1;
        if local.spawned == SPAWNS_IN_A_TURN {
            local.admission.many_spawned();
            self.yield_flag.store(true, Ordering::Relaxed);
        }
    }

    /// Queues a goroutine that the running one has spawned.
    ///
    /// # Safety
    /// Called by a goroutine of this processor.
    pub(in crate::sched) unsafe fn spawn_here(&self, task: TaskPtr) {
        let _native = Native::begin();
        // SAFETY: we are the carrying thread.
        let local = unsafe { &mut *self.local.get() };
        self.census.spawned.add(1);
        let alone = local.unstarted.is_empty();
        local.unstarted.push(task);
        if !alone {
            // SAFETY: a carried processor has its worker set.
            local.runtime.suggest_search(unsafe { &*local.worker });
        }
    }
}
