//! Ends a context explicitly.

use super::scope::Scope;
use super::{Cause, Error};
use narrowboat_runtime::park::checkpoint;
use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;

/// Ends the context that it was made with, and all contexts derived from that one.
///
/// Clones end the same context. Dropping it does nothing: the context then ends by its deadline, or
/// with its parent. [`on_drop`](Cancel::on_drop) is the `defer cancel()` of a function that should
/// leave nothing running.
///
/// # Examples
/// ```
/// use narrowboat::context::{background, with_cancel};
///
/// let (ctx, cancel) = with_cancel(&background());
/// cancel.cancel();
/// assert!(ctx.is_done());
/// ```
#[derive(Clone)]
pub struct Cancel {
    pub(super) scope: Arc<Scope>,
}

impl Cancel {
    /// Ends the context, with [`Error::Canceled`]. When this returns, the context and all contexts
    /// derived from it are done, even if another call is ending them at the same time. Contexts
    /// that were done before do not change.
    ///
    /// Takes time in proportion to the number of derived contexts that are alive. It does not wait
    /// for the work in them to end.
    ///
    /// # Examples
    /// ```
    /// use narrowboat::context::{Error, background, with_cancel};
    ///
    /// let (ctx, cancel) = with_cancel(&background());
    /// let (child, _cancel) = with_cancel(&ctx);
    /// cancel.cancel();
    /// cancel.cancel(); // changes nothing
    /// assert_eq!(child.err(), Some(Error::Canceled));
    /// ```
    pub fn cancel(&self) {
        checkpoint();
        self.scope.cancel(None);
    }

    /// As [`cancel`](Cancel::cancel), with a cause.
    ///
    /// # Examples
    /// ```
    /// use narrowboat::context::{background, with_cancel};
    /// use std::io;
    ///
    /// let (ctx, cancel) = with_cancel(&background());
    /// cancel.cancel_with(io::Error::other("disk full"));
    /// cancel.cancel_with("too late to change it");
    /// let cause = ctx.cause().unwrap();
    /// assert_eq!(cause.to_string(), "disk full");
    /// assert!(cause.is::<io::Error>());
    /// ```
    pub fn cancel_with(&self, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) {
        checkpoint();
        self.scope.cancel(Some(Cause::from(cause.into())));
    }

    /// Returns a guard that ends the context when it is dropped: at the end of the block, at a
    /// `return` or `?`, or by a panic.
    ///
    /// # Examples
    /// ```
    /// use narrowboat::context::{Context, background, with_cancel};
    ///
    /// fn first_try(parent: &Context) -> Context {
    ///     let (ctx, cancel) = with_cancel(parent);
    ///     let _cancel = cancel.on_drop();
    ///     assert!(!ctx.is_done());
    ///     ctx
    /// }
    /// assert!(first_try(&background()).is_done());
    /// ```
    pub fn on_drop(&self) -> CancelOnDrop {
        CancelOnDrop(self.clone())
    }
}

// For the same reason as `Context`.
impl UnwindSafe for Cancel {}
impl RefUnwindSafe for Cancel {}

impl fmt::Debug for Cancel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let err: Option<Error> = self.scope.end().map(|end| end.error);
        f.debug_struct("Cancel").field("err", &err).finish_non_exhaustive()
    }
}

/// Ends a context when it is dropped; from [`Cancel::on_drop`].
///
/// # Examples
/// ```
/// use narrowboat::context::{background, with_cancel};
///
/// let (ctx, cancel) = with_cancel(&background());
/// let guard = cancel.on_drop();
/// drop(guard);
/// assert!(ctx.is_done());
/// ```
#[must_use = "dropped at once, it ends the context at once; bind it to a name: `let _cancel = ..`"]
#[derive(Debug)]
pub struct CancelOnDrop(Cancel);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.scope.cancel(None);
    }
}
