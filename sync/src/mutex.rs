//! A mutex: one holder at a time.

use crate::poison::UnwindState;
use crate::raw::lock::{LockWait, Mode, RawLock};
use narrowboat_runtime::park::checkpoint;
use std::cell::UnsafeCell;
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::panic::{Location, RefUnwindSafe, UnwindSafe};
use std::pin::Pin;
use std::sync::{LockResult, TryLockError, TryLockResult};
use std::task::{Context, Poll};

/// A value that one goroutine or thread at a time can access.
///
/// As [`std::sync::Mutex`], poisoning included, but a goroutine that has to wait parks. The guard
/// may be held across calls that block. A caller that locks a mutex that it already holds waits for
/// ever.
///
/// # Fairness
/// A newcomer may take a mutex that has just become free before the waiters get it. Most of the
/// time that is best for all, because it needs no switch. A waiter that has waited for a
/// millisecond is not overtaken any more, but is granted the mutex when its turn comes. Turns are
/// in the order of arrival.
///
/// # Examples
/// ```
/// use narrowboat::sync::Mutex;
/// use std::sync::Arc;
///
/// let total = Arc::new(Mutex::new(0));
/// let adders: Vec<_> = (1..=10)
///     .map(|n| {
///         let total = total.clone();
///         narrowboat::spawn(move || *total.lock().unwrap() += n)
///     })
///     .collect();
/// adders.into_iter().for_each(|adder| adder.join().unwrap());
/// assert_eq!(*total.lock().unwrap(), 55);
/// ```
pub struct Mutex<T: ?Sized> {
    raw: RawLock,
    value: UnsafeCell<T>,
}

// SAFETY: sending the mutex sends the value.
unsafe impl<T: ?Sized + Send> Send for Mutex<T> {}
// SAFETY: `raw` lets one holder at a time access the value; so the value is sent from one to the
// next, never shared.
unsafe impl<T: ?Sized + Send> Sync for Mutex<T> {}

// Poisoning protects a value that a panic may have left half changed.
impl<T: ?Sized> UnwindSafe for Mutex<T> {}
impl<T: ?Sized> RefUnwindSafe for Mutex<T> {}

impl<T> Mutex<T> {
    /// A mutex that is not locked.
    ///
    /// # Examples
    /// ```
    /// use narrowboat::sync::Mutex;
    ///
    /// static NAMES: Mutex<Vec<String>> = Mutex::new(Vec::new());
    /// NAMES.lock().unwrap().push("Ada".into());
    /// ```
    #[inline]
    pub const fn new(t: T) -> Mutex<T> {
        Mutex { raw: RawLock::new(), value: UnsafeCell::new(t) }
    }

    /// The value.
    ///
    /// # Errors
    /// If the mutex is poisoned; the error has the value.
    ///
    /// # Examples
    /// ```
    /// let mutex = narrowboat::sync::Mutex::new(4);
    /// assert_eq!(mutex.into_inner().unwrap(), 4);
    /// ```
    pub fn into_inner(self) -> LockResult<T> {
        let poison = self.raw.poison;
        poison.result(self.value.into_inner())
    }
}

impl<T: ?Sized> Mutex<T> {
    /// Waits until the mutex is not locked, and locks it.
    ///
    /// # Errors
    /// If the mutex is poisoned: a holder has panicked. The error has the guard.
    ///
    /// # Examples
    /// ```
    /// let mutex = narrowboat::sync::Mutex::new(1);
    /// *mutex.lock().unwrap() += 1;
    /// assert_eq!(*mutex.lock().unwrap(), 2);
    /// ```
    #[inline]
    #[track_caller]
    pub fn lock(&self) -> LockResult<MutexGuard<'_, T>> {
        self.raw.lock(Location::caller());
        // SAFETY: locked.
        self.raw.poison.result(unsafe { MutexGuard::new(self) })
    }

    /// As [`lock`](Mutex::lock), as a future: for async tasks. It is served in its turn among
    /// goroutines, threads and tasks.
    ///
    /// The guard is not `Send`, as std's is not. So in a task that is, it is held between two
    /// `.await`s, and not across one.
    ///
    /// The future may be dropped at any time: it leaves the queue, and passes on the lock if that
    /// has been granted to it. One that was polled and is neither polled again nor dropped holds up
    /// those behind it.
    ///
    /// # Errors
    /// As `lock`.
    ///
    /// # Examples
    /// ```
    /// use narrowboat::{future::block_on, sync::Mutex};
    ///
    /// let mutex = Mutex::new(1);
    /// // In a task of tokio as here.
    /// block_on(async { *mutex.lock_async().await.unwrap() += 1 });
    /// assert_eq!(*mutex.lock().unwrap(), 2);
    /// ```
    pub fn lock_async(&self) -> LockFuture<'_, T> {
        LockFuture { mutex: self, wait: None }
    }

    /// Locks the mutex, if it is not locked.
    ///
    /// # Errors
    /// `WouldBlock` if the mutex is locked; `Poisoned`, with the guard, if a holder has panicked.
    ///
    /// # Examples
    /// ```
    /// let mutex = narrowboat::sync::Mutex::new(1);
    /// let guard = mutex.try_lock().unwrap();
    /// assert!(mutex.try_lock().is_err());
    /// ```
    #[inline]
    pub fn try_lock(&self) -> TryLockResult<MutexGuard<'_, T>> {
        checkpoint();
        self.try_lock_now()
    }

    /// Without a checkpoint: does not give way.
    #[inline]
    fn try_lock_now(&self) -> TryLockResult<MutexGuard<'_, T>> {
        // SAFETY: locked.
        self.raw.poison.try_result(self.raw.try_lock().then(|| unsafe { MutexGuard::new(self) }))
    }

    /// Whether a holder has panicked. If the mutex is shared, the answer may be out of date.
    ///
    /// # Examples
    /// ```
    /// use narrowboat::sync::Mutex;
    /// use std::sync::Arc;
    ///
    /// let mutex = Arc::new(Mutex::new(1));
    /// let clumsy = mutex.clone();
    /// let goroutine = narrowboat::spawn(move || {
    ///     let _guard = clumsy.lock().unwrap();
    ///     panic!("oh no");
    /// });
    /// assert!(goroutine.join().is_err());
    /// assert!(mutex.is_poisoned());
    /// ```
    #[inline]
    pub fn is_poisoned(&self) -> bool {
        checkpoint();
        self.raw.poison.is_set()
    }

    /// Makes the mutex not poisoned. The caller has made sure that the value is sound.
    ///
    /// # Examples
    /// ```
    /// use narrowboat::sync::Mutex;
    ///
    /// let mutex = Mutex::new(1);
    /// let _ = std::panic::catch_unwind(|| {
    ///     let _guard = mutex.lock().unwrap();
    ///     panic!("oh no");
    /// });
    /// let mut value = mutex.lock().unwrap_err().into_inner();
    /// *value = 0;
    /// mutex.clear_poison();
    /// drop(value);
    /// assert_eq!(*mutex.lock().unwrap(), 0);
    /// ```
    #[inline]
    pub fn clear_poison(&self) {
        checkpoint();
        self.raw.poison.clear();
    }

    /// The value. The exclusive borrow makes locking unnecessary.
    ///
    /// # Errors
    /// If the mutex is poisoned; the error has the reference.
    ///
    /// # Examples
    /// ```
    /// let mut mutex = narrowboat::sync::Mutex::new(1);
    /// *mutex.get_mut().unwrap() = 2;
    /// assert_eq!(mutex.into_inner().unwrap(), 2);
    /// ```
    pub fn get_mut(&mut self) -> LockResult<&mut T> {
        self.raw.poison.result(self.value.get_mut())
    }
}

