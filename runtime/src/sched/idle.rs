//! Which workers sleep, and who wakes one: no wake-up lost, and no herd.
//!
//! At most one worker at a time **searches** for work that somebody queued; the others either run
//! or sleep. Whoever queues work wakes a sleeper only if nobody searches, because the searcher will
//! find it.
//!
//! Queueing work, step by step:
//!
//! 1. Put the work where a searcher looks.
//! 2. Fence. If somebody sleeps and nobody searches, become the one who appoints: raise `searching`
//!    from 0 to 1.
//! 3. Take a sleeper off the list and wake it: it is now the searcher. If the list is empty after
//!    all, lower `searching` again, and go back to 2: others may have queued work meanwhile and
//!    left it to the searcher there seemed to be, while somebody fell asleep.
//!
//! Running out of work, step by step:
//!
//! 4. A worker that was appointed, or that appointed itself (`searching` from 0 to 1), looks
//!    everywhere.
//! 5. If it finds something it lowers `searching`, fences, and does steps 2 and 3 if there is
//!    anything else; then it runs.
//! 6. If not, it puts itself on the list of sleepers, lowers `searching`, fences, and looks
//!    everywhere once more. If something is there now, it takes itself off the list again and goes
//!    to 4. If it is not on the list any more, somebody has appointed it: it goes to 4 as the
//!    searcher.
//! 7. It sleeps until it is appointed or its time comes.
//!
//! Why nothing is lost: let work be queued (1) and its queuer see a searcher, or no sleeper (2).
//! That look comes before somebody lowers `searching` (3, 5, 6) or enters the list (6), and whoever
//! does that looks again afterwards, so it sees the work, or in 3 the sleeper: one side's
//! store-then-load of two locations against the other's, hence a fence on each side.

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

    /// Step 2: true if the caller must now appoint a sleeper, or start a worker if it `may_start`
    /// one.
    #[inline]
    pub(crate) fn should_appoint(&self, may_start: bool) -> bool {
        fence(Ordering::SeqCst);
        (may_start || self.sleeping.load(Ordering::Relaxed) != 0) && self.become_searcher()
    }

    /// Whether appointing would be possible at all: a cheap look without the fence, for wake-ups
    /// that may wait.
    #[inline]
    pub(crate) fn somebody_could_search(&self) -> bool {
        self.sleeping.load(Ordering::Relaxed) != 0 && self.searching.load(Ordering::Relaxed) == 0
    }

    /// Raises `searching` from 0 to 1. Acquire pairs with the release in `lower`, so that one
    /// searcher sees what the last one did to the queues.
    pub(crate) fn become_searcher(&self) -> bool {
        self.searching.load(Ordering::Relaxed) == 0
            && self.searching.compare_exchange(0, 1, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    fn lower(&self) {
        let before = self.searching.fetch_sub(1, Ordering::Release);
        debug_assert_eq!(before, 1);
    }

    /// Lowers `searching` in steps 3 and 5. The caller looks again after this: the fence is between
    /// the two.
    pub(crate) fn stop_searching(&self) {
        self.lower();
        fence(Ordering::SeqCst);
    }

    /// Step 6, first half. The caller is on the list, and looks everywhere after this.
    pub(crate) fn announce_sleep(&self, was_searching: bool) {
        self.sleeping.fetch_add(1, Ordering::Relaxed);
        if was_searching {
            self.lower();
        }
        fence(Ordering::SeqCst);
    }

    /// A sleeper has left the list, by itself or taken off by someone.
    pub(crate) fn retract_sleep(&self) {
        self.sleeping.fetch_sub(1, Ordering::Release);
    }

    /// How many sleep. Acquire pairs with the release above: what a worker did before it left the
    /// list is seen.
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

    /// One worker's place on the list of sleepers.
    struct Berth {
        bed: Bed,
        alarm: Arc<Condvar>,
    }

    /// Work that anybody may put in and only workers take, and the list of sleepers.
    struct Shared {
        idle: Idle,
        work: AtomicUsize,
        berths: Mutex<Vec<Berth>>,
    }

    impl Shared {
        fn new(workers: usize) -> Arc<Shared> {
            let berth = |_| Berth { bed: Bed::Awake, alarm: Arc::new(Condvar::new()) };
            Arc::new(Shared {
                idle: Idle::new(),
                work: AtomicUsize::new(0),
                berths: Mutex::new((0..workers).map(berth).collect()),
            })
        }

        /// Steps 1 to 3, as a plain thread or a worker does them.
        fn queue_work(&self) {
            self.work.fetch_add(1, Ordering::Relaxed);
            self.appoint();
        }

        /// Steps 2 and 3.
        fn appoint(&self) {
            let mut appointing = self.idle.should_appoint(false);
            while appointing && !(self.idle.sleeping() > 0 && self.appoint_one()) {
                self.idle.stop_searching();
                appointing = self.idle.should_appoint(false);
            }
        }

        fn appoint_one(&self) -> bool {
            let mut berths = self.berths.lock().unwrap();
            let Some(berth) = berths.iter_mut().find(|berth| berth.bed == Bed::Asleep) else { return false };
            berth.bed = Bed::Appointed;
            self.idle.retract_sleep();
            berth.alarm.notify_one();
            true
        }

        fn take_work(&self) -> bool {
            self.work.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)).is_ok()
        }

        /// A worker until it has found `total` pieces of work. It never comes back from the last,
        /// so that nobody else's is left to it. A lost wake-up leaves a worker asleep for ever,
        /// which loom reports.
        fn worker(&self, me: usize, total: usize) {
            let mut found = 0;
            let mut searching = false;
            loop {
                // Step 4: appointed, or by itself. The look around is the same as the one before.
                let look = self.take_work() || {
                    searching = searching || self.idle.become_searcher();
                    searching && self.take_work()
                };
                if look {
                    // Step 5.
                    if std::mem::take(&mut searching) {
                        self.idle.stop_searching();
                    }
                    if self.work.load(Ordering::Relaxed) > 0 {
                        self.appoint();
                    }
                    found += 1;
                    if found == total {
                        return;
                    }
                } else {
                    self.enter(me, std::mem::take(&mut searching));
                    searching = self.sleep(me);
                }
            }
        }

        /// Step 6, first half.
        fn enter(&self, me: usize, searching: bool) {
            self.berths.lock().unwrap()[me].bed = Bed::Asleep;
            self.idle.announce_sleep(searching);
        }

        /// Step 6, second half, and 7: true if the worker has been made the searcher.
        fn sleep(&self, me: usize) -> bool {
            let sees_work = self.work.load(Ordering::Relaxed) > 0;
            let mut berths = self.berths.lock().unwrap();
            if sees_work && berths[me].bed == Bed::Asleep {
                berths[me].bed = Bed::Awake;
                self.idle.retract_sleep();
                return false;
            }
            let alarm = berths[me].alarm.clone();
            while berths[me].bed == Bed::Asleep {
                berths = alarm.wait(berths).unwrap();
            }
            berths[me].bed = Bed::Awake;
            true
        }
    }

    /// All of it would take hours.
    fn bounded(preemptions: usize) -> loom::model::Builder {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(preemptions);
        model
    }

    /// A worker going to sleep against two pieces of work queued by a plain thread: it does both.
    #[test]
    fn loom_work_queued_while_falling_asleep_is_found() {
        bounded(4).check(|| {
            let shared = Shared::new(1);
            let worker = {
                let shared = shared.clone();
                thread::spawn(move || shared.worker(0, 2))
            };
            shared.queue_work();
            shared.queue_work();
            worker.join().unwrap();
            assert!(shared.idle.become_searcher(), "nobody searches any more");
        });
    }

    /// Two pieces of work queued by a plain thread, and two workers of whom each does one for ever:
    /// the one that finds the first sees to it that the other gets up for the second.
    #[test]
    fn loom_who_finds_work_has_somebody_look_for_the_rest() {
        bounded(2).check(|| {
            let shared = Shared::new(2);
            let workers = [0, 1].map(|me| {
                let shared = shared.clone();
                thread::spawn(move || shared.worker(me, 1))
            });
            shared.queue_work();
            shared.queue_work();
            workers.into_iter().for_each(|worker| worker.join().unwrap());
            assert!(shared.idle.become_searcher(), "nobody searches any more");
        });
    }

    /// Two plain threads that submit. The worker has just announced its sleep, sees the first piece
    /// of work by itself and falls asleep again, so that the first thread appoints nobody; the
    /// second must not rely on a searcher there.
    #[test]
    fn loom_who_appoints_nobody_looks_after_what_was_left_to_him() {
        bounded(3).check(|| {
            let shared = Shared::new(1);
            shared.enter(0, false);
            let worker = {
                let shared = shared.clone();
                thread::spawn(move || {
                    if shared.sleep(0) {
                        assert!(shared.take_work());
                        shared.idle.stop_searching();
                        return shared.worker(0, 1);
                    }
                    shared.worker(0, 2);
                })
            };
            let second = {
                let shared = shared.clone();
                thread::spawn(move || shared.queue_work())
            };
            shared.queue_work();
            worker.join().unwrap();
            second.join().unwrap();
            assert!(shared.idle.become_searcher(), "nobody searches any more");
        });
    }
}
