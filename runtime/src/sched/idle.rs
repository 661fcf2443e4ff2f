//! Which workers sleep, and when one is woken: no wake-up is lost, and no crowd of workers wakes
//! for one piece of work. This file has the counters and the decision; `appoint` in [`super`] wakes,
//! and [`super::sleepers`] has the list.
//!
//! At most one worker at a time **searches** for queued work; the others run or sleep. A thread
//! that queues work wakes a sleeper only if there is no searcher, because a searcher will find it.
//!
//! To queue work:
//!
//! 1. Put the work where a searcher looks.
//! 2. Fence. If there is a sleeper and no searcher, raise `searching` from 0 to 1: the thread that
//!    does so must appoint one.
//! 3. Take a sleeper off the list and wake it: it is now the searcher. If the list turns out to be
//!    empty, lower `searching` again, and go back to 2: meanwhile another thread may have queued
//!    work and left it to the searcher that there seemed to be, while a worker fell asleep.
//!
//! When a worker runs out of work:
//!
//! 4. A worker that was appointed, or that appointed itself (`searching` from 0 to 1), looks
//!    everywhere.
//! 5. If it finds something, it lowers `searching`, fences, and does steps 2 and 3 if there is
//!    anything else; then it runs.
//! 6. If not, it puts itself on the list of sleepers, lowers `searching`, fences, and looks
//!    everywhere once more. If there is something now, it takes itself off the list again and goes
//!    to 4. If it is no longer on the list, another thread has appointed it: it goes to 4 as the
//!    searcher.
//! 7. It sleeps until it is appointed or its alarm goes off.
//!
//! Why no work is lost: suppose work is queued (1) and the thread that queued it sees a searcher,
//! or no sleeper (2). That look comes before a worker or thread lowers `searching` (3, 5, 6) or
//! enters the list (6). Whichever does that looks again afterwards, so it sees the work, or in 3
//! the sleeper. Each side stores to one location and then loads from the other's, hence the fence
//! on each side.

use crate::shim::{AtomicUsize, Ordering, fence};

/// The two counts of the protocol. The list of sleepers itself is in [`super::sleepers`].
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

    /// Whether a searcher could be appointed at all: a cheap look without the fence, for wake-ups
    /// that can wait.
    #[inline]
    pub(crate) fn could_appoint(&self) -> bool {
        self.sleeping.load(Ordering::Relaxed) != 0 && self.searching.load(Ordering::Relaxed) == 0
    }

    /// Raises `searching` from 0 to 1. Acquire pairs with the release in `lower`, so that each
    /// searcher sees what the last one did to the queues.
    pub(crate) fn become_searcher(&self) -> bool {
        self.searching.load(Ordering::Relaxed) == 0
            && self.searching.compare_exchange(0, 1, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    fn lower(&self) {
        let before = self.searching.fetch_sub(1, Ordering::Release);
        debug_assert_eq!(before, 1);
    }

    /// Lowers `searching` in steps 3 and 5. The caller looks again after this, so the fence is
    /// between the two.
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

    /// A sleeper has left the list: by itself, or another thread took it off.
    pub(crate) fn retract_sleep(&self) {
        self.sleeping.fetch_sub(1, Ordering::Release);
    }

    /// How many workers sleep. Acquire pairs with the release above: what a worker did before it
    /// left the list is seen.
    pub(crate) fn sleeping(&self) -> usize {
        self.sleeping.load(Ordering::Acquire)
    }
}

#[cfg(all(test, any(loom, narrowboat_threads)))]
mod models {
    use super::*;
    use loom::sync::{Arc, Condvar, Mutex};
    use loom::thread;

    #[derive(PartialEq)]
    enum SleepState {
        Awake,
        Asleep,
        Appointed,
    }

    /// One worker's entry in the list of sleepers.
    struct Sleeper {
        state: SleepState,
        alarm: Arc<Condvar>,
    }

    /// Work that any thread may add and only workers take, and the list of sleepers.
    struct Shared {
        idle: Idle,
        work: AtomicUsize,
        sleepers: Mutex<Vec<Sleeper>>,
    }

    impl Shared {
        fn new(workers: usize) -> Arc<Shared> {
            let sleeper = |_| Sleeper { state: SleepState::Awake, alarm: Arc::new(Condvar::new()) };
            Arc::new(Shared {
                idle: Idle::new(),
                work: AtomicUsize::new(0),
                sleepers: Mutex::new((0..workers).map(sleeper).collect()),
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
            let mut sleepers = self.sleepers.lock().unwrap();
            let Some(sleeper) = sleepers.iter_mut().find(|sleeper| sleeper.state == SleepState::Asleep)
            else {
                return false;
            };
            sleeper.state = SleepState::Appointed;
            self.idle.retract_sleep();
            sleeper.alarm.notify_one();
            true
        }

        fn take_work(&self) -> bool {
            self.work.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)).is_ok()
        }

        /// A worker, until it has found `total` pieces of work. It does not return to the loop
        /// after the last, so that no other worker's piece is left to it. A lost wake-up leaves a
        /// worker asleep for ever, which loom reports.
        fn worker(&self, me: usize, total: usize) {
            let mut found = 0;
            let mut searching = false;
            loop {
                // Step 4: appointed, or by itself. Both look in the same places.
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
            self.sleepers.lock().unwrap()[me].state = SleepState::Asleep;
            self.idle.announce_sleep(searching);
        }

        /// Step 6, second half, and 7: true if the worker has been made the searcher.
        fn sleep(&self, me: usize) -> bool {
            let sees_work = self.work.load(Ordering::Relaxed) > 0;
            let mut sleepers = self.sleepers.lock().unwrap();
            if sees_work && sleepers[me].state == SleepState::Asleep {
                sleepers[me].state = SleepState::Awake;
                self.idle.retract_sleep();
                return false;
            }
            let alarm = sleepers[me].alarm.clone();
            while sleepers[me].state == SleepState::Asleep {
                sleepers = alarm.wait(sleepers).unwrap();
            }
            sleepers[me].state = SleepState::Awake;
            true
        }
    }

    /// Without the bound a model would run for hours.
    fn bounded(preemptions: usize) -> loom::model::Builder {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(preemptions);
        model
    }

    /// A worker goes to sleep while a plain thread queues two pieces of work: the worker does both.
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
            assert!(shared.idle.become_searcher(), "no searcher is left");
        });
    }

    /// A plain thread queues two pieces of work, and each of two workers does one and never
    /// returns: the worker that finds the first makes sure that the other wakes for the second.
    #[test]
    fn loom_a_worker_that_finds_work_appoints_a_searcher_for_the_rest() {
        bounded(2).check(|| {
            let shared = Shared::new(2);
            let workers = [0, 1].map(|me| {
                let shared = shared.clone();
                thread::spawn(move || shared.worker(me, 1))
            });
            shared.queue_work();
            shared.queue_work();
            workers.into_iter().for_each(|worker| worker.join().unwrap());
            assert!(shared.idle.become_searcher(), "no searcher is left");
        });
    }

    /// Two plain threads submit work. The worker has just announced its sleep, sees the first piece
    /// of work by itself and falls asleep again, so the first thread appoints no worker. The second
    /// thread must not rely on a searcher then.
    #[test]
    fn loom_an_appointer_that_finds_no_sleeper_looks_for_work_again() {
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
            assert!(shared.idle.become_searcher(), "no searcher is left");
        });
    }
}
