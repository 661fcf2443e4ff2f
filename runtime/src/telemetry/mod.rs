//! What running code leaves behind for diagnostics. The scheduler, above, says when; `diag`, at the
//! top, reads.
//!
//! - `counters`: figures, written by their owners and readable by any thread.
//! - `trace`: events, and the rings that they are in.
//! - `waits`: adds up how long goroutines wait.

pub(crate) mod counters;
pub(crate) mod trace;
pub(crate) mod waits;
