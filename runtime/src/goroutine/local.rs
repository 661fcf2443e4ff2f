//! Goroutine-local values: statics of which each goroutine has its own.
//!
//! [`goroutine_local!`](crate::goroutine_local!) and [`LocalKey`] are to goroutines what
//! `std::thread_local!` and `std::thread::LocalKey` are to threads, name for name. On a plain
//! thread they are thread-locals.
//!
//! A `std::thread_local!` is a goroutine's own, too, where thread-locals can be told apart
//! ([`stats`](crate::stats) says), and faster to read. A goroutine-local is a goroutine's own
//! everywhere, adds nothing to what a switch compares, and may be lent to a scoped thread across a
//! park, because it is on the heap.
//!
//! A value is made when its goroutine first asks for it, and is dropped when the goroutine ends,
//! before `join` returns, in reverse order of creation. It need be neither `Send` nor `Sync`. A
//! goroutine that never asks for one pays nothing, one that does some hundred bytes. A lookup goes
//! through the values that the goroutine has made.
//!
//! # How it is kept
//! A goroutine's values are in what it has acquired since its spawn (`Late`, in its record), a plain
//! thread's in a box of its own. Nothing is borrowed from there while the program's code runs,
//! because that code may ask for another value. What is given out is the address of a value's box,
//! which stays until the end.

use super::panic::discard;
use crate::sched::processor;
use crate::sched::record::late::{Local, Locals};
use std::cell::{Cell, RefCell};
use std::fmt;
use std::ptr::{self, NonNull};

/// Names a value that each goroutine, and each plain thread, has of its own. Made by
/// [`goroutine_local!`](crate::goroutine_local!); see the [module](self).
///
/// ```
/// use narrowboat::{goroutine_local, spawn, yield_now};
/// use std::cell::Cell;
///
/// goroutine_local!(static STEPS: Cell<u32> = const { Cell::new(0) });
///
/// let walkers: Vec<_> = (1..=3)
///     .map(|n| {
///         spawn(move || {
///             for _ in 0..n {
///                 STEPS.set(STEPS.get() + 1);
///                 yield_now();
///             }
///             STEPS.get()
///         })
///     })
///     .collect();
/// let steps: Vec<_> = walkers.into_iter().map(|walker| walker.join().unwrap()).collect();
/// assert_eq!(steps, [1, 2, 3]);
/// ```
pub struct LocalKey<T: 'static> {
    init: fn() -> T,
}

/// The value has been dropped already, because its goroutine, or its thread, ends: see
/// [`LocalKey::try_with`].
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct AccessError;

impl fmt::Debug for AccessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessError").finish()
    }
}

impl fmt::Display for AccessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("already destroyed")
    }
}

impl std::error::Error for AccessError {}

impl<T: 'static> fmt::Debug for LocalKey<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalKey").finish_non_exhaustive()
    }
}

