//! Whether a value was left behind by a panic, which is to say: perhaps in pieces.
//!
//! As in std, a guard that goes while a panic unwinds poisons its lock, unless it was made during that unwinding (by a
//! destructor, which may well put things in order). What counts is the panic of the goroutine itself.

use narrowboat_runtime::panicking;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LockResult, PoisonError, TryLockError, TryLockResult};

/// The flag in a lock. Relaxed: it is read and written by holders of the lock, which orders it; who looks at it from
/// outside gets an answer that may be out of date at once.
pub(crate) struct Flag(AtomicBool);

/// What a guard keeps.
pub(crate) struct UnwindState {
    panicking: bool,
}

impl Flag {
    pub(crate) const fn new() -> Flag {
        Flag(AtomicBool::new(false))
    }

    #[inline]
    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn clear(&self) {
        self.0.store(false, Ordering::Relaxed);
    }

    /// A guard is made.
    #[inline]
    pub(crate) fn guard_created(&self) -> UnwindState {
        UnwindState { panicking: panicking() }
    }

    /// It goes.
    #[inline]
    pub(crate) fn guard_dropped(&self, unwind: &UnwindState) {
        if !unwind.panicking && panicking() {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    /// `value`, as an error if the flag is set.
    #[inline]
    pub(crate) fn result<V>(&self, value: V) -> LockResult<V> {
        if self.is_set() { Err(PoisonError::new(value)) } else { Ok(value) }
    }

    /// The same for something that was tried: `None` would have had to wait.
    #[inline]
    pub(crate) fn try_result<V>(&self, value: Option<V>) -> TryLockResult<V> {
        Ok(self.result(value.ok_or(TryLockError::WouldBlock)?)?)
    }
}
