//! One who writes, or many who read.

use crate::poison::UnwindState;
use crate::raw::lock::RawLock;
use narrowboat_runtime::park::checkpoint;
use std::cell::UnsafeCell;
use std::fmt;
use std::marker::PhantomData;
use std::mem;
use std::ops::{Deref, DerefMut};
use std::panic::{Location, RefUnwindSafe, UnwindSafe};
use std::ptr::NonNull;
use std::sync::{LockResult, TryLockError, TryLockResult};

/// A value that many may read at the same time, or one may write.
///
/// As [`std::sync::RwLock`], poisoning included (by those who write), but a goroutine that has to wait parks. The
/// guards may be held across calls that block.
///
/// # Fairness
/// Neither side starves the other. Who waits stands in one line, in the order of arrival, and nobody joins the readers
/// that are in while somebody waits. When the lock gets free the first of the line is woken, and if that is a reader, all
/// behind it up to the first writer. Others that come just then may take the lock before they are there, which saves
/// switches; but a party that has waited for a millisecond is granted it when its turn comes.
///
/// So a party that reads already, and reads once more, may wait for ever: a writer may have come in between, which
/// waits for the first and is waited for by the second. As with std's, read once.
///
/// # Examples
/// ```
/// use narrowboat::sync::RwLock;
///
/// let lock = RwLock::new(5);
/// {
///     let one = lock.read().unwrap();
///     let another = lock.read().unwrap(); // nobody waits to write
///     assert_eq!(*one + *another, 10);
/// }
/// *lock.write().unwrap() += 1;
/// assert_eq!(*lock.read().unwrap(), 6);
/// ```
pub struct RwLock<T: ?Sized> {
    raw: RawLock,
    value: UnsafeCell<T>,
}

// SAFETY: the value goes where the lock goes.
unsafe impl<T: ?Sized + Send> Send for RwLock<T> {}
// SAFETY: `raw` lets one party get at the value, which is sent from one to the next, or several that only read, which
// share it.
unsafe impl<T: ?Sized + Send + Sync> Sync for RwLock<T> {}

// What a panic may have left in pieces is behind the poison.
impl<T: ?Sized> UnwindSafe for RwLock<T> {}
impl<T: ?Sized> RefUnwindSafe for RwLock<T> {}

impl<T> RwLock<T> {
    /// A lock that nobody holds.
    ///
    /// # Examples
    /// ```
    /// use narrowboat::sync::RwLock;
    ///
    /// static LIMIT: RwLock<u32> = RwLock::new(10);
    /// assert_eq!(*LIMIT.read().unwrap(), 10);
    /// ```
    #[inline]
    pub const fn new(t: T) -> RwLock<T> {
        RwLock { raw: RawLock::new(), value: UnsafeCell::new(t) }
    }

    /// The value.
    ///
    /// # Errors
    /// If the lock is poisoned; the error has the value.
    ///
    /// # Examples
    /// ```
    /// let lock = narrowboat::sync::RwLock::new(4);
    /// assert_eq!(lock.into_inner().unwrap(), 4);
    /// ```
    pub fn into_inner(self) -> LockResult<T> {
        let poison = self.raw.poison;
        poison.result(self.value.into_inner())
    }
}

