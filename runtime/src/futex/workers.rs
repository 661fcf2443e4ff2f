//! Threads that carry a processor and wait for a word in the kernel.
//!
//! A goroutine that is woken may belong to such a processor, and would then never run to hand the
//! wake-up on: the loop takes std's backtrace lock for a dump, and so do goroutines. So where
//! goroutines have used a wake-up up, these threads are woken too, look at the word themselves, and
//! wait again if they must.
//!
//! # The protocol
//! 1. The thread counts itself among those that wait, and fences. It calls the kernel, which looks
//!    at the word and does not wait if it has changed.
//! 2. A waker has changed the word. Where goroutines have used its number up, it fences and looks
//!    at the count.
//! 3. Unless that is zero, it wakes all that wait for the word in the kernel: which of them are
//!    workers is not known.
//! 4. The thread is back from the kernel, and counts itself out.
//!
//! No worker sleeps on: the count of 1 is written before the word is read, and the word of 2 is
//! written before the count is read, with a sequentially consistent fence between the two on either
//! side. So either the kernel sees the changed word, or the waker sees the count; and the kernel
//! loses no wake-up that comes while it looks.

use crate::shim::{AtomicUsize, Ordering, fence};

/// How many threads that carry a processor wait in the kernel.
pub(super) struct Workers(AtomicUsize);

/// One of them.
pub(super) struct InKernel<'a>(&'a Workers);

/// Those of this process.
#[cfg(not(loom))]
pub(super) fn workers() -> &'static Workers {
    static WORKERS: Workers = Workers(AtomicUsize::new(0));
    &WORKERS
}

#[cfg(loom)]
pub(super) fn workers() -> &'static Workers {
    unreachable!("a model has workers of its own")
}

impl Workers {
    /// Step 1: the caller carries a processor and calls the kernel next, as long as it has this.
    pub(super) fn begin(&self) -> InKernel<'_> {
        // Relaxed: the fence orders it before the kernel's look at the word.
        self.0.fetch_add(1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        InKernel(self)
    }

    /// Step 2: whether there may be some to be woken besides.
    pub(super) fn wait(&self) -> bool {
        fence(Ordering::SeqCst);
        // Relaxed: the fence orders it after the change of the word.
        self.0.load(Ordering::Relaxed) != 0
    }
}

impl Drop for InKernel<'_> {
    /// Step 4.
    fn drop(&mut self) {
        // Relaxed: one that is counted for too long costs a system call.
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(all(test, loom))]
mod models {
    use super::*;
    use crate::shim::{AtomicBool, AtomicU32, Mutex, Sleeper};
    use loom::sync::Arc;
    use loom::thread;

    type Sleeping = (Sleeper, Arc<AtomicBool>);

    struct Shared {
        workers: Workers,
        word: AtomicU32,
        /// The kernel's queue of the word, whose lock is the one under which the kernel looks at
        /// the word.
        kernel: Mutex<Vec<Sleeping>>,
    }

    impl Shared {
        fn new() -> Arc<Shared> {
            let (workers, word) = (Workers(AtomicUsize::new(0)), AtomicU32::new(0));
            Arc::new(Shared { workers, word, kernel: Mutex::new(Vec::new()) })
        }

        /// As a worker waits until the word is no longer 0.
        fn wait(&self) {
            while self.word.load(Ordering::Relaxed) == 0 {
                let _counted = self.workers.begin();
                let woken = Arc::new(AtomicBool::new(false));
                let mut queue = self.kernel.lock().unwrap();
                if self.word.load(Ordering::Relaxed) != 0 {
                    return;
                }
                let sleeper = Sleeper::current();
                queue.push((sleeper.clone(), woken.clone()));
                drop(queue);
                while !woken.load(Ordering::Acquire) {
                    sleeper.sleep();
                }
            }
        }

        /// As a waker whose number has been used up.
        fn set(&self) {
            self.word.store(1, Ordering::Relaxed);
            if self.workers.wait() {
                for (sleeper, woken) in self.kernel.lock().unwrap().drain(..) {
                    woken.store(true, Ordering::Release);
                    sleeper.call();
                }
            }
        }
    }

    /// A worker waits in the kernel, and a goroutine takes the only wake-up.
    #[test]
    fn loom_a_worker_is_woken_besides() {
        loom::model(|| {
            let shared = Shared::new();
            let waker = {
                let shared = shared.clone();
                thread::spawn(move || shared.set())
            };
            shared.wait();
            waker.join().unwrap();
            assert!(!shared.workers.wait());
        });
    }

    /// Two of them.
    #[test]
    fn loom_all_workers_are_woken_besides() {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(3);
        model.check(|| {
            let shared = Shared::new();
            let others = [(); 2].map(|()| {
                let shared = shared.clone();
                thread::spawn(move || shared.wait())
            });
            shared.set();
            others.into_iter().for_each(|other| other.join().unwrap());
        });
    }
}
