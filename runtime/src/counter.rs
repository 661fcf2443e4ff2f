//! A counter with one writer, which any thread may read.

use std::sync::atomic::{AtomicUsize, Ordering};

/// A counter that one thread at a time writes, with plain loads and stores.
#[derive(Default)]
pub(crate) struct OneWriter(AtomicUsize);

impl OneWriter {
    #[inline]
    pub(crate) fn add(&self, n: usize) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn set(&self, n: usize) {
        self.0.store(n, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}