impl<T> From<T> for Mutex<T> {
    fn from(t: T) -> Mutex<T> {
        Mutex::new(t)
    }
}

impl<T: Default> Default for Mutex<T> {
    fn default() -> Mutex<T> {
        Mutex::new(T::default())
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut d = f.debug_struct("Mutex");
        match self.try_lock_now() {
            Ok(guard) => d.field("data", &&*guard),
            Err(TryLockError::Poisoned(error)) => d.field("data", &&**error.get_ref()),
            Err(TryLockError::WouldBlock) => d.field("data", &format_args!("<locked>")),
        };
        d.field("poisoned", &self.raw.poison.is_set()).finish_non_exhaustive()
    }
}

/// A locked mutex. Dropping the guard unlocks it.
///
/// Made by [`Mutex::lock`] and [`Mutex::try_lock`].
#[must_use = "a guard that is dropped at once holds nothing"]
#[clippy::has_significant_drop]
pub struct MutexGuard<'a, T: ?Sized + 'a> {
    mutex: &'a Mutex<T>,
    unwind: UnwindState,
    /// The goroutine or thread that locks the mutex unlocks it.
    not_send: PhantomData<*const ()>,
}

/// The future of [`Mutex::lock_async`].
#[must_use = "futures do nothing unless polled"]
pub struct LockFuture<'a, T: ?Sized> {
    mutex: &'a Mutex<T>,
    wait: Option<LockWait>,
}

impl<'a, T: ?Sized> Future for LockFuture<'a, T> {
    type Output = LockResult<MutexGuard<'a, T>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<LockResult<MutexGuard<'a, T>>> {
        let mutex = self.mutex;
        std::task::ready!(mutex.raw.poll_lock(Mode::Exclusive, &mut self.wait, cx));
        // SAFETY: locked.
        Poll::Ready(mutex.raw.poison.result(unsafe { MutexGuard::new(mutex) }))
    }
}

impl<T: ?Sized> Drop for LockFuture<'_, T> {
    fn drop(&mut self) {
        if let Some(wait) = self.wait.take() {
            self.mutex.raw.leave(Mode::Exclusive, wait);
        }
    }
}

impl<T: ?Sized> fmt::Debug for LockFuture<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("LockFuture { .. }")
    }
}

// SAFETY: sharing the guard shares the value.
unsafe impl<T: ?Sized + Sync> Sync for MutexGuard<'_, T> {}

impl<'a, T: ?Sized> MutexGuard<'a, T> {
    /// # Safety
    /// The caller has just locked the mutex.
    #[inline]
    unsafe fn new(mutex: &'a Mutex<T>) -> MutexGuard<'a, T> {
        mutex.raw.record_holder();
        MutexGuard { mutex, unwind: mutex.raw.poison.guard_created(), not_send: PhantomData }
    }

    /// The lock, which a condition variable releases and takes again.
    pub(crate) fn raw(&self) -> &'a RawLock {
        &self.mutex.raw
    }

    /// The guard, as an error if the mutex has become poisoned.
    pub(crate) fn checked(self) -> LockResult<MutexGuard<'a, T>> {
        self.mutex.raw.poison.result(self)
    }
}

impl<T: ?Sized> Deref for MutexGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the guard holds the mutex, and lends the value for as long as it is borrowed
        // itself.
        unsafe { &*self.mutex.value.get() }
    }
}

impl<T: ?Sized> DerefMut for MutexGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as above.
        unsafe { &mut *self.mutex.value.get() }
    }
}

impl<T: ?Sized> Drop for MutexGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.mutex.raw.poison.guard_dropped(&self.unwind);
        self.mutex.raw.unlock();
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized + fmt::Display> fmt::Display for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
