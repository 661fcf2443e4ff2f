//! The bus in one process.

mod hub;
mod queue;

pub(crate) use hub::Hub;
pub(crate) use queue::{Stream, Ticket};

/// How many bytes a message may have: as NATS has it, so that a program that works here works there.
pub(crate) const MAX_PAYLOAD: usize = 1 << 20;
