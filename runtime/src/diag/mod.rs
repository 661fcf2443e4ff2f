//! What the runtime reports about itself: figures, a dump of every goroutine, and warnings.
//!
//! - `counters`, `stats`, `prometheus`, `schedtrace`: figures, written by their owners and readable
//!   by any thread.
//! - `inspect`: makes each processor look at its own goroutines; `dump`, `group`: present the
//!   result; `frames`: addresses of frames and their names.
//! - `deadlock`, `stuck`, `quit`: when the program can never go on, when a goroutine does not give
//!   way, and when the user asks with a signal.
//! - `trace`: what the scheduler does, event by event, as a file for a viewer.
//! - `proto`: the wire format of traces and profiles; `window`: what `narrowboat-debug` shows.
//! - `debugger`: what a debugger needs to find goroutines by itself.
//!
//! Nothing here runs unless it is requested or something is wrong: the hot paths only keep plain
//! words for it.

pub(crate) mod counters;
pub(crate) mod deadlock;
pub(crate) mod debugger;
pub(crate) mod dump;
mod frames;
pub(crate) mod group;
pub(crate) mod inspect;
mod prometheus;
mod proto;
pub(crate) mod quit;
pub(crate) mod schedtrace;
pub(crate) mod stats;
pub(crate) mod stuck;
pub mod trace;
pub mod window;

pub(crate) use frames::Frames;

use crate::sys::signals;
use std::fmt;

/// Writes a line to the standard error stream. Unlike `eprintln` it does not panic if the stream is
/// closed; a panic would end a thread of the runtime's or, in the panic hook, the process. And it
/// does not wait for the lock of std's stream, which a goroutine may hold while it is parked.
pub(crate) fn say(words: fmt::Arguments<'_>) {
    signals::write_to_stderr(format!("{words}\n").as_bytes());
}
