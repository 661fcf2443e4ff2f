//! What channels are made of, exchanged for loom's when a model runs them.
//!
//! The counts of an `Arc` are no protocol of ours, and timers are not modelled: they use std
//! directly.

#[cfg(not(loom))]
pub(crate) use narrowboat_runtime::lock::Mutex;
#[cfg(not(loom))]
pub(crate) use std::sync::{
    MutexGuard,
    atomic::{AtomicUsize, Ordering},
};

#[cfg(loom)]
pub(crate) use loom::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicUsize, Ordering},
};
