//! The two directions of a descriptor.

use narrowboat_runtime::park::Reason;

/// A direction of a descriptor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// What comes in: data, connections.
    Input,
    /// What goes out.
    Output,
}

impl Direction {
    /// That of the operations that wait for this reason.
    pub(crate) fn of(reason: Reason) -> Direction {
        match reason {
            Reason::Read | Reason::Accept => Direction::Input,
            _ => Direction::Output,
        }
    }
}
