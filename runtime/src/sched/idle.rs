//! Which workers sleep, and who wakes one: no wake-up lost, and no herd.
//!
//! At most one worker at a time **searches** for work that somebody queued; the others either run or sleep. Whoever
//! queues work wakes a sleeper only if nobody searches, because the searcher will find it.
//!
//! Queueing work, step by step:
//!
//! 1. Put the work where a searcher looks.
//! 2. Fence. If somebody sleeps and nobody searches, become the one who appoints: raise `searching` from 0 to 1.
//! 3. Take a sleeper off the list and wake it: it is now the searcher. If the list is empty after all, lower
//!    `searching` again.
//!
//! Running out of work, step by step:
//!
//! 4. A worker that was appointed, or that appointed itself (`searching` from 0 to 1), looks everywhere.
//! 5. If it finds something it lowers `searching`, and does steps 2 and 3 for whatever else there may be; then it runs.
//! 6. If not, it puts itself on the list of sleepers, lowers `searching`, fences, and looks everywhere once more.
//!    If something is there now, it takes itself off the list again and goes to 4. If it is not on the list any
//!    more, somebody has appointed it: it goes to 4 as the searcher.
//! 7. It sleeps until it is appointed or its time comes.
//!
//! Why nothing is lost: let work be queued (1) and its queuer see a searcher, or no sleeper (2). That look comes before
//! some worker lowers `searching` or enters the list in 6, and that worker's second look comes after, so it sees
//! the work: one side's store-then-load of two locations against the other's, hence the two fences.

use crate::shim::{AtomicUsize, Ordering, fence};

/// The two counts of the protocol. The list of sleepers itself stands in [`super::sleepers`].
pub(crate) struct Idle {
    searching: AtomicUsize,
    sleeping: AtomicUsize,
}

impl Idle {
    pub(crate) fn new() -> Idle {
        Idle { searching: AtomicUsize::new(0), sleeping: AtomicUsize::new(0) }
    }

    /// Step 2: true if the caller must now appoint a sleeper, or start a worker if it `may_start` one.
    #[inline]
    pub(crate) fn should_appoint(&self, may_start: bool) -> bool {
        fence(Ordering::SeqCst);
        (may_start || self.sleeping.load(Ordering::Relaxed) != 0) && self.become_searcher()
    }

    /// Whether appointing would be possible at all: a cheap look without the fence, for wake-ups that may wait.
    #[inline]
    pub(crate) fn somebody_could_search(&self) -> bool {
        self.sleeping.load(Ordering::Relaxed) != 0 && self.searching.load(Ordering::Relaxed) == 0
    }

    /// Raises `searching` from 0 to 1. Acquire pairs with the release in `stop_searching`, so that one searcher sees
    /// what the last one did to the queues.
    pub(crate) fn become_searcher(&self) -> bool {
        self.searching.load(Ordering::Relaxed) == 0
            && self.searching.compare_exchange(0, 1, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Lowers `searching`.
    pub(crate) fn stop_searching(&self) {
        let before = self.searching.fetch_sub(1, Ordering::Release);
        debug_assert_eq!(before, 1);
    }

    /// Step 6, first half. The caller is on the list, and looks everywhere after this.
    pub(crate) fn announce_sleep(&self, was_searching: bool) {
        self.sleeping.fetch_add(1, Ordering::Relaxed);
        if was_searching {
            self.stop_searching();
        }
        fence(Ordering::SeqCst);
    }

    /// A sleeper has left the list, by itself or taken off by someone.
    pub(crate) fn retract_sleep(&self) {
        self.sleeping.fetch_sub(1, Ordering::Release);
    }

    /// How many sleep. Acquire pairs with the release above: what a worker did before it left the list is seen.
    pub(crate) fn sleeping(&self) -> usize {
        self.sleeping.load(Ordering::Acquire)
    }
}

#[cfg(all(test, loom))]
mod models {
    use super::*;
    use loom::sync::{Arc, Condvar, Mutex};
    use loom::thread;

    #[derive(PartialEq)]
    enum Bed {
        Awake,
        Asleep,
        Appointed,
    }

    struct Shared {
        idle: Idle,
        work: AtomicUsize,
        bed: Mutex<Bed>,
        alarm: Condvar,
    }

    impl Shared {
        fn queue_work(&self) {
            self.work.fetch_add(1, Ordering::Relaxed);
            if self.idle.should_appoint(false) {
                let mut bed = self.bed.lock().unwrap();
                if *bed == Bed::Asleep {
                    *bed = Bed::Appointed;
                    self.idle.retract_sleep();
                    self.alarm.notify_one();
                } else {
                    self.idle.stop_searching();
                }
            }
        }

        fn take_work(&self) -> bool {
            self.work.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)).is_ok()
        }

        /// One worker, until `total` pieces are done. A lost wake-up leaves it asleep, which loom reports.
        fn worker(&self, total: usize) {
            let mut done = 0;
            let mut searching = false;
            while done < total {
                if self.take_work() {
                    if std::mem::take(&mut searching) {
                        self.idle.stop_searching();
                    }
                    done += 1;
                    continue;
                }
                *self.bed.lock().unwrap() = Bed::Asleep;
                self.idle.announce_sleep(std::mem::take(&mut searching));
                let mut bed = self.bed.lock().unwrap();
                if self.work.load(Ordering::Relaxed) > 0 && *bed == Bed::Asleep {
                    *bed = Bed::Awake;
                    self.idle.retract_sleep();
                    continue;
                }
                while *bed == Bed::Asleep {
                    bed = self.alarm.wait(bed).unwrap();
                }
                *bed = Bed::Awake;
                searching = true;
            }
            if searching {
                self.idle.stop_searching();
            }
        }
    }

    /// A worker going to sleep against two pieces of work queued by another thread: it does both.
    #[test]
    fn loom_work_queued_while_falling_asleep_is_found() {
        loom::model(|| {
            let shared = Arc::new(Shared {
                idle: Idle::new(),
                work: AtomicUsize::new(0),
                bed: Mutex::new(Bed::Awake),
                alarm: Condvar::new(),
            });
            let worker = {
                let shared = shared.clone();
                thread::spawn(move || shared.worker(2))
            };
            shared.queue_work();
            shared.queue_work();
            worker.join().unwrap();
        });
    }
}
