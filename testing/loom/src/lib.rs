//! Loom's names, as far as the models of the workspace use them, on plain threads and std's types.
//!
//! With `--cfg narrowboat_threads` a crate's models run on this. Then they use the code that
//! programs use, down to std's locks and the thread's own sleep, and Miri watches them
//! (`.ci/miri.sh`): it checks every access to memory, and lets a load return each value that the
//! memory model allows. ThreadSanitizer (`.ci/sanitizers.sh`) checks that all accesses are
//! ordered, in far more rounds.
//!
//! Loom tries all orders; here [`model()`] runs a model some times, in the orders that come. So a
//! model that passes shows less than under loom, but of more code.

pub mod alloc;
pub mod cell;
mod rounds;
pub mod thread;

pub use rounds::model;

/// Models with settings.
pub mod model {
    pub use crate::rounds::Builder;
}

/// std's.
pub mod sync {
    pub use std::sync::{Arc, Condvar, Mutex, MutexGuard, atomic};
}
