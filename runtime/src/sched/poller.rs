//! Where the netpoller plugs into the scheduler.
//!
//! The scheduler needs three things of the netpoller: to wait in it, to look into it without
//! waiting, and to cut a wait short. It promises that only one thread at a time is inside
//! [`Poller::poll`], on a worker's own stack or on the monitor's, never on a goroutine's.

use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// What the scheduler asks of the netpoller.
pub trait Poller: Send + Sync {
    /// Handles the pending events: wakes the waiters concerned with
    /// [`Waiter::unpark`](crate::park::Waiter), and returns the number of events. If there are
    /// none, it waits for the first, for at most `timeout` (`None`: without limit, zero: not at
    /// all). One call handles a bounded number of events.
    fn poll(&self, timeout: Option<Duration>) -> usize;

    /// Makes the poll under way return early; if there is none, the next one does.
    fn interrupt(&self);
}

static POLLER: OnceLock<&'static dyn Poller> = OnceLock::new();

/// Gives the scheduler its netpoller and starts the runtime, so that some thread polls. The first
/// call wins.
///
/// # Errors
/// If the runtime cannot start.
pub fn install_poller(poller: &'static dyn Poller) -> io::Result<()> {
    let _ = POLLER.set(poller);
    super::start()?;
    // Workers that fell asleep before this are not in the netpoller: the monitor wakes one.
    if let Some(runtime) = super::started() {
        runtime.monitor.wake_if_asleep();
    }
    Ok(())
}

/// Whether there is a thread that polls: not in a process that was forked after the runtime had
/// started.
///
/// # Errors
/// If not, with a sentence that says why.
#[inline]
pub fn check_polled() -> io::Result<()> {
    super::fork::check()
}

pub(crate) fn installed() -> Option<&'static dyn Poller> {
    POLLER.get().copied()
}

/// The right to poll, which one thread at a time has, and the time of the last poll.
pub(super) struct PollTurn {
    taken: AtomicBool,
    last: AtomicU64,
}

/// The right to poll, given back when dropped.
pub(super) struct Turn<'a> {
    of: &'a PollTurn,
    poller: &'static dyn Poller,
}

impl PollTurn {
    pub(super) fn new() -> PollTurn {
        PollTurn { taken: AtomicBool::new(false), last: AtomicU64::new(0) }
    }

    /// Takes the turn if there is a netpoller and no thread is in it. Acquire pairs with the
    /// release in `drop`: the next thread sees the poller's buffers as the last one left them.
    pub(super) fn take(&self) -> Option<Turn<'_>> {
        let poller = installed()?;
        let free = !self.taken.load(Ordering::Relaxed) && !self.taken.swap(true, Ordering::Acquire);
        free.then(|| Turn { of: self, poller })
    }

    /// Whether there is a netpoller and no thread is in it. (Relaxed is enough: a worker takes the
    /// turn before it says that it sleeps, and gives it back after. So for a worker that is seen
    /// asleep, it is known whether it has the turn.)
    pub(super) fn is_free(&self) -> bool {
        installed().is_some() && !self.taken.load(Ordering::Relaxed)
    }

    /// Whether no thread has polled since `since`.
    pub(super) fn is_overdue(&self, since: u64) -> bool {
        self.last.load(Ordering::Relaxed) < since
    }
}

impl Turn<'_> {
    pub(super) fn poll(&self, timeout: Option<Duration>, now: u64) -> usize {
        self.of.last.store(now, Ordering::Relaxed);
        self.poller.poll(timeout)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.of.taken.store(false, Ordering::Release);
    }
}
