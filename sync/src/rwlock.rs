//! A read-write lock: one writer, or many readers.

use crate::poison::UnwindState;
use crate::raw::lock::{LockWait, Mode, RawLock};
use narrowboat_runtime::park::checkpoint;
use std::cell::UnsafeCell;
use std::fmt;
use std::marker::PhantomData;
use std::mem;
use std::ops::{Deref, DerefMut};
use std::panic::{Location, RefUnwindSafe, UnwindSafe};
use std::pin::Pin;
use std::ptr::NonNull;
use std::sync::{LockResult, TryLockError, TryLockResult};
use std::task::{Context, Poll};

/// A value that many may read at the same time, or one may write.
///
/// As [`std::sync::RwLock`], poisoning included (by writers), but a goroutine that has to wait
/// parks. The guards may be held across calls that block.
///
/// # Fairness
/// Neither readers nor writers starve. All waiters are in one queue, in the order of arrival. A
/// reader that arrives while there are waiters does not join the readers that have the lock. When
/// the lock becomes free, the first waiter is woken, and if that is a reader, all readers behind it
/// up to the first writer. A newcomer may take the lock before a woken waiter runs, which saves
/// switches; but a waiter that has waited for a millisecond is granted the lock when its turn
/// comes.
///
/// So a reader that reads once more, while it still holds a read guard, may wait for ever. A writer
/// may have arrived in between: it waits for the first read guard, and the second read waits for
/// the writer. As with std's, do not nest reads.
///
/// # Examples
/// ```
/// use narrowboat::sync::RwLock;
///
/// let lock = RwLock::new(5);
/// {
///     let one = lock.read().unwrap();
///     let another = lock.read().unwrap(); // no writer waits
///     assert_eq!(*one + *another, 10);
/// }
/// *lock.write().unwrap() += 1;
/// assert_eq!(*lock.read().unwrap(), 6);
/// ```
pub struct RwLock<T: ?Sized> {
    raw: RawLock,
    value: UnsafeCell<T>,
}

// SAFETY: sending the lock sends the value.
unsafe impl<T: ?Sized + Send> Send for RwLock<T> {}
// SAFETY: `raw` lets one writer access the value, which is sent from one to the next, or several
// readers, which share it.
unsafe impl<T: ?Sized + Send + Sync> Sync for RwLock<T> {}

// Poisoning protects a value that a panic may have left half changed.
impl<T: ?Sized> UnwindSafe for RwLock<T> {}
impl<T: ?Sized> RefUnwindSafe for RwLock<T> {}

impl<T> RwLock<T> {
    /// A lock that has no reader and no writer.
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
    /// Waits until there is no writer, and no waiter that goes first, and locks for reading.
    ///
    /// # Errors
    /// If the lock is poisoned: a writer has panicked. The error has the guard.
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
        // SAFETY: the caller is a sharer of the lock.
        self.raw.poison.result(unsafe { RwLockReadGuard::new(self) })
    }

    /// Locks for reading, if that is possible without waiting.
    ///
    /// # Errors
    /// `WouldBlock` if there is a writer, or a waiter while there are readers; `Poisoned`, with the
    /// guard, if a writer has panicked.
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

    /// Without a checkpoint: does not give way.
    #[inline]
    fn try_read_now(&self) -> TryLockResult<RwLockReadGuard<'_, T>> {
        // SAFETY: as in `read`.
        self.raw.poison.try_result(self.raw.try_lock_shared().then(|| unsafe { RwLockReadGuard::new(self) }))
    }

    /// Waits until there is no reader and no writer, and locks for writing.
    ///
    /// # Errors
    /// If the lock is poisoned: a writer has panicked. The error has the guard.
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

    /// Locks for writing, if there is no reader and no writer.
    ///
    /// # Errors
    /// `WouldBlock` if there is a reader or a writer; `Poisoned`, with the guard, if a writer has
    /// panicked.
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

    /// As [`read`](RwLock::read), as a future: for async tasks. It is served in its turn among
    /// goroutines, threads and tasks.
    ///
    /// The guard is not `Send`, as std's is not. So in a task that is, it is held between two
    /// `.await`s, and not across one.
    ///
    /// The future may be dropped at any time: it leaves the queue, and passes on what it has been
    /// given. One that was polled and is neither polled again nor dropped holds up those behind it.
    ///
    /// # Errors
    /// As `read`.
    ///
    /// # Panics
    /// As `read`, when it is polled.
    ///
    /// # Examples
    /// ```
    /// use narrowboat::{future::block_on, sync::RwLock};
    ///
    /// let lock = RwLock::new(1);
    /// // In a task of tokio as here.
    /// assert_eq!(block_on(async { *lock.read_async().await.unwrap() }), 1);
    /// ```
    pub fn read_async(&self) -> ReadFuture<'_, T> {
        ReadFuture { lock: self, wait: None }
    }

    /// As [`write`](RwLock::write), as a future: for async tasks, like
    /// [`read_async`](RwLock::read_async).
    ///
    /// # Errors
    /// As `write`.
    ///
    /// # Examples
    /// ```
    /// use narrowboat::{future::block_on, sync::RwLock};
    ///
    /// let lock = RwLock::new(1);
    /// block_on(async { *lock.write_async().await.unwrap() += 1 });
    /// assert_eq!(*lock.read().unwrap(), 2);
    /// ```
    pub fn write_async(&self) -> WriteFuture<'_, T> {
        WriteFuture { lock: self, wait: None }
    }

    /// Whether a writer has panicked. If the lock is shared, the answer may be out of date.
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

    /// Makes the lock not poisoned. The caller has made sure that the value is sound.
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

    /// The value. The exclusive borrow makes locking unnecessary.
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

