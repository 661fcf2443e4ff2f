//! Functions that make contexts.

use super::scope::{Expiry, Scope};
use super::values::Values;
use super::{Cancel, Cause, Context};
use crate::limit::from_now;
use crate::receiver::Flavor;
use crate::{Receiver, never};
use std::any::Any;
use std::error::Error;
use std::time::{Duration, Instant};

/// The context that all other contexts derive from. It is never done, and has no deadline and no
/// values.
///
/// # Examples
/// ```
/// let ctx = narrowboat::context::background();
/// assert!(!ctx.is_done() && ctx.deadline().is_none());
/// ```
pub fn background() -> Context {
    Context { done: never(), values: Values::default() }
}

/// The same as [`background()`], for places where it is not clear yet which context belongs there.
///
/// # Examples
/// ```
/// assert!(narrowboat::context::todo().err().is_none());
/// ```
pub fn todo() -> Context {
    background()
}

#[track_caller]
fn derive(parent: &Context, expiry: Option<Expiry>) -> (Context, Cancel) {
    let scope = Scope::new(parent.scope(), expiry);
    let done = Receiver { flavor: Flavor::Done(scope.clone()) };
    (Context { done, values: parent.values.clone() }, Cancel { scope })
}

/// A child of `parent` that is done when it is cancelled, or when the parent is done.
///
/// # Examples
/// ```
/// use narrowboat::context::{background, with_cancel};
///
/// let (parent, cancel_parent) = with_cancel(&background());
/// let (child, cancel) = with_cancel(&parent);
/// let (sibling, _cancel) = with_cancel(&parent);
/// cancel.cancel();
/// assert!(child.is_done() && !parent.is_done() && !sibling.is_done());
/// cancel_parent.cancel();
/// assert!(sibling.is_done());
/// ```
#[track_caller]
pub fn with_cancel(parent: &Context) -> (Context, Cancel) {
    derive(parent, None)
}

/// The same as [`with_cancel`]; the name says that the child will be cancelled by
/// [`cancel_with`](Cancel::cancel_with) a cause.
///
/// # Examples
/// ```
/// use narrowboat::context::{background, with_cancel_cause};
///
/// let (ctx, cancel) = with_cancel_cause(&background());
/// cancel.cancel_with("the client went away");
/// assert_eq!(ctx.cause().unwrap().to_string(), "the client went away");
/// ```
#[track_caller]
pub fn with_cancel_cause(parent: &Context) -> (Context, Cancel) {
    derive(parent, None)
}

/// A child of `parent` that is also done `timeout` from now, unless the parent's deadline is
/// earlier. A timeout past the range of the clock counts as a hundred years.
///
/// # Examples
/// ```
/// use narrowboat::context::{Error, background, with_timeout};
/// use std::time::Duration;
///
/// let (ctx, cancel) = with_timeout(&background(), Duration::from_millis(5));
/// let _cancel = cancel.on_drop();
/// assert!(ctx.done().recv().is_err());
/// assert_eq!(ctx.err(), Some(Error::DeadlineExceeded));
/// ```
#[track_caller]
pub fn with_timeout(parent: &Context, timeout: Duration) -> (Context, Cancel) {
    with_deadline(parent, from_now(timeout))
}

/// As [`with_timeout`]. If that deadline ends the context, `cause` is the cause.
///
/// # Examples
/// ```
/// use narrowboat::context::{background, with_timeout_cause};
/// use std::time::Duration;
///
/// let limit = Duration::from_millis(5);
/// let (ctx, _cancel) = with_timeout_cause(&background(), limit, "the mirror is slow");
/// assert!(ctx.done().recv().is_err());
/// assert_eq!(ctx.cause().unwrap().to_string(), "the mirror is slow");
/// ```
#[track_caller]
pub fn with_timeout_cause(
    parent: &Context,
    timeout: Duration,
    cause: impl Into<Box<dyn Error + Send + Sync>>,
) -> (Context, Cancel) {
    with_deadline_cause(parent, from_now(timeout), cause)
}

/// A child of `parent` that is also done at `deadline`, unless the parent's deadline is earlier.
///
/// # Examples
/// ```
/// use narrowboat::context::{background, with_deadline};
/// use std::time::{Duration, Instant};
///
/// let deadline = Instant::now() + Duration::from_millis(5);
/// let (ctx, _cancel) = with_deadline(&background(), deadline);
/// assert!(ctx.done().recv().is_err());
/// assert!(Instant::now() >= deadline);
/// ```
#[track_caller]
pub fn with_deadline(parent: &Context, deadline: Instant) -> (Context, Cancel) {
    derive(parent, Some(Expiry { at: deadline, cause: None }))
}

/// As [`with_deadline`]. If that deadline ends the context, `cause` is the cause.
///
/// # Examples
/// ```
/// use narrowboat::context::{Error, background, with_deadline_cause};
/// use std::time::Instant;
///
/// let (ctx, _cancel) = with_deadline_cause(&background(), Instant::now(), "low tide");
/// assert_eq!(ctx.err(), Some(Error::DeadlineExceeded));
/// assert_eq!(ctx.cause().unwrap().to_string(), "low tide");
/// ```
#[track_caller]
pub fn with_deadline_cause(
    parent: &Context,
    deadline: Instant,
    cause: impl Into<Box<dyn Error + Send + Sync>>,
) -> (Context, Cancel) {
    derive(parent, Some(Expiry { at: deadline, cause: Some(Cause::from(cause.into())) }))
}

/// A context that also carries `value`. Otherwise it is the same as `parent`: it ends when the
/// parent does.
///
/// A value is found by its type, so give it one of its own: `struct RequestId(u64)` instead of
/// `u64`. Values are for data that belongs to a request and crosses interfaces, not for optional
/// arguments.
///
/// # Examples
/// ```
/// use narrowboat::context::{background, with_value};
///
/// struct RequestId(u64);
///
/// let outer = with_value(&background(), RequestId(1));
/// let inner = with_value(&outer, RequestId(2));
/// assert_eq!(inner.value::<RequestId>().unwrap().0, 2);
/// assert_eq!(outer.value::<RequestId>().unwrap().0, 1);
/// ```
pub fn with_value<T: Any + Send + Sync>(parent: &Context, value: T) -> Context {
    Context { done: parent.done.clone(), values: parent.values.with(value) }
}

/// A context with the values of `parent` that is not done when the parent is, and has no deadline.
/// It is for work that must be finished although the request is over.
///
/// # Examples
/// ```
/// use narrowboat::context::{background, with_cancel, with_value, without_cancel};
///
/// struct RequestId(u64);
///
/// let (ctx, cancel) = with_cancel(&with_value(&background(), RequestId(7)));
/// let detached = without_cancel(&ctx);
/// cancel.cancel();
/// assert!(!detached.is_done());
/// assert_eq!(detached.value::<RequestId>().unwrap().0, 7);
/// ```
pub fn without_cancel(parent: &Context) -> Context {
    Context { done: never(), values: parent.values.clone() }
}

const _: () = {
    const fn shared_freely<T: Clone + Send + Sync + 'static>() {}
    shared_freely::<Context>();
    shared_freely::<Cancel>();
};
