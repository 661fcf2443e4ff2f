//! Stacks that are never copied: stacks of one goroutine alone, segments, and the runtime's own.

use super::{Bounds, GUARD, SMALLEST, pool};
use crate::arch::valgrind;
use crate::sys::memory::{Reservation, page_size};
use std::io;

/// A stack of its own, unmapped when dropped. Those of goroutines go to the [pool](super::pool)
/// instead.
pub(crate) struct OwnStack {
    // Held for their destructors, in this order.
    _registered: valgrind::Registered,
    _memory: Reservation,
    bounds: Bounds,
}

impl OwnStack {
    /// A stack of at least `size` bytes above a guard, perhaps a used one.
    pub(crate) fn take(size: usize) -> io::Result<OwnStack> {
        OwnStack::take_pooled(size).map_or_else(|| OwnStack::new(size), Ok)
    }

    /// A used one, if there is one of this size.
    pub(super) fn take_pooled(size: usize) -> Option<OwnStack> {
        size.max(SMALLEST).checked_next_multiple_of(page_size()).and_then(pool::take)
    }

    /// A new stack.
    pub(crate) fn new(size: usize) -> io::Result<OwnStack> {
        let size = size.max(SMALLEST).checked_next_multiple_of(page_size()).filter(|n| *n < 1 << 46);
        let Some(size) = size else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a stack cannot be that large"));
        };
        let hint = |e: io::Error| {
            let kind = e.kind();
            io::Error::new(
                kind,
                format!(
                    "no memory for a stack of {size} bytes: {e}; raise the address-space limit (ulimit -v), with tens of \
                     thousands of them vm.max_map_count, or under strict overcommit vm.overcommit_ratio; or ask \
                     for less"
                ),
            )
        };
        let memory = Reservation::new(size + GUARD).map_err(hint)?;
        let limit = memory.low() + GUARD;
        memory.open_above_guard(memory.low(), limit, limit + size).map_err(hint)?;
        let bounds = Bounds { base: limit + size, limit };
        Ok(OwnStack { _registered: valgrind::Registered::new(limit, bounds.base), _memory: memory, bounds })
    }

    pub(crate) fn bounds(&self) -> Bounds {
        self.bounds
    }
}