impl<T: ?Sized> RwLock<T> {
    /// Waits until nobody writes, and nobody who is to go first waits, and reads.
    ///
    /// # Errors
    /// If the lock is poisoned: somebody panicked while writing. The error has the guard.
    ///
    /// # Panics
    /// If there are half a billion readers already.
    ///
    /// # Examples
    /// ```
    /// let lock = narrowboat::sync::RwLock::new(1);
    /// let reading = lock.read().unwrap();
    /// assert_eq!(*reading, 1);
    /// assert!(lock.try_read().is_ok());
    /// assert!(lock.try_write().is_err());
    /// ```
    #[inline]
    #[track_caller]
    pub fn read(&self) -> LockResult<RwLockReadGuard<'_, T>> {
        self.raw.lock_shared(Location::caller());
        // SAFETY: the caller is one of those who share the lock.
        self.raw.poison.result(unsafe { RwLockReadGuard::new(self) })
    }

    /// Reads, if that is possible without waiting.
    ///
    /// # Errors
    /// `WouldBlock` if somebody writes, or waits for those who read; `Poisoned`, with the guard, if somebody panicked while
    /// writing.
    ///
    /// # Panics
    /// If there are half a billion readers already.
    ///
    /// # Examples
    /// ```
    /// let lock = narrowboat::sync::RwLock::new(1);
    /// let writing = lock.write().unwrap();
    /// assert!(lock.try_read().is_err());
    /// ```
    #[inline]
    pub fn try_read(&self) -> TryLockResult<RwLockReadGuard<'_, T>> {
        checkpoint();
        self.try_read_now()
    }

    /// Without giving way.
    #[inline]
    fn try_read_now(&self) -> TryLockResult<RwLockReadGuard<'_, T>> {
        // SAFETY: as in `read`.
        self.raw.poison.try_result(self.raw.try_lock_shared().then(|| unsafe { RwLockReadGuard::new(self) }))
    }

    /// Waits until nobody reads or writes, and writes.
    ///
    /// # Errors
    /// If the lock is poisoned: somebody panicked while writing. The error has the guard.
    ///
    /// # Examples
    /// ```
    /// let lock = narrowboat::sync::RwLock::new(1);
    /// *lock.write().unwrap() += 1;
    /// assert_eq!(*lock.read().unwrap(), 2);
    /// ```
    #[inline]
    #[track_caller]
    pub fn write(&self) -> LockResult<RwLockWriteGuard<'_, T>> {
        self.raw.lock(Location::caller());
        // SAFETY: locked.
        self.raw.poison.result(unsafe { RwLockWriteGuard::new(self) })
    }

    /// Writes, if nobody reads or writes.
    ///
    /// # Errors
    /// `WouldBlock` if somebody reads or writes; `Poisoned`, with the guard, if somebody panicked while writing.
    ///
    /// # Examples
    /// ```
    /// let lock = narrowboat::sync::RwLock::new(1);
    /// *lock.try_write().unwrap() = 2;
    /// let reading = lock.read().unwrap();
    /// assert!(lock.try_write().is_err());
    /// ```
    #[inline]
    pub fn try_write(&self) -> TryLockResult<RwLockWriteGuard<'_, T>> {
        checkpoint();
        // SAFETY: locked.
        self.raw.poison.try_result(self.raw.try_lock().then(|| unsafe { RwLockWriteGuard::new(self) }))
    }

    /// Whether somebody has panicked while writing. If others can get at the lock, the answer may be out of date.
    ///
    /// # Examples
    /// ```
    /// let lock = narrowboat::sync::RwLock::new(1);
    /// let _ = std::panic::catch_unwind(|| {
    ///     let _guard = lock.write().unwrap();
    ///     panic!("oh no");
    /// });
    /// assert!(lock.is_poisoned());
    /// ```
    #[inline]
    pub fn is_poisoned(&self) -> bool {
        checkpoint();
        self.raw.poison.is_set()
    }

    /// Makes the lock as if nobody had panicked. Whoever calls this has seen to it that the value is sound.
    ///
    /// # Examples
    /// ```
    /// let lock = narrowboat::sync::RwLock::new(1);
    /// let _ = std::panic::catch_unwind(|| {
    ///     let _guard = lock.write().unwrap();
    ///     panic!("oh no");
    /// });
    /// lock.clear_poison();
    /// assert!(lock.read().is_ok());
    /// ```
    #[inline]
    pub fn clear_poison(&self) {
        checkpoint();
        self.raw.poison.clear();
    }

    /// The value, which nobody else can be at.
    ///
    /// # Errors
    /// If the lock is poisoned; the error has the reference.
    ///
    /// # Examples
    /// ```
    /// let mut lock = narrowboat::sync::RwLock::new(1);
    /// *lock.get_mut().unwrap() = 2;
    /// assert_eq!(lock.into_inner().unwrap(), 2);
    /// ```
    pub fn get_mut(&mut self) -> LockResult<&mut T> {
        self.raw.poison.result(self.value.get_mut())
    }
}

impl<T> From<T> for RwLock<T> {
    fn from(t: T) -> RwLock<T> {
        RwLock::new(t)
    }
}

