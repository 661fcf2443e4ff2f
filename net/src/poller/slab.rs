//! The table from a registration's key to its readiness.
//!
//! Guarantees that a poll finds an entry without a lock, that the address of an entry never
//! changes, that an entry is never freed, and that an entry given back is soon used again. Any
//! thread may allocate and release. Only the holder of a registration and the polling thread touch
//! the contents of an entry.
//!
//! Entries come in chunks of a page, which are made when first needed, so that memory follows the
//! number of descriptors. Pointers to chunks are in rows, each as long as all rows before it
//! together: growing moves nothing, and the highest bit of a chunk's number gives its row.

use super::readiness::Readiness;
use crate::direction::Direction;
use narrowboat_runtime::lock::{Mutex, OnceLock};
use std::sync::PoisonError;

/// Both directions of one descriptor, in a cache line of their own: neighbouring entries are used
/// by other processors.
#[repr(align(64))]
pub(crate) struct SlabEntry {
    pub(crate) read: Readiness,
    pub(crate) write: Readiness,
}

// Every open connection that has ever waited has an entry. (Loom's atomics are larger.)
#[cfg(all(target_os = "linux", target_pointer_width = "64", not(loom)))]
const _: () = assert!(size_of::<SlabEntry>() == 64);

impl SlabEntry {
    fn new() -> SlabEntry {
        SlabEntry { read: Readiness::new(), write: Readiness::new() }
    }

    #[inline]
    pub(crate) fn direction(&self, direction: Direction) -> &Readiness {
        match direction {
            Direction::Input => &self.read,
            Direction::Output => &self.write,
        }
    }

    /// The generation of the descriptor that has the entry; the same in both directions.
    pub(crate) fn generation(&self) -> u32 {
        self.read.generation()
    }
}

/// Entries in a chunk, as a power of two.
const CHUNK_BITS: u32 = 6;
type Chunk = Box<[SlabEntry; 1 << CHUNK_BITS]>;

/// Chunks in the first row, as a power of two.
const FIRST_ROW_BITS: u32 = 4;
/// Enough rows for every index of 32 bits. There are never more entries in use than descriptors, of
/// which a process has at most `i32::MAX`.
const ROWS: usize = (u32::BITS - CHUNK_BITS - FIRST_ROW_BITS) as usize + 1;

pub(crate) struct Slab {
    rows: [OnceLock<Box<[OnceLock<Chunk>]>>; ROWS],
    free: Mutex<Free>,
}

struct Free {
    /// Indices that were given back, the latest at the end.
    used: Vec<u32>,
    /// The lowest index that was never used.
    fresh: u32,
}

impl Slab {
    pub(crate) const fn new() -> Slab {
        let free = Mutex::new(Free { used: Vec::new(), fresh: 0 });
        Slab { rows: [const { OnceLock::new() }; ROWS], free }
    }

    /// The entry with this index, if it ever was allocated.
    #[inline]
    pub(crate) fn get(&self, index: u32) -> Option<&SlabEntry> {
        let (row, position, _) = locate(index >> CHUNK_BITS);
        let chunk = self.rows[row].get()?[position].get()?;
        Some(&chunk[in_chunk(index)])
    }

    /// Takes an entry that is not in use.
    pub(crate) fn allocate(&self) -> (u32, &SlabEntry) {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let index = free.used.pop().unwrap_or_else(|| {
            free.fresh += 1;
            free.fresh - 1
        });
        drop(free);
        let (row, position, len) = locate(index >> CHUNK_BITS);
        let row = self.rows[row].get_or_init(|| (0..len).map(|_| OnceLock::new()).collect());
        let chunk = row[position].get_or_init(|| Box::new(std::array::from_fn(|_| SlabEntry::new())));
        (index, &chunk[in_chunk(index)])
    }

    /// Gives an entry back. Its descriptor is not registered any more, and it has no waiters.
    pub(crate) fn release(&self, index: u32) {
        let entry = self.get(index).expect("only allocated entries are released");
        entry.read.retire();
        entry.write.retire();
        self.free.lock().unwrap_or_else(PoisonError::into_inner).used.push(index);
    }
}

fn in_chunk(index: u32) -> usize {
    index as usize % (1 << CHUNK_BITS)
}

/// The row of a chunk, its position there, and the length of the row.
fn locate(chunk: u32) -> (usize, usize, usize) {
    match (chunk >> FIRST_ROW_BITS).checked_ilog2() {
        None => (0, chunk as usize, 1 << FIRST_ROW_BITS),
        Some(doubling) => {
            let start = 1usize << (FIRST_ROW_BITS + doubling);
            (doubling as usize + 1, chunk as usize - start, start)
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn chunks_and_positions_correspond_one_to_one() {
        let mut expected = (0, 0);
        for chunk in 0..if cfg!(miri) { 300 } else { 10_000 } {
            let (row, position, len) = locate(chunk);
            assert_eq!((row, position), expected);
            expected = if position + 1 == len { (row + 1, 0) } else { (row, position + 1) };
        }
        let (row, position, len) = locate(u32::MAX >> CHUNK_BITS);
        assert!(row == ROWS - 1 && position + 1 == len);
    }

    #[test]
    fn entries_in_use_are_distinct_and_never_move() {
        let slab = Slab::new();
        let entries: Vec<_> = (0..if cfg!(miri) { 100 } else { 1_000 }).map(|_| slab.allocate()).collect();
        let addresses: HashSet<_> =
            entries.iter().map(|(_, entry)| std::ptr::from_ref(*entry).addr()).collect();
        assert_eq!(addresses.len(), entries.len());
        for (index, entry) in entries {
            assert!(std::ptr::eq(slab.get(index).unwrap(), entry));
        }
    }

    #[test]
    fn a_released_entry_is_reused_as_the_next_generation() {
        let slab = Slab::new();
        let (first, entry) = slab.allocate();
        let (second, _) = slab.allocate();
        assert_eq!(entry.generation(), 0);
        slab.release(first);
        let (again, entry) = slab.allocate();
        assert_eq!(again, first);
        assert_eq!((entry.read.generation(), entry.write.generation()), (1, 1));
        assert_ne!(slab.allocate().0, second);
    }

    #[test]
    fn an_index_that_was_never_given_out_is_not_found() {
        let slab = Slab::new();
        assert!(slab.get(0).is_none());
        slab.allocate();
        assert!(slab.get(1 << CHUNK_BITS).is_none());
        assert!(slab.get(1 << (CHUNK_BITS + FIRST_ROW_BITS)).is_none());
        assert!(slab.get(u32::MAX).is_none());
    }
}
