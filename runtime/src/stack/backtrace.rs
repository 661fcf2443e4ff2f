//! The return addresses of a stack, taken by the code that runs on it.
//!
//! Taking addresses never locks. std's `Backtrace` locks, and a goroutine that holds that lock may
//! wait on the very processor that takes the backtrace in its loop.

use super::frames::walk;

/// The addresses of one backtrace, innermost first.
#[derive(Debug)]
pub(crate) struct Frames(Vec<usize>);

impl Frames {
    /// The backtrace of the caller.
    pub(crate) fn capture() -> Frames {
        const MOST: usize = 256;
        let mut addresses = Vec::with_capacity(32);
        walk(0, &mut |ip| {
            addresses.push(ip);
            addresses.len() < MOST
        });
        Frames(addresses)
    }

    pub(crate) fn addresses(&self) -> &[usize] {
        &self.0
    }
}
