//! What these systems do not show, or what this runtime does not ask them for.

use crate::sys::blocked::Call;
use crate::sys::modules::Module;

/// The system call that a thread is in.
pub(crate) fn call_of(_thread: libc::pid_t) -> Option<Call> {
    None
}

/// The unwind tables of the program's modules.
pub(crate) fn all_modules() -> Vec<Module> {
    Vec::new()
}

/// CPU time that a thread of this process has used, and whether it is runnable.
pub(crate) fn use_of_processor(_thread: libc::pid_t) -> Option<(u64, bool)> {
    None
}

/// How long a thread of this process has been runnable without a core to run on.
pub(crate) fn waited_for_core(_thread: libc::pid_t) -> Option<u64> {
    None
}

/// How long the cores of the machine have been idle.
pub(crate) fn idle_time() -> Option<u64> {
    None
}

/// How many threads the process has.
pub(crate) fn threads() -> Option<usize> {
    None
}

/// Whether the end of the calling kernel thread would be noticed by child processes.
pub(crate) fn has_children() -> bool {
    false
}

/// The running program's file. There is no value of this type.
#[derive(Debug)]
pub(crate) enum Program {}

impl Program {
    /// The running program.
    pub(crate) fn running() -> Option<Program> {
        None
    }

    pub(crate) fn path(&self) -> &str {
        match *self {}
    }

    pub(crate) fn relative(&self, _address: usize) -> Option<usize> {
        match *self {}
    }

    pub(crate) fn name(&self, _relative: usize) -> Option<&'static str> {
        match *self {}
    }
}

/// A question to a thread of this process. There is no value of this type: a signal that reaches
/// one thread would interrupt its system calls.
pub(crate) enum Question {}

impl Question {
    pub(crate) fn to(_thread: libc::pid_t) -> Option<Question> {
        None
    }
}
