//! A limit on how long the caller waits.

use crate::{RecvTimeoutError, bounded};
use std::error::Error;
use std::fmt;
use std::panic::resume_unwind;
use std::time::Duration;

/// Runs `f` in a goroutine of its own and returns its result, if it ends within `duration`.
///
/// If it does not, `f` is *not* stopped, because Rust code cannot be stopped from outside: it
/// continues, and its result is dropped. A function that can take long should take a
/// [`Context`](crate::context::Context), and check it. With a context,
/// [`with_timeout`](crate::context::with_timeout) does the same without a goroutine.
///
/// # Errors
/// If the time was up.
///
/// # Panics
/// If `f` panics in time, with its payload.
///
/// # Examples
/// ```
/// use narrowboat::time::{sleep, timeout};
/// use std::time::Duration;
///
/// assert_eq!(timeout(Duration::from_secs(60), || 6 * 7), Ok(42));
///
/// let late = timeout(Duration::from_millis(5), || sleep(Duration::from_millis(100)));
/// let message = late.unwrap_err().to_string();
/// assert_eq!(message, "the time limit of 5ms has passed; what was started runs on");
/// ```
///
/// With a context that stops the work:
/// ```
/// use narrowboat::context::{background, with_timeout};
/// use narrowboat::time::timeout;
/// use std::time::Duration;
///
/// let (ctx, _cancel) = with_timeout(&background(), Duration::from_millis(5));
/// let steps = timeout(Duration::from_secs(60), move || (0..).take_while(|_| !ctx.is_done()).count());
/// assert!(steps.is_ok(), "the context has stopped it before");
/// ```
#[track_caller]
pub fn timeout<F, T>(duration: Duration, f: F) -> Result<T, Elapsed>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    // Closed when `f` ends, however it ends.
    let (running, ended) = bounded::<()>(0);
    let work = narrowboat_runtime::spawn(move || {
        let _running = running;
        f()
    });
    match ended.recv_timeout(duration) {
        Err(RecvTimeoutError::Timeout) => Err(Elapsed(duration)),
        _ => Ok(work.join().unwrap_or_else(|panic| resume_unwind(panic))),
    }
}

/// The time limit of a [`timeout`] has passed. It holds that limit.
///
/// # Examples
/// ```
/// use narrowboat::time::{Elapsed, sleep, timeout};
/// use std::time::Duration;
///
/// let limit = Duration::from_millis(5);
/// assert_eq!(timeout(limit, || sleep(Duration::from_millis(100))), Err(Elapsed(limit)));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Elapsed(pub Duration);

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the time limit of {:?} has passed; what was started runs on", self.0)
    }
}

impl Error for Elapsed {}
