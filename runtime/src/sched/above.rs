//! What the scheduler calls of the floors above it, all of it on rare paths: when the runtime starts,
//! when a processor has been asked for the state of its goroutines, when all workers sleep, when a
//! goroutine does not give way, and when the program fails or `run` returns.
//!
//! Running code calls `diag`, which is above all else, through this module only. The root of the
//! crate, which knows both sides, fills the table in. It is a constant, so each call is a direct one.

use super::Runtime;
use super::processor::Loop;
use crate::ABOVE_SCHEDULER;
use crate::telemetry::trace;
use std::io;
use std::panic::Location;
use std::time::Duration;

/// What the scheduler calls of what is above it.
pub(crate) struct Above {
    /// Whether the waits of std's locks come to the runtime.
    pub(crate) catches_waits: fn() -> bool,
    pub(crate) install_panic_hook: fn(),
    pub(crate) diagnostics: Diagnostics,
}

const DIAGNOSTICS: Diagnostics = ABOVE_SCHEDULER.diagnostics;

/// The functions of `diag` that running code calls.
pub(crate) struct Diagnostics {
    pub(crate) check: fn() -> io::Result<()>,
    pub(crate) install: fn(trace::Settings, usize) -> io::Result<()>,
    pub(crate) publish: fn(&'static Runtime),
    pub(crate) start: fn(bool, Option<Duration>) -> io::Result<()>,
    pub(crate) begin: fn(),
    pub(crate) answer: fn(Loop<'_>),
    pub(crate) check_for_deadlock: fn(&'static Runtime),
    pub(crate) reports: fn() -> Reports,
    pub(crate) save_recording: fn(),
    pub(crate) flush_trace: fn(),
}

/// Whether the waits of std's locks come to the runtime. Called before anything of it runs.
pub(super) fn catches_waits() -> bool {
    (ABOVE_SCHEDULER.catches_waits)()
}

/// Installs the panic hook, when the runtime starts.
pub(super) fn install_panic_hook() {
    (ABOVE_SCHEDULER.install_panic_hook)();
}

/// Before the runtime starts: fails if it must not.
///
/// # Errors
/// If the debug window is asked for and cannot be had.
pub(crate) fn check() -> io::Result<()> {
    (DIAGNOSTICS.check)()
}

/// Starts the traces that the configuration asks for, before anything can be traced.
///
/// # Errors
/// If a file cannot be made.
pub(crate) fn install(traces: trace::Settings, workers: usize) -> io::Result<()> {
    (DIAGNOSTICS.install)(traces, workers)
}

/// Tells debuggers where the runtime is, which has just been made.
pub(crate) fn publish(runtime: &'static Runtime) {
    (DIAGNOSTICS.publish)(runtime);
}

/// Starts the threads that wait for SIGQUIT, and that print figures, when the runtime has started.
///
/// # Errors
/// If the system refuses a thread.
pub(crate) fn start(quit_exits: bool, schedtrace: Option<Duration>) -> io::Result<()> {
    (DIAGNOSTICS.start)(quit_exits, schedtrace)
}

/// Opens the debug window, which uses the runtime as the program does.
pub(crate) fn begin() {
    (DIAGNOSTICS.begin)();
}

/// Answers for a processor that has been asked for the state of its goroutines.
#[cold]
pub(crate) fn answer(processor: Loop<'_>) {
    (DIAGNOSTICS.answer)(processor);
}

/// Ends the process if it can never go on. Called by the monitor when all workers sleep.
pub(crate) fn check_for_deadlock(runtime: &'static Runtime) {
    (DIAGNOSTICS.check_for_deadlock)(runtime);
}

/// Writes the flight recorder's content, if the program has named a file for it. Called when the
/// program panics.
pub(crate) fn save_recording() {
    (DIAGNOSTICS.save_recording)();
}

/// Brings the file of a trace up to date, when `run` returns.
pub(crate) fn flush_trace() {
    (DIAGNOSTICS.flush_trace)();
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
        (DIAGNOSTICS.reports)()
    }
}
