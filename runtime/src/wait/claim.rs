//! The word that decides which event ends a wait.
//!
//! A waiter may wait for several things at once: arms of a select, a deadline, a close. Exactly one
//! of them may end the wait. Only the code that ends the wait may hand over a value and wake the
//! waiter.
//!
//! The protocol, step by step:
//!
//! 1. The waiter stores `WAITING` before it publishes anything.
//! 2. It publishes its wait nodes, each under the lock of the queue that the node goes into.
//! 3. Code that wants to end the wait exchanges `WAITING` for an outcome. One exchange succeeds.
//! 4. The winner alone moves the value (if there is one) and then wakes the waiter, once.
//! 5. The waiter, once woken, reads the outcome.
//!
//! Orderings: step 1 may be relaxed, because the lock in step 2 publishes it. Step 3 acquires, so
//! that the winner sees the node that it is about to use even if it reached the waiter by another
//! way than the lock. It releases nothing by itself: the wake-up (the inbox, or the thread's own
//! `awake` word) publishes what the winner writes in step 4, and also orders step 5.

use crate::shim::{AtomicU32, Ordering};

/// How a wait ended. `0` and `1` are taken; the caller defines everything from [`Outcome::FIRST`]
/// on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Outcome(pub u32);

impl Outcome {
    /// The deadline passed first.
    pub const TIMED_OUT: Outcome = Outcome(1);
    /// The first value that is free for the caller's own meanings.
    pub const FIRST: u32 = 2;
}

const WAITING: u32 = 0;

pub(crate) struct Claim(AtomicU32);

impl Claim {
    pub(crate) fn new() -> Claim {
        Claim(AtomicU32::new(WAITING))
    }

    /// Step 1. Only the waiter itself calls this, and only while none of its nodes is published.
    pub(crate) fn begin(&self) {
        self.0.store(WAITING, Ordering::Relaxed);
    }

    /// Step 3 for a wait that several events may end.
    pub(crate) fn try_end(&self, outcome: Outcome) -> bool {
        debug_assert_ne!(outcome.0, WAITING);
        self.0.compare_exchange(WAITING, outcome.0, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    /// Step 3 for a wait that only the holder of one lock can end: there is no race.
    pub(crate) fn end(&self, outcome: Outcome) {
        debug_assert_eq!(self.0.load(Ordering::Relaxed), WAITING);
        self.0.store(outcome.0, Ordering::Relaxed);
    }

    /// Whether nothing has ended the wait yet. A hint: an event may end it at any moment.
    pub(crate) fn is_waiting(&self) -> bool {
        self.0.load(Ordering::Relaxed) == WAITING
    }

    /// Step 5. Meaningful only after the wake-up has been received.
    pub(crate) fn outcome(&self) -> Outcome {
        Outcome(self.0.load(Ordering::Relaxed))
    }
}

#[cfg(all(test, any(loom, narrowboat_threads)))]
mod models {
    use super::*;
    use loom::cell::UnsafeCell;
    use loom::sync::Arc;
    use loom::sync::atomic::AtomicBool;
    use loom::thread;

    struct Shared {
        claim: Claim,
        value: UnsafeCell<u32>,
        awake: AtomicBool,
    }

    // SAFETY: the model tests which thread may touch the value.
    unsafe impl Send for Shared {}
    // SAFETY: as above.
    unsafe impl Sync for Shared {}

    /// Two events compete to end one wait: one wins, its value arrives, and the waiter is woken
    /// once.
    #[test]
    fn loom_two_events_end_a_wait_once() {
        loom::model(|| {
            let shared = Arc::new(Shared {
                claim: Claim::new(),
                value: UnsafeCell::new(0),
                awake: AtomicBool::new(false),
            });
            shared.claim.begin();
            let rivals: Vec<_> = [2, 3]
                .into_iter()
                .map(|n| {
                    let shared = shared.clone();
                    thread::spawn(move || {
                        if shared.claim.try_end(Outcome(n)) {
                            // SAFETY: the winner is the only one to touch the value before the
                            // wake-up.
                            shared.value.with_mut(|v| unsafe { *v = n });
                            assert!(!shared.awake.swap(true, Ordering::Release), "woken twice");
                        }
                    })
                })
                .collect();
            while !shared.awake.load(Ordering::Acquire) {
                thread::yield_now();
            }
            // SAFETY: the wake-up has ordered the winner's write before this.
            let value = shared.value.with(|v| unsafe { *v });
            assert_eq!(Outcome(value), shared.claim.outcome());
            for rival in rivals {
                rival.join().unwrap();
            }
        });
    }
}
