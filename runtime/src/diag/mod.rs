//! What the runtime reports about itself: figures, a dump of every goroutine, and warnings.
//!
//! This is the top of the crate. Running code calls it through [`crate::sched::above`] only: the
//! functions of the table below.
//!
//! - `stats`, `prometheus`, `schedtrace`: figures.
//! - `inspect`: makes each processor look at its own goroutines; `dump`, `group`: present the
//!   result; `frames`: the names of frames.
//! - `deadlock`, `stuck`, `quit`: when the program can never go on, when a goroutine does not give
//!   way, and when the user asks with a signal.
//! - `leak`: goroutines that a test leaves behind.
//! - `trace`: what the scheduler does, event by event, as a file for a viewer.
//! - `profile`: samples of what computes.
//! - `proto`: the wire format of traces and profiles; `window`: what `narrowboat-debug` shows.
//! - `debugger`: what a debugger needs to find goroutines by itself.
//!
//! Nothing here runs unless it is requested or something is wrong: the hot paths only keep plain
//! words for it.

mod deadlock;
mod debugger;
pub(crate) mod dump;
mod frames;
mod group;
mod inspect;
pub mod leak;
mod profile;
mod prometheus;
mod proto;
mod quit;
mod schedtrace;
pub(crate) mod stats;
mod stuck;
pub mod trace;
pub mod window;

use crate::sched::above::Diagnostics;
use std::io;
use std::time::Duration;
use trace::session;

/// What running code calls.
pub(crate) const DIAGNOSTICS: Diagnostics = Diagnostics {
    check: window::check,
    install: session::begin,
    publish: debugger::publish,
    start,
    begin: window::begin,
    answer: inspect::answer,
    check_for_deadlock: deadlock::check,
    reports: || Box::new(stuck::Reports::default()),
    save_recording: session::save_recording_at_failure,
    flush_trace: session::flush,
};

/// Starts the threads that wait for SIGQUIT, and that print figures. Called when the runtime has
/// started.
fn start(quit_exits: bool, schedtrace: Option<Duration>) -> io::Result<()> {
    quit::start(quit_exits)?;
    schedtrace.map_or(Ok(()), schedtrace::start)
}
