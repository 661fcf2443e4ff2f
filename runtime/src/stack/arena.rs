//! One processor's reservation, cut into slots that are opened as they are needed.

use super::geometry::Geometry;
use super::{Bounds, GUARD, SMALLEST};
use crate::sys::memory::{Reservation, page_size};
use std::io;

/// Slot bases are staggered by this much. All slots begin at multiples of one large power of two; without the
/// stagger the hot ends of all stacks would compete for the same sets of every cache and of the TLB. One page moves
/// the TLB set, one line the cache set.
const STAGGER: usize = 4096 + 64;
/// The stagger starts over after this many slots, so that it stays small against a slot.
const STAGGERED_SLOTS: usize = 8;

pub(crate) struct Arena {
    memory: Reservation,
    geometry: Geometry,
}

impl Arena {
    pub(crate) fn new(geometry: Geometry) -> io::Result<Arena> {
        Ok(Arena { memory: Reservation::new(geometry.stride * geometry.slots)?, geometry })
    }

    /// Opens slot `index`. If the system refuses the whole of it, half is tried, and so on.
    pub(crate) fn open(&self, index: usize) -> io::Result<Bounds> {
        assert!(index < self.geometry.slots);
        let low = self.memory.low() + index * self.geometry.stride;
        let high = low + self.geometry.stride;
        let mut size = self.geometry.stride - GUARD;
        loop {
            match self.memory.open(high - size, high) {
                Ok(()) => {
                    let base = high - index % STAGGERED_SLOTS * STAGGER;
                    return Ok(Bounds { base, limit: high - size });
                }
                Err(_) if size > SMALLEST => {
                    size = (size / 2).max(SMALLEST).next_multiple_of(page_size());
                }
                Err(e) => return Err(e),
            }
        }
    }
}
