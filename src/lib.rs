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
//! # Stacks
//!
//! Nobody picks a stack size. A goroutine may go 256 MiB deep ([`Config::max_stack`]), any code may run on its stack, C too, and no
//! function pays for a check. While it is parked it costs a record of 128 bytes and a copy of what is alive on its stack, mostly
//! 100 to 250 bytes: goroutines share a few large stacks, and are copied out and in, to the same addresses, when they take turns.
//! Memory that one deep call has left behind goes back to the system within seconds.
//!
//! Copying is what to know about. Bytes that are alive across a blocking call are what it costs, so a large buffer is better on
//! the heap; goroutines that park with 8 KiB or more get stacks to themselves where there is room. And nobody else may point
//! into a parked goroutine's stack: see below, and [`Builder::own_stack`]. For recursion beyond any limit there is
//! [`stack::maybe_grow`], for code that insists on its thread's own stack [`stack::on_system_stack`]. What runs off its stack is
//! reported with its name, the line that spawned it and its last frames.
//!
#![doc = include_str!("../docs/rules.md")]

pub use narrowboat_chan as chan;
pub use narrowboat_chan::{context, select, select_biased, time};
pub use narrowboat_net as net;
pub use narrowboat_runtime::{
    Builder, Config, Dump, Goroutine, GoroutineId, GoroutineInfo, JoinHandle, Panic, ProcessorStats, Scope,
    ScopedJoinHandle, Stacks, Stats, WorkerStats, blocking, current, dump, go, goroutine_local, local,
    num_goroutines, panicking, run, scope, sleep, spawn, stack, stats, trace, yield_now,
};
pub use narrowboat_sync as sync;

#[doc = include_str!("../docs/from_go.md")]
pub mod from_go {}

#[doc = include_str!("../docs/diagnostics.md")]
pub mod diagnostics {}
