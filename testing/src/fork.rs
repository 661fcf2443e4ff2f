//! Closures that run in a forked process. A test binary that forks has one test, or runs each in
//! its own process: the child has a copy of whatever locks other threads hold at that time.

use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::process::ExitStatusExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitStatus;

/// What a forked process says when it needs a thread of the runtime.
pub const FORKED: &str = "this process was forked from one in which Narrowboat had started its threads";

/// Runs `f` in a forked process. Returns how that ended, and what it wrote to stderr.
///
/// The child ends as a program does: with 0 if `f` returns, with 101 if `f` panics. A child that
/// hangs is ended by a signal after a minute.
pub fn fork(f: impl FnOnce()) -> (ExitStatus, String) {
    let (mut reader, writer) = std::io::pipe().expect("a pipe");
    // SAFETY: the child uses nothing of its parent but what `f` has, and ends here.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: plain system calls.
        unsafe {
            libc::alarm(60);
            libc::dup2(writer.as_raw_fd(), 2);
        }
        let outcome = catch_unwind(AssertUnwindSafe(f));
        // SAFETY: the end of the process.
        unsafe { libc::_exit(if outcome.is_ok() { 0 } else { 101 }) }
    }
    assert!(child > 0, "{}", std::io::Error::last_os_error());
    drop(writer);
    let mut text = String::new();
    reader.read_to_string(&mut text).expect("text");
    let mut status = 0;
    // SAFETY: a child of this process, and a live integer.
    assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
    (ExitStatus::from_raw(status), text)
}

/// Runs `f` in a forked process and passes if that ends with 0.
#[track_caller]
pub fn works_in_fork(f: impl FnOnce()) {
    let (status, text) = fork(f);
    assert!(status.success(), "{status}: {text}");
}
