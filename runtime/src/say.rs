//! Words of the runtime on the standard error stream.

use crate::sys::signals;
use std::fmt;

/// Writes a line to the standard error stream. Unlike `eprintln` it does not panic if the stream is
/// closed; a panic would end a thread of the runtime's or, in the panic hook, the process. And it
/// does not wait for the lock of std's stream, which a goroutine may hold while it is parked.
pub(crate) fn say(words: fmt::Arguments<'_>) {
    signals::write_to_stderr(format!("{words}\n").as_bytes());
}
