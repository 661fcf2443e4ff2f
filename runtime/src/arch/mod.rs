//! Everything that depends on the CPU: switching stacks and thread pointers. One folder per CPU,
//! and in it a file per system for what depends on both, each with the same functions:
//!
//! - [`switch`](fn@switch): leave one stack, continue on another, same thread pointer;
//! - [`start`]: leave one stack and call a function on a fresh one;
//! - [`prepare`] and [`switch_carrying`]: the same two steps, which also exchange the thread
//!   pointer;
//! - [`call_on`]: call a function on another stack, which may be left and entered again before the
//!   function returns;
//! - [`exchange`]: swap the contents of two ranges of memory;
//! - [`thread_pointer`], [`stack_pointer`], and [`ticks`], a cheap clock of unknown rate;
//! - [`valgrind`] and [`sanitizers`]: what valgrind and AddressSanitizer need to be told.
//!
//! All code above this module relies on one invariant: **a stack has one thread pointer for life.**
//! Code on a goroutine's or a processor's stack always runs with the processor's thread pointer,
//! code on a worker's native stack always with the worker's own. So thread-local addresses that the
//! compiler keeps in registers or on the stack stay right across every switch, whatever it inlines.
//! Only this module changes the thread pointer.

mod bounds;
#[cfg(not(target_os = "linux"))]
mod pinned;
pub(crate) mod sanitizers;
pub(crate) mod valgrind;

#[cfg(not(target_os = "linux"))]
pub(crate) use pinned::*;

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(target_arch = "aarch64")]
pub(crate) use aarch64::*;

#[cfg(target_arch = "x86_64")]
mod x86_64;
pub(crate) use bounds::Bounds;
#[cfg(target_arch = "x86_64")]
pub(crate) use x86_64::*;
