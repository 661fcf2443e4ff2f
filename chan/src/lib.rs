//! Channels for goroutines and threads, with [`select!`].
//!
//! A channel carries messages of one type from its [`Sender`]s to its [`Receiver`]s. Both sides can
//! be cloned, and each side can be used by goroutines and by plain threads: an operation that has
//! to wait parks the goroutine, or blocks the thread. Async tasks use the same channels
//! ([`send_async`](Sender::send_async), [`recv_async`](Receiver::recv_async)).
//!
//! | made by | what it is |
//! | --- | --- |
//! | [`bounded`] | holds up to a number of messages; with 0 a send and a receive meet |
//! | [`unbounded`] | holds any number of messages |
//! | [`after`], [`at`] | delivers one message at a point in time |
//! | [`tick`] | delivers a message at regular intervals |
//! | [`never()`] | delivers nothing |
//! | [`broadcast::channel`] | delivers each message to every receiver |
//! | [`watch::channel`] | tells its receivers that a value has changed |
//!
//! [`time`] has timers that can be stopped and set again, and [`context`] ends work from outside. A
//! program waits for both on channels, too.
//!
//! Names and behaviour are those of crossbeam-channel 0.5: a program ports by changing its `use`.
//! From Go comes an explicit [`close`](Sender::close), which either side may call; dropping the
//! last sender or the last receiver closes a channel too. Receivers of a closed channel get the
//! messages in it, then an error. Senders get an error that carries their message.
//!
//! # Guarantees
//! - A message goes to exactly one receiver, in the order of the sends. A send that fails returns
//!   its message. Messages left in a channel without receivers are dropped, once.
//! - Waiting receives are served in their order, and so are waiting sends. A waiter is handed its
//!   message and does not compete for it when it wakes.
//! - A `select!` carries out one operation, and the others leave no trace.
//! - No operation spins to wait for its counterpart, and no pointer in a channel ever points into a
//!   stack.
//!
//! # Examples
//! ```
//! use narrowboat::chan::{after, bounded, select};
//! use std::thread;
//! use std::time::Duration;
//!
//! let (tx, rx) = bounded(8);
//! thread::spawn(move || {
//!     for n in 1..=3 {
//!         tx.send(n * n).unwrap();
//!     }
//! });
//!
//! let timeout = after(Duration::from_secs(10));
//! let mut squares = Vec::new();
//! loop {
//!     select! {
//!         recv(rx) -> msg => match msg {
//!             Ok(square) => squares.push(square),
//!             Err(_) => break,
//!         },
//!         recv(timeout) -> _ => panic!("it takes too long"),
//!     }
//! }
//! assert_eq!(squares, [1, 4, 9]);
//! ```

#[cfg(all(test, narrowboat_threads))]
extern crate narrowboat_loom_on_threads as loom;

mod block;
pub mod broadcast;
mod cell;
mod channel;
pub mod context;
mod describe;
mod error;
mod event;
mod info;
mod iter;
mod limit;
mod lock;
mod make;
mod messages;
#[cfg(all(test, any(loom, narrowboat_threads)))]
mod models;
mod node;
mod outside;
mod pairing;
mod pairs;
mod receiver;
mod ring;
mod select;
mod sender;
mod shim;
mod task;
pub mod time;
mod timer;
mod waiters;
pub mod watch;

pub use error::{
    ReadyTimeoutError, RecvError, RecvTimeoutError, SelectTimeoutError, SendError, SendTimeoutError,
    TryReadyError, TryRecvError, TrySelectError, TrySendError,
};
pub use iter::{IntoIter, Iter, TryIter};
pub use make::{after, at, bounded, never, tick, unbounded};
pub use receiver::Receiver;
pub use select::{Select, SelectedOperation};
pub use sender::Sender;
pub use task::{RecvFuture, SendFuture};

/// What the macros call in their expansions. Not for programs.
#[doc(hidden)]
pub mod __private {
    pub use crate::select::entry::{
        block_forever, recv_timeout, select, select_timeout, try_recv, try_select,
    };
    pub use crate::select::{Arm, Order};
}

/// How the other crates of Narrowboat make a [`Receiver`] for an event of their own. Not for
/// programs.
#[doc(hidden)]
pub mod __outside {
    pub use crate::event::park_beside;
    pub use crate::make::receiver;
    pub use crate::messages::{MessageSource, receiver as message_receiver};
    pub use crate::outside::EventSource;
    pub use crate::select::ready::either;
    pub use crate::task::PolledReceiver;
}
