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
#[cfg(not(loom))]
pub(crate) fn micros() -> usize {
    use narrowboat_runtime::world;

    world::now().saturating_duration_since(world::epoch()).as_micros() as usize
}

/// The time of a model stands still, or advances by a [`stride`](model_time::set_stride) at every
/// call.
#[cfg(loom)]
pub(crate) fn micros() -> usize {
    model_time::look()
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
