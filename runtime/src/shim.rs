//! The atomics of the lock-free protocols, exchanged for loom's when a model runs them.
//!
//! Only the modules that hold a protocol (claim, inbox, processor state, deadlines, idle, join) use these names; everything
//! else uses std directly, because loom never executes it.

#[cfg(not(loom))]
pub(crate) use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};

#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};
