//! What the runtime tells of itself: figures, a dump of every goroutine, and what it says unasked.
//!
//! - `counters`, `stats`, `prometheus`, `schedtrace`: figures, kept by their owners and read by
//!   anybody.
//! - `inspect`: how each processor is made to look at its own goroutines; `dump`, `group`: what is
//!   made of that; `frames`: addresses of frames and their names.
//! - `deadlock`, `stuck`, `quit`: when the program can never go on, when a goroutine does not give
//!   way, and when the user asks with a signal.
//! - `trace`: what the scheduler does, event by event, as a file for a viewer.
//! - `debugger`: what a debugger has to know to find goroutines by itself.
//!
//! Nothing here runs unless it is asked for or something is wrong: what the hot paths keep for it
//! are plain words.

pub(crate) mod counters;
pub(crate) mod deadlock;
pub(crate) mod debugger;
pub(crate) mod dump;
mod frames;
pub(crate) mod group;
pub(crate) mod inspect;
mod prometheus;
pub(crate) mod quit;
pub(crate) mod schedtrace;
pub(crate) mod stats;
pub(crate) mod stuck;
pub mod trace;

pub(crate) use frames::Frames;

use crate::sys::signals;
use std::fmt;

/// Writes a line to the standard error stream. Unlike `eprintln` it does not panic if nothing reads
/// there any more, which would end a thread of the runtime's, or, in the panic hook, the process.
/// And it does not wait for the lock of std's stream, which a goroutine may hold while it is
/// parked.
pub(crate) fn say(words: fmt::Arguments<'_>) {
    signals::write_to_stderr(format!("{words}\n").as_bytes());
}
