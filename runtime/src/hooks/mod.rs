//! What running code does for diagnostics. It calls `diag`, which is above all else, through this
//! module only.
//!
//! - `counters`: figures, written by their owners and readable by any thread.
//! - `trace`: writes what happens into rings.
//! - `waits`: adds up how long goroutines wait.
//! - `say`: a line on the standard error stream.
//! - Functions that `diag` registers when the runtime starts, below: what to do when a processor
//!   has been asked for the state of its goroutines, when all workers sleep, when a goroutine does
//!   not give way, and when the program fails or `run` returns.

pub(crate) mod counters;
pub(crate) mod say;
pub(crate) mod trace;
pub(crate) mod waits;

use crate::sched::Runtime;
use crate::sched::processor::Carrier;
use std::panic::Location;
use std::sync::OnceLock;
use std::time::Duration;

/// The functions of `diag` that running code calls.
pub(crate) struct Diagnostics {
    pub(crate) answer: unsafe fn(Carrier<'_>),
    pub(crate) check_for_deadlock: fn(&'static Runtime),
    pub(crate) reports: fn() -> Reports,
    pub(crate) save_recording: fn(),
    pub(crate) flush_trace: fn(),
}

static DIAGNOSTICS: OnceLock<Diagnostics> = OnceLock::new();

/// Registers the functions. The first registration stays.
pub(crate) fn install(diagnostics: Diagnostics) {
    let _ = DIAGNOSTICS.set(diagnostics);
}

/// Answers for a processor that has been asked for the state of its goroutines.
///
/// # Safety
/// Called by the loop of the processor, between goroutines.
#[cold]
pub(crate) unsafe fn answer(carrier: Carrier<'_>) {
    if let Some(diagnostics) = DIAGNOSTICS.get() {
        // SAFETY: by contract, which is that of the registered function.
        unsafe { (diagnostics.answer)(carrier) };
    }
}

/// Ends the process if it can never go on. Called by the monitor when all workers sleep.
pub(crate) fn check_for_deadlock(runtime: &'static Runtime) {
    if let Some(diagnostics) = DIAGNOSTICS.get() {
        (diagnostics.check_for_deadlock)(runtime);
    }
}

/// Writes the flight recorder's content, if the program has named a file for it. Called when the
/// program panics.
pub(crate) fn save_recording() {
    if let Some(diagnostics) = DIAGNOSTICS.get() {
        (diagnostics.save_recording)();
    }
}

/// Brings the file of a trace up to date, when `run` returns.
pub(crate) fn flush_trace() {
    if let Some(diagnostics) = DIAGNOSTICS.get() {
        (diagnostics.flush_trace)();
    }
}

/// Reports of goroutines that keep their processor, as the monitor makes them.
pub(crate) type Reports = Box<dyn StuckReports>;

/// What the monitor calls when it sees such goroutines.
pub(crate) trait StuckReports {
    /// Reports that the worker with this kernel thread has run one goroutine, which was spawned at
    /// `site`, for `kept`. `blocked` means that the thread is not runnable now. False if the report
    /// has to wait for another: then the caller must repeat it.
    fn report(
        &mut self,
        thread: i32,
        blocked: bool,
        site: &'static Location<'static>,
        kept: Duration,
    ) -> bool;

    /// Looks for an answer. Called by the monitor at each tick.
    fn look(&mut self);

    /// Whether an answer is still to come.
    fn is_waiting(&self) -> bool;
}

impl Default for Reports {
    fn default() -> Reports {
        let diagnostics = DIAGNOSTICS.get().expect("registered before the monitor starts");
        (diagnostics.reports)()
    }
}
