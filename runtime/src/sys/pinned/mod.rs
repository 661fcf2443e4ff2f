//! Systems on which a worker is pinned to each processor: user code cannot write the thread
//! pointer, or this runtime does not.
//!
//! Goroutines of a processor share its thread-locals there, and std's locks block threads
//! ([`tls`], [`futex`]). What the system does not show of its own threads and of the program's file
//! is not in reports.

pub(crate) mod futex;
mod memory;
pub(crate) mod sampling;
pub(crate) mod tls;
mod unknown;

pub(crate) use memory::*;
pub(crate) use unknown::*;

/// The signals that the calling thread blocks. Only functions of the C library that park ask for
/// it, and there are none here.
pub(crate) fn signal_mask() -> u64 {
    0
}

/// What else a process needs when the runtime starts: nothing.
pub(crate) fn prepare_process(_worker: fn() -> Option<usize>) {}

/// In place of the function that answers code which asks for the bounds of its stack: there is none
/// to replace.
pub(crate) mod getattr {
    use crate::arch::Bounds;

    pub(crate) fn answer_with(_: fn() -> Option<Bounds>) {}
}

/// The address of a C++ runtime's function, if it is linked with the program. Here it is found by
/// its name instead.
pub(crate) fn exception_globals_function() -> usize {
    0
}
