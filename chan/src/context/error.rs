//! Why a context is done, and the cause that a program gives.

use std::fmt;
use std::sync::Arc;

/// The cause of the end of a context: any error, shared.
///
/// ```
/// use narrowboat::context::{Cause, background, with_cancel};
///
/// let (ctx, cancel) = with_cancel(&background());
/// cancel.cancel_with("the cable was cut");
/// let cause: Cause = ctx.cause().unwrap();
/// assert_eq!(cause.to_string(), "the cable was cut");
/// ```
pub type Cause = Arc<dyn std::error::Error + Send + Sync>;

/// Why a context is done.
///
/// # Examples
/// ```
/// use narrowboat::context::Error;
///
/// assert_eq!(Error::Canceled.to_string(), "context canceled");
/// assert_eq!(Error::DeadlineExceeded.to_string(), "context deadline exceeded");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Error {
    /// The context, or one that it was derived from, was cancelled.
    Canceled,
    /// The deadline of the context has passed.
    DeadlineExceeded,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Error::Canceled => "context canceled",
            Error::DeadlineExceeded => "context deadline exceeded",
        })
    }
}

impl std::error::Error for Error {}
