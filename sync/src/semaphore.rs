//! A semaphore: a limited number of permits.

use crate::raw::semaphore::RawSemaphore;
use narrowboat_runtime::park::{TaskWait, checkpoint};
use narrowboat_runtime::world;
use std::error::Error;
use std::fmt;
use std::mem;
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// A number of permits that goroutines and threads acquire and give back.
///
/// As the weighted semaphore of Go's `x/sync`. The names are tokio's.
///
/// # Fairness
/// First come, first served. A request for many permits is not overtaken by a request for few, even
/// if there are enough permits for the small one.
///
/// # Examples
/// ```
/// use narrowboat::sync::Semaphore;
/// use std::sync::Arc;
///
/// // A hundred goroutines, of which three at a time use the disk.
/// let disk = Arc::new(Semaphore::new(3));
/// let users: Vec<_> = (0..100)
///     .map(|n| {
///         let disk = disk.clone();
///         narrowboat::spawn(move || {
///             let _permit = disk.acquire();
///             n
///         })
///     })
///     .collect();
/// assert_eq!(users.into_iter().map(|user| user.join().unwrap()).sum::<u32>(), 4950);
/// ```
pub struct Semaphore {
    raw: RawSemaphore,
}

/// Permits that borrow their semaphore. Dropping them gives them back.
#[must_use = "permits that are dropped at once permit nothing"]
#[clippy::has_significant_drop]
#[derive(Debug)]
pub struct SemaphorePermit<'a> {
    semaphore: &'a Semaphore,
    permits: usize,
}

/// Permits that keep their semaphore alive, and so may go to another goroutine. Dropping them gives
/// them back.
#[must_use = "permits that are dropped at once permit nothing"]
#[clippy::has_significant_drop]
#[derive(Debug)]
pub struct OwnedSemaphorePermit {
    semaphore: Arc<Semaphore>,
    permits: usize,
}

/// The future of [`Semaphore::acquire_async`].
#[must_use = "futures do nothing unless polled"]
pub struct AcquireFuture<'a> {
    semaphore: &'a Semaphore,
    permits: usize,
    wait: Option<TaskWait>,
}

impl<'a> Future for AcquireFuture<'a> {
    type Output = SemaphorePermit<'a>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<SemaphorePermit<'a>> {
        let this = &mut *self;
        std::task::ready!(this.semaphore.raw.poll_acquire(this.permits, &mut this.wait, cx));
        Poll::Ready(this.semaphore.permit(this.permits))
    }
}

impl Drop for AcquireFuture<'_> {
    fn drop(&mut self) {
        if let Some(wait) = self.wait.take() {
            self.semaphore.raw.leave(self.permits, wait);
        }
    }
}

impl fmt::Debug for AcquireFuture<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("AcquireFuture { .. }")
    }
}

/// There are not enough free permits now, or there are waiters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TryAcquireError(());

/// The time was up before there were enough free permits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AcquireTimeoutError(());

impl Semaphore {
    /// The largest number of permits that a semaphore can have.
    pub const MAX_PERMITS: usize = RawSemaphore::MAX_PERMITS;

    /// A semaphore with `permits` permits.
    ///
    /// # Panics
    /// If `permits` is more than [`MAX_PERMITS`](Semaphore::MAX_PERMITS).
    ///
    /// # Examples
    /// ```
    /// use narrowboat::sync::Semaphore;
    ///
    /// static DOWNLOADS: Semaphore = Semaphore::new(8);
    /// assert_eq!(DOWNLOADS.available_permits(), 8);
    /// ```
    #[must_use]
    pub const fn new(permits: usize) -> Semaphore {
        assert!(permits <= Semaphore::MAX_PERMITS, "a semaphore cannot have that many permits");
        Semaphore { raw: RawSemaphore::new(permits) }
    }

    /// How many permits are free. If others use the semaphore, the answer may be out of date.
    ///
    /// # Examples
    /// ```
    /// let semaphore = narrowboat::sync::Semaphore::new(3);
    /// let two = semaphore.acquire_many(2);
    /// assert_eq!(semaphore.available_permits(), 1);
    /// ```
    #[must_use]
    pub fn available_permits(&self) -> usize {
        checkpoint();
        self.raw.available()
    }

