//! Contexts: they end work from outside, limit its time, and carry values, after Go's `context`.
//!
//! A [`Context`] is passed from function to function, by custom as the first argument. The code
//! that starts some work derives a context for it and keeps the [`Cancel`]. The work waits for
//! [`done`](Context::done) beside everything else that it waits for. The end of a context ends all
//! contexts derived from it.
//!
//! | Go | here |
//! | --- | --- |
//! | `context.Background()`, `context.TODO()` | [`background()`], [`todo()`] |
//! | `ctx, cancel := context.WithCancel(ctx)` | `let (ctx, cancel) = with_cancel(&ctx);` |
//! | `defer cancel()` | `let _cancel = cancel.on_drop();` |
//! | `context.WithTimeout(ctx, d)`, `WithDeadline` | [`with_timeout`], [`with_deadline`] |
//! | `WithCancelCause` | [`with_cancel_cause`] |
//! | `WithTimeoutCause`, `WithDeadlineCause` | [`with_timeout_cause`], [`with_deadline_cause`] |
//! | `context.WithValue(ctx, key{}, v)` | [`with_value(&ctx, Key(v))`](with_value) |
//! | `ctx.Value(key{}).(T)` | [`ctx.value::<Key>()`](Context::value) |
//! | `<-ctx.Done()` in a `select` | `recv(ctx.done()) -> _` in a [`select!`](crate::select!) |
//! | `ctx.Err() != nil` | [`ctx.is_done()`](Context::is_done) |
//! | `ctx.Err()` | [`ctx.err()`](Context::err) |
//! | `context.Cause(ctx)` | [`ctx.cause()`](Context::cause) |
//! | `context.AfterFunc(ctx, f)`, `WithoutCancel` | [`after_func`], [`without_cancel`] |
//!
//! A context has no goroutine and no timer: its deadline is an instant, and a goroutine that waits
//! for the context sleeps until then. So a `Cancel` that is dropped without a call leaks nothing,
//! but the work is not ended. Use [`Cancel::on_drop`] to end it.
//!
//! # Examples
//! ```
//! use narrowboat::context::{self, Context, Error};
//! use narrowboat::chan::{Receiver, select, unbounded};
//! use std::time::Duration;
//!
//! fn sum(ctx: &Context, numbers: &Receiver<u64>) -> Result<u64, Error> {
//!     let mut sum = 0;
//!     loop {
//!         select! {
//!             recv(numbers) -> n => match n {
//!                 Ok(n) => sum += n,
//!                 Err(_) => return Ok(sum),
//!             },
//!             recv(ctx.done()) -> _ => return Err(ctx.err().expect("it is done")),
//!         }
//!     }
//! }
//!
//! let (ctx, cancel) = context::with_timeout(&context::background(), Duration::from_millis(20));
//! let _cancel = cancel.on_drop();
//! let (tx, rx) = unbounded();
//! tx.send(1).unwrap();
//! assert_eq!(sum(&ctx, &rx), Err(Error::DeadlineExceeded));
//! ```

mod after;
mod cancel;
mod error;
mod make;
pub(crate) mod scope;
mod values;

pub use after::{AfterFunc, after_func};
pub use cancel::{Cancel, CancelOnDrop};
pub use error::{Cause, Error};
pub use make::{
    background, todo, with_cancel, with_cancel_cause, with_deadline, with_deadline_cause, with_timeout,
    with_timeout_cause, with_value, without_cancel,
};

use crate::receiver::{Flavor, Receiver};
use narrowboat_runtime::park::checkpoint;
use scope::Scope;
use std::any::Any;
use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use std::time::Instant;
use values::Values;

/// Tells work when to end, and carries values to it.
///
/// Clones are cheap and are the same context. All methods can be called from any goroutine and any
/// thread.
///
/// # Examples
/// ```
/// use narrowboat::context::{Error, background, with_cancel};
/// use std::thread;
///
/// let (ctx, cancel) = with_cancel(&background());
/// let worker = thread::spawn({
///     let ctx = ctx.clone();
///     move || ctx.done().recv().is_err()
/// });
/// cancel.cancel();
/// assert_eq!(ctx.err(), Some(Error::Canceled));
/// assert!(worker.join().unwrap(), "the channel was closed");
/// ```
#[derive(Clone)]
pub struct Context {
    /// The channel of a scope, or the channel that never closes.
    done: Receiver<()>,
    values: Values,
}

impl Context {
    fn scope(&self) -> Option<&Arc<Scope>> {
        match &self.done.flavor {
            Flavor::Done(scope) => Some(scope),
            _ => None,
        }
    }

