//! A lock for a value that is set once.

// The state word of the `Once` in a lock is also the tag of an enum that has the value in one of
// its variants. So the compiler's own drop glue drops the value, if there is one, and the lock
// needs no `Drop` of its own. With one, values that borrow would have to outlive the lock. In std's
// they need not, because std's destructor makes a promise that only std can make. An `Option`
// beside the word would do the same, but would make each lock up to a word larger.

use crate::once::Once;
use crate::raw::once::{COMPLETE, INCOMPLETE, POISONED, QUEUED, RUNNING};
use narrowboat_runtime::park::checkpoint;
use std::cell::UnsafeCell;
use std::fmt;
use std::mem::replace;
use std::panic::{RefUnwindSafe, UnwindSafe};

/// A value that the first caller sets, once, and that all can read from then on.
///
/// As [`std::sync::OnceLock`], but a goroutine that has to wait for another caller to make the
/// value parks. As std's, it accepts values that borrow from something that is dropped before the
/// lock, unless dropping the value accesses that.
///
/// # Examples
/// ```
/// use narrowboat::sync::OnceLock;
///
/// static CONFIG: OnceLock<String> = OnceLock::new();
///
/// let configs: Vec<_> = (0..10)
///     .map(|n| narrowboat::spawn(move || CONFIG.get_or_init(|| format!("made by {n}"))))
///     .collect();
/// for config in configs {
///     assert_eq!(Some(config.join().unwrap()), CONFIG.get());
/// }
/// ```
pub struct OnceLock<T> {
    state: UnsafeCell<State<T>>,
}

/// The states of a [`Once`], by its word. This representation is a union of structs that all begin
/// with the tag; that of the variant with the value is [`CompleteLayout`].
#[repr(u32)]
#[allow(dead_code, reason = "most tags are written as states of the `Once`")]
enum State<T> {
    Incomplete = INCOMPLETE,
    Poisoned = POISONED,
    Running = RUNNING,
    Complete(T) = COMPLETE,
    IncompleteQueued = INCOMPLETE | QUEUED,
    PoisonedQueued = POISONED | QUEUED,
    RunningQueued = RUNNING | QUEUED,
}

#[repr(C)]
struct CompleteLayout<T> {
    tag: u32,
    value: T,
}

// The lock is as large as the value and the word, with padding.
const _: () = assert!(size_of::<OnceLock<u64>>() == 16 && size_of::<OnceLock<u32>>() == 8);

// SAFETY: sending the lock sends the value.
unsafe impl<T: Send> Send for OnceLock<T> {}
// SAFETY: all share the value (`Sync`), and one thread may set a value that another takes out or
// drops (`Send`).
unsafe impl<T: Sync + Send> Sync for OnceLock<T> {}

impl<T: RefUnwindSafe + UnwindSafe> RefUnwindSafe for OnceLock<T> {}
impl<T: UnwindSafe> UnwindSafe for OnceLock<T> {}

impl<T> OnceLock<T> {
    /// A lock without a value.
    ///
    /// # Examples
    /// See the [example of the type](OnceLock).
    #[inline]
    #[must_use]
    pub const fn new() -> OnceLock<T> {
        OnceLock { state: UnsafeCell::new(State::Incomplete) }
    }

    #[inline]
    fn once(&self) -> &Once {
        // SAFETY: the tag comes first. A `Once` is one atomic word, and its values are those of the
        // tags. Nothing refers to the enum as a whole while the lock is shared.
        unsafe { &*self.state.get().cast::<Once>() }
    }

    /// The address of the value, whether or not there is one.
    #[inline]
    fn value_ptr(&self) -> *mut T {
        // SAFETY: within the enum, by its representation; only the address is taken.
        unsafe { &raw mut (*self.state.get().cast::<CompleteLayout<T>>()).value }
    }

    /// The value, if there is one. Never waits.
    ///
    /// # Examples
    /// ```
    /// let lock = narrowboat::sync::OnceLock::new();
    /// assert_eq!(lock.get(), None);
    /// lock.set(1).unwrap();
    /// assert_eq!(lock.get(), Some(&1));
    /// ```
    #[inline]
    pub fn get(&self) -> Option<&T> {
        checkpoint();
        self.get_now()
    }

    /// Without a checkpoint: does not give way.
    #[inline]
    fn get_now(&self) -> Option<&T> {
        // SAFETY: complete.
        self.once().is_completed_now().then(|| unsafe { self.value() })
    }

    /// The value, if there is one. The exclusive borrow makes locking unnecessary.
    ///
    /// # Examples
    /// ```
    /// let mut lock = narrowboat::sync::OnceLock::from(1);
    /// *lock.get_mut().unwrap() += 1;
    /// assert_eq!(lock.get(), Some(&2));
    /// ```
    #[inline]
    pub fn get_mut(&mut self) -> Option<&mut T> {
        match self.state.get_mut() {
            State::Complete(value) => Some(value),
            _ => None,
        }
    }

