//! How a waker reaches the goroutine or thread that waits for a future.
//!
//! A [`Signal`] belongs to one wait for one future. Its clones are wakers, which any thread may use
//! at any time: during the poll, twice, and after the wait has ended.
//!
//! The protocol. Every step but the parks and the polls is under the signal's lock.
//!
//! 1. The poller clears `due`, and polls after that. So a wake that happens before or during the
//!    poll, about something that the poll may not have seen, is found in step 2.
//! 2. If the poll returns `Pending` and `due` is set, the poller goes on with step 1. Otherwise it
//!    begins a wait, leaves its waiter in `waiter`, and parks after it has released the lock.
//! 3. A wake sets `due`. If there is a waiter, it takes it out and tries to end its wait, still
//!    under the lock. If that succeeds, it owes the waiter its wake-up, and delivers it after the
//!    lock.
//! 4. The poller returns from its park when a wake, its deadline or its context has ended the wait.
//!    Before it does anything else, it takes its waiter out, if it is still there. So a waiter is in
//!    the signal only during its own wait, and a late wake cannot end a later wait of the same
//!    goroutine.
//! 5. If `due` is set, the poller goes on with step 1: a wake wins over a deadline that has passed
//!    at the same time.
//!
//! A wake after the end finds no waiter, and sets a flag that is read no more. The wakers keep the
//! signal alive, and nothing but the signal: neither the future nor its result.

use crate::shim::{Mutex, lock};
use narrowboat_runtime::park::{self, Outcome, Reason, Waiter};
use std::panic::Location;
use std::sync::Arc;
use std::task::Wake;

pub(crate) struct Signal(Mutex<State>);

struct State {
    /// Whether there was a wake since the last poll began.
    due: bool,
    /// The poller, while it waits.
    waiter: Option<Waiter>,
}

/// The outcome of a wait that a wake has ended.
const WOKEN: Outcome = Outcome(Outcome::FIRST);

impl Signal {
    pub(crate) fn new() -> Signal {
        Signal(Mutex::new(State { due: false, waiter: None }))
    }

    /// The first half of step 1 after a poll that was woken. True if there was a wake.
    pub(crate) fn take_due(&self) -> bool {
        std::mem::take(&mut lock(&self.0).due)
    }

    /// Steps 2, 4 and 5: waits by `park` until there is a wake, or something else ends the wait.
    /// True if there was a wake, which is then taken.
    ///
    /// `park` gets the waiter of the calling goroutine or thread, and parks it.
    pub(crate) fn wait(&self, at: &'static Location<'static>, park: impl FnOnce(Waiter)) -> bool {
        let mut state = lock(&self.0);
        if std::mem::take(&mut state.due) {
            return true;
        }
        let Some(me) = Waiter::try_begin(Reason::Future, 0, at) else {
            drop(state);
            park::refuse();
        };
        state.waiter = Some(me);
        drop(state);
        park(me);
        let mut state = lock(&self.0);
        state.waiter = None;
        std::mem::take(&mut state.due)
    }

    /// Step 3.
    fn notify(&self) {
        let mut state = lock(&self.0);
        state.due = true;
        let ended = state.waiter.take().filter(|waiter| waiter.try_end(WOKEN));
        drop(state);
        if let Some(waiter) = ended {
            // SAFETY: we have ended the wait, with nothing to hand over, and wake the waiter once.
            unsafe { waiter.unpark() };
        }
    }
}

impl Wake for Signal {
    fn wake(self: Arc<Signal>) {
        self.notify();
    }

    fn wake_by_ref(self: &Arc<Signal>) {
        self.notify();
    }
}

#[cfg(all(test, any(loom, narrowboat_threads)))]
mod models {
    use super::*;
    use loom::cell::UnsafeCell;
    use loom::sync::atomic::{AtomicBool, Ordering};
    use loom::thread;
    use std::time::{Duration, Instant};

    /// What a future waits for: a value that the other side writes before it sets the flag.
    struct Shared {
        signal: Signal,
        ready: AtomicBool,
        value: UnsafeCell<u32>,
    }

    // SAFETY: the models test that accesses to the value are ordered.
    unsafe impl Send for Shared {}
    // SAFETY: as above.
    unsafe impl Sync for Shared {}

    impl Shared {
        fn new() -> loom::sync::Arc<Shared> {
            loom::sync::Arc::new(Shared {
                signal: Signal::new(),
                ready: AtomicBool::new(false),
                value: UnsafeCell::new(0),
            })
        }

        fn complete(&self) {
            // SAFETY: loom fails here if an access is not ordered.
            self.value.with_mut(|value| unsafe { *value = 7 });
            self.ready.store(true, Ordering::Release);
            self.signal.notify();
        }

        /// Polls until it is ready; `None` if a deadline passes first.
        fn wait(&self, deadline: Option<Instant>) -> Option<u32> {
            loop {
                if self.ready.load(Ordering::Acquire) {
                    // SAFETY: as in `complete`.
                    return Some(self.value.with(|value| unsafe { *value }));
                }
                // SAFETY: the waiter is that of the wait which has just begun.
                let park = |me: Waiter| unsafe {
                    me.park(deadline);
                };
                if !self.signal.wait(Location::caller(), park) && deadline.is_some() {
                    return None;
                }
            }
        }
    }

    /// Two threads, in all orders with at most three preemptions: the park underneath has many steps.
    fn model(body: impl Fn() + Send + Sync + 'static) {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(3);
        builder.check(body);
    }

    /// A wake that comes at any moment of a poll and of the park after it is not lost, and neither
    /// is one after a spurious one.
    #[test]
    fn loom_a_wake_is_not_lost() {
        model(|| {
            let shared = Shared::new();
            let waker = {
                let shared = shared.clone();
                thread::spawn(move || {
                    shared.signal.notify();
                    shared.complete();
                })
            };
            assert_eq!(shared.wait(None), Some(7));
            waker.join().unwrap();
        });
    }

    /// A wake that comes after a deadline, or after the end, does not end the next wait of the same
    /// thread.
    #[test]
    fn loom_a_late_wake_ends_no_later_wait() {
        model(|| {
            let (first, second) = (Shared::new(), Shared::new());
            let waker = {
                let (first, second) = (first.clone(), second.clone());
                thread::spawn(move || {
                    first.complete();
                    second.complete();
                })
            };
            // In a model a deadline may pass whenever a thread sleeps until it.
            let in_time = first.wait(Some(Instant::now() + Duration::from_secs(3600)));
            assert!(matches!(in_time, None | Some(7)));
            assert_eq!(second.wait(None), Some(7));
            waker.join().unwrap();
        });
    }
}
