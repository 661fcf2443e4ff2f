//! Once: run a closure once.

use crate::raw::once::{RawOnce, Run};
use narrowboat_runtime::park::checkpoint;
use std::fmt;
use std::panic::{Location, RefUnwindSafe, UnwindSafe};

/// A cell for an action that runs once; the first caller runs it.
///
/// As [`std::sync::Once`], but a goroutine that has to wait for another caller's run parks.
///
/// # Examples
/// ```
/// use narrowboat::sync::Once;
///
/// static START: Once = Once::new();
///
/// fn ensure_started() {
///     START.call_once(|| println!("starting"));
/// }
/// ensure_started();
/// ensure_started(); // says nothing
/// ```
#[repr(transparent)]
pub struct Once {
    raw: RawOnce,
}

// Of a failed call nothing is visible but that it failed.
impl UnwindSafe for Once {}
impl RefUnwindSafe for Once {}

/// What a closure of [`Once::call_once_force`] learns about earlier runs.
pub struct OnceState {
    poisoned: bool,
}

impl OnceState {
    /// Whether the action was run before, and the closure panicked.
    ///
    /// # Examples
    /// ```
    /// let once = narrowboat::sync::Once::new();
    /// once.call_once_force(|state| assert!(!state.is_poisoned()));
    /// ```
    #[inline]
    pub fn is_poisoned(&self) -> bool {
        self.poisoned
    }
}

impl fmt::Debug for OnceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnceState").field("poisoned", &self.poisoned).finish()
    }
}

impl Once {
    /// A `Once` that has not run.
    ///
    /// # Examples
    /// See the [example of the type](Once).
    #[inline]
    #[must_use]
    #[expect(clippy::new_without_default, reason = "std's has none")]
    pub const fn new() -> Once {
        Once { raw: RawOnce::new() }
    }

    /// Calls `f` if this is the first call. When this returns, a closure has been called and has
    /// returned, and its effects are visible.
    ///
    /// If `f` calls this again on the same `Once`, it waits for itself, for ever.
    ///
    /// # Panics
    /// If `f` panics; the `Once` is then poisoned, and all later calls panic, too.
    ///
    /// # Examples
    /// See the [example of the type](Once).
    #[inline]
    #[track_caller]
    pub fn call_once<F>(&self, f: F)
    where
        F: FnOnce(),
    {
        checkpoint();
        if !self.raw.is_completed()
            && let Some(run) = self.raw.begin(false, Location::caller())
        {
            f();
            run.done();
        }
    }

    /// As [`call_once`](Once::call_once), but ignores a closure that panicked: `f` is called then,
    /// too, and its [`OnceState`] says so.
    ///
    /// # Panics
    /// If `f` panics.
    ///
    /// # Examples
    /// ```
    /// let once = narrowboat::sync::Once::new();
    /// let _ = std::panic::catch_unwind(|| once.call_once(|| panic!("oh no")));
    /// once.call_once_force(|state| assert!(state.is_poisoned()));
    /// once.call_once(|| unreachable!("it has been done"));
    /// ```
    #[inline]
    #[track_caller]
    pub fn call_once_force<F>(&self, f: F)
    where
        F: FnOnce(&OnceState),
    {
        if let Some(run) = self.run_ignoring_poison() {
            f(&OnceState { poisoned: run.is_after_panic() });
            run.done();
        }
    }

    /// The right to run, if no run has succeeded. Runs that panicked are ignored.
    #[inline]
    #[track_caller]
    pub(crate) fn run_ignoring_poison(&self) -> Option<Run<'_>> {
        checkpoint();
        if self.raw.is_completed() { None } else { self.raw.begin(true, Location::caller()) }
    }

    /// Whether a closure has returned. If so, its effects are visible.
    ///
    /// # Examples
    /// ```
    /// let once = narrowboat::sync::Once::new();
    /// assert!(!once.is_completed());
    /// once.call_once(|| assert!(!once.is_completed()));
    /// assert!(once.is_completed());
    /// ```
    #[inline]
    pub fn is_completed(&self) -> bool {
        checkpoint();
        self.is_completed_now()
    }

    /// Without a checkpoint: does not give way.
    #[inline]
    pub(crate) fn is_completed_now(&self) -> bool {
        self.raw.is_completed()
    }

    /// Waits until a closure has returned.
    ///
    /// # Panics
    /// If a closure panicked.
    ///
    /// # Examples
    /// ```
    /// use narrowboat::sync::Once;
    ///
    /// static READY: Once = Once::new();
    ///
    /// narrowboat::spawn(|| READY.call_once(|| println!("ready")));
    /// READY.wait();
    /// ```
    #[track_caller]
    pub fn wait(&self) {
        checkpoint();
        if !self.raw.is_completed() {
            self.raw.wait(false, Location::caller());
        }
    }

    /// As [`wait`](Once::wait), but ignores a closure that panics, and waits until one returns.
    ///
    /// # Examples
    /// ```
    /// let once = narrowboat::sync::Once::new();
    /// once.call_once(|| ());
    /// once.wait_force();
    /// ```
    #[track_caller]
    pub fn wait_force(&self) {
        checkpoint();
        if !self.raw.is_completed() {
            self.raw.wait(true, Location::caller());
        }
    }
}

impl fmt::Debug for Once {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Once").finish_non_exhaustive()
    }
}