    /// Waits until the value is set, and returns it.
    ///
    /// # Examples
    /// ```
    /// use narrowboat::sync::OnceLock;
    ///
    /// static ADDRESS: OnceLock<String> = OnceLock::new();
    ///
    /// narrowboat::spawn(|| ADDRESS.set("localhost:80".into()).unwrap());
    /// assert_eq!(ADDRESS.wait(), "localhost:80");
    /// ```
    #[inline]
    #[track_caller]
    pub fn wait(&self) -> &T {
        self.once().wait_force();
        // SAFETY: complete.
        unsafe { self.value() }
    }

    /// Sets the value. Waits if another caller is making one.
    ///
    /// # Errors
    /// `value`, if there already is one.
    ///
    /// # Examples
    /// ```
    /// let lock = narrowboat::sync::OnceLock::new();
    /// assert_eq!(lock.set(1), Ok(()));
    /// assert_eq!(lock.set(2), Err(2));
    /// ```
    #[inline]
    #[track_caller]
    pub fn set(&self, value: T) -> Result<(), T> {
        let mut value = Some(value);
        self.initialize(|| value.take().expect("called once"));
        match value {
            None => Ok(()),
            Some(value) => Err(value),
        }
    }

    /// The value. If there is none, `f` makes it. Of several callers at the same time one makes it,
    /// and the others wait.
    ///
    /// If `f` uses the same lock, it waits for itself, for ever.
    ///
    /// # Panics
    /// If `f` panics. There is no value then, and the next caller makes it.
    ///
    /// # Examples
    /// ```
    /// let lock = narrowboat::sync::OnceLock::new();
    /// assert_eq!(lock.get_or_init(|| 1), &1);
    /// assert_eq!(lock.get_or_init(|| unreachable!()), &1);
    /// ```
    #[inline]
    #[track_caller]
    pub fn get_or_init<F>(&self, f: F) -> &T
    where
        F: FnOnce() -> T,
    {
        self.initialize(f);
        // SAFETY: complete; otherwise `initialize` would have panicked.
        unsafe { self.value() }
    }

    #[inline]
    #[track_caller]
    fn initialize(&self, make: impl FnOnce() -> T) {
        if let Some(run) = self.once().run_ignoring_poison() {
            let value = make();
            // SAFETY: one caller runs at a time, and nothing else accesses the value before the run
            // is done.
            unsafe { self.value_ptr().write(value) };
            run.done();
        }
    }

    /// The value, if there is one.
    ///
    /// # Examples
    /// ```
    /// let lock = narrowboat::sync::OnceLock::from(1);
    /// assert_eq!(lock.into_inner(), Some(1));
    /// ```
    #[inline]
    pub fn into_inner(mut self) -> Option<T> {
        self.take()
    }

    /// Takes the value out, if there is one. The lock has none after that.
    ///
    /// # Examples
    /// ```
    /// let mut lock = narrowboat::sync::OnceLock::from(1);
    /// assert_eq!(lock.take(), Some(1));
    /// assert_eq!(lock.take(), None);
    /// ```
    #[inline]
    pub fn take(&mut self) -> Option<T> {
        match replace(self.state.get_mut(), State::Incomplete) {
            State::Complete(value) => Some(value),
            _ => None,
        }
    }

    /// # Safety
    /// The `Once` is complete.
    #[inline]
    unsafe fn value(&self) -> &T {
        // SAFETY: by contract there is a value, and it does not change any more through a shared
        // reference.
        unsafe { &*self.value_ptr() }
    }
}

impl<T> Default for OnceLock<T> {
    fn default() -> OnceLock<T> {
        OnceLock::new()
    }
}

impl<T: fmt::Debug> fmt::Debug for OnceLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut d = f.debug_tuple("OnceLock");
        match self.get_now() {
            Some(value) => d.field(value),
            None => d.field(&format_args!("<uninit>")),
        };
        d.finish()
    }
}

impl<T: Clone> Clone for OnceLock<T> {
    fn clone(&self) -> OnceLock<T> {
        self.get_now().cloned().map_or_else(OnceLock::new, OnceLock::from)
    }
}

impl<T> From<T> for OnceLock<T> {
    fn from(value: T) -> OnceLock<T> {
        let lock = OnceLock::new();
        lock.initialize(|| value);
        lock
    }
}

impl<T: PartialEq> PartialEq for OnceLock<T> {
    fn eq(&self, other: &OnceLock<T>) -> bool {
        self.get_now() == other.get_now()
    }
}

impl<T: Eq> Eq for OnceLock<T> {}
