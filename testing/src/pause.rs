//! Waiting for some time. On a goroutine, these calls park it.

use std::time::Duration;

/// `n` milliseconds.
pub fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Sleeps for `duration`.
#[track_caller]
pub fn pause(duration: Duration) {
    narrowboat_runtime::sleep(duration);
}

/// Gives other goroutines and threads time to block. If it is too short, a test is less sharp but
/// still right.
#[track_caller]
pub fn settle() {
    pause(ms(20));
}
