//! A condition variable: wait for a notification.

use crate::mutex::MutexGuard;
use crate::raw::condvar::RawCondvar;
use narrowboat_runtime::park::checkpoint;
use narrowboat_runtime::world;
use std::fmt;
use std::panic::Location;
use std::sync::{LockResult, PoisonError};
use std::time::{Duration, Instant};

/// Whether a timeout ended the wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WaitTimeoutResult(bool);

impl WaitTimeoutResult {
    /// Whether the time was up before a notification came.
    ///
    /// # Examples
    /// ```
    /// use narrowboat::sync::{Condvar, Mutex};
    /// use std::time::Duration;
    ///
    /// let (mutex, condvar) = (Mutex::new(()), Condvar::new());
    /// let (_guard, result) = condvar.wait_timeout(mutex.lock().unwrap(), Duration::from_millis(1)).unwrap();
    /// assert!(result.timed_out());
    /// ```
    #[must_use]
    pub fn timed_out(&self) -> bool {
        self.0
    }
}

/// Waits until another goroutine or thread notifies that something has happened.
///
/// As [`std::sync::Condvar`], but a goroutine that waits parks. A [`Mutex`](crate::Mutex) guards
/// the condition, and every wait is a loop that checks the condition, because another waiter may
/// have changed it first. [`wait_while`](Condvar::wait_while) is that loop.
///
/// A notification that finds a waiter is never lost. If the holder of the mutex notifies waiters,
/// or many are notified at once, they do not wake to compete for the mutex: they move to the queue
/// of the mutex, and get their turns there. (Each waiter that has its mutex on a copied stack does
/// wake.)
///
/// # Examples
/// ```
/// use narrowboat::sync::{Condvar, Mutex};
/// use std::sync::Arc;
///
/// let pair = Arc::new((Mutex::new(false), Condvar::new()));
/// let other = pair.clone();
/// narrowboat::spawn(move || {
///     let (ready, told) = &*other;
///     *ready.lock().unwrap() = true;
///     told.notify_one();
/// });
/// let (ready, told) = &*pair;
/// let ready = told.wait_while(ready.lock().unwrap(), |ready| !*ready).unwrap();
/// assert!(*ready);
/// ```
pub struct Condvar {
    raw: RawCondvar,
}

impl Condvar {
    /// A condition variable that has no waiters.
    ///
    /// # Examples
    /// ```
    /// use narrowboat::sync::Condvar;
    ///
    /// static CHANGED: Condvar = Condvar::new();
    /// CHANGED.notify_all();
    /// ```
    #[must_use]
    #[inline]
    pub const fn new() -> Condvar {
        Condvar { raw: RawCondvar::new() }
    }

