//! The lock of a channel: held for a few dozen instructions at a time, by workers that take it
//! again at once.
//!
//! Two workers that use one channel at the same time should not alternate at every operation: each
//! would find the lock, the buffer and the queues in the other's cache, every time. So a worker
//! that finds the lock taken stays away for some hundred nanoseconds, longer the second time, and
//! does not read the lock meanwhile. The other worker completes dozens of operations before it has
//! to share its cache lines again, and then stays away in turn. (std's lock watches the word and
//! takes it at the moment when it becomes free.) In the end the thread sleeps in the kernel, as
//! with any lock, because the holder may not be running.

use crate::shim::{Mutex, MutexGuard};
use std::sync::{PoisonError, TryLockError};

pub(crate) struct Lock<T>(Mutex<T>);

/// The number of CPU pause instructions for which a worker stays away: the first time, and the
/// last.
const FIRST: u32 = 64;
const LAST: u32 = 256;

impl<T> Lock<T> {
    pub(crate) fn new(value: T) -> Lock<T> {
        Lock(Mutex::new(value))
    }

    /// Nothing panics while the lock is held. So the state behind a poisoned lock is sound (a
    /// thread that was already panicking released it).
    #[inline]
    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        // A model tries all orders anyway. With `try_lock` it would try them twice.
        let free = if cfg!(loom) { None } else { self.try_lock() };
        free.unwrap_or_else(|| self.lock_contended())
    }

    #[inline]
    fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        match self.0.try_lock() {
            Ok(guard) => Some(guard),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    #[cold]
    #[inline(never)]
    fn lock_contended(&self) -> MutexGuard<'_, T> {
        let mut away = FIRST;
        while away <= LAST && !cfg!(loom) {
            (0..away).for_each(|_| std::hint::spin_loop());
            if let Some(guard) = self.try_lock() {
                return guard;
            }
            away *= 2;
        }
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
