//! The protocols: what the types of this crate do, without the guarded values, poisoning and std's
//! names.
//!
//! Each protocol is a state word, a queue in the [parking lot](crate::lot), numbered steps, and a
//! loom model.

pub(crate) mod condvar;
pub(crate) mod lock;
pub(crate) mod once;
pub(crate) mod semaphore;

#[cfg(all(test, any(loom, narrowboat_threads)))]
mod models;
#[cfg(all(test, not(loom)))]
mod order;
