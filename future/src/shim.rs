//! The locks of the protocols: the runtime's, or loom's when a model runs.

#[cfg(not(loom))]
pub(crate) use narrowboat_runtime::lock::Mutex;
#[cfg(not(loom))]
pub(crate) use std::sync::MutexGuard;

#[cfg(loom)]
pub(crate) use loom::sync::{Mutex, MutexGuard};

use std::sync::PoisonError;

/// Nothing panics while one of these locks is held, so the state behind a poisoned one is sound.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