    /// Adds `n` permits permanently.
    ///
    /// # Panics
    /// If there would be more than [`MAX_PERMITS`](Semaphore::MAX_PERMITS).
    ///
    /// # Examples
    /// ```
    /// let semaphore = narrowboat::sync::Semaphore::new(0);
    /// semaphore.add_permits(2);
    /// assert_eq!(semaphore.available_permits(), 2);
    /// ```
    pub fn add_permits(&self, n: usize) {
        checkpoint();
        self.raw.release(n);
    }

    fn permit(&self, permits: usize) -> SemaphorePermit<'_> {
        SemaphorePermit { semaphore: self, permits }
    }

    fn owned_permit(self: Arc<Self>, permits: usize) -> OwnedSemaphorePermit {
        OwnedSemaphorePermit { semaphore: self, permits }
    }

    /// Waits until there is a free permit, and takes it.
    ///
    /// # Examples
    /// ```
    /// let semaphore = narrowboat::sync::Semaphore::new(1);
    /// let permit = semaphore.acquire();
    /// assert!(semaphore.try_acquire().is_err());
    /// drop(permit);
    /// assert!(semaphore.try_acquire().is_ok());
    /// ```
    #[track_caller]
    pub fn acquire(&self) -> SemaphorePermit<'_> {
        self.acquire_many(1)
    }

    /// Waits until there are `n` free permits, and takes them all at once. If there never are so
    /// many, it waits for ever.
    ///
    /// # Examples
    /// ```
    /// let memory = narrowboat::sync::Semaphore::new(100);
    /// let large = memory.acquire_many(80);
    /// assert_eq!(memory.available_permits(), 20);
    /// ```
    #[track_caller]
    pub fn acquire_many(&self, n: usize) -> SemaphorePermit<'_> {
        self.raw.acquire(n, Location::caller());
        self.permit(n)
    }

    /// Takes a permit, if there is a free one and no waiter.
    ///
    /// # Errors
    /// If there is no free permit, or there is a waiter.
    ///
    /// # Examples
    /// See [`Semaphore::acquire`].
    pub fn try_acquire(&self) -> Result<SemaphorePermit<'_>, TryAcquireError> {
        self.try_acquire_many(1)
    }

    /// Takes `n` permits, if there are so many free ones and no waiter.
    ///
    /// # Errors
    /// If there are fewer, or there is a waiter.
    ///
    /// # Examples
    /// ```
    /// let semaphore = narrowboat::sync::Semaphore::new(3);
    /// assert!(semaphore.try_acquire_many(4).is_err());
    /// assert!(semaphore.try_acquire_many(3).is_ok());
    /// ```
    pub fn try_acquire_many(&self, n: usize) -> Result<SemaphorePermit<'_>, TryAcquireError> {
        if self.raw.try_acquire(n) { Ok(self.permit(n)) } else { Err(TryAcquireError(())) }
    }

    /// Takes a permit, and waits for it for no longer than `timeout`.
    ///
    /// # Errors
    /// If the time is up first.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    ///
    /// let semaphore = narrowboat::sync::Semaphore::new(0);
    /// assert!(semaphore.acquire_timeout(Duration::from_millis(2)).is_err());
    /// ```
    #[track_caller]
    pub fn acquire_timeout(&self, timeout: Duration) -> Result<SemaphorePermit<'_>, AcquireTimeoutError> {
        self.acquire_many_timeout(1, timeout)
    }

    /// Takes a permit, and waits for it until `deadline` at most.
    ///
    /// # Errors
    /// If the deadline passes first.
    ///
    /// # Examples
    /// ```
    /// use std::time::Instant;
    ///
    /// let semaphore = narrowboat::sync::Semaphore::new(1);
    /// assert!(semaphore.acquire_deadline(Instant::now()).is_ok(), "there is one");
    /// ```
    #[track_caller]
    pub fn acquire_deadline(&self, deadline: Instant) -> Result<SemaphorePermit<'_>, AcquireTimeoutError> {
        self.acquire_many_deadline(1, deadline)
    }

    /// Takes `n` permits, all at once, and waits for them for no longer than `timeout`.
    ///
    /// # Errors
    /// If the time is up first.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    ///
    /// let semaphore = narrowboat::sync::Semaphore::new(1);
    /// assert!(semaphore.acquire_many_timeout(2, Duration::from_millis(2)).is_err());
    /// ```
    #[track_caller]
    pub fn acquire_many_timeout(
        &self,
        n: usize,
        timeout: Duration,
    ) -> Result<SemaphorePermit<'_>, AcquireTimeoutError> {
        match world::now().checked_add(timeout) {
            Some(deadline) => self.acquire_many_deadline(n, deadline),
            // A deadline past the range of the clock never passes.
            None => Ok(self.acquire_many(n)),
        }
    }

    /// Takes `n` permits, all at once, and waits for them until `deadline` at most.
    ///
    /// # Errors
    /// If the deadline passes first.
    ///
    /// # Examples
    /// ```
    /// use std::time::Instant;
    ///
    /// let semaphore = narrowboat::sync::Semaphore::new(2);
    /// assert!(semaphore.acquire_many_deadline(2, Instant::now()).is_ok(), "there are two");
    /// ```
    #[track_caller]
    pub fn acquire_many_deadline(
        &self,
        n: usize,
        deadline: Instant,
    ) -> Result<SemaphorePermit<'_>, AcquireTimeoutError> {
        if self.raw.acquire_until(n, deadline, Location::caller()) {
            Ok(self.permit(n))
        } else {
            Err(AcquireTimeoutError(()))
        }
    }

    /// As [`acquire`](Semaphore::acquire), as a future: for async tasks. It is served in its turn
    /// among goroutines, threads and tasks.
    ///
    /// The future may be dropped at any time: it leaves the queue, and gives back what it has been
    /// given.
    ///
    /// # Examples
    /// ```
    /// use narrowboat::{future::block_on, sync::Semaphore};
    ///
    /// let semaphore = Semaphore::new(1);
    /// // In a task of tokio as here.
    /// let permit = block_on(async { semaphore.acquire_async().await });
    /// assert_eq!(semaphore.available_permits(), 0);
    /// drop(permit);
    /// ```
    pub fn acquire_async(&self) -> AcquireFuture<'_> {
        self.acquire_many_async(1)
    }

    /// As [`acquire_many`](Semaphore::acquire_many), as a future: see
    /// [`acquire_async`](Semaphore::acquire_async).
    ///
    /// # Examples
    /// ```
    /// use narrowboat::{future::block_on, sync::Semaphore};
    ///
    /// let memory = Semaphore::new(100);
    /// let large = block_on(memory.acquire_many_async(80));
    /// assert_eq!(memory.available_permits(), 20);
    /// ```
    pub fn acquire_many_async(&self, n: usize) -> AcquireFuture<'_> {
        AcquireFuture { semaphore: self, permits: n, wait: None }
    }

    /// As [`acquire`](Semaphore::acquire), with a permit that can go to another goroutine.
    ///
    /// # Examples
    /// ```
    /// use narrowboat::sync::Semaphore;
    /// use std::sync::Arc;
    ///
    /// let semaphore = Arc::new(Semaphore::new(2));
    /// for n in 0..10 {
    ///     // Goes on only while fewer than two are at work.
    ///     let permit = semaphore.clone().acquire_owned();
    ///     narrowboat::spawn(move || {
    ///         println!("{n} works");
    ///         drop(permit);
    ///     });
    /// }
    /// ```
    #[track_caller]
    pub fn acquire_owned(self: Arc<Self>) -> OwnedSemaphorePermit {
        self.acquire_many_owned(1)
    }

    /// As [`acquire_many`](Semaphore::acquire_many), with permits that can go to another goroutine.
    ///
    /// # Examples
    /// ```
    /// use narrowboat::sync::Semaphore;
    /// use std::sync::Arc;
    ///
    /// let permits = Arc::new(Semaphore::new(2)).acquire_many_owned(2);
    /// assert_eq!(permits.num_permits(), 2);
    /// ```
    #[track_caller]
    pub fn acquire_many_owned(self: Arc<Self>, n: usize) -> OwnedSemaphorePermit {
        self.raw.acquire(n, Location::caller());
        self.owned_permit(n)
    }

    /// As [`try_acquire`](Semaphore::try_acquire), with a permit that can go to another goroutine.
    ///
    /// # Errors
    /// If there is no free permit, or there is a waiter.
    ///
    /// # Examples
    /// ```
    /// use narrowboat::sync::Semaphore;
    /// use std::sync::Arc;
    ///
    /// assert!(Arc::new(Semaphore::new(0)).try_acquire_owned().is_err());
    /// ```
    pub fn try_acquire_owned(self: Arc<Self>) -> Result<OwnedSemaphorePermit, TryAcquireError> {
        self.try_acquire_many_owned(1)
    }

    /// As [`try_acquire_many`](Semaphore::try_acquire_many), with permits that can go to another
    /// goroutine.
    ///
    /// # Errors
    /// If there are fewer, or there is a waiter.
    ///
    /// # Examples
    /// ```
    /// use narrowboat::sync::Semaphore;
    /// use std::sync::Arc;
    ///
    /// assert!(Arc::new(Semaphore::new(2)).try_acquire_many_owned(2).is_ok());
    /// ```
    pub fn try_acquire_many_owned(
        self: Arc<Self>,
        n: usize,
    ) -> Result<OwnedSemaphorePermit, TryAcquireError> {
        if self.raw.try_acquire(n) { Ok(self.owned_permit(n)) } else { Err(TryAcquireError(())) }
    }
}

