//! What the cases of locks share.

/// One operation in so many takes a read-write lock for writing.
pub const WRITE_EVERY: usize = 20;

/// The variable that tells Narrowboat's program whose locks its goroutines share: its own, or [`STD`]'s.
pub const VARIABLE: &str = "BENCH_LOCKS";

/// The value of [`VARIABLE`] for std's.
pub const STD: &str = "std";
