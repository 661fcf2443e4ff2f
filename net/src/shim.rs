//! The primitives of the readiness protocol: std's, or loom's in a model.

#[cfg(not(loom))]
pub(crate) use narrowboat_runtime::lock::Mutex;
#[cfg(not(loom))]
pub(crate) use std::sync::{
    MutexGuard,
    atomic::{AtomicU64, Ordering},
};

#[cfg(loom)]
pub(crate) use loom::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicU64, Ordering},
};
