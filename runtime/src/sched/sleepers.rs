//! The list of sleeping workers, and which of them watches the clock.
//!
//! A worker enters the list before it sleeps, and has left it when it runs. Either it takes itself
//! off, or the thread that wakes it does, and sets its `appointed` or `called` mark in the same
//! critical section. So if a worker no longer finds itself on the list, its mark is set.

use super::idle::Idle;
use super::pace::Pace;
use super::worker::Worker;
use crate::clock::NEVER;
use crate::lock::Mutex;
use std::sync::MutexGuard;

struct List {
    workers: Vec<&'static Worker>,
    /// The deadline for which some sleeper has set its alarm, and the index of that worker.
    alarm: u64,
    alarm_of: usize,
    pace: Pace,
}

pub(super) struct Sleepers(Mutex<List>);

impl Sleepers {
    pub(super) fn new() -> Sleepers {
        Sleepers(Mutex::new(List {
            workers: Vec::new(),
            alarm: NEVER,
            alarm_of: usize::MAX,
            pace: Pace::new(),
        }))
    }

    fn lock(&self) -> MutexGuard<'_, List> {
        self.0.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Enters the list. Returns when to wake up: at `earliest`, unless another sleeper does so
    /// already.
    pub(super) fn enter(&self, worker: &'static Worker, earliest: u64) -> u64 {
        let mut list = self.lock();
        list.workers.push(worker);
        if earliest < list.alarm {
            list.alarm = earliest;
            list.alarm_of = worker.index;
            list.pace.alarm_for(earliest)
        } else {
            NEVER
        }
    }

    /// A sleeper's alarm has gone off.
    pub(super) fn alarm_went_off(&self, now: u64) {
        self.lock().pace.went_off(now);
    }

    /// Whether some sleeper wakes up for `deadline`, or an earlier one.
    pub(super) fn wakes_by(&self, deadline: u64) -> bool {
        self.lock().alarm <= deadline
    }

    /// Leaves the list. False if another thread has taken the worker off, and marked it.
    pub(super) fn leave(&self, worker: &Worker, idle: &Idle) -> bool {
        self.take(&mut self.lock(), worker, idle)
    }

    fn take(&self, list: &mut List, worker: &Worker, idle: &Idle) -> bool {
        let Some(at) = list.workers.iter().position(|w| std::ptr::eq(*w, worker)) else { return false };
        list.workers.swap_remove(at);
        if list.alarm_of == worker.index {
            // The worker that has just left is awake and looks at the deadlines itself.
            list.alarm = NEVER;
            list.alarm_of = usize::MAX;
        }
        idle.retract_sleep();
        true
    }

    /// Takes a sleeper off and makes it the searcher: the one that fell asleep last, but one in the
    /// poller only if there is no other, so that descriptors stay watched.
    pub(super) fn appoint_one(&self, idle: &Idle) -> Option<&'static Worker> {
        let mut list = self.lock();
        let outside = list.workers.iter().rev().copied().find(|w| !w.is_polling());
        let worker = outside.or_else(|| list.workers.last().copied())?;
        self.take(&mut list, worker, idle);
        worker.mark_appointed();
        Some(worker)
    }

    /// Takes a particular worker off, to look at its own processor.
    pub(super) fn call(&self, worker: &'static Worker, idle: &Idle) -> bool {
        let mut list = self.lock();
        let asleep = self.take(&mut list, worker, idle);
        if asleep {
            worker.mark_called();
        }
        asleep
    }
}
