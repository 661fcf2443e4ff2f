//! Crates of tokio's world on goroutines (feature `tokio`).
//!
//! Futures of tokio need a runtime of tokio around their polls: for its timers, its sockets, and
//! `tokio::spawn`. Every poll in this crate, by [`block_on`](crate::block_on), by a receiver of a
//! future, or of a stream, happens in the context of such a runtime:
//!
//! 1. that of the calling thread, if the thread is in one already;
//! 2. the program's own, if it has called [`set_handle`];
//! 3. otherwise one in the background, which starts at the first poll. It is tokio's multi-threaded
//!    runtime with tokio's defaults; the environment variable `TOKIO_WORKER_THREADS` sets the number
//!    of its threads. They sleep while nothing of tokio happens.
//!
//! The context is entered before each poll and left after it, so nothing of it is held while the
//! goroutine is parked by `block_on`. If the future itself parks in the middle of a poll, it stays
//! entered, in thread-locals that are the goroutine's own.
//!
//! # Examples
//! ```
//! use narrowboat::future::FutureExt;
//! use std::time::{Duration, Instant};
//!
//! narrowboat::run(|| {
//!     let start = Instant::now();
//!     let naps: Vec<_> = (0..100)
//!         .map(|_| narrowboat::spawn(|| {
//!             // Made in the future, and so in the context.
//!             async { tokio::time::sleep(Duration::from_millis(20)).await }.wait()
//!         }))
//!         .collect();
//!     naps.into_iter().for_each(|nap| nap.join().unwrap());
//!     assert!(start.elapsed() >= Duration::from_millis(20));
//! });
//! ```

use ::tokio::runtime::{Builder, Handle, Runtime};
use std::sync::OnceLock;

/// The program's own runtime, or the one in the background.
static HANDLE: OnceLock<Handle> = OnceLock::new();
/// Never shut down: goroutines may poll until the process ends.
static BACKGROUND: OnceLock<Runtime> = OnceLock::new();

/// Makes the program's own runtime the one around all polls. Call it before the first poll.
///
/// The program keeps the runtime running. After it has been shut down, futures that need it fail or
/// panic, as tokio says.
///
/// # Errors
/// If a runtime has been set, or started in the background, already: with the handle.
///
/// # Examples
/// ```
/// use narrowboat::future::{block_on, tokio::set_handle};
///
/// let runtime = tokio::runtime::Runtime::new()?;
/// set_handle(runtime.handle().clone()).unwrap();
/// block_on(async { tokio::time::sleep(std::time::Duration::from_millis(1)).await });
/// # std::io::Result::Ok(())
/// ```
pub fn set_handle(handle: Handle) -> Result<(), Handle> {
    HANDLE.set(handle)
}

/// The runtime around polls, which starts if there is none yet. For what is not a future:
/// `handle().spawn(..)` and `handle().enter()`. Do not hold what `enter` returns while the goroutine
/// waits.
///
/// # Panics
/// If the runtime in the background cannot be started, because the system gives no threads or
/// descriptors.
///
/// # Examples
/// ```
/// use narrowboat::future::{block_on, tokio::handle};
///
/// let task = handle().spawn(async { 6 * 7 });
/// assert_eq!(block_on(task).unwrap(), 42);
/// ```
pub fn handle() -> Handle {
    ours().clone()
}

fn ours() -> &'static Handle {
    HANDLE.get_or_init(|| BACKGROUND.get_or_init(start).handle().clone())
}

fn start() -> Runtime {
    Builder::new_multi_thread()
        .thread_name("narrowboat-tokio")
        .enable_all()
        .build()
        .expect("tokio's runtime starts")
}

/// Calls `poll` in the context.
pub(crate) fn in_context<R>(poll: impl FnOnce() -> R) -> R {
    // The guard lies in thread-locals until it is dropped, so it ends with the poll.
    let _context = Handle::try_current().is_err().then(|| ours().enter());
    poll()
}
