//! Forks without exec: the child has one thread, the one that has called `fork`, and a copy of
//! everything else.

use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// What runs in the child, on its one thread, before `fork` returns there. Async-signal-safe.
type InChild = fn();

static IN_CHILD: AtomicBool = AtomicBool::new(false);
static HANDLER: OnceLock<InChild> = OnceLock::new();

/// Whether this process was forked from one that had called [`watch`] before.
///
/// Relaxed: it is set while the process has one thread.
#[inline]
pub(crate) fn in_child() -> bool {
    IN_CHILD.load(Ordering::Relaxed)
}

/// Makes sure that a child process knows that it is one, from now on. The first handler stays.
///
/// The C library's `fork` calls the handler, and so does std's `Command` when it forks. `vfork`,
/// `posix_spawn` and the bare system calls do not; after the first two nothing but an exec follows.
pub(crate) fn watch(handler: InChild) -> io::Result<()> {
    if HANDLER.get().is_some() {
        return Ok(());
    }
    // SAFETY: the handler reads what is set before a child process can exist, and calls nothing
    // that is not async-signal-safe.
    match HANDLER.set(handler).map_or(0, |()| unsafe { libc::pthread_atfork(None, None, Some(on_fork)) }) {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

unsafe extern "C" fn on_fork() {
    IN_CHILD.store(true, Ordering::Relaxed);
    if let Some(handler) = HANDLER.get() {
        handler();
    }
}

/// Ends the process at once, without the program's exit handlers: those are the parent's.
pub(crate) fn leave(code: i32) -> ! {
    // SAFETY: ends the process.
    unsafe { libc::_exit(code) }
}