/// The future of [`RwLock::read_async`].
#[must_use = "futures do nothing unless polled"]
pub struct ReadFuture<'a, T: ?Sized> {
    lock: &'a RwLock<T>,
    wait: Option<LockWait>,
}

impl<'a, T: ?Sized> Future for ReadFuture<'a, T> {
    type Output = LockResult<RwLockReadGuard<'a, T>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let lock = self.lock;
        std::task::ready!(lock.raw.poll_lock(Mode::Shared, &mut self.wait, cx));
        // SAFETY: the caller is a sharer of the lock.
        Poll::Ready(lock.raw.poison.result(unsafe { RwLockReadGuard::new(lock) }))
    }
}

impl<T: ?Sized> Drop for ReadFuture<'_, T> {
    fn drop(&mut self) {
        if let Some(wait) = self.wait.take() {
            self.lock.raw.leave(Mode::Shared, wait);
        }
    }
}

impl<T: ?Sized> fmt::Debug for ReadFuture<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("ReadFuture { .. }")
    }
}

/// The future of [`RwLock::write_async`].
#[must_use = "futures do nothing unless polled"]
pub struct WriteFuture<'a, T: ?Sized> {
    lock: &'a RwLock<T>,
    wait: Option<LockWait>,
}

impl<'a, T: ?Sized> Future for WriteFuture<'a, T> {
    type Output = LockResult<RwLockWriteGuard<'a, T>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let lock = self.lock;
        std::task::ready!(lock.raw.poll_lock(Mode::Exclusive, &mut self.wait, cx));
        // SAFETY: locked.
        Poll::Ready(lock.raw.poison.result(unsafe { RwLockWriteGuard::new(lock) }))
    }
}

impl<T: ?Sized> Drop for WriteFuture<'_, T> {
    fn drop(&mut self) {
        if let Some(wait) = self.wait.take() {
            self.lock.raw.leave(Mode::Exclusive, wait);
        }
    }
}

impl<T: ?Sized> fmt::Debug for WriteFuture<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("WriteFuture { .. }")
    }
}

/// A lock that is locked for reading. Dropping the guard unlocks it.
///
/// Made by [`RwLock::read`], [`RwLock::try_read`], [`RwLock::read_async`] and
/// [`RwLockWriteGuard::downgrade`].
#[must_use = "a guard that is dropped at once holds nothing"]
#[clippy::has_significant_drop]
pub struct RwLockReadGuard<'a, T: ?Sized + 'a> {
    raw: &'a RawLock,
    /// A pointer, because a reference would claim to be valid until the end of `drop`, during which
    /// a writer may get the lock. Not `Send`: the goroutine or thread that locks unlocks.
    value: NonNull<T>,
}

// SAFETY: sharing the guard shares the value.
unsafe impl<T: ?Sized + Sync> Sync for RwLockReadGuard<'_, T> {}

impl<'a, T: ?Sized> RwLockReadGuard<'a, T> {
    /// # Safety
    /// The caller has just become a sharer of the lock.
    #[inline]
    unsafe fn new(lock: &'a RwLock<T>) -> RwLockReadGuard<'a, T> {
        // SAFETY: the address of a reference is not null.
        RwLockReadGuard { raw: &lock.raw, value: unsafe { NonNull::new_unchecked(lock.value.get()) } }
    }
}

impl<T: ?Sized> Deref for RwLockReadGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the guard shares the lock, so there is no writer.
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

/// A lock that is locked for writing. Dropping the guard unlocks it.
///
/// Made by [`RwLock::write`], [`RwLock::try_write`] and [`RwLock::write_async`].
#[must_use = "a guard that is dropped at once holds nothing"]
#[clippy::has_significant_drop]
pub struct RwLockWriteGuard<'a, T: ?Sized + 'a> {
    lock: &'a RwLock<T>,
    unwind: UnwindState,
    /// The goroutine or thread that locks unlocks.
    not_send: PhantomData<*const ()>,
}

// SAFETY: sharing the guard shares the value.
unsafe impl<T: ?Sized + Sync> Sync for RwLockWriteGuard<'_, T> {}

impl<'a, T: ?Sized> RwLockWriteGuard<'a, T> {
    /// # Safety
    /// The caller has just taken the lock exclusively.
    #[inline]
    unsafe fn new(lock: &'a RwLock<T>) -> RwLockWriteGuard<'a, T> {
        lock.raw.record_holder();
        RwLockWriteGuard { lock, unwind: lock.raw.poison.guard_created(), not_send: PhantomData }
    }

    /// Turns the writer into a reader, without letting another writer in between. Readers at the
    /// front of the queue come in, too.
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
        // SAFETY: the caller is now a sharer of the lock.
        unsafe { RwLockReadGuard::new(lock) }
    }
}

impl<T: ?Sized> Deref for RwLockWriteGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the guard holds the lock exclusively, and lends the value for as long as it is
        // borrowed itself.
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