impl<T: Default> Default for RwLock<T> {
    fn default() -> RwLock<T> {
        RwLock::new(T::default())
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut d = f.debug_struct("RwLock");
        match self.try_read_now() {
            Ok(guard) => d.field("data", &&*guard),
            Err(TryLockError::Poisoned(error)) => d.field("data", &&**error.get_ref()),
            Err(TryLockError::WouldBlock) => d.field("data", &format_args!("<locked>")),
        };
        d.field("poisoned", &self.raw.poison.is_set()).finish_non_exhaustive()
    }
}

/// A lock, held by one of those who read.
///
/// Made by [`RwLock::read`], [`RwLock::try_read`] and [`RwLockWriteGuard::downgrade`].
#[must_use = "a guard that is dropped at once holds nothing"]
#[clippy::has_significant_drop]
pub struct RwLockReadGuard<'a, T: ?Sized + 'a> {
    raw: &'a RawLock,
    /// A pointer, because a reference would claim to be good until the end of `drop`, in which a writer may get in. Not
    /// `Send`, because who locks it unlocks it.
    value: NonNull<T>,
}

// SAFETY: a shared guard is a shared value.
unsafe impl<T: ?Sized + Sync> Sync for RwLockReadGuard<'_, T> {}

impl<'a, T: ?Sized> RwLockReadGuard<'a, T> {
    /// # Safety
    /// The caller has just become one of those who share the lock.
    #[inline]
    unsafe fn new(lock: &'a RwLock<T>) -> RwLockReadGuard<'a, T> {
        // SAFETY: a reference's address is not null.
        RwLockReadGuard { raw: &lock.raw, value: unsafe { NonNull::new_unchecked(lock.value.get()) } }
    }
}

impl<T: ?Sized> Deref for RwLockReadGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the guard shares the lock, so nobody writes.
        unsafe { self.value.as_ref() }
    }
}

impl<T: ?Sized> Drop for RwLockReadGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.raw.unlock_shared();
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLockReadGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized + fmt::Display> fmt::Display for RwLockReadGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// A lock, held by the one who writes.
///
/// Made by [`RwLock::write`] and [`RwLock::try_write`].
#[must_use = "a guard that is dropped at once holds nothing"]
#[clippy::has_significant_drop]
pub struct RwLockWriteGuard<'a, T: ?Sized + 'a> {
    lock: &'a RwLock<T>,
    unwind: UnwindState,
    /// Who locks it unlocks it.
    not_send: PhantomData<*const ()>,
}

// SAFETY: a shared guard is a shared value.
unsafe impl<T: ?Sized + Sync> Sync for RwLockWriteGuard<'_, T> {}

impl<'a, T: ?Sized> RwLockWriteGuard<'a, T> {
    /// # Safety
    /// The caller has just taken the lock for itself.
    #[inline]
    unsafe fn new(lock: &'a RwLock<T>) -> RwLockWriteGuard<'a, T> {
        lock.raw.record_holder();
        RwLockWriteGuard { lock, unwind: lock.raw.poison.guard_created(), not_send: PhantomData }
    }

    /// Goes on reading, without letting another writer in between. Readers that are first in the line come in, too.
    ///
    /// # Examples
    /// ```
    /// use narrowboat::sync::{RwLock, RwLockWriteGuard};
    ///
    /// let lock = RwLock::new(1);
    /// let mut writing = lock.write().unwrap();
    /// *writing = 2;
    /// let reading = RwLockWriteGuard::downgrade(writing);
    /// assert!(lock.try_read().is_ok());
    /// assert_eq!(*reading, 2);
    /// ```
    pub fn downgrade(s: RwLockWriteGuard<'a, T>) -> RwLockReadGuard<'a, T> {
        checkpoint();
        let lock = s.lock;
        lock.raw.poison.guard_dropped(&s.unwind);
        mem::forget(s);
        lock.raw.downgrade();
        // SAFETY: the caller now shares the lock.
        unsafe { RwLockReadGuard::new(lock) }
    }
}

impl<T: ?Sized> Deref for RwLockWriteGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the guard holds the lock alone, and lends the value out as it is borrowed itself.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T: ?Sized> DerefMut for RwLockWriteGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as above.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T: ?Sized> Drop for RwLockWriteGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.lock.raw.poison.guard_dropped(&self.unwind);
        self.lock.raw.unlock();
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLockWriteGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized + fmt::Display> fmt::Display for RwLockWriteGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
