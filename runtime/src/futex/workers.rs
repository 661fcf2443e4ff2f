//! Threads that carry a processor and wait for a word in the kernel.
//!
//! A goroutine that is woken may belong to such a processor, and would then never run to pass the
//! wake-up on: the loop takes std's backtrace lock for a dump, and goroutines take it, too. So when
//! goroutines have used up a wake-up, these threads are also woken. They look at the word
//! themselves, and wait again if they must.
//!
//! # The protocol
//! 1. The thread counts itself as waiting, and fences. It calls the kernel, which looks at the word
//!    and does not wait if it has changed.
//! 2. A waker has changed the word. If goroutines have used up its number, it fences and looks at
//!    the count.
//! 3. Unless that is zero, it wakes all that wait for the word in the kernel, since it does not
//!    know which of them are workers.
//! 4. The thread returns from the kernel, and subtracts itself.
//!
//! No worker sleeps on: the count of 1 is written before the word is read, and the word of 2 is
//! written before the count is read, with a sequentially consistent fence between the two on either
//! side. So either the kernel sees the changed word, or the waker sees the count; and the kernel
//! loses no wake-up that comes while it looks.

use crate::shim::{AtomicUsize, Ordering, fence};

/// How many threads that carry a processor wait in the kernel.
pub(super) struct Workers(AtomicUsize);

/// Counts one such thread while it lives.
pub(super) struct InKernel<'a>(&'a Workers);

/// The count of this process.
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
    /// Step 1: the caller carries a processor, calls the kernel next, and keeps this while it is
    /// there.
    pub(super) fn begin(&self) -> InKernel<'_> {
        // Relaxed: the fence orders it before the kernel's look at the word.
        self.0.fetch_add(1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        InKernel(self)
    }

    /// Step 2: whether there may be some that must be woken as well.
    pub(super) fn wait(&self) -> bool {
        fence(Ordering::SeqCst);
        // Relaxed: the fence orders it after the change of the word.
        self.0.load(Ordering::Relaxed) != 0
    }
}

impl Drop for InKernel<'_> {
    /// Step 4.
    fn drop(&mut self) {
        // Relaxed: a thread that is counted for too long costs a system call.
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(all(test, any(loom, narrowboat_threads)))]
mod models {
    use super::*;
    use crate::shim::{AtomicBool, AtomicU32, Mutex, Sleeper};
    use loom::sync::Arc;
    use loom::thread;

    type Sleeping = (Sleeper, Arc<AtomicBool>);

    struct Shared {
        workers: Workers,
        word: AtomicU32,
        /// The kernel's queue of the word. The kernel looks at the word under this lock.
        kernel: Mutex<Vec<Sleeping>>,
    }

    impl Shared {
        fn new() -> Arc<Shared> {
            let (workers, word) = (Workers(AtomicUsize::new(0)), AtomicU32::new(0));
            Arc::new(Shared { workers, word, kernel: Mutex::new(Vec::new()) })
        }

        /// Waits as a worker does, until the word is no longer 0.
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

        /// Wakes as a waker does that has used its number up.
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

    /// The same with two workers.
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
