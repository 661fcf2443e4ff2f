//! The lock of a channel: held for a few dozen instructions at a time, by workers that come back at
//! once.
//!
//! Two workers that use one channel at the same time had better not take turns at every operation:
//! each would find the lock, the buffer and the queues in the other one's cache, every time. So who
//! finds the lock taken stays away for some hundred nanoseconds, longer the next time, and looks at
//! nothing meanwhile. The other gets dozens of operations done before it has to share its cache
//! lines again, and then it is its turn to stay away. (std's lock watches the word and takes it in
//! the moment when it gets free.) In the end the thread sleeps in the kernel, as with any lock: its
//! holder may not be running.

use crate::shim::{Mutex, MutexGuard};
use std::sync::{PoisonError, TryLockError};

pub(crate) struct Lock<T>(Mutex<T>);

/// For how many pauses of the processor one stays away: the first time, and the last.
const FIRST: u32 = 64;
const LAST: u32 = 256;

impl<T> Lock<T> {
    pub(crate) fn new(value: T) -> Lock<T> {
        Lock(Mutex::new(value))
    }

    /// Nothing panics while the lock is held, so a poisoned lock (a thread that was already
    /// panicking let it go) guards a sound state.
    #[inline]
    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        // A model tries all orders anyhow, and would try them twice.
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
