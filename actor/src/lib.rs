//! Actors on goroutines, in the manner of skynet and Erlang.
//!
//! A *service* is a state with a mailbox. It handles its messages one at a time, each on a
//! goroutine, and while it has none it is nothing but a few hundred bytes of memory. Messages are
//! typed: a service implements [`Handle`] for each type that it takes, and what a handler returns is
//! the reply.
//!
//! ```
//! use narrowboat::actor::{Handle, Service, System, Turn};
//!
//! struct Counter(u64);
//! impl Service for Counter {}
//!
//! struct Add(u64);
//! impl Handle<Add> for Counter {
//!     type Reply = u64;
//!     fn handle(turn: &mut Turn<Self>, Add(n): Add) -> u64 {
//!         turn.0 += n; // the state, by `DerefMut`
//!         turn.0
//!     }
//! }
//!
//! let system = System::new();
//! let counter = system.spawn(Counter(40));
//! counter.send(Add(1))?; // no reply wanted
//! assert_eq!(counter.call(Add(1))?, 42);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Who runs what
//! 1. A message for a service at rest starts a goroutine, which has the *turn*: it alone reaches the
//!    state. It goes on with the messages that have come meanwhile, and ends with the last.
//! 2. A handler that waits by [`Turn::call`] or [`Turn::wait`] gives up the turn. The next message
//!    is handled meanwhile, on a goroutine of its own: that is re-entry.
//! 3. When its wait has ended, the handler queues up in the mailbox, behind the messages that were
//!    there before, and goes on when its turn comes.
//!
//! So a state may be another one after a call than it was before. The compiler sees to it that no
//! handler overlooks this: both methods borrow the turn mutably, so no reference into the state can
//! live across them.
//!
//! ```compile_fail,E0502
//! # use narrowboat::actor::*;
//! # struct Names(Vec<String>);
//! # impl Service for Names {}
//! # struct Ask;
//! # impl Handle<Ask> for Names {
//! #     type Reply = usize;
//! #     fn handle(turn: &mut Turn<Self>, _: Ask) -> usize {
//! #         let other: Address<Names> = turn.address();
//! let first = &turn.0[0];
//! turn.call(&other, Ask);
//! first.len() // the names may have changed
//! #     }
//! # }
//! ```
//!
//! [`Address::call`] waits as well, but keeps the turn of the service that it is called in, if any:
//! nothing is handled there meanwhile. Two services that call each other in this way wait for ever;
//! the watchdog names them.
//!
//! # Failure
//! A handler that panics ends its service: callers that wait for it get an error, and so does each
//! call that comes later. A [`Supervisor`] starts a failed service anew, with a fresh state, the same
//! address and the messages that were not begun. Handlers of the former state that wait in a call do
//! not come back from it: they unwind, as if they had panicked, but without a report.

#![forbid(unsafe_code)]

mod address;
mod call;
mod cell;
mod console;
mod envelope;
mod error;
mod info;
mod report;
mod run;
mod service;
mod supervisor;
mod system;
mod table;
mod turn;
mod watchdog;

pub use address::Address;
pub use console::Console;
pub use error::{CallError, NameTaken, SendError};
pub use info::{ServiceId, ServiceInfo, SystemInfo, WaitingCall};
pub use report::{Report, StuckAction};
pub use service::{Handle, Service};
pub use supervisor::{GaveUp, Supervisor};
pub use system::{Builder, System};
pub use turn::Turn;
