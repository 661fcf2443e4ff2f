//! In place of waits for words in the kernel; and in place of [`futex`](crate::futex), where std's
//! locks do not wait by a function that can be replaced. What the runtime itself needs of both.

use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

/// Whether the waits of std's locks come to the runtime.
pub(crate) fn catches_waits() -> bool {
    false
}

/// Waits, whatever the caller is, until a word is no longer `value`. That takes as long as a thread
/// needs to start, so it looks at the word now and then.
pub(crate) fn wait(word: &AtomicU32, value: u32) {
    while word.load(Ordering::Acquire) == value {
        thread::sleep(Duration::from_micros(50));
    }
}

/// Nothing to do: see [`wait`].
pub(crate) fn wake_all(_word: usize) {}

/// Nothing to do: the runtime has no table of those that wait.
pub(crate) fn register_leave() {}