impl SemaphorePermit<'_> {
    /// The number of permits.
    ///
    /// # Examples
    /// ```
    /// let semaphore = narrowboat::sync::Semaphore::new(3);
    /// assert_eq!(semaphore.acquire_many(2).num_permits(), 2);
    /// ```
    #[must_use]
    pub fn num_permits(&self) -> usize {
        self.permits
    }

    /// Never gives the permits back: the semaphore has fewer from now on.
    ///
    /// # Examples
    /// ```
    /// let semaphore = narrowboat::sync::Semaphore::new(3);
    /// semaphore.acquire().forget();
    /// assert_eq!(semaphore.available_permits(), 2);
    /// ```
    pub fn forget(self) {
        mem::forget(self);
    }
}

impl OwnedSemaphorePermit {
    /// The number of permits.
    ///
    /// # Examples
    /// See [`Semaphore::acquire_many_owned`].
    #[must_use]
    pub fn num_permits(&self) -> usize {
        self.permits
    }

    /// Never gives the permits back: the semaphore has fewer from now on.
    ///
    /// # Examples
    /// ```
    /// use narrowboat::sync::Semaphore;
    /// use std::sync::Arc;
    ///
    /// let semaphore = Arc::new(Semaphore::new(3));
    /// semaphore.clone().acquire_owned().forget();
    /// assert_eq!(semaphore.available_permits(), 2);
    /// ```
    pub fn forget(mut self) {
        self.permits = 0;
    }
}

impl Drop for SemaphorePermit<'_> {
    fn drop(&mut self) {
        self.semaphore.raw.release(self.permits);
    }
}

impl Drop for OwnedSemaphorePermit {
    fn drop(&mut self) {
        self.semaphore.raw.release(self.permits);
    }
}

impl fmt::Debug for Semaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Semaphore").field("permits", &self.raw.available()).finish_non_exhaustive()
    }
}

impl fmt::Display for TryAcquireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the semaphore has too few free permits now: use acquire to wait for them")
    }
}

impl Error for TryAcquireError {}

impl fmt::Display for AcquireTimeoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the time was up before the semaphore had enough free permits")
    }
}

impl Error for AcquireTimeoutError {}
