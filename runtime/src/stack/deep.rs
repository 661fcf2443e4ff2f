//! Huge pages for the deep part of a stack.
//!
//! A stack begins with small pages, whatever the system is set to: one touched byte shall cost one page and not two megabytes.
//! What has got some megabytes down is a deep recursion, and takes many pages. There the system may use huge ones, one of which is
//! one fault instead of 512, and one place in the TLB: the first recursion to 30 MB takes a third of the time with them.
//!
//! A stack with such a part is two mappings, since the advice to the kernel differs. So there are only so many in a process.

use crate::sys::memory::{HUGE_PAGE, Reservation};
use std::sync::atomic::{AtomicUsize, Ordering};

/// How far below its top a stack has small pages only; up to one huge page more for the alignment.
const SHALLOW: usize = HUGE_PAGE;

/// How many stacks have such a part, and how many may.
static STACKS: AtomicUsize = AtomicUsize::new(0);
const MOST: usize = 4 << 10;

/// Where the deep part of a stack with this upper end begins.
fn surface(top: usize) -> usize {
    top.saturating_sub(SHALLOW) & !(HUGE_PAGE - 1)
}

/// One of the stacks with a deep part, or not.
pub(super) struct Deep(bool);

impl Deep {
    /// Prepares an open stack, if it is large enough to get deep and not too many others are.
    pub(super) fn new(memory: &Reservation, limit: usize, top: usize) -> Deep {
        let low = limit.next_multiple_of(HUGE_PAGE);
        let deep = Deep(low < surface(top));
        // Relaxed: a number, and nothing else depends on it.
        if deep.0 && STACKS.fetch_add(1, Ordering::Relaxed) < MOST {
            memory.allow_huge_pages(low, surface(top));
        }
        deep
    }
}

impl Drop for Deep {
    fn drop(&mut self) {
        if self.0 {
            STACKS.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// `high` or a little less, where a stack with this upper end may be cut off without splitting a huge page. Half of one would stay
/// in memory with the other half, and the kernel might make it whole again.
pub(super) fn whole_pages(high: usize, top: usize) -> usize {
    if high < surface(top) { high & !(HUGE_PAGE - 1) } else { high }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn huge_pages_are_cut_off_whole_and_small_ones_anywhere() {
        let page = 4 << 10;
        for top in [64 * HUGE_PAGE, 64 * HUGE_PAGE + 5 * page, 65 * HUGE_PAGE - page] {
            for depth in (page..32 * HUGE_PAGE).step_by(37 * page) {
                let high = whole_pages(top - depth, top);
                assert!(high <= top - depth && top - depth - high < HUGE_PAGE);
                if depth <= SHALLOW {
                    assert_eq!(high, top - depth);
                } else if depth >= SHALLOW + HUGE_PAGE {
                    assert!(high.is_multiple_of(HUGE_PAGE));
                }
            }
        }
    }
}
