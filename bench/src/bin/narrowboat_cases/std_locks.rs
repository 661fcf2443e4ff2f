//! The cases of locks with std's locks, on goroutines.

#[expect(clippy::duplicate_mod, reason = "the same lines, with another backend")]
#[path = "../../blocking/locks.rs"]
mod locks;

pub use locks::{mutex, rwlock};

/// What the shared cases call.
mod backend {
    pub use crate::seats::Seats;
    pub use narrowboat::chan::bounded;
    pub use std::sync::{Mutex, RwLock};
}
