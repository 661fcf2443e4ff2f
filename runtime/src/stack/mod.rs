//! The stack of the calling code: how much is left of it, and how to get more.
//!
//! A goroutine's stack is large from the beginning
//! ([`Config::max_stack`](crate::Config::max_stack)), takes memory only as it is used, and needs no
//! care. This module is for the code that is different:
//!
//! - recursion that goes as deep as its input says: [`maybe_grow`], or [`remaining`] and [`grow`];
//! - foreign code that insists on its thread's own stack: [`on_system_stack`].
//!
//! Below every stack lie 64 KiB that nobody may touch. Rust code cannot get past them, however
//! large its frames are, because the compiler touches every page on the way down. C code compiled
//! without stack probes (gcc's `-fstack-clash-protection`) can, with a single frame of more than
//! that.

// Inside: stacks of goroutines are few, large, and shared by copying.
//
// A processor owns a fixed number of stack slots (`slots`), each a large stretch of address space
// out of one reservation (`arena`). A goroutine gets a home slot when it first runs and keeps it,
// because its frames must always lie at the addresses they were born at; many goroutines share one
// home slot. Parking copies nothing. When another goroutine of the same slot is about to run, the
// processor copies the live bytes of the occupant out to a heap image (`image`) and the newcomer's
// in.
//
// Two objects on stacks of one slot have one address. Which of the stacks is in place is what
// `residents` says.
//
// The rule that comes with it: nothing outside a goroutine may hold a pointer into its stack while
// it is parked. A goroutine spawned with a stack of its own (`own`) is exempt: its bytes never move
// out. So are segments (`segment`, `cache`), which belong to one goroutine as long as it is on
// them.
//
// Copying is expensive for goroutines that park with much on their stacks. Where such ones were
// spawned before, the next get slots of their own (`sites`).
//
// What a stack has resident and nobody has needed lately is given back to the system (`scavenge`).
//
// Code of a goroutine may also run on a stack that is none of ours: another library's (`foreign`).
//
// How large slots are and how many, and what happens when the system refuses, is decided in
// `geometry`. Which stack the calling code is on is known in `present`; what happens when it runs
// past the end, in `overflow` and `frames`.

pub(crate) mod arena;
pub(crate) mod cache;
pub(crate) mod foreign;
pub(crate) mod frames;
pub(crate) mod geometry;
pub(crate) mod home;
pub(crate) mod housing;
pub(crate) mod image;
pub(crate) mod overflow;
pub(crate) mod own;
pub(crate) mod pool;
pub(crate) mod present;
pub(crate) mod residents;
pub(crate) mod scavenge;
pub(crate) mod segment;
pub(crate) mod sharing;
pub(crate) mod sites;
pub(crate) mod slots;
pub(crate) mod system;

pub use present::remaining;
pub use segment::{grow, maybe_grow};
pub use system::on_system_stack;

/// Closed bytes below every stack. Wider than any frame that code compiled without stack probes is
/// likely to have, so that C code, too, runs into it and not past it; address space is all it
/// costs.
pub(crate) const GUARD: usize = 64 << 10;

/// The least that a goroutine's stack may be: enough for a panic with a backtrace.
pub(crate) const SMALLEST: usize = 64 << 10;
/// The most that a slot may be: images count their bytes in 32 bits.
pub(crate) const LARGEST: usize = 2 << 30;

/// The bounds of one stack: `base` is its upper end, where the first frame starts; it may grow down
/// to `limit`.
#[derive(Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) base: usize,
    pub(crate) limit: usize,
}

impl Bounds {
    pub(crate) fn size(&self) -> usize {
        self.base - self.limit
    }

    pub(crate) fn contain(&self, address: usize) -> bool {
        (self.limit..self.base).contains(&address)
    }
}
