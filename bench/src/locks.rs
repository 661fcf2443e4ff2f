//! What the cases of locks share.

/// One operation in so many takes a read-write lock for writing.
pub const WRITE_EVERY: usize = 20;
