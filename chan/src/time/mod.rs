//! Points in time: sleeping, channels that tell the time, timers that can be stopped and set again,
//! and limits.
//!
//! | Go | here |
//! | --- | --- |
//! | `time.Sleep(d)` | [`sleep`], and [`sleep_until`] |
//! | `time.After(d)`, `time.Tick(d)` | [`after`], [`tick`], and [`at`] |
//! | `time.NewTimer(d)`, `t.C` | [`Timer::new`], [`Timer::channel`] |
//! | `time.NewTicker(d)` | [`Ticker::new`] |
//! | `time.AfterFunc(d, f)` | [`after_func`] |
//!
//! Behaviour is that of Go 1.23 and later: after a `stop` or a `reset` no message of before is
//! received, and what is dropped needs no `stop`. A timer is not an object in a table somewhere but
//! the instant of its next message, and whoever waits for it sleeps until then.
//!
//! Nothing is ever early, by the clock of [`Instant`](std::time::Instant). How late it is depends
//! on how busy the machine is.
//!
//! # Examples
//! A server that closes what has been idle for a while:
//! ```
//! use narrowboat::time::Timer;
//! use narrowboat::chan::{select, unbounded};
//! use std::time::Duration;
//!
//! const PATIENCE: Duration = Duration::from_millis(10);
//!
//! let (tx, requests) = unbounded();
//! tx.send("hello").unwrap();
//! let idle = Timer::new(PATIENCE);
//! let mut served = 0;
//! loop {
//!     select! {
//!         recv(requests) -> request => {
//!             served += request.unwrap().len();
//!             idle.reset(PATIENCE);
//!         }
//!         recv(idle.channel()) -> _ => break,
//!     }
//! }
//! assert_eq!(served, 5);
//! ```

mod func;
mod ticker;
mod timeout;
mod timer;

pub use crate::make::{after, at, tick};
pub use func::{AfterFunc, after_func};
pub use narrowboat_runtime::{sleep, sleep_until};
pub use ticker::Ticker;
pub use timeout::{Elapsed, timeout};
pub use timer::Timer;
