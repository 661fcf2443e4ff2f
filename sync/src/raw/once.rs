//! The protocol of [`Once`](crate::Once), [`OnceLock`](crate::OnceLock) and
//! [`LazyLock`](crate::LazyLock).
//!
//! The state word is one of four phases, and the flag `QUEUED`:
//!
//! - `INCOMPLETE`: no run has begun.
//! - `POISONED`: the last run panicked.
//! - `RUNNING`: a run is under way.
//! - `COMPLETE`: a run has succeeded. This phase is final.
//!
//! A call, step by step:
//!
//! 1. `COMPLETE`: return. `POISONED`: panic, unless the caller ignores poison.
//! 2. `INCOMPLETE` or `POISONED`: exchange the phase for `RUNNING`, keeping the flag. If the
//!    exchange succeeds, the caller runs, then continues with 4.
//! 3. `RUNNING`: lock the queue, look again, set the flag, enter the queue, sleep, and go back to
//!    1. A caller that only waits does so in the phases before `RUNNING`, too.
//! 4. After the run, exchange the state for `COMPLETE`, or for `POISONED` if the run panicked,
//!    without the flag. If the flag was set, lock the queue and wake all waiters.
//!
//! A caller enters the queue in 3 only if it has set the flag on a phase that is not `COMPLETE`,
//! and the exchange that ends the phase sees the flag. A caller that enters the queue after the
//! exchange may be woken with the other waiters, before its own phase has ended; it goes back to 1.
//!
//! Orderings: the exchange in 4 releases what was initialised, and loads of the phase acquire.

use crate::lot::{At, Cause, Enqueued, LockedQueue, Ticket, WakeReason, describer};
use crate::shim::{AtomicU32, Ordering, const_fn};
use narrowboat_runtime::park::{self, Reason};

pub(crate) const INCOMPLETE: u32 = 0;
pub(crate) const POISONED: u32 = 1;
pub(crate) const RUNNING: u32 = 2;
pub(crate) const COMPLETE: u32 = 3;
const PHASE: u32 = 3;
pub(crate) const QUEUED: u32 = 4;

/// It consists of the state word alone: [`OnceLock`](crate::OnceLock) relies on that.
#[repr(transparent)]
pub(crate) struct RawOnce {
    state: AtomicU32,
}

const CAUSE: Cause = Cause {
    reason: Reason::Once,
    describe: describer!(RawOnce, |_| ("once", String::new(), None)),
    leave: None,
};

/// The right and the obligation to run, which one caller at a time has. If it is dropped before it
/// is [done](Run::done), the run has failed.
pub(crate) struct Run<'a> {
    once: &'a RawOnce,
    after_panic: bool,
    final_phase: u32,
}

impl Run<'_> {
    /// Whether the run before this one panicked.
    pub(crate) fn is_after_panic(&self) -> bool {
        self.after_panic
    }

    pub(crate) fn done(mut self) {
        self.final_phase = COMPLETE;
    }
}

impl Drop for Run<'_> {
    /// Step 4.
    fn drop(&mut self) {
        let before = self.once.state.swap(self.final_phase, Ordering::Release);
        if before & QUEUED != 0 {
            let waiting = LockedQueue::of(self.once).pop_all();
            waiting.wake(WakeReason::Retry);
        }
    }
}

impl RawOnce {
    const_fn! {
        pub(crate) fn new() -> RawOnce {
            RawOnce { state: AtomicU32::new(INCOMPLETE) }
        }
    }

    #[inline]
    pub(crate) fn is_completed(&self) -> bool {
        self.state.load(Ordering::Acquire) == COMPLETE
    }

    /// Steps 1 to 3. `None` if it is complete.
    ///
    /// # Panics
    /// If it is poisoned and the caller does not ignore that.
    #[cold]
    pub(crate) fn begin(&self, ignore_poison: bool, at: At) -> Option<Run<'_>> {
        loop {
            let state = self.state.load(Ordering::Acquire);
            match state & PHASE {
                COMPLETE => return None,
                POISONED if !ignore_poison => poisoned(),
                RUNNING => self.sleep_while(|phase| phase == RUNNING, at),
                phase => {
                    // Acquire: a failed run may have changed something, too.
                    let running = state - phase + RUNNING;
                    if self
                        .state
                        .compare_exchange(state, running, Ordering::Acquire, Ordering::Relaxed)
                        .is_ok()
                    {
                        let after_panic = phase == POISONED;
                        return Some(Run { once: self, after_panic, final_phase: POISONED });
                    }
                }
            }
        }
    }

    /// Waits until it is complete.
    ///
    /// # Panics
    /// As [`begin`](RawOnce::begin).
    #[cold]
    pub(crate) fn wait(&self, ignore_poison: bool, at: At) {
        loop {
            match self.state.load(Ordering::Acquire) & PHASE {
                COMPLETE => return,
                POISONED if !ignore_poison => poisoned(),
                _ => self.sleep_while(|phase| phase != COMPLETE && (ignore_poison || phase != POISONED), at),
            }
        }
    }

    fn sleep_while(&self, must_wait: impl Fn(u32) -> bool, at: At) {
        if let Some(enqueued) = self.enqueue(must_wait, at) {
            enqueued.sleep();
        }
    }

    /// Step 3.
    #[inline(never)]
    fn enqueue(&self, must_wait: impl Fn(u32) -> bool, at: At) -> Option<Enqueued> {
        park::assert_may_park();
        let queue = LockedQueue::of(self);
        let mut state = self.state.load(Ordering::Relaxed);
        loop {
            if !must_wait(state & PHASE) {
                return None;
            }
            let queued = state | QUEUED;
            match self.state.compare_exchange_weak(state, queued, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => break,
                Err(now) => state = now,
            }
        }
        // SAFETY: the caller sleeps at once.
        Some(unsafe { queue.enqueue(Ticket { value: 0, since: 0 }, false, &CAUSE, at) })
    }
}

#[cold]
#[track_caller]
fn poisoned() -> ! {
    panic!("Once instance has previously been poisoned");
}
