//! A processor's reservation, cut into slots that are opened as they are needed.

use super::residents::Residents;
use super::{Bounds, GUARD};
use crate::arch::valgrind;
use crate::sys::memory::{Reservation, page_size};
use std::io;
use std::sync::atomic::AtomicU64;

/// How many bytes the base of slot `index` lies below its end; `most` is an upper bound.
///
/// All slots begin at multiples of one large power of two; without this the hot ends of all stacks
/// would compete for the same sets of every cache and of the TLB. A page more moves the TLB's set
/// and the entry of the page table, a line more the cache's set. There are no more lines than fit
/// half a page, because otherwise what a goroutine needs would often be in two pages.
fn stagger(index: usize, most: usize) -> usize {
    const PAGES: usize = 512;
    const LINES: usize = 32;
    let pages = PAGES.min(most / 4096).max(1);
    let lines = LINES.min(most / 64).max(1);
    index % pages * 4096 + index % lines * 64
}

pub(crate) struct Arena {
    memory: Reservation,
    /// Bytes from one slot to the next, guard included.
    stride: usize,
    slots: usize,
    residents: &'static Residents,
}

impl Arena {
    pub(crate) fn new(stride: usize, slots: usize) -> io::Result<Arena> {
        let memory = Reservation::new(stride * slots)?;
        let residents = Residents::register(memory.low(), stride, slots);
        Ok(Arena { memory, stride, slots, residents })
    }

    /// The number of the goroutine that is resident in slot `index`.
    pub(crate) fn resident(&self, index: usize) -> &'static AtomicU64 {
        self.residents.of_slot(index)
    }

    /// Whether an address lies in one of the slots, or in a guard.
    #[inline]
    pub(crate) fn contains(&self, address: usize) -> bool {
        self.memory.contains(address)
    }

    /// Opens slot `index`. If the system refuses the whole of it, half is tried, and so on, down to
    /// `least` bytes.
    pub(crate) fn open(&self, index: usize, least: usize) -> io::Result<Bounds> {
        assert!(index < self.slots);
        let low = self.memory.low() + index * self.stride;
        let high = low + self.stride;
        let mut size = self.stride - GUARD;
        loop {
            match self.memory.open_above_guard(high - size - GUARD, high - size, high) {
                Ok(()) => {
                    let base = high - stagger(index, size / 64);
                    // Registered for ever, like the slot.
                    std::mem::forget(valgrind::Registered::new(high - size, high));
                    return Ok(Bounds { base, limit: high - size });
                }
                Err(_) if size > least => {
                    size = (size / 2).max(least).next_multiple_of(page_size());
                }
                Err(e) => return Err(e),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn bases_are_staggered_over_pages_and_lines_and_by_no_more_than_was_said() {
        for size in [64 << 10, 256 << 10, 1 << 20, 16 << 20, 256 << 20_usize] {
            let most = size / 64;
            assert!((0..2000).all(|index| stagger(index, most) <= most), "{size}");
        }
        let places: Vec<usize> = (0..512).map(|index| stagger(index, 4 << 20)).collect();
        let distinct =
            |part: fn(usize) -> usize| places.iter().map(|&at| part(at)).collect::<HashSet<_>>().len();
        assert_eq!((distinct(|at| at / 4096), distinct(|at| at % 4096)), (512, 32));
    }
}
