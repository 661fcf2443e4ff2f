//! The error of a wait that has a limit.

use std::error::Error;
use std::fmt;

/// The future was not ready in time. It has been dropped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TimeoutError;

impl fmt::Display for TimeoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the future was not ready in time")
    }
}

impl Error for TimeoutError {}
