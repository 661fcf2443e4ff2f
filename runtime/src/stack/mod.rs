//! The stack of the calling code: how much is left of it, and how to get more.
//!
//! A goroutine's stack is large from the beginning
//! ([`Config::max_stack`](crate::Config::max_stack)), takes memory only as it is used, and needs no
//! care. This module is for code with other needs:
//!
//! - recursion that goes as deep as its input says: [`maybe_grow`], or [`remaining`] and [`grow`];
//! - foreign code that requires its thread's own stack: [`on_system_stack`].
//!
//! Below every stack are 64 KiB that are not accessible. Rust code cannot get past them, however
//! large its frames are, because the compiler touches every page on the way down. C code compiled
//! without stack probes (gcc's `-fstack-clash-protection`) can, with a single frame of more than
//! that.

// Inside: stacks of goroutines are few, large, and shared by copying.
//
// A processor owns a fixed number of stack slots (`slots`), each a large stretch of address space
// out of one reservation (`arena`). A goroutine gets a home slot when it first runs and keeps it,
// because its frames must stay at the addresses where they were created. Many goroutines share one
// home slot. Parking copies nothing. When another goroutine of the same slot is about to run, the
// processor copies the live bytes of the occupant out to a heap image (`image`) and those of the
// other goroutine in.
//
// Two objects on stacks of one slot can have one address. `residents` says which of the stacks is
// in place.
//
// A rule follows: nothing outside a goroutine may hold a pointer into its stack while it is parked.
// A goroutine spawned with a stack of its own (`own`) is exempt: its bytes never move. So are
// segments (`segment`, `cache`), which belong to one goroutine as long as it is on them.
//
// Copying is expensive for goroutines that park with much on their stacks. Where such goroutines
// were spawned before, the next ones get slots of their own (`sites`).
//
// Resident stack memory that has not been needed lately is given back to the system (`scavenge`).
//
// What stacks ask of the scheduler, they ask through `above`.
//
// Code of a goroutine may also run on a stack that is not ours, but another library's (`foreign`).
//
// `geometry` decides how large slots are and how many there are, and what happens when the system
// refuses. `present` knows which stack the calling code is on; `overflow` and `frames` handle code
// that runs past the end.

pub(crate) mod above;
pub(crate) mod arena;
pub(crate) mod backtrace;
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

pub(crate) use crate::arch::Bounds;
pub use present::remaining;
pub use segment::{grow, maybe_grow};
pub use system::on_system_stack;

/// Inaccessible bytes below every stack. Wider than any frame that code compiled without stack
/// probes is likely to have, so that C code, too, runs into the guard and not past it. It costs
/// only address space.
pub(crate) const GUARD: usize = 64 << 10;

/// The minimum size of a goroutine's stack: enough for a panic with a backtrace.
pub(crate) const SMALLEST: usize = 64 << 10;
/// The maximum size of a slot: images count their bytes in 32 bits.
pub(crate) const LARGEST: usize = 2 << 30;
