//! A mutex, and a cell that is set once, for the data of Narrowboat's own crates.
//!
//! A wait for one of std's locks parks the calling goroutine (see the module `futex`). The runtime
//! uses its own locks in the middle of its steps, where nothing may park. So a wait for these
//! blocks the thread, in a goroutine too. They are held for some dozens of instructions at a time,
//! and never across a park.

use crate::ours;
use std::sync::{LockResult, MutexGuard, TryLockError, TryLockResult};

/// `std::sync::Mutex`, name for name, as far as Narrowboat needs it.
#[derive(Debug, Default)]
pub struct Mutex<T: ?Sized>(std::sync::Mutex<T>);

impl<T> Mutex<T> {
    /// As `std::sync::Mutex::new`.
    pub const fn new(value: T) -> Mutex<T> {
        Mutex(std::sync::Mutex::new(value))
    }

    /// As `std::sync::Mutex::into_inner`.
    ///
    /// # Errors
    /// If it is poisoned.
    pub fn into_inner(self) -> LockResult<T> {
        self.0.into_inner()
    }
}

impl<T: ?Sized> Mutex<T> {
    /// As `std::sync::Mutex::lock`, but never parks.
    ///
    /// # Errors
    /// If it is poisoned.
    #[inline]
    pub fn lock(&self) -> LockResult<MutexGuard<'_, T>> {
        match self.0.try_lock() {
            Ok(guard) => Ok(guard),
            Err(TryLockError::Poisoned(poisoned)) => Err(poisoned),
            Err(TryLockError::WouldBlock) => self.lock_contended(),
        }
    }

    #[cold]
    #[inline(never)]
    fn lock_contended(&self) -> LockResult<MutexGuard<'_, T>> {
        let _native = Native::begin();
        self.0.lock()
    }

    /// As `std::sync::Mutex::try_lock`.
    ///
    /// # Errors
    /// If it is held, or poisoned.
    #[inline]
    pub fn try_lock(&self) -> TryLockResult<MutexGuard<'_, T>> {
        self.0.try_lock()
    }
}

/// `std::sync::OnceLock`, name for name, as far as Narrowboat needs it: a wait for the
/// initialisation that another thread carries out blocks the thread.
#[derive(Debug)]
pub struct OnceLock<T>(std::sync::OnceLock<T>);

impl<T> Default for OnceLock<T> {
    fn default() -> OnceLock<T> {
        OnceLock::new()
    }
}

impl<T> OnceLock<T> {
    /// As `std::sync::OnceLock::new`.
    pub const fn new() -> OnceLock<T> {
        OnceLock(std::sync::OnceLock::new())
    }

    /// As `std::sync::OnceLock::get`.
    #[inline]
    pub fn get(&self) -> Option<&T> {
        self.0.get()
    }

    /// As `std::sync::OnceLock::set`.
    ///
    /// # Errors
    /// If it is set; with the value.
    pub fn set(&self, value: T) -> Result<(), T> {
        let _native = Native::begin();
        self.0.set(value)
    }

    /// As `std::sync::OnceLock::get_or_init`, but never parks. `f` must not either.
    #[inline]
    pub fn get_or_init(&self, f: impl FnOnce() -> T) -> &T {
        self.0.get().unwrap_or_else(|| self.init(f))
    }

    #[cold]
    #[inline(never)]
    fn init(&self, f: impl FnOnce() -> T) -> &T {
        let _native = Native::begin();
        self.0.get_or_init(f)
    }
}

/// While this lives, a wait of the calling code for one of std's locks blocks the thread. The
/// runtime opens such a section where it uses what belongs to the processor, or is between the
/// beginning of a wait and its park: an allocator may use one of std's locks.
pub(crate) struct Native(());

impl Native {
    #[inline]
    pub(crate) fn begin() -> Native {
        ours::with(|ours| ours.native.set(ours.native.get() + 1));
        Native(())
    }

    /// Whether the calling code is in such a section.
    #[inline]
    pub(crate) fn is_on() -> bool {
        ours::with(|ours| ours.native.get()) != 0
    }
}

impl Drop for Native {
    #[inline]
    fn drop(&mut self) {
        ours::with(|ours| ours.native.set(ours.native.get() - 1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg_attr(miri, ignore = "a goroutine runs on assembly")]
    fn a_contended_lock_is_handed_on_and_leaves_no_section_open() {
        static COUNT: Mutex<u32> = Mutex::new(0);
        let threads: Vec<_> = (0..4)
            .map(|_| {
                crate::spawn(|| {
                    for _ in 0..1000 {
                        *COUNT.lock().unwrap() += 1;
                    }
                    Native::is_on()
                })
            })
            .collect();
        assert!(threads.into_iter().all(|thread| !thread.join().unwrap()));
        assert_eq!(*COUNT.lock().unwrap(), 4000);
    }
}