    /// Releases the mutex and waits for a notification, both in one step. Then takes the mutex
    /// again.
    ///
    /// As std's, it may return without a notification.
    ///
    /// # Errors
    /// If the mutex is poisoned when it is taken again; the error has the guard.
    ///
    /// # Examples
    /// ```
    /// use narrowboat::sync::{Condvar, Mutex};
    ///
    /// static QUEUE: Mutex<Vec<u32>> = Mutex::new(Vec::new());
    /// static FILLED: Condvar = Condvar::new();
    ///
    /// narrowboat::spawn(|| {
    ///     QUEUE.lock().unwrap().push(1);
    ///     FILLED.notify_one();
    /// });
    /// let mut queue = QUEUE.lock().unwrap();
    /// while queue.is_empty() {
    ///     queue = FILLED.wait(queue).unwrap();
    /// }
    /// assert_eq!(queue.pop(), Some(1));
    /// ```
    #[track_caller]
    pub fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> LockResult<MutexGuard<'a, T>> {
        self.raw.wait(guard.raw(), None, Location::caller());
        guard.checked()
    }

    /// Waits until `condition` is false. Checks it with the mutex held, at first and after every
    /// notification.
    ///
    /// # Errors
    /// If the mutex is poisoned when it is taken again; the error has the guard.
    ///
    /// # Examples
    /// See the [example of the type](Condvar).
    #[track_caller]
    pub fn wait_while<'a, T, F>(
        &self,
        mut guard: MutexGuard<'a, T>,
        mut condition: F,
    ) -> LockResult<MutexGuard<'a, T>>
    where
        F: FnMut(&mut T) -> bool,
    {
        checkpoint();
        while condition(&mut *guard) {
            guard = self.wait(guard)?;
        }
        Ok(guard)
    }

    /// As [`wait`](Condvar::wait), but for no longer than `dur`, plus the time it takes to get the
    /// mutex again.
    ///
    /// # Errors
    /// If the mutex is poisoned when it is taken again; the error has guard and result.
    ///
    /// # Examples
    /// See [`WaitTimeoutResult::timed_out`].
    #[track_caller]
    pub fn wait_timeout<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        dur: Duration,
    ) -> LockResult<(MutexGuard<'a, T>, WaitTimeoutResult)> {
        // A deadline past the range of the clock never passes.
        self.wait_until(guard, world::now().checked_add(dur), Location::caller())
    }

    fn wait_until<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        deadline: Option<Instant>,
        at: &'static Location<'static>,
    ) -> LockResult<(MutexGuard<'a, T>, WaitTimeoutResult)> {
        let notified = self.raw.wait(guard.raw(), deadline, at);
        let result = WaitTimeoutResult(!notified);
        match guard.checked() {
            Ok(guard) => Ok((guard, result)),
            Err(error) => Err(PoisonError::new((error.into_inner(), result))),
        }
    }

    /// As [`wait_while`](Condvar::wait_while), but for no longer than `dur`. It has timed out only
    /// if the condition is still true then.
    ///
    /// # Errors
    /// If the mutex is poisoned when it is taken again; the error has guard and result.
    ///
    /// # Examples
    /// ```
    /// use narrowboat::sync::{Condvar, Mutex};
    /// use std::time::Duration;
    ///
    /// let (mutex, condvar) = (Mutex::new(3), Condvar::new());
    /// let (mut guard, result) = condvar
    ///     .wait_timeout_while(mutex.lock().unwrap(), Duration::from_millis(5), |left| *left > 0)
    ///     .unwrap();
    /// assert!(result.timed_out());
    /// *guard = 0;
    /// let (_, result) =
    ///     condvar.wait_timeout_while(guard, Duration::from_millis(5), |left| *left > 0).unwrap();
    /// assert!(!result.timed_out());
    /// ```
    #[track_caller]
    pub fn wait_timeout_while<'a, T, F>(
        &self,
        mut guard: MutexGuard<'a, T>,
        dur: Duration,
        mut condition: F,
    ) -> LockResult<(MutexGuard<'a, T>, WaitTimeoutResult)>
    where
        F: FnMut(&mut T) -> bool,
    {
        checkpoint();
        let deadline = world::now().checked_add(dur);
        loop {
            if !condition(&mut *guard) {
                return Ok((guard, WaitTimeoutResult(false)));
            }
            if deadline.is_some_and(|deadline| deadline <= world::now()) {
                return Ok((guard, WaitTimeoutResult(true)));
            }
            guard = self.wait_until(guard, deadline, Location::caller())?.0;
        }
    }

    /// Wakes the waiter that has waited longest. If there is no waiter, does nothing.
    ///
    /// # Examples
    /// See [`Condvar::wait`].
    #[inline]
    pub fn notify_one(&self) {
        self.raw.notify_one();
    }

    /// Wakes all waiters. A wait that starts later is not ended.
    ///
    /// # Examples
    /// ```
    /// use narrowboat::sync::{Condvar, Mutex};
    ///
    /// static OPEN: Mutex<bool> = Mutex::new(false);
    /// static OPENED: Condvar = Condvar::new();
    ///
    /// let visitors: Vec<_> = (0..3)
    ///     .map(|_| {
    ///         narrowboat::spawn(|| {
    ///             drop(OPENED.wait_while(OPEN.lock().unwrap(), |open| !*open).unwrap());
    ///         })
    ///     })
    ///     .collect();
    /// *OPEN.lock().unwrap() = true;
    /// OPENED.notify_all();
    /// visitors.into_iter().for_each(|visitor| visitor.join().unwrap());
    /// ```
    #[inline]
    pub fn notify_all(&self) {
        self.raw.notify_all();
    }
}

impl Default for Condvar {
    fn default() -> Condvar {
        Condvar::new()
    }
}

impl fmt::Debug for Condvar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Condvar").finish_non_exhaustive()
    }
}
