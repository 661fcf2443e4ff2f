//! Forks without exec: the child has one thread, the one that has called `fork`, and a copy of
//! everything else.

use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// What is done in the child, on its one thread, before `fork` returns there. Async-signal-safe.
type InChild = fn();

static IN_CHILD: AtomicBool = AtomicBool::new(false);
static HANDLER: OnceLock<InChild> = OnceLock::new();

/// Whether this process was forked off one that had called [`watch`] before.
///
/// Relaxed: it is set while the process has one thread.
#[inline]
pub(crate) fn in_child() -> bool {
    IN_CHILD.load(Ordering::Relaxed)
}

/// From now on a child process knows what it is. The first handler stays.
///
/// The C library's `fork` calls it, hence std's `Command` in the cases in which it forks. `vfork`,
/// `posix_spawn` and the bare system calls do not; after the first two there is nothing but an
/// exec.
pub(crate) fn watch(handler: InChild) -> io::Result<()> {
    if HANDLER.get().is_some() {
        return Ok(());
    }
    // SAFETY: the handler reads what is set before a child process can be told of it, and calls
    // nothing that is not async-signal-safe.
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

/// Ends the process at once, without what the program has registered for its end: that is the
/// parent's.
pub(crate) fn leave(code: i32) -> ! {
    // SAFETY: ends the process.
    unsafe { libc::_exit(code) }
}
