//! Typed channels past one machine.
//!
//! A [`Bus`] carries messages by *subject*, such as `orders.new`. Its ends are channels: they stand
//! in a `select!` beside local ones. [`Bus::local`] lies in one process and needs nothing else; with
//! the feature `nats`, `Bus::connect` uses a NATS server, and the same program runs on many machines.
//!
//! | what | how | a message |
//! | --- | --- | --- |
//! | to all | [`sender`](Bus::sender), [`receiver`](Bus::receiver) | is received by every receiver that there is, at most once |
//! | to one of a group | [`queue_receiver`](Bus::queue_receiver) | is received by one of the group, at most once |
//! | a question | [`request`](Bus::request), [`service`](Bus::service) | is answered, or an error within the time |
//! | work | [`stream`](Bus::stream) | is kept until a receiver has acknowledged it |
//!
//! ```
//! use narrowboat::{chan, remote::Bus, select};
//!
//! let bus = Bus::local();
//! let readings = bus.receiver::<f64>("sensors.*")?;
//! bus.sender::<f64>("sensors.7")?.send(&21.5)?;
//!
//! let (_quit, quits) = chan::bounded::<()>(0);
//! select! {
//!     recv(readings.channel()) -> reading => assert_eq!(reading?, Ok(21.5)),
//!     recv(quits) -> _ => {}
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What is lost, and what is not
//! - A message **to all or to a group** is lost if no receiver is there, if a receiver's buffer is
//!   full (that receiver then gets [`Error::Lost`] with their number), or if the connection breaks
//!   while it is under way. Sending means that it was handed over, not that it has arrived;
//!   [`Bus::flush`] waits until the server has what was sent.
//! - A message of **a stream** is kept from the moment when [`Stream::send`] has returned `Ok` until
//!   [`Delivery::ack`] has. In between it may be delivered more than once.
//!
//! # Connections that break
//! The client connects again by itself, for as long as it takes. Senders fill their channel
//! meanwhile, and then wait; receivers go on when the connection is back. [`Bus::events`] tells.

#![forbid(unsafe_code)]

mod bus;
mod codec;
mod error;
#[cfg(feature = "actor")]
pub mod harbor;
mod inbox;
mod local;
#[cfg(feature = "nats")]
mod nats;
mod receiver;
mod request;
mod sender;
mod stream;
mod subject;

pub use bus::{Bus, Event};
pub use codec::Codec;
pub use error::Error;
pub use receiver::Receiver;
pub use request::Request;
pub use sender::{Outgoing, Sender};
pub use stream::{Delivery, Stream, StreamOptions, StreamReceiver};
