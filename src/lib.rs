//! Goroutines, channels and blocking-style sockets for Rust.
//!
//! Narrowboat runs plain blocking code on goroutines: [`go!`] starts one for a few hundred bytes, [`chan`] and
//! [`select!`] join them together, and the sockets in [`net`] park a goroutine where std's would block a thread.
//!
//! ```
//! use narrowboat::{chan, go};
//!
//! fn main() {
//!     let answer = narrowboat::run(|| {
//!         let (tx, rx) = chan::bounded(0);
//!         for n in 1..=3 {
//!             let tx = tx.clone();
//!             go!(move || tx.send(n * n).unwrap());
//!         }
//!         drop(tx);
//!         rx.iter().sum::<i32>()
//!     });
//!     assert_eq!(answer, 14);
//! }
//! ```
//!
//! Everything works from plain threads, too; there it blocks the thread. The runtime starts by itself at first use,
//! sized by the machine, the environment ([`Config`]) or the program.
//!
#![doc = include_str!("../docs/rules.md")]

pub use narrowboat_chan as chan;
pub use narrowboat_chan::{select, select_biased};
pub use narrowboat_net as net;
pub use narrowboat_runtime::{
    Builder, Config, Goroutine, GoroutineId, JoinHandle, current, go, num_goroutines, run, sleep, spawn,
    yield_now,
};

/// Points in time.
pub mod time {
    pub use narrowboat_runtime::{sleep, sleep_until};
}
