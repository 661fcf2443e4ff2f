//! The primitives of the protocols: std's, or loom's in a model.

#[cfg(not(loom))]
pub(crate) use narrowboat_runtime::lock::Mutex;
#[cfg(not(loom))]
pub(crate) use std::sync::{
    MutexGuard,
    atomic::{AtomicU32, AtomicUsize, Ordering},
};

#[cfg(loom)]
pub(crate) use loom::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicU32, AtomicUsize, Ordering},
};

/// A constructor that is `const`, except under loom, where atomics have no `const` constructor.
macro_rules! const_fn {
    ($(#[$attribute:meta])* $vis:vis fn $($rest:tt)*) => {
        #[cfg(not(loom))]
        $(#[$attribute])* $vis const fn $($rest)*
        #[cfg(loom)]
        $(#[$attribute])* $vis fn $($rest)*
    };
}
pub(crate) use const_fn;

/// Microseconds since an arbitrary moment, wrapping when they no longer fit.
#[cfg(not(any(loom, all(test, narrowboat_threads))))]
pub(crate) fn micros() -> usize {
    use narrowboat_runtime::world;

    world::now().saturating_duration_since(world::epoch()).as_micros() as usize
}

/// The time of a model stands still, or advances by a [`stride`](model_time::set_stride) at every
/// call.
#[cfg(any(loom, all(test, narrowboat_threads)))]
pub(crate) fn micros() -> usize {
    model_time::look()
}

#[cfg(all(test, narrowboat_threads))]
pub(crate) mod model_time {
    use std::sync::atomic::{AtomicUsize, Ordering};

    // Of all threads of a model, so these models run one by one. Relaxed: they order nothing.
    static NOW: AtomicUsize = AtomicUsize::new(0);
    static STRIDE: AtomicUsize = AtomicUsize::new(0);

    pub(crate) fn set_stride(micros: usize) {
        STRIDE.store(micros, Ordering::Relaxed);
    }

    pub(super) fn look() -> usize {
        let stride = STRIDE.load(Ordering::Relaxed);
        NOW.fetch_add(stride, Ordering::Relaxed).wrapping_add(stride)
    }
}

#[cfg(loom)]
pub(crate) mod model_time {
    use std::cell::Cell;

    // std's thread-locals, not loom's: one thread runs all threads of a model.
    std::thread_local! {
        static NOW: Cell<usize> = const { Cell::new(0) };
        static STRIDE: Cell<usize> = const { Cell::new(0) };
    }

    #[cfg(test)]
    pub(crate) fn set_stride(micros: usize) {
        STRIDE.set(micros);
    }

    pub(super) fn look() -> usize {
        NOW.set(NOW.get().wrapping_add(STRIDE.get()));
        NOW.get()
    }
}
