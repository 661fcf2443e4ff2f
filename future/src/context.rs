//! The context in which futures are polled and dropped: tokio's with the feature `tokio`, else none.

/// Calls `poll` in the context of a tokio runtime, with the feature `tokio`.
#[cfg(feature = "tokio")]
pub(crate) use crate::tokio::in_context;

#[cfg(not(feature = "tokio"))]
pub(crate) fn in_context<R>(poll: impl FnOnce() -> R) -> R {
    poll()
}
