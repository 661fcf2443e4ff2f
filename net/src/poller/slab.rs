//! The table from a registration's key to its readiness.
//!
//! Guarantees that whoever polls finds a slot without a lock, that a slot's address never changes and is
//! never freed, and that a slot given back is soon used again. Anybody may allocate and release; only the
//! holder of a registration and whoever polls touch what is in a slot.
//!
//! Slots come in chunks, each twice as large as all before it, so that growing moves nothing and an index
//! finds its chunk by its highest bit.

use super::readiness::Readiness;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

/// Both directions of one descriptor. A slot has its cache lines for itself: neighbours belong to other
/// processors.
#[repr(align(128))]
pub(crate) struct Slot {
    pub(crate) read: Readiness,
    pub(crate) write: Readiness,
    /// The next free slot, while this one is free. Read and written under the lock of the free list.
    next_free: AtomicU32,
}

impl Slot {
    const fn new() -> Slot {
        Slot { read: Readiness::new(), write: Readiness::new(), next_free: AtomicU32::new(NONE) }
    }

    /// The generation of the descriptor that has the slot; the same in both directions.
    pub(crate) fn generation(&self) -> u32 {
        self.read.generation()
    }
}

/// The size of the first chunk, as a power of two.
const FIRST_BITS: u32 = 6;
/// Enough for every index below `NONE`; there are never more slots in use than descriptors, of which a
/// process has at most `i32::MAX`.
const CHUNKS: usize = (u32::BITS - FIRST_BITS) as usize + 1;
const NONE: u32 = u32::MAX;

pub(crate) struct Slab {
    chunks: [OnceLock<Box<[Slot]>>; CHUNKS],
    free: Mutex<Free>,
}

struct Free {
    /// The slot that was released last.
    head: u32,
    /// The lowest index that was never used.
    fresh: u32,
}

impl Slab {
    pub(crate) const fn new() -> Slab {
        Slab { chunks: [const { OnceLock::new() }; CHUNKS], free: Mutex::new(Free { head: NONE, fresh: 0 }) }
    }

    /// The slot with this index, if it ever was allocated.
    #[inline]
    pub(crate) fn get(&self, index: u32) -> Option<&Slot> {
        let (chunk, offset, _) = locate(index);
        self.chunks[chunk].get()?.get(offset)
    }

    /// Takes a slot that nobody uses.
    pub(crate) fn allocate(&self) -> (u32, &Slot) {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let index = if free.head == NONE { free.fresh } else { free.head };
        let (chunk, offset, len) = locate(index);
        let slot = &self.chunks[chunk].get_or_init(|| (0..len).map(|_| Slot::new()).collect())[offset];
        if free.head == NONE {
            free.fresh += 1;
        } else {
            free.head = slot.next_free.load(Ordering::Relaxed);
        }
        (index, slot)
    }

    /// Gives a slot back. Its descriptor is not registered any more, and nobody waits in it.
    pub(crate) fn release(&self, index: u32) {
        let slot = self.get(index).expect("only allocated slots are released");
        slot.read.retire();
        slot.write.retire();
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        slot.next_free.store(free.head, Ordering::Relaxed);
        free.head = index;
    }
}

/// The chunk of an index, the place in that chunk, and the chunk's size.
fn locate(index: u32) -> (usize, usize, usize) {
    match (index >> FIRST_BITS).checked_ilog2() {
        None => (0, index as usize, 1 << FIRST_BITS),
        Some(doubling) => {
            let start = 1usize << (FIRST_BITS + doubling);
            (doubling as usize + 1, index as usize - start, start)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn indices_and_places_correspond_one_to_one() {
        let mut expected = (0, 0);
        for index in 0..10_000 {
            let (chunk, offset, len) = locate(index);
            assert_eq!((chunk, offset), expected);
            expected = if offset + 1 == len { (chunk + 1, 0) } else { (chunk, offset + 1) };
        }
        let (chunk, offset, len) = locate(NONE - 1);
        assert!(chunk < CHUNKS && offset < len);
    }

    #[test]
    fn slots_in_use_are_distinct_and_never_move() {
        let slab = Slab::new();
        let slots: Vec<_> = (0..1_000).map(|_| slab.allocate()).collect();
        let addresses: HashSet<_> = slots.iter().map(|(_, slot)| std::ptr::from_ref(*slot).addr()).collect();
        assert_eq!(addresses.len(), slots.len());
        for (index, slot) in slots {
            assert!(std::ptr::eq(slab.get(index).unwrap(), slot));
        }
    }

    #[test]
    fn a_released_slot_is_reused_as_the_next_generation() {
        let slab = Slab::new();
        let (first, slot) = slab.allocate();
        let (second, _) = slab.allocate();
        assert_eq!(slot.generation(), 0);
        slab.release(first);
        let (again, slot) = slab.allocate();
        assert_eq!(again, first);
        assert_eq!((slot.read.generation(), slot.write.generation()), (1, 1));
        assert_ne!(slab.allocate().0, second);
    }

    #[test]
    fn an_index_that_was_never_given_out_is_not_found() {
        let slab = Slab::new();
        assert!(slab.get(0).is_none());
        slab.allocate();
        assert!(slab.get(1 << FIRST_BITS).is_none());
        assert!(slab.get(NONE).is_none());
    }
}
