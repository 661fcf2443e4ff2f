//! Traces of the scheduler: what every worker and every processor did, and what woke what, as a
//! file for a trace viewer.
//!
//! The file is in the format of [Perfetto](https://perfetto.dev); its viewer opens it in a browser.
//! There is a track for each processor with the turns of its goroutines, one for each worker with
//! the processors that it carries, and one for each other thread that starts or wakes goroutines.
//! An arrow leads from each spawn or wake-up to the next turn of the goroutine.
//!
//! There are two ways to record:
//! - [`start`] and [`stop`], or `NARROWBOAT_TRACE=FILE` ([`Config::trace`](crate::Config::trace))
//!   for the whole life of the process, write everything to a file as it happens.
//! - The *flight recorder* keeps the latest events in memory, and writes them on request
//!   ([`start_recorder`], [`write_recorded`]), or when a goroutine or a thread panics, all are
//!   asleep for ever, or SIGQUIT comes (`NARROWBOAT_FLIGHT_RECORDER=FILE`,
//!   [`Config::flight_recorder`](crate::Config::flight_recorder)).
//!
//! Recording takes some tens of nanoseconds an event, on the worker; a thread of its own makes the
//! files. What cannot be written as fast as it happens is left out, and counted, in the file as
//! well. When nothing is recorded, the cost is not measurable.
//!
//! ```
//! use narrowboat::{run, spawn, trace};
//!
//! let path = std::env::temp_dir().join("example.perfetto-trace");
//! trace::start(&path)?;
//! run(|| spawn(|| ()).join().unwrap());
//! let summary = trace::stop()?;
//! assert!(summary.events > 0 && summary.lost == 0);
//! # std::fs::remove_file(path)?;
//! # Ok::<(), std::io::Error>(())
//! ```

// - `crate::sched::trace`: what the scheduler calls.
// - `crate::telemetry::trace`: an event, and the rings that events are in.
// - `timeline`: all rings in one order; `clock`: their time; `picture`: the file.
// - `turns`: what the debug page draws.
// - `session`: what is recorded at present, and the thread that writes it.

mod clock;
mod picture;
pub(super) mod session;
mod timeline;
pub(super) mod turns;

use crate::{blocking, park, sched};
use std::io;
use std::path::Path;

/// The result of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Summary {
    /// Events that are in the file.
    pub events: u64,
    /// Events that are not, because they were overwritten before the file's writer came to them.
    /// The file says where they are missing. Larger buffers help
    /// ([`Config::trace_buffers`](crate::Config::trace_buffers)).
    pub lost: u64,
    /// The size of the file.
    pub bytes: u64,
}

/// Begins to write a trace to the file `path`, which is created anew. Starts the runtime if it does
/// not run yet.
///
/// The trace goes on until [`stop`], or until the process ends. However it ends, the file can be
/// read: up to the end if the process returns from `main` or calls `exit`, and if it is killed up
/// to some milliseconds before. A forked child does not write to it.
///
/// # Errors
/// If a trace is being written already; if the file cannot be made or written, or the runtime not
/// started.
///
/// ```
/// use narrowboat::trace;
///
/// let path = std::env::temp_dir().join("start.perfetto-trace");
/// trace::start(&path)?;
/// assert!(trace::start("another").is_err());
/// trace::stop()?;
/// # std::fs::remove_file(path)?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn start(path: impl AsRef<Path>) -> io::Result<()> {
    sched::start()?;
    let path = path.as_ref().to_owned();
    blocking(move || session::start(&path, false))
}

/// Ends the trace that is being written, and returns its summary.
///
/// # Errors
/// If no trace is being written; if the file could not be written to the end, for want of space for
/// example. It can be read as far as it goes then.
///
/// ```
/// use narrowboat::trace;
///
/// assert!(trace::stop().is_err());
/// ```
pub fn stop() -> io::Result<Summary> {
    blocking(session::stop)
}

/// Begins to keep events in memory, for [`write_recorded`]: as much as the buffers hold
/// ([`Config::trace_buffers`](crate::Config::trace_buffers)), which is about a second at a million
/// events a second, and all events if few happen. Does nothing if the recorder already runs. Starts
/// the runtime if it does not run yet.
///
/// # Errors
/// If the runtime cannot be started.
///
/// ```
/// narrowboat::trace::start_recorder()?;
/// # narrowboat::trace::stop_recorder();
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn start_recorder() -> io::Result<()> {
    park::checkpoint();
    sched::start()?;
    session::start_recorder(None)
}

/// Writes what the flight recorder holds to the file `path`, which is created anew, and goes on
/// recording.
///
/// # Errors
/// If the recorder has not been started; if the file cannot be written.
///
/// ```
/// use narrowboat::{run, trace};
///
/// trace::start_recorder()?;
/// run(|| ());
/// let path = std::env::temp_dir().join("recorded.perfetto-trace");
/// assert!(trace::write_recorded(&path)?.events > 0);
/// trace::stop_recorder();
/// # std::fs::remove_file(path)?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn write_recorded(path: impl AsRef<Path>) -> io::Result<Summary> {
    let path = path.as_ref().to_owned();
    blocking(move || session::write_recorded(&path))
}

/// Ends the flight recorder, and discards what it holds.
///
/// ```
/// use narrowboat::trace;
///
/// trace::start_recorder()?;
/// trace::stop_recorder();
/// assert!(trace::write_recorded("nothing").is_err());
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn stop_recorder() {
    park::checkpoint();
    session::stop_recorder();
}
