//! Poisoning: whether a panic may have left a value half changed.
//!
//! As in std, a guard that is dropped while a panic unwinds poisons its lock, unless the guard was
//! made during that unwinding (by a destructor, which may well restore order). Only a panic of the
//! goroutine itself counts.

use narrowboat_runtime::panicking;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LockResult, PoisonError, TryLockError, TryLockResult};

/// The flag in a lock. Relaxed: holders of the lock read and write it, and the lock orders that. A
/// reader that does not hold the lock gets an answer that may be out of date at once.
pub(crate) struct Flag(AtomicBool);

/// What a guard keeps: whether its goroutine was already panicking when the guard was made.
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

    /// Call it when a guard is made.
    #[inline]
    pub(crate) fn guard_created(&self) -> UnwindState {
        UnwindState { panicking: panicking() }
    }

    /// Call it when a guard is dropped.
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

    /// The same for an attempt: `None` means that it would have had to wait.
    #[inline]
    pub(crate) fn try_result<V>(&self, value: Option<V>) -> TryLockResult<V> {
        Ok(self.result(value.ok_or(TryLockError::WouldBlock)?)?)
    }
}
