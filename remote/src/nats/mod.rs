//! The bus over a NATS server, by the client `async-nats`.
//!
//! The client's own tasks run on tokio, in the background. What waits for it here is a goroutine,
//! which parks. For each subscription there is a task that moves messages into the receiver's
//! buffer and never waits: a receiver that is slow loses messages and learns how many, and the
//! connection goes on for the others.

mod client;
mod held;
mod stream;

pub(crate) use client::Client;
pub(crate) use stream::{Stream, Ticket};