/// Declares goroutine-local values, as `std::thread_local!` does thread-local ones.
///
/// ```
/// use narrowboat::goroutine_local;
/// use std::cell::{Cell, RefCell};
///
/// goroutine_local! {
///     /// What the request at hand is called.
///     pub static REQUEST: RefCell<String> = RefCell::new(String::from("none"));
///     static DEPTH: Cell<usize> = const { Cell::new(0) };
/// }
///
/// REQUEST.set("GET /".into());
/// assert_eq!(REQUEST.with_borrow(|name| name.len()) + DEPTH.get(), 5);
/// ```
#[macro_export]
macro_rules! goroutine_local {
    () => {};
    ($(#[$attribute:meta])* $vis:vis static $name:ident : $t:ty = const $init:block; $($rest:tt)*) => {
        $crate::goroutine_local!(@ [$(#[$attribute])*] $vis $name $t, const $init);
        $crate::goroutine_local!($($rest)*);
    };
    ($(#[$attribute:meta])* $vis:vis static $name:ident : $t:ty = const $init:block) => {
        $crate::goroutine_local!(@ [$(#[$attribute])*] $vis $name $t, const $init);
    };
    ($(#[$attribute:meta])* $vis:vis static $name:ident : $t:ty = $init:expr; $($rest:tt)*) => {
        $crate::goroutine_local!(@ [$(#[$attribute])*] $vis $name $t, $init);
        $crate::goroutine_local!($($rest)*);
    };
    ($(#[$attribute:meta])* $vis:vis static $name:ident : $t:ty = $init:expr) => {
        $crate::goroutine_local!(@ [$(#[$attribute])*] $vis $name $t, $init);
    };
    (@ [$($attributes:tt)*] $vis:vis $name:ident $t:ty, $init:expr) => {
        $($attributes)*
        $vis static $name: $crate::local::LocalKey<$t> = {
            fn init() -> $t {
                $init
            }
            $crate::local::LocalKey::new(init)
        };
    };
}

impl<T: 'static> LocalKey<T> {
    #[doc(hidden)]
    pub const fn new(init: fn() -> T) -> LocalKey<T> {
        LocalKey { init }
    }

    /// Calls `f` with the caller's value. Makes the value if there is none.
    ///
    /// `f` may park; the value stays.
    ///
    /// # Panics
    /// If the value has been dropped, because the goroutine or the thread ends. If making it
    /// panics.
    ///
    /// ```
    /// narrowboat::goroutine_local!(static GREETING: String = "hello".to_string());
    /// assert_eq!(GREETING.with(|greeting| greeting.len()), 5);
    /// ```
    pub fn with<R>(&'static self, f: impl FnOnce(&T) -> R) -> R {
        match self.try_with(f) {
            Ok(result) => result,
            Err(error) => {
                panic!("cannot access a goroutine-local value during or after destruction: {error:?}")
            }
        }
    }

    /// Calls `f` with the caller's value. Makes the value if there is none.
    ///
    /// # Errors
    /// If the value has been dropped, because the goroutine or the thread ends.
    ///
    /// ```
    /// narrowboat::goroutine_local!(static GREETING: String = "hello".to_string());
    /// assert_eq!(GREETING.try_with(|greeting| greeting.len()), Ok(5));
    /// ```
    pub fn try_with<R>(&'static self, f: impl FnOnce(&T) -> R) -> Result<R, AccessError> {
        processor::checkpoint();
        // SAFETY: the values of a goroutine are dropped when its closure has returned, and a value
        // that is found is not being dropped. Only the goroutine itself, or the thread, can reach
        // it.
        Ok(f(unsafe { self.find_or_make(None)?.as_ref() }))
    }

    /// The caller's value. If there is none, makes it from `first`, or as the declaration says.
    fn find_or_make(&'static self, first: Option<T>) -> Result<NonNull<T>, AccessError> {
        let key = ptr::from_ref(self).addr();
        if let Some(found) = with_mine(|locals| locals.find(key))? {
            return found.map(NonNull::cast).ok_or(AccessError);
        }
        // This may recurse, even for the same value: then the last one made stays, as with std.
        let value = first.unwrap_or_else(|| (self.init)());
        let value = NonNull::from(Box::leak(Box::new(value)));
        /// # Safety
        /// The address is that of a leaked box of such a value, given up with this.
        unsafe fn free<T>(value: NonNull<()>) {
            // SAFETY: by contract.
            drop(unsafe { Box::from_raw(value.cast::<T>().as_ptr()) });
        }
        // SAFETY: the box of this value is given up with it, and of the two only one is used.
        let local = || unsafe { Local::new(key, value.cast(), free::<T>) };
        match with_mine(|locals| locals.put(local())) {
            Ok(replaced) => replaced.into_iter().for_each(Local::free),
            Err(error) => {
                local().free();
                return Err(error);
            }
        }
        Ok(value)
    }
}

impl<T: 'static> LocalKey<Cell<T>> {
    /// Sets the caller's value, without making another first.
    ///
    /// # Panics
    /// As [`with`](LocalKey::with).
    ///
    /// ```
    /// use std::cell::Cell;
    ///
    /// narrowboat::goroutine_local!(static N: Cell<i32> = panic!("set it first"));
    /// N.set(3);
    /// assert_eq!(N.get(), 3);
    /// ```
    pub fn set(&'static self, value: T) {
        let mut first = Some(Cell::new(value));
        self.with_first(&mut first, |cell, first| {
            if let Some(value) = first {
                cell.set(value.into_inner());
            }
        });
    }

    /// A copy of the caller's value.
    ///
    /// # Panics
    /// As [`with`](LocalKey::with).
    ///
    /// ```
    /// narrowboat::goroutine_local!(static N: std::cell::Cell<i32> = const { std::cell::Cell::new(3) });
    /// assert_eq!(N.get(), 3);
    /// ```
    pub fn get(&'static self) -> T
    where
        T: Copy,
    {
        self.with(Cell::get)
    }

    /// Takes the caller's value and leaves the default one.
    ///
    /// # Panics
    /// As [`with`](LocalKey::with).
    ///
    /// ```
    /// narrowboat::goroutine_local!(static N: std::cell::Cell<i32> = const { std::cell::Cell::new(3) });
    /// assert_eq!((N.take(), N.get()), (3, 0));
    /// ```
    pub fn take(&'static self) -> T
    where
        T: Default,
    {
        self.with(Cell::take)
    }

    /// Sets the caller's value and returns the old one.
    ///
    /// # Panics
    /// As [`with`](LocalKey::with).
    ///
    /// ```
    /// narrowboat::goroutine_local!(static N: std::cell::Cell<i32> = const { std::cell::Cell::new(3) });
    /// assert_eq!((N.replace(4), N.get()), (3, 4));
    /// ```
    pub fn replace(&'static self, value: T) -> T {
        self.with(|cell| cell.replace(value))
    }
}

impl<T: 'static> LocalKey<RefCell<T>> {
    /// Calls `f` with the caller's value, borrowed.
    ///
    /// # Panics
    /// If it is mutably borrowed, and as [`with`](LocalKey::with).
    ///
    /// ```
    /// use std::cell::RefCell;
    ///
    /// narrowboat::goroutine_local!(static LIST: RefCell<Vec<i32>> = RefCell::default());
    /// assert!(LIST.with_borrow(|list| list.is_empty()));
    /// ```
    pub fn with_borrow<R>(&'static self, f: impl FnOnce(&T) -> R) -> R {
        self.with(|cell| f(&cell.borrow()))
    }

    /// Calls `f` with the caller's value, mutably borrowed.
    ///
    /// # Panics
    /// If it is borrowed, and as [`with`](LocalKey::with).
    ///
    /// ```
    /// use std::cell::RefCell;
    ///
    /// narrowboat::goroutine_local!(static LIST: RefCell<Vec<i32>> = RefCell::default());
    /// LIST.with_borrow_mut(|list| list.push(1));
    /// assert_eq!(LIST.take(), [1]);
    /// ```
    pub fn with_borrow_mut<R>(&'static self, f: impl FnOnce(&mut T) -> R) -> R {
        self.with(|cell| f(&mut cell.borrow_mut()))
    }

    /// Sets the caller's value, without making another first.
    ///
    /// # Panics
    /// If it is borrowed, and as [`with`](LocalKey::with).
    ///
    /// ```
    /// use std::cell::RefCell;
    ///
    /// narrowboat::goroutine_local!(static NAME: RefCell<String> = panic!("set it first"));
    /// NAME.set("Ada".into());
    /// assert_eq!(NAME.with_borrow(String::len), 3);
    /// ```
    pub fn set(&'static self, value: T) {
        let mut first = Some(RefCell::new(value));
        self.with_first(&mut first, |cell, first| {
            if let Some(value) = first {
                *cell.borrow_mut() = value.into_inner();
            }
        });
    }

    /// Takes the caller's value and leaves the default one.
    ///
    /// # Panics
    /// If it is borrowed, and as [`with`](LocalKey::with).
    ///
    /// ```
    /// use std::cell::RefCell;
    ///
    /// narrowboat::goroutine_local!(static NAME: RefCell<String> = RefCell::new("Ada".into()));
    /// assert_eq!(NAME.take(), "Ada");
    /// assert_eq!(NAME.take(), "");
    /// ```
    pub fn take(&'static self) -> T
    where
        T: Default,
    {
        self.with(RefCell::take)
    }

    /// Sets the caller's value and returns the old one.
    ///
    /// # Panics
    /// If it is borrowed, and as [`with`](LocalKey::with).
    ///
    /// ```
    /// use std::cell::RefCell;
    ///
    /// narrowboat::goroutine_local!(static NAME: RefCell<String> = RefCell::new("Ada".into()));
    /// assert_eq!(NAME.replace("Grace".into()), "Ada");
    /// ```
    pub fn replace(&'static self, value: T) -> T {
        self.with(|cell| cell.replace(value))
    }
}

impl<T: 'static> LocalKey<T> {
    /// [`with`](LocalKey::with), but a value that has not been made is made from `first`. `f` gets
    /// `first` if it was not needed.
    fn with_first<R>(&'static self, first: &mut Option<T>, f: impl FnOnce(&T, Option<T>) -> R) -> R {
        processor::checkpoint();
        let key = ptr::from_ref(self).addr();
        let found = with_mine(|locals| locals.find(key)).and_then(|found| match found {
            Some(found) => found.map(NonNull::cast).ok_or(AccessError),
            None => self.find_or_make(first.take()),
        });
        match found {
            // SAFETY: as in `try_with`.
            Ok(value) => f(unsafe { value.as_ref() }, first.take()),
            Err(error) => {
                panic!("cannot access a goroutine-local value during or after destruction: {error:?}")
            }
        }
    }
}

/// Calls `f` with the caller's values. `f` calls no code of the program's.
fn with_mine<R>(f: impl FnOnce(&mut Locals) -> R) -> Result<R, AccessError> {
    match processor::calling_goroutine() {
        Some(goroutine) => Ok(goroutine.origin.with_late(|late| f(&mut late.locals))),
        None => of_threads::with(f),
    }
}

/// Drops all values of the calling goroutine or thread, also those that destructors make meanwhile.
/// The hook reports a panic of a destructor, which goes no further.
#[cold]
pub(crate) fn drop_mine() {
    while let Ok(Some(local)) = with_mine(Locals::take_last) {
        discard(|| local.free());
    }
}

/// The values of plain threads.
mod of_threads {
    use super::{AccessError, Locals, drop_mine};
    use crate::ours::{self, AtEnd};
    use std::ptr;

    /// Drops the values of a thread that ends. No others are made after this.
    fn end_of_thread() {
        if ours::with(|ours| ours.values.get()).is_null() {
            return ours::with(|ours| ours.values.set(GONE));
        }
        drop_mine();
        let values = ours::with(|ours| ours.values.replace(GONE)).cast::<Locals>();
        // SAFETY: made by `with`, and not used after this.
        drop(unsafe { Box::from_raw(values) });
    }

    /// All values have been dropped, and there will be no others.
    const GONE: *mut () = ptr::without_provenance_mut(align_of::<Locals>());

    pub(super) fn with<R>(f: impl FnOnce(&mut Locals) -> R) -> Result<R, AccessError> {
        let mut values = ours::with(|ours| ours.values.get());
        if values.is_null() {
            if !ours::guard_thread(AtEnd::DropValues, end_of_thread) {
                return Err(AccessError);
            }
            values = Box::into_raw(Box::<Locals>::default()).cast();
            ours::with(|ours| ours.values.set(values));
        }
        if values == GONE {
            return Err(AccessError);
        }
        // SAFETY: made above, and known to this thread alone; `f` does not call this function.
        Ok(f(unsafe { &mut *values.cast::<Locals>() }))
    }
}
