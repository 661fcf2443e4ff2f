//! SIGQUIT (control-backslash at a terminal): a dump to the standard error stream, then the end of
//! the process with code 2.
//!
//! The handler only writes to a pipe. A thread waits there, asleep in the kernel until
//! then, and does the rest. A program that handles or ignores the signal when the runtime starts
//! keeps its own behaviour.

use super::trace::session;
use super::{deadlock, dump::dump};
use crate::say::say;
use crate::sys::signals;
use std::io;
use std::thread;

/// Installs the handler and starts the thread. Does nothing unless the signal has its default
/// action.
pub(crate) fn start(exits: bool) -> io::Result<()> {
    let Some(mut bell) = signals::ring_at_quit()? else { return Ok(()) };
    let thread = thread::Builder::new().name("quit".into()).stack_size(256 << 10);
    thread.spawn(move || {
        loop {
            bell.wait();
            say(format_args!("SIGQUIT: all goroutines\n\n{}", dump()));
            session::save_recording_at_failure();
            if exits {
                std::process::exit(2);
            }
        }
    })?;
    deadlock::note_helper();
    Ok(())
}
