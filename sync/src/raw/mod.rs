//! The protocols: what the types of this crate do, without the values they guard, the poison and the names of std.
//!
//! Each is a word of state, an address in the [parking lot](crate::lot), numbered steps, and a model.

pub(crate) mod condvar;
pub(crate) mod lock;
pub(crate) mod once;
pub(crate) mod semaphore;

#[cfg(all(test, loom))]
mod models;
#[cfg(all(test, not(loom)))]
mod order;
