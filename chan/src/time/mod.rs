//! Time: sleep, channels that tell the time, timers that can be stopped and set again, and
//! timeouts.
//!
//! | Go | here |
//! | --- | --- |
//! | `time.Sleep(d)` | [`sleep`], and [`sleep_until`] |
//! | `time.After(d)`, `time.Tick(d)` | [`after`], [`tick`], and [`at`] |
//! | `time.NewTimer(d)`, `t.C` | [`Timer::new`], [`Timer::channel`] |
//! | `time.NewTicker(d)` | [`Ticker::new`] |
//! | `time.AfterFunc(d, f)` | [`after_func`] |
//!
//! The behaviour is that of Go 1.23 and later: after a `stop` or a `reset` no earlier message is
//! received, and a timer that is dropped needs no `stop`. A timer is not an object in a table but
//! the instant of its next message, and a goroutine that waits for it sleeps until then.
//!
//! No message or wake-up is ever early, by the clock of [`Instant`](std::time::Instant). How late
//! it is depends on the load of the machine.
//!
//! # Examples
//! A server that stops after it has been idle for a while:
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
