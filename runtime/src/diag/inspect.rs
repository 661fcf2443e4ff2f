//! Makes every processor look at its own goroutines.
//!
//! Only the carrier may read a processor's records, so no processor reads those of another.
//! Instead:
//!
//! 1. The asker publishes the inspection and asks each processor (a
//!    [`Request`](crate::sched::request::Request)). If a processor is idle, the asker claims and
//!    queues it.
//! 2. A processor that finds itself asked at the end of a batch clears the mark and reports all its
//!    goroutines, on its loop's stack, while none of them runs. The last one to answer wakes the
//!    asker.
//! 3. The asker waits, like any waiter, until all have answered or its time limit has passed. It
//!    withdraws the inspection: an answer that comes later finds none, or one that does not expect
//!    it, and is dropped.
//! 4. An asker that finds an inspection under way waits for its end. If the time limit of that one
//!    has passed, it replaces it: the asker of that one may be a goroutine that does not run again,
//!    and drops an inspection that is not the current one any more.
//!
//! An answer is given under the inspection's lock, and the wait is ended under it, too. An asker
//! that has given up removes its handle under the lock, so the handle is not used after that.

use super::dump::GoroutineInfo;
use crate::Labels;
use crate::lock::Mutex;
use crate::park::{self, Identity, Outcome, Reason, Thing, Waiter};
use crate::sched::Runtime;
use crate::sched::look::View;
use crate::sched::processor::Loop;
use crate::sched::record::Record;
use crate::sched::record::labels::LabelCell;
use crate::stack::backtrace::Frames;
use crate::wait;
use std::collections::HashMap;
use std::panic::Location;
use std::sync::atomic::{Ordering, fence};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How many groups of goroutines one inspection examines more closely at most, and how many further
/// things it describes.
const MAX_SAMPLES: usize = 128;
const MAX_THINGS: usize = 1024;
/// For how many waits on std's locks it determines where the program called.
const MAX_PATHS: usize = 1024;

/// What goroutines that are shown together have in common.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) reason: Reason,
    pub(crate) waits_at: &'static Location<'static>,
    pub(crate) spawned_at: &'static Location<'static>,
    /// A hash of the call path, if the waiting line is not the caller's; or 0.
    pub(crate) path: u64,
}

/// Details of one goroutine that stand for all that are shown with it.
#[derive(Debug, Default)]
pub(crate) struct Sample {
    pub(crate) backtrace: Option<Frames>,
    /// The arms of its select.
    pub(crate) arms: Vec<Thing>,
}

/// The result of an inspection.
#[derive(Default)]
pub(crate) struct Findings {
    pub(crate) goroutines: Vec<GoroutineInfo>,
    pub(crate) samples: HashMap<Key, Sample>,
    /// What is waited for.
    pub(crate) things: HashMap<Identity, Thing>,
    /// The numbers of processors that have not answered.
    pub(crate) silent: Vec<usize>,
    /// How many call paths have been determined.
    paths: usize,
}

struct State {
    findings: Findings,
    asker: Option<Waiter>,
}

struct Inspection {
    state: Mutex<State>,
    /// From then on nothing waits for it, even if its asker has not had its turn since.
    ends: Instant,
    /// The one goroutine that is wanted, or all are.
    only: Option<u64>,
}

/// The inspection under way.
static CURRENT: Mutex<Option<Arc<Inspection>>> = Mutex::new(None);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes all processors look at their goroutines, or for the `only` one that is wanted. Waits for
/// `limit` at most, and before that until another inspection under way has ended or outlived its
/// limit. The result is empty if others come first for a few limits.
pub(crate) fn inspect(
    runtime: &'static Runtime,
    limit: Duration,
    only: Option<u64>,
    at: &'static Location<'static>,
) -> Findings {
    park::assert_may_park();
    let begun = Instant::now();
    let inspection = loop {
        let mut current = lock(&CURRENT);
        let now = Instant::now();
        if current.as_ref().is_none_or(|current| current.ends < now) {
            let findings = Findings {
                silent: runtime.processors.all().map(|processor| processor.index).collect(),
                ..Findings::default()
            };
            let state = State { findings, asker: None };
            let inspection = Inspection { state: Mutex::new(state), ends: now + limit, only };
            break current.insert(Arc::new(inspection)).clone();
        }
        drop(current);
        // Other askers came first, again and again.
        if now > begun + 4 * limit {
            return Findings::default();
        }
        crate::sleep(Duration::from_millis(1));
    };
    let asker = Waiter::begin(Reason::Inspection, 0, at);
    lock(&inspection.state).asker = Some(asker);
    for processor in runtime.processors.all() {
        processor.inspect.make();
        fence(Ordering::SeqCst);
        if processor.inbox.claim() {
            runtime.submit(processor, None);
        }
    }
    // SAFETY: the handle is from the `begin` above, and has been published.
    unsafe { asker.park(Some(inspection.ends)) };
    let mut state = lock(&inspection.state);
    state.asker = None;
    let findings = std::mem::take(&mut state.findings);
    drop(state);
    let mut current = lock(&CURRENT);
    if current.as_ref().is_some_and(|current| Arc::ptr_eq(current, &inspection)) {
        *current = None;
    }
    findings
}

