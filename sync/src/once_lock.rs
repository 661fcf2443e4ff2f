//! Set once.

// The state word of the `Once` under a lock is at the same time the tag of an enum that has the
// value in one of its variants. So the compiler's own drop glue drops the value, if there is one,
// and the lock needs no `Drop` of its own. With one, values that borrow would have to outlive the
// lock, which they need not in std's (whose destructor makes a promise that only std can make). An
// `Option` beside the word would do the same, for up to a word more of each lock.

use crate::once::Once;
use crate::raw::once::{COMPLETE, INCOMPLETE, POISONED, QUEUED, RUNNING};
use narrowboat_runtime::park::checkpoint;
use std::cell::UnsafeCell;
use std::fmt;
use std::mem::replace;
use std::panic::{RefUnwindSafe, UnwindSafe};

/// A value that is set once, by whoever comes first, and from then on can be read by all.
///
/// As [`std::sync::OnceLock`], but a goroutine that comes while another party makes the value
/// parks. Like that, it accepts values that borrow from what is dropped before the lock, unless
/// dropping them looks at it.
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

/// All states of a [`Once`], by its word. By its representation this is a union of structs which
/// all begin with the tag; that of the variant with the value is [`CompleteLayout`].
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

// The word costs what it costs beside the value.
const _: () = assert!(size_of::<OnceLock<u64>>() == 16 && size_of::<OnceLock<u32>>() == 8);

// SAFETY: the value goes where the lock goes.
unsafe impl<T: Send> Send for OnceLock<T> {}
// SAFETY: all share the value (`Sync`), and one may set it that another takes out or drops (`Send`).
unsafe impl<T: Sync + Send> Sync for OnceLock<T> {}

impl<T: RefUnwindSafe + UnwindSafe> RefUnwindSafe for OnceLock<T> {}
impl<T: UnwindSafe> UnwindSafe for OnceLock<T> {}

impl<T> OnceLock<T> {
    /// Without a value.
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
        // SAFETY: the tag comes first. A `Once` is one atomic word, whose values are those of the
        // tags. Nothing refers to the enum as a whole while the lock is shared.
        unsafe { &*self.state.get().cast::<Once>() }
    }

    /// Where the value is, or will be.
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

    /// Without giving way.
    #[inline]
    fn get_now(&self) -> Option<&T> {
        // SAFETY: complete.
        self.once().is_completed_now().then(|| unsafe { self.value() })
    }

    /// The value, if there is one, which nobody else can be at.
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

    /// The value, once somebody has set it.
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

    /// Sets the value. May wait, if somebody is making one.
    ///
    /// # Errors
    /// `value`, if there is one already.
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

    /// The value; `f` makes it if there is none. Of those who come at the same time one makes it, and the others wait.
    ///
    /// If `f` uses the same lock in its turn, it waits for itself, for ever.
    ///
    /// # Panics
    /// If `f` panics. There is no value then, and the next to come makes it.
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
        // SAFETY: complete, or we had panicked.
        unsafe { self.value() }
    }

    #[inline]
    #[track_caller]
    fn initialize(&self, make: impl FnOnce() -> T) {
        if let Some(run) = self.once().run_ignoring_poison() {
            let value = make();
            // SAFETY: one party runs at a time, and nothing else looks at the value before it is done.
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

    /// Takes the value out, if there is one, and leaves the lock without.
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
        // SAFETY: by contract there is a value, and nobody changes it any more through a shared reference.
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
