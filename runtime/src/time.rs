//! Sleeping.

use crate::park::{Reason, Waiter};
use crate::sched::world;
use std::panic::Location;
use std::time::{Duration, Instant};

/// Parks the calling goroutine, or blocks the calling thread, for at least `duration`. Returns at
/// once if that is zero, and never if it is longer than the clock can represent, as
/// [`Duration::MAX`] is.
///
/// ```
/// use std::time::{Duration, Instant};
///
/// let start = Instant::now();
/// narrowboat::spawn(|| narrowboat::sleep(Duration::from_millis(5))).join().unwrap();
/// assert!(start.elapsed() >= Duration::from_millis(5));
/// ```
#[track_caller]
pub fn sleep(duration: Duration) {
    match world::now().checked_add(duration) {
        Some(deadline) => sleep_until(deadline),
        // Longer than the clock can represent.
        None => loop {
            sleep(Duration::from_secs(1 << 30));
        },
    }
}

/// Parks the calling goroutine, or blocks the calling thread, until `deadline`. Returns at once if
/// it has passed.
///
/// ```
/// use std::time::{Duration, Instant};
///
/// let deadline = Instant::now() + Duration::from_millis(5);
/// narrowboat::time::sleep_until(deadline);
/// assert!(Instant::now() >= deadline);
/// ```
#[track_caller]
pub fn sleep_until(deadline: Instant) {
    if deadline <= world::now() {
        crate::park::checkpoint();
        return;
    }
    let waiter = Waiter::begin(Reason::Sleep, 0, Location::caller());
    // SAFETY: the deadline ends the wait; nothing else can.
    unsafe { waiter.park(Some(deadline)) };
}