    /// A channel that closes when the context is done, and carries no messages: a receive waits for
    /// the end, and returns an error then. The channel of [`background()`] never closes.
    ///
    /// # Examples
    /// ```
    /// use narrowboat::context::{background, with_cancel};
    /// use narrowboat::chan::{select, unbounded};
    ///
    /// let (ctx, cancel) = with_cancel(&background());
    /// let (_tx, rx) = unbounded::<i32>();
    /// cancel.cancel();
    /// select! {
    ///     recv(rx) -> _ => unreachable!("no message is sent"),
    ///     recv(ctx.done()) -> end => assert!(end.is_err()),
    /// }
    /// ```
    pub fn done(&self) -> &Receiver<()> {
        &self.done
    }

    /// Why the context is done; `None` if it is not. Once there is an error, it stays the same.
    ///
    /// # Examples
    /// ```
    /// use narrowboat::context::{Error, background, with_deadline};
    /// use std::time::Instant;
    ///
    /// let (ctx, _cancel) = with_deadline(&background(), Instant::now());
    /// assert_eq!(ctx.err(), Some(Error::DeadlineExceeded));
    /// assert_eq!(background().err(), None);
    /// ```
    pub fn err(&self) -> Option<Error> {
        checkpoint();
        self.err_now()
    }

    /// [`err`](Context::err) without a checkpoint.
    fn err_now(&self) -> Option<Error> {
        Some(self.scope()?.end()?.error)
    }

    /// The cause of [`err`](Context::err): the one that was given with the cancel or the deadline
    /// that ended the context. If none was given, the error itself.
    ///
    /// # Examples
    /// ```
    /// use narrowboat::context::{Error, background, with_cancel};
    ///
    /// let (ctx, cancel) = with_cancel(&background());
    /// assert!(ctx.cause().is_none());
    /// cancel.cancel_with("out of fuel");
    /// assert_eq!(ctx.err(), Some(Error::Canceled));
    /// assert_eq!(ctx.cause().unwrap().to_string(), "out of fuel");
    /// ```
    pub fn cause(&self) -> Option<Cause> {
        checkpoint();
        let end = self.scope()?.end()?;
        Some(end.cause.clone().unwrap_or_else(|| Arc::new(end.error)))
    }

    /// When the context will be done at the latest: its own deadline or that of one it was derived
    /// from, whichever is earlier. `None` if there is no limit.
    ///
    /// # Examples
    /// ```
    /// use narrowboat::context::{background, with_deadline};
    /// use std::time::{Duration, Instant};
    ///
    /// let soon = Instant::now() + Duration::from_secs(1);
    /// let (parent, _cancel) = with_deadline(&background(), soon);
    /// let (child, _cancel) = with_deadline(&parent, soon + Duration::from_secs(1));
    /// assert_eq!(child.deadline(), Some(soon));
    /// ```
    pub fn deadline(&self) -> Option<Instant> {
        checkpoint();
        self.deadline_now()
    }

    /// [`deadline`](Context::deadline) without a checkpoint.
    fn deadline_now(&self) -> Option<Instant> {
        self.scope()?.deadline()
    }

    /// Whether the context is done. A computation may call it now and then. The call also lets
    /// other goroutines run if the computation is long.
    ///
    /// # Examples
    /// ```
    /// use narrowboat::context::{background, with_cancel};
    ///
    /// let (ctx, cancel) = with_cancel(&background());
    /// assert!(!ctx.is_done());
    /// cancel.cancel();
    /// assert!(ctx.is_done());
    /// ```
    pub fn is_done(&self) -> bool {
        checkpoint();
        self.scope().is_some_and(|scope| scope.is_over())
    }

    /// The value of this type that was added last by [`with_value`], to this context or to one that
    /// it was derived from. Takes time in proportion to the number of values.
    ///
    /// # Examples
    /// ```
    /// use narrowboat::context::{background, with_cancel, with_value};
    ///
    /// #[derive(PartialEq, Debug)]
    /// struct User(&'static str);
    ///
    /// let ctx = with_value(&background(), User("ada"));
    /// let (ctx, _cancel) = with_cancel(&ctx);
    /// assert_eq!(ctx.value::<User>(), Some(&User("ada")));
    /// assert_eq!(ctx.value::<String>(), None);
    /// ```
    pub fn value<T: Any>(&self) -> Option<&T> {
        checkpoint();
        self.values.get()
    }
}

// Through a reference a context only changes from not done to done, wherever a panic happens.
impl UnwindSafe for Context {}
impl RefUnwindSafe for Context {}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut f = f.debug_struct("Context");
        f.field("err", &self.err_now()).field("deadline", &self.deadline_now()).finish_non_exhaustive()
    }
}
