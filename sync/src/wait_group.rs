//! A wait group: wait until the others are done.

use crate::lot::{Cause, Enqueued, LockedQueue, Ticket, WakeReason, describer};
use narrowboat_runtime::park::{self, Reason, checkpoint};
use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A group of members that wait for each other. Each member has a clone; [`wait`](WaitGroup::wait)
/// waits until all clones are gone.
///
/// As that of crossbeam-utils, but goroutines that wait park.
///
/// To a Go programmer: `clone` is `Add(1)` and the drop is `Done`. So `Done` cannot be forgotten,
/// not even by a panic, and cannot be called too often. A group can be used once.
///
/// # Examples
/// ```
/// use narrowboat::sync::WaitGroup;
///
/// let group = WaitGroup::new();
/// for n in 0..4 {
///     let group = group.clone();
///     narrowboat::spawn(move || {
///         println!("{n} works");
///         drop(group);
///     });
/// }
/// group.wait();
/// ```
pub struct WaitGroup {
    members: Arc<Members>,
}

/// The number of members. The queue at the address of this holds the callers that wait for the
/// number to become zero.
struct Members {
    count: AtomicUsize,
}

const CAUSE: Cause =
    Cause { reason: Reason::Members, describe: describer!(Members, Members::describe), leave: None };

impl WaitGroup {
    /// A group with one member.
    ///
    /// # Examples
    /// See the [example of the type](WaitGroup).
    #[must_use]
    pub fn new() -> WaitGroup {
        WaitGroup { members: Arc::new(Members { count: AtomicUsize::new(1) }) }
    }

    /// Drops this member and waits until there are no others. What they did before they were
    /// dropped is then visible.
    ///
    /// # Examples
    /// ```
    /// use narrowboat::sync::WaitGroup;
    ///
    /// let group = WaitGroup::new();
    /// let other = group.clone();
    /// narrowboat::spawn(|| other.wait()); // each waits for the other
    /// group.wait();
    /// ```
    #[track_caller]
    pub fn wait(self) {
        if self.members.count.load(Ordering::Relaxed) > 1 {
            park::assert_may_park();
        }
        let members = self.members.clone();
        drop(self);
        match members.enqueue(Location::caller()) {
            Some(enqueued) => {
                enqueued.sleep();
            }
            None => checkpoint(),
        }
    }
}

impl Members {
    fn describe(&self) -> (&'static str, String, Option<u16>) {
        let details = match self.count.load(Ordering::Relaxed) {
            1 => "1 member is left".into(),
            n => format!("{n} members are left"),
        };
        ("wait group", details, None)
    }

    /// `None` if no member is left. That is final, because new members are cloned from existing
    /// ones.
    #[inline(never)]
    fn enqueue(&self, at: &'static Location<'static>) -> Option<Enqueued> {
        if self.count.load(Ordering::Acquire) == 0 {
            return None;
        }
        // Either the last member is dropped before the second load, or it sees this caller in the
        // queue.
        let queue = LockedQueue::of(self);
        if self.count.load(Ordering::Acquire) == 0 {
            return None;
        }
        // SAFETY: the caller sleeps at once.
        Some(unsafe { queue.enqueue(Ticket { value: 0, since: 0 }, false, &CAUSE, at) })
    }

    #[cold]
    fn wake(&self) {
        let waiting = LockedQueue::of(self).pop_all();
        waiting.wake(WakeReason::Granted);
    }
}

impl Drop for WaitGroup {
    fn drop(&mut self) {
        // Release: what this member did. Acquire: the last member passes on what all did to the
        // waiters that it wakes.
        if self.members.count.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.members.wake();
        }
    }
}

impl Clone for WaitGroup {
    fn clone(&self) -> WaitGroup {
        // It cannot overflow before the count of the `Arc`, which aborts.
        self.members.count.fetch_add(1, Ordering::Relaxed);
        WaitGroup { members: self.members.clone() }
    }
}

impl Default for WaitGroup {
    fn default() -> WaitGroup {
        WaitGroup::new()
    }
}

impl fmt::Debug for WaitGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.members.count.load(Ordering::Relaxed);
        f.debug_struct("WaitGroup").field("count", &count).finish()
    }
}
