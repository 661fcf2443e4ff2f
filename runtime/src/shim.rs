//! The primitives of the lock-free protocols, replaced by loom's when a model runs them.
//!
//! Only the modules that hold a protocol (claim, a thread's park, inbox, deadlines, idle, join,
//! scope) use these names; everything else uses std directly, because loom never executes it.

#[cfg(not(loom))]
pub(crate) use std::sync::atomic::{
    AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
};

#[cfg(loom)]
pub(crate) use loom::sync::atomic::{
    AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
};

#[cfg(not(loom))]
pub(crate) use crate::lock::Mutex;
#[cfg(loom)]
pub(crate) use loom::sync::{Mutex, MutexGuard};
#[cfg(not(loom))]
pub(crate) use std::sync::MutexGuard;

pub(crate) use sleep::Sleeper;

#[cfg(not(loom))]
mod sleep {
    use std::thread::Thread;
    use std::time::Instant;

    /// A thread that can sleep and be called. A call that comes while it is awake is kept for its
    /// next sleep.
    #[derive(Clone)]
    pub(crate) struct Sleeper(Thread);

    impl Sleeper {
        pub(crate) fn current() -> Sleeper {
            Sleeper(std::thread::current())
        }

        /// Sleeps until it is called, or for a shorter time without a reason. Only the thread
        /// itself calls this.
        pub(crate) fn sleep(&self) {
            std::thread::park();
        }

        /// As `sleep`, but not longer than until `deadline`. False if that has passed already.
        pub(crate) fn sleep_until(&self, deadline: Instant) -> bool {
            let now = Instant::now();
            let early = now < deadline;
            if early {
                std::thread::park_timeout(deadline - now);
            }
            early
        }

        pub(crate) fn call(&self) {
            self.0.unpark();
        }
    }
}

#[cfg(loom)]
mod sleep {
    use loom::sync::{Condvar, Mutex};
    use std::sync::Arc;
    use std::time::Instant;

    /// As without loom. Loom's own `unpark` also wakes a thread that is blocked in a lock, so this
    /// has a flag and a condition instead.
    #[derive(Clone)]
    pub(crate) struct Sleeper(Arc<(Mutex<bool>, Condvar)>);

    impl Sleeper {
        pub(crate) fn current() -> Sleeper {
            Sleeper(Arc::new((Mutex::new(false), Condvar::new())))
        }

        pub(crate) fn sleep(&self) {
            let mut called = self.0.0.lock().unwrap();
            while !*called {
                called = self.0.1.wait(called).unwrap();
            }
            *called = false;
        }

        /// A model has no clock: a deadline passes at once when a thread sleeps until it. Loom
        /// tries both orders of the deadline and the wake-up.
        pub(crate) fn sleep_until(&self, _deadline: Instant) -> bool {
            false
        }

        pub(crate) fn call(&self) {
            *self.0.0.lock().unwrap() = true;
            self.0.1.notify_one();
        }
    }
}

/// Separates a sequentially consistent exchange from a sequentially consistent load of another
/// location. The language orders the two without it. Loom treats such operations as acquire and
/// release, and only knows fences.
#[inline(always)]
pub(crate) fn fence_for_model() {
    #[cfg(loom)]
    fence(Ordering::SeqCst);
}
