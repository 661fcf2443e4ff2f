//! What the protocol of readiness stands on, exchanged for loom's where a model runs it.

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
