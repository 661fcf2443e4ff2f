//! Runs a function at a point in time.

use super::Timer;
use crate::{Sender, bounded, select};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Runs `f` in a goroutine of its own, `duration` from now.
///
/// The goroutine is started now, and waits. It ends when the handle has been dropped and no further
/// run is set. Dropping the handle does not stop a run that is set. `f` can run again after a
/// [`reset`](AfterFunc::reset); its runs never overlap. If it panics it does not run again.
///
/// # Examples
/// ```
/// use narrowboat::chan::bounded;
/// use narrowboat::time::after_func;
/// use std::time::Duration;
///
/// let (tx, rx) = bounded(1);
/// after_func(Duration::from_millis(5), move || tx.send("time is up").unwrap());
/// assert_eq!(rx.recv(), Ok("time is up"));
/// ```
#[track_caller]
pub fn after_func(duration: Duration, mut f: impl FnMut() + Send + 'static) -> AfterFunc {
    let timer = Arc::new(Timer::new(duration));
    let (handle, gone) = bounded::<()>(0);
    let mine = timer.clone();
    narrowboat_runtime::spawn(move || {
        loop {
            select! {
                recv(mine.channel()) -> _ => f(),
                recv(gone) -> _ => break,
            }
        }
        // The handle was dropped, so the timer can no longer be set.
        if mine.is_set() && mine.channel().recv().is_ok() {
            f();
        }
    });
    AfterFunc { timer, _handle: handle }
}

/// The handle of a function that [`after_func`] runs at a point in time.
///
/// # Examples
/// A watchdog, which is postponed as long as there is progress:
/// ```
/// use narrowboat::time::after_func;
/// use std::time::Duration;
///
/// let watchdog = after_func(Duration::from_secs(60), || panic!("no progress"));
/// for _ in 0..1000 {
///     watchdog.reset(Duration::from_secs(60));
/// }
/// assert!(watchdog.stop());
/// ```
pub struct AfterFunc {
    timer: Arc<Timer>,
    _handle: Sender<()>,
}

impl AfterFunc {
    /// Stops it. True if this prevented a run; false if the run has started, or it was stopped
    /// already. It does not wait for a run that has started.
    ///
    /// # Examples
    /// ```
    /// use narrowboat::time::after_func;
    /// use std::time::Duration;
    ///
    /// let handle = after_func(Duration::from_secs(60), || unreachable!("it was stopped before"));
    /// assert!(handle.stop());
    /// assert!(!handle.stop());
    /// ```
    pub fn stop(&self) -> bool {
        self.timer.stop()
    }

    /// Sets it to run `duration` from now, whatever its state. Returns what
    /// [`stop`](AfterFunc::stop) would have.
    ///
    /// # Examples
    /// ```
    /// use narrowboat::time::after_func;
    /// use narrowboat::chan::unbounded;
    /// use std::time::Duration;
    ///
    /// let (tx, rx) = unbounded();
    /// let handle = after_func(Duration::ZERO, move || tx.send(()).unwrap());
    /// rx.recv().unwrap();
    /// assert!(!handle.reset(Duration::ZERO), "it has run, and runs again");
    /// rx.recv().unwrap();
    /// ```
    pub fn reset(&self, duration: Duration) -> bool {
        self.timer.reset(duration)
    }

    /// Sets it to run at `when`, whatever its state. Returns what [`stop`](AfterFunc::stop) would
    /// have.
    ///
    /// # Examples
    /// ```
    /// use narrowboat::time::after_func;
    /// use narrowboat::chan::unbounded;
    /// use std::time::{Duration, Instant};
    ///
    /// let (tx, rx) = unbounded();
    /// let handle = after_func(Duration::from_secs(60), move || tx.send(()).unwrap());
    /// assert!(handle.reset_at(Instant::now()));
    /// rx.recv().unwrap();
    /// ```
    pub fn reset_at(&self, when: Instant) -> bool {
        self.timer.reset_at(when)
    }
}

impl fmt::Debug for AfterFunc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("AfterFunc { .. }")
    }
}
