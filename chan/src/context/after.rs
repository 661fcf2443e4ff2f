//! Runs a function when a context ends.

use super::Context;
use crate::{Sender, bounded, select};
use narrowboat_runtime::lock::Mutex;
use narrowboat_runtime::park::checkpoint;
use std::fmt;
use std::sync::{Arc, PoisonError};

/// The function, until it is taken out: by the goroutine that runs it, or by `stop`.
type Job = Mutex<Option<Box<dyn FnOnce() + Send>>>;

fn take(job: &Job) -> Option<Box<dyn FnOnce() + Send>> {
    job.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// Runs `f` in a goroutine of its own when the context is done; at once if it is done already.
///
/// The goroutine is started now, and waits. It ends after `f`, or when [`AfterFunc::stop`] has
/// prevented `f`. Dropping the handle does not prevent `f`.
///
/// # Examples
/// ```
/// use narrowboat::chan::bounded;
/// use narrowboat::context::{after_func, background, with_cancel};
///
/// let (ctx, cancel) = with_cancel(&background());
/// let (tx, rx) = bounded(1);
/// after_func(&ctx, move || tx.send("closing").unwrap());
/// assert!(rx.is_empty());
/// cancel.cancel();
/// assert_eq!(rx.recv(), Ok("closing"));
/// ```
#[track_caller]
pub fn after_func(ctx: &Context, f: impl FnOnce() + Send + 'static) -> AfterFunc {
    let job: Arc<Job> = Arc::new(Mutex::new(Some(Box::new(f))));
    let (handle, gone) = bounded::<()>(0);
    // A context that is never done needs no goroutine that waits for it.
    if ctx.scope().is_some() {
        let (done, mine) = (ctx.done().clone(), job.clone());
        narrowboat_runtime::spawn(move || {
            select! {
                recv(done) -> _ => {}
                recv(gone) -> _ => {
                    if mine.lock().unwrap_or_else(PoisonError::into_inner).is_none() {
                        return;
                    }
                    // The handle was dropped, so `stop` can no longer be called.
                    let _ = done.recv();
                }
            }
            if let Some(f) = take(&mine) {
                f();
            }
        });
    }
    AfterFunc { job, handle }
}

/// The handle of a function that [`after_func`] runs when a context is done.
///
/// # Examples
/// ```
/// use narrowboat::context::{after_func, background, with_cancel};
///
/// let (ctx, cancel) = with_cancel(&background());
/// let handle = after_func(&ctx, || unreachable!("it was stopped before"));
/// assert!(handle.stop());
/// cancel.cancel();
/// ```
pub struct AfterFunc {
    job: Arc<Job>,
    /// Closed when the goroutine has nothing left to wait for.
    handle: Sender<()>,
}

impl AfterFunc {
    /// Prevents the function from being run, and drops it. True if this call did so; false if the
    /// function was started or stopped before. It does not wait for a function that is running.
    ///
    /// # Examples
    /// ```
    /// use narrowboat::context::{after_func, background};
    ///
    /// let handle = after_func(&background(), || ());
    /// assert!(handle.stop());
    /// assert!(!handle.stop());
    /// ```
    pub fn stop(&self) -> bool {
        checkpoint();
        let f = take(&self.job);
        self.handle.close();
        f.is_some()
    }
}

impl fmt::Debug for AfterFunc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("AfterFunc { .. }")
    }
}
