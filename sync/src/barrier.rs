//! A barrier: wait until all have arrived.

use crate::lot::{Cause, Enqueued, LockedQueue, Ticket, WakeReason, describer};
use narrowboat_runtime::park::{self, Reason, checkpoint};
use std::fmt;
use std::panic::Location;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A point that callers pass only when a number of them have reached it.
///
/// As [`std::sync::Barrier`], but goroutines that wait park. It can be used again and again.
///
/// # Examples
/// ```
/// use narrowboat::sync::Barrier;
/// use std::sync::Arc;
///
/// let barrier = Arc::new(Barrier::new(3));
/// let runners: Vec<_> = (0..3)
///     .map(|_| {
///         let barrier = barrier.clone();
///         narrowboat::spawn(move || barrier.wait().is_leader())
///     })
///     .collect();
/// let leaders = runners.into_iter().filter(|_| true).map(|runner| runner.join().unwrap());
/// assert_eq!(leaders.filter(|leads| *leads).count(), 1);
/// ```
pub struct Barrier {
    size: usize,
    /// How many are in the queue. Only touched with the queue locked, which orders it.
    waiting: AtomicUsize,
}

/// Whether the caller was the one that completed the number.
pub struct BarrierWaitResult(bool);

const CAUSE: Cause =
    Cause { reason: Reason::Others, describe: describer!(Barrier, Barrier::describe), leave: None };

impl Barrier {
    /// A barrier for `n` callers. With 0 or 1 no caller waits.
    ///
    /// # Examples
    /// See the [example of the type](Barrier).
    #[must_use]
    #[inline]
    pub const fn new(n: usize) -> Barrier {
        Barrier { size: n, waiting: AtomicUsize::new(0) }
    }

    /// Waits until as many callers have arrived as the barrier is for. The last to arrive is the
    /// leader.
    ///
    /// # Examples
    /// See the [example of the type](Barrier).
    #[track_caller]
    pub fn wait(&self) -> BarrierWaitResult {
        let enqueued = self.arrive(Location::caller());
        let leads = enqueued.is_none();
        match enqueued {
            Some(enqueued) => {
                enqueued.sleep();
            }
            None => checkpoint(),
        }
        BarrierWaitResult(leads)
    }

    fn describe(&self) -> (&'static str, String, Option<u16>) {
        // Callers that arrive meanwhile are not counted.
        let here = self.waiting.load(Ordering::Relaxed);
        ("barrier", format!("{here} of {} are here", self.size), None)
    }

    /// `None` for the last to arrive.
    #[inline(never)]
    fn arrive(&self, at: &'static Location<'static>) -> Option<Enqueued> {
        let may_park = park::may_park();
        let mut queue = LockedQueue::of(self);
        let present = self.waiting.load(Ordering::Relaxed) + 1;
        if present < self.size {
            if !may_park {
                drop(queue);
                park::refuse();
            }
            self.waiting.store(present, Ordering::Relaxed);
            // SAFETY: the caller sleeps at once.
            return Some(unsafe { queue.enqueue(Ticket { value: 0, since: 0 }, false, &CAUSE, at) });
        }
        self.waiting.store(0, Ordering::Relaxed);
        let others = queue.pop_all();
        drop(queue);
        others.wake(WakeReason::Granted);
        None
    }
}

impl fmt::Debug for Barrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Barrier").finish_non_exhaustive()
    }
}

impl BarrierWaitResult {
    /// Whether this caller is the leader. Of all callers that went on together, one is.
    ///
    /// # Examples
    /// ```
    /// assert!(narrowboat::sync::Barrier::new(1).wait().is_leader());
    /// ```
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.0
    }
}

impl fmt::Debug for BarrierWaitResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BarrierWaitResult").field("is_leader", &self.is_leader()).finish()
    }
}
