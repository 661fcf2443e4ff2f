//! The signal of a sampling profiler: these systems have no timer on the CPU time of one thread.

use std::ffi::c_void;
use std::io;
use std::time::Duration;

/// What the handler would call: with the context of the interrupted code, and how many periods have
/// passed.
type Take = fn(*const c_void, u32);

/// # Errors
/// Always.
pub(crate) fn install(_take: Take) -> io::Result<()> {
    let text = "profiles of CPU time need timers of single threads, which only Linux has";
    Err(io::Error::new(io::ErrorKind::Unsupported, text))
}

/// A thread that is sampled. There is no value of this type.
pub(crate) enum Sampled {}

impl Sampled {
    pub(crate) fn every(_period: Duration, _thread: libc::pid_t) -> Option<Sampled> {
        None
    }
}

pub(crate) fn all_threads() -> Vec<libc::pid_t> {
    Vec::new()
}

pub(crate) fn name_of_thread(_thread: libc::pid_t) -> Option<String> {
    None
}

pub(crate) fn copy_mapped(_from: usize, _until: usize, _to: &mut [u8]) -> usize {
    0
}
