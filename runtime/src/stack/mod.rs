//! Stacks of goroutines: few, large, and shared by copying.
//!
//! A processor owns a fixed number of **stack slots** ([`slots`]), each a large stretch of address space out of
//! one reservation ([`arena`]). A goroutine gets a home slot when it first runs and keeps it, because its frames
//! must always lie at the addresses they were born at; many goroutines share one home slot. Parking copies
//! nothing. When another goroutine of the same slot is about to run, the processor copies the live bytes of the
//! occupant out to a heap **image** ([`image`]) and the newcomer's in.
//!
//! The rule that comes with it: nothing outside a goroutine may hold a pointer into its stack while it is parked.
//! A goroutine spawned with a stack of its own ([`own`]) is exempt: its bytes never move out.
//!
//! How large slots are and how many, and what happens when the system refuses, is decided in [`geometry`]; what
//! happens when a goroutine runs past the end, in [`overflow`].

pub(crate) mod arena;
pub(crate) mod geometry;
pub(crate) mod image;
pub(crate) mod overflow;
pub(crate) mod own;
pub(crate) mod slots;

/// Closed bytes below every stack. Wider than any frame that code compiled without stack probes is likely to
/// have, so that C code, too, runs into it and not past it; address space is all it costs.
pub(crate) const GUARD: usize = 64 << 10;

/// The least that a goroutine's stack may be: enough for a panic with a backtrace.
pub(crate) const SMALLEST: usize = 64 << 10;

/// The bounds of one stack: `base` is its upper end, where the first frame starts; it may grow down to `limit`.
#[derive(Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) base: usize,
    pub(crate) limit: usize,
}

impl Bounds {
    pub(crate) fn size(&self) -> usize {
        self.base - self.limit
    }
}
