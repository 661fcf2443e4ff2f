//! `NARROWBOAT_SCHEDTRACE=MS`: a line of figures on the standard error stream every MS
//! milliseconds.

use super::deadlock;
use super::stats::stats;
use crate::say::say;
use std::io;
use std::thread;
use std::time::Duration;

/// Starts the thread that prints.
pub(crate) fn start(every: Duration) -> io::Result<()> {
    let thread = thread::Builder::new().name("schedtrace".into()).stack_size(256 << 10);
    thread
        .spawn(move || {
            loop {
                thread::sleep(every);
                say(format_args!("{}", stats().summary()));
            }
        })
        .map(drop)?;
    deadlock::note_helper();
    Ok(())
}
