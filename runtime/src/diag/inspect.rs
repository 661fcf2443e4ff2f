//! How every processor is made to look at its own goroutines.
//!
//! Records may be read only by whoever carries their processor, so nobody looks at another's. Instead:
//!
//! 1. The asker publishes the inspection, marks each processor as asked, and fences; a processor that is idle it claims and
//!    queues (step 2 of the [inbox](crate::sched::inbox)'s protocol).
//! 2. A processor that finds itself asked at the end of a batch takes the mark away and reports all its goroutines, on its loop's stack, while
//!    none of them runs. The last one to answer wakes the asker.
//! 3. The asker waits, as any party waits, until all have answered or its time limit has passed. It takes the inspection
//!    down: an answer that comes later finds none, or one that does not expect it, and is dropped.
//!
//! An answer is given under the inspection's lock, and the wait is ended under it, too: an asker that has given up takes its
//! handle away under the lock, so nobody uses it after that.

use super::dump::GoroutineInfo;
use crate::goroutine::record::Record;
use crate::park::{Outcome, Reason, Waiter};
use crate::sched::Runtime;
use crate::sched::processor::Processor;
use std::backtrace::Backtrace;
use std::collections::HashSet;
use std::panic::Location;
use std::sync::atomic::{Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How many backtraces one inspection takes at most.
const MOST_BACKTRACES: usize = 128;

/// What goroutines that are shown together have in common.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) reason: Reason,
    pub(crate) waits_at: &'static Location<'static>,
    pub(crate) spawned_at: &'static Location<'static>,
}

/// What has been found out.
#[derive(Default)]
pub(crate) struct Findings {
    pub(crate) goroutines: Vec<GoroutineInfo>,
    pub(crate) backtraces: Vec<(Key, Backtrace)>,
    /// The numbers of processors that have not answered.
    pub(crate) silent: Vec<usize>,
}

struct State {
    findings: Findings,
    seen: HashSet<Key>,
    asker: Option<Waiter>,
}

struct Inspection(Mutex<State>);

/// The one under way.
static CURRENT: Mutex<Option<Arc<Inspection>>> = Mutex::new(None);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Has all processors look at their goroutines. Waits for `limit` at most; empty-handed if an inspection is under
/// way already that does not end in that time.
pub(crate) fn inspect(
    runtime: &'static Runtime,
    limit: Duration,
    at: &'static Location<'static>,
) -> Findings {
    let deadline = Instant::now() + limit;
    let inspection = loop {
        let mut current = lock(&CURRENT);
        if current.is_none() {
            let findings = Findings {
                silent: runtime.processors.all().map(|processor| processor.index).collect(),
                ..Findings::default()
            };
            let state = State { findings, seen: HashSet::new(), asker: None };
            break current.insert(Arc::new(Inspection(Mutex::new(state)))).clone();
        }
        drop(current);
        if Instant::now() > deadline {
            return Findings::default();
        }
        crate::sleep(Duration::from_millis(1));
    };
    let asker = Waiter::begin(Reason::Inspection, 0, at);
    lock(&inspection.0).asker = Some(asker);
    for processor in runtime.processors.all() {
        processor.inspect.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if processor.inbox.claim() {
            runtime.submit(processor, None);
        }
    }
    // SAFETY: the handle is from the `begin` above, and has been published.
    unsafe { asker.park(Some(deadline)) };
    let mut state = lock(&inspection.0);
    state.asker = None;
    let findings = std::mem::take(&mut state.findings);
    drop(state);
    *lock(&CURRENT) = None;
    findings
}

impl Inspection {
    /// Step 2.
    ///
    /// # Safety
    /// Called by the loop of the processor, between goroutines.
    unsafe fn answer(&self, processor: &'static Processor) {
        let mut state = lock(&self.0);
        let state = &mut *state;
        let Some(expected) = state.findings.silent.iter().position(|&index| index == processor.index) else {
            return;
        };
        state.findings.silent.swap_remove(expected);
        // SAFETY: by contract.
        unsafe {
            processor.each_goroutine(|record| {
                let info = processor.describe(record);
                let key = info.key();
                state.findings.goroutines.push(info);
                if state.findings.backtraces.len() < MOST_BACKTRACES
                    && state.seen.insert(key)
                    && let Some(backtrace) = processor.backtrace_of(record)
                {
                    state.findings.backtraces.push((key, backtrace));
                }
            });
        }
        if state.findings.silent.is_empty()
            && let Some(asker) = state.asker.take()
            && asker.try_end(Outcome(Outcome::FIRST))
        {
            // SAFETY: we have ended this wait, and nobody else does.
            unsafe { asker.unpark() };
        }
    }
}

/// The processor has been asked.
///
/// # Safety
/// Called by the loop of the processor, between goroutines.
#[cold]
pub(crate) unsafe fn answer(processor: &'static Processor) {
    processor.inspect.store(false, Ordering::Relaxed);
    let inspection = lock(&CURRENT).clone();
    if let Some(inspection) = inspection {
        // SAFETY: by contract.
        unsafe { inspection.answer(processor) };
    }
}

impl Processor {
    /// # Safety
    /// The caller holds the processor, and the record is one of its goroutines', which does not run.
    unsafe fn describe(&self, record: &Record) -> GoroutineInfo {
        let waits = record.head.claim.is_waiting();
        GoroutineInfo {
            id: record.id,
            name: record.origin.name().cloned(),
            reason: record.reason,
            object: if waits && record.reason != Reason::None { record.object() } else { 0 },
            woken: !waits,
            since: record.since,
            waits_at: record.waits_at,
            spawned_at: record.origin.spawned_at(),
            processor: self.index as u16,
            // SAFETY: by contract.
            stack: unsafe { self.stack_of(record) },
        }
    }
}
