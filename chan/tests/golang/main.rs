//! What Go programs rely on: what blocks, what is served when, what a close means, and programs that have found bugs in
//! channels before.
//!
//! Go's nil channel is [`never`](narrowboat_chan::never) for a receive. A nil channel to send into is one without buffer
//! whose receiver is kept and never used.

mod blocking;
mod closing;
mod order;
mod pipelines;
mod power_series;
mod programs;
mod selecting;
mod waiters;
