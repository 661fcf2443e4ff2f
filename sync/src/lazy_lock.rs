//! A lock for a value that is computed at first use.

use crate::once::Once;
use narrowboat_runtime::park::checkpoint;
use std::cell::UnsafeCell;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::panic::{RefUnwindSafe, UnwindSafe};

/// A value that is computed when it is first used.
///
/// As [`std::sync::LazyLock`], but a goroutine that has to wait for another caller to compute it
/// parks.
///
/// # Examples
/// ```
/// use narrowboat::sync::LazyLock;
/// use std::collections::HashMap;
///
/// static PORTS: LazyLock<HashMap<&str, u16>> = LazyLock::new(|| HashMap::from([("http", 80), ("https", 443)]));
///
/// assert_eq!(PORTS["https"], 443);
/// ```
pub struct LazyLock<T, F = fn() -> T> {
    once: Once,
    data: UnsafeCell<Data<T, F>>,
}

/// `Computed` if `once` is complete. Otherwise `Waiting`, or `Started` if a computation has
/// started.
enum Data<T, F> {
    Waiting(F),
    Started,
    Computed(T),
}

// SAFETY: all share the value (`Sync`). One thread calls the closure, and another may drop what it
// returned (`Send`).
unsafe impl<T: Sync + Send, F: Send> Sync for LazyLock<T, F> {}

impl<T: RefUnwindSafe + UnwindSafe, F: UnwindSafe> RefUnwindSafe for LazyLock<T, F> {}
impl<T: UnwindSafe, F: UnwindSafe> UnwindSafe for LazyLock<T, F> {}

impl<T, F: FnOnce() -> T> LazyLock<T, F> {
    /// A value that `f` will compute.
    ///
    /// # Examples
    /// See the [example of the type](LazyLock).
    #[inline]
    pub const fn new(f: F) -> LazyLock<T, F> {
        LazyLock { once: Once::new(), data: UnsafeCell::new(Data::Waiting(f)) }
    }

    /// The value, as by `*this`. Of several callers at the same time one computes it, and the
    /// others wait.
    ///
    /// If the closure uses the same lock, it waits for itself, for ever.
    ///
    /// # Panics
    /// If the closure panics, or has panicked.
    ///
    /// # Examples
    /// ```
    /// use narrowboat::sync::LazyLock;
    ///
    /// let lazy = LazyLock::new(|| 92);
    /// assert_eq!(LazyLock::force(&lazy), &92);
    /// ```
    #[inline]
    #[track_caller]
    pub fn force(this: &LazyLock<T, F>) -> &T {
        if let Some(run) = this.once.run_ignoring_poison() {
            // SAFETY: one caller runs at a time, and nothing else accesses the data before the run
            // is done. While the closure runs, nothing refers to the data.
            unsafe { Self::compute(this.data.get()) };
            run.done();
        }
        // SAFETY: complete; otherwise `compute` would have panicked.
        unsafe { this.value() }
    }

    /// # Safety
    /// Nothing else uses the data meanwhile.
    #[track_caller]
    unsafe fn compute(data: *mut Data<T, F>) {
        // SAFETY: by contract.
        let Data::Waiting(f) = (unsafe { data.replace(Data::Started) }) else { poisoned() };
        let value = f();
        // SAFETY: as above.
        unsafe { *data = Data::Computed(value) };
    }

    /// The value; computes it if necessary. The exclusive borrow makes locking unnecessary.
    ///
    /// # Panics
    /// As [`force`](LazyLock::force).
    ///
    /// # Examples
    /// ```
    /// use narrowboat::sync::LazyLock;
    ///
    /// let mut lazy = LazyLock::new(|| 92);
    /// *LazyLock::force_mut(&mut lazy) += 1;
    /// assert_eq!(*lazy, 93);
    /// ```
    #[inline]
    #[track_caller]
    pub fn force_mut(this: &mut LazyLock<T, F>) -> &mut T {
        LazyLock::force(this);
        LazyLock::get_mut(this).expect("computed just now")
    }
}

impl<T, F> LazyLock<T, F> {
    /// The value, if it has been computed. Never waits.
    ///
    /// # Examples
    /// ```
    /// use narrowboat::sync::LazyLock;
    ///
    /// let lazy = LazyLock::new(|| 92);
    /// assert_eq!(LazyLock::get(&lazy), None);
    /// LazyLock::force(&lazy);
    /// assert_eq!(LazyLock::get(&lazy), Some(&92));
    /// ```
    #[inline]
    pub fn get(this: &LazyLock<T, F>) -> Option<&T> {
        checkpoint();
        this.get_now()
    }

    /// Without a checkpoint: does not give way.
    #[inline]
    fn get_now(&self) -> Option<&T> {
        // SAFETY: complete.
        self.once.is_completed_now().then(|| unsafe { self.value() })
    }

    /// The value, if it has been computed. The exclusive borrow makes locking unnecessary.
    ///
    /// # Examples
    /// ```
    /// use narrowboat::sync::LazyLock;
    ///
    /// let mut lazy = LazyLock::new(|| 92);
    /// assert_eq!(LazyLock::get_mut(&mut lazy), None);
    /// ```
    #[inline]
    pub fn get_mut(this: &mut LazyLock<T, F>) -> Option<&mut T> {
        match this.data.get_mut() {
            Data::Computed(value) => Some(value),
            _ => None,
        }
    }

    /// # Safety
    /// `once` is complete.
    #[inline]
    unsafe fn value(&self) -> &T {
        // SAFETY: by contract the data does not change any more through a shared reference.
        match unsafe { &*self.data.get() } {
            Data::Computed(value) => value,
            _ => unreachable!("it is complete"),
        }
    }
}

#[cold]
#[track_caller]
fn poisoned() -> ! {
    panic!("LazyLock instance has previously been poisoned");
}

impl<T, F: FnOnce() -> T> Deref for LazyLock<T, F> {
    type Target = T;

    #[inline]
    #[track_caller]
    fn deref(&self) -> &T {
        LazyLock::force(self)
    }
}

impl<T, F: FnOnce() -> T> DerefMut for LazyLock<T, F> {
    #[inline]
    #[track_caller]
    fn deref_mut(&mut self) -> &mut T {
        LazyLock::force_mut(self)
    }
}

impl<T: Default> Default for LazyLock<T> {
    fn default() -> LazyLock<T> {
        LazyLock::new(T::default)
    }
}

impl<T: fmt::Debug, F> fmt::Debug for LazyLock<T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut d = f.debug_tuple("LazyLock");
        match self.get_now() {
            Some(value) => d.field(value),
            None => d.field(&format_args!("<uninit>")),
        };
        d.finish()
    }
}