impl Findings {
    /// Describes one goroutine, and in more detail if it is the first of its kind.
    fn add(&mut self, view: &mut View<'_>, record: &Record) {
        let mut info = view.describe(record);
        let mut backtrace = None;
        let foreign = info.reason.is_below_foreign_code();
        if foreign && self.paths < MAX_PATHS {
            self.paths += 1;
            backtrace = view.backtrace_of(record);
            info.path = backtrace.as_ref().map_or(0, Frames::path);
        }
        let key = info.key();
        // One backtrace does not stand for those whose paths are not known. And goroutines that
        // came on many paths leave some samples to the others.
        let most = if foreign { MAX_SAMPLES / 2 } else { MAX_SAMPLES };
        let first =
            self.samples.len() < most && !self.samples.contains_key(&key) && (!foreign || info.path != 0);
        if let Some(object) = info.identity()
            && !self.things.contains_key(&object)
            && (first || self.things.len() < MAX_THINGS)
        {
            // What it waits for may be on its stack.
            if object.stack_of != record.id || view.make_resident(record) {
                let mut keep = |thing| drop(self.things.insert(object, thing));
                // SAFETY: it waited when `describe` looked, and does not go on before this
                // processor does.
                unsafe { wait::describe(info.reason, object.address, &mut keep) };
            }
        }
        if first {
            // SAFETY: as above.
            self.samples.insert(key, unsafe { view.sample(record, &info, backtrace) });
        }
        self.goroutines.push(info);
    }
}

impl Inspection {
    /// Step 2.
    fn answer(&self, mut carrier: Loop<'_>) {
        let index = carrier.processor().index;
        let mut state = lock(&self.state);
        let state = &mut *state;
        let Some(expected) = state.findings.silent.iter().position(|&silent| silent == index) else {
            return;
        };
        state.findings.silent.swap_remove(expected);
        carrier.each_goroutine(|view, record| {
            if self.only.is_none_or(|id| id == record.id) {
                state.findings.add(view, record);
            }
        });
        if state.findings.silent.is_empty()
            && let Some(asker) = state.asker.take()
            && asker.try_end(Outcome(Outcome::FIRST))
        {
            // SAFETY: we have ended this wait, and no other code does.
            unsafe { asker.unpark() };
        }
    }
}

/// Answers for a processor that has been asked.
#[cold]
pub(crate) fn answer(carrier: Loop<'_>) {
    carrier.processor().inspect.take();
    let inspection = lock(&CURRENT).clone();
    if let Some(inspection) = inspection {
        inspection.answer(carrier);
    }
}

impl View<'_> {
    fn describe(&self, record: &Record) -> GoroutineInfo {
        // In this order: once the goroutine has been woken, the word holds a link instead of the
        // object.
        let object = record.object();
        let waits = record.wait.head.claim.is_waiting();
        let now = (self.processor().time() >> 24) as u32;
        let object = if waits && record.reason.get() != Reason::None { object } else { 0 };
        GoroutineInfo {
            id: record.id,
            name: record.origin.name().cloned(),
            labels: record.origin.labels().map_or_else(Labels::default, LabelCell::get),
            reason: record.reason.get(),
            object: self.identity_of(record, object),
            woken: !waits,
            waiting_for: Duration::from_nanos(u64::from(now.wrapping_sub(record.since.get())) << 24),
            waits_at: record.waits_at.get(),
            spawned_at: record.origin.spawned_at(),
            processor: self.processor().index as u16,
            stack: self.stack_of(record),
            path: 0,
        }
    }

    /// # Safety
    /// `info` says what the goroutine waits for.
    unsafe fn sample(&mut self, record: &Record, info: &GoroutineInfo, backtrace: Option<Frames>) -> Sample {
        let mut sample = Sample { backtrace, ..Sample::default() };
        sample.backtrace = sample.backtrace.or_else(|| self.backtrace_of(record));
        // The stack holds the arms of a select.
        if info.reason == Reason::Select && info.object.address != 0 && self.stack_of(record).resident {
            // SAFETY: by contract.
            unsafe { wait::describe(info.reason, info.object.address, &mut |arm| sample.arms.push(arm)) };
        }
        sample
    }
}
