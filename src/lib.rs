//! Goroutines, channels and blocking-style sockets for Rust.
//!
//! Narrowboat runs plain blocking code on goroutines. [`go!`] starts one for a few hundred bytes,
//! [`chan`] and [`select!`] let goroutines communicate, and the sockets in [`net`] park a goroutine
//! where std's would block a thread.
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
//! Everything works from plain threads, too; a call that would park a goroutine blocks the thread.
//! The runtime starts by itself at first use. The machine, the environment or the program
//! ([`Config`]) set its size.
//!
//! # Modules and pages
//!
//! | what | where |
//! | --- | --- |
//! | goroutines | [`go!`], [`spawn`], [`Builder`], [`scope()`], [`run`], [`yield_now`] |
//! | values of a goroutine's own | [`goroutine_local!`], [`local`], and `std::thread_local!` |
//! | channels, as in crossbeam-channel, with Go's `close` | [`chan`], [`select!`], [`select_biased!`] |
//! | sleeping, timers, tickers, limits | [`time`] |
//! | cancellation, deadlines and values, after Go | [`context`] |
//! | std's locks, a semaphore, a wait group, Go's errgroup | [`sync`] |
//! | sockets, as in std, and any other descriptor | [`net`] |
//! | futures and streams, tokio's crates | [`future`] |
//! | calls that block their thread | [`blocking()`] |
//! | more stack, or the thread's own | [`stack`] |
//! | settings | [`Config`] |
//! | services with mailboxes, by the feature `actor` | [a page](crate::actors) |
//! | tests that decide, by the feature `sim` | [a page](crate::simulation) |
//! | channels past one machine, by the features `remote` and `nats` | [a page](crate::past_one_machine) |
//! | what the program is doing | [`dump()`], [`stats()`], [`trace`] |
//! | goroutines that a test forgets | [`leak`] |
//!
//! Pages to read: [a tour](crate::tour); [Narrowboat, tokio, or threads?](crate::choosing); [your
//! blocking crates, unchanged](crate::blocking_crates); [Go's constructs beside
//! ours](crate::from_go); [futures, tokio and async tasks](crate::asynchronous);
//! [settings](crate::settings); [diagnostics](crate::diagnostics);
//! [limits](crate::limits); and below, what a goroutine may and may not do.
//!
//! # Stacks
//!
//! There is no stack size to choose. A goroutine may go 256 MiB deep ([`Config::max_stack`]), any
//! code may run on its stack, C too, and no function pays for a check. A parked goroutine costs a
//! record of 128 bytes and a copy of what is alive on its stack, mostly 100 to 250 bytes:
//! goroutines share a few large stacks, and are copied out and in, to the same addresses, when they
//! take turns. Memory that one deep call has left behind goes back to the system within seconds.
//!
//! Bytes that are alive across a blocking call are what a goroutine costs, so a large buffer is
//! better on the heap; goroutines that park with 8 KiB or more get stacks to themselves where there
//! is room. Nothing else may point into a parked goroutine's stack: see below, and
//! [`Builder::own_stack`].
//!
//! For recursion beyond any limit there is [`stack::maybe_grow`]. For code that needs its thread's
//! own stack there is [`stack::on_system_stack`]. If a goroutine overflows its stack, a report
//! gives its name, the line that spawned it and its last frames.
//!
//! [blocking_crates]: crate::blocking_crates
//! [simulation]: crate::simulation
//!
#![doc = include_str!("../docs/rules.md")]

// Nothing of it is called: it is there to be linked.
#[cfg(all(feature = "interpose", target_os = "linux", target_env = "gnu"))]
extern crate narrowboat_interpose as _;

#[cfg(feature = "actor")]
pub use narrowboat_actor as actor;
pub use narrowboat_chan as chan;
pub use narrowboat_chan::{context, select, select_biased, time};
#[cfg(feature = "debug")]
pub use narrowboat_debug as diag;
pub use narrowboat_future as future;
pub use narrowboat_net as net;
#[cfg(feature = "remote")]
pub use narrowboat_remote as remote;
pub use narrowboat_runtime::{
    Builder, Config, Dump, EnteredLabels, Goroutine, GoroutineId, GoroutineInfo, JoinFuture, JoinHandle,
    Labels, Panic, ProcessorStats, Scope, ScopedJoinHandle, Stacks, Stats, WorkerStats, blocking, current,
    dump, go, goroutine_local, labels, leak, local, num_goroutines, panicking, run, scope, sleep, spawn,
    stack, stats, trace, yield_now,
};
#[cfg(feature = "sim")]
pub use narrowboat_sim as sim;
pub use narrowboat_sync as sync;

// The pages of `docs/` end with definitions of their links to each other, which are right for the
// files in that folder. In this documentation, a definition written here comes first and takes
// precedence.

/// [rules]: crate#what-a-goroutine-may-and-may-not-do
/// [settings]: crate::settings
/// [from_go]: crate::from_go
/// [diagnostics]: crate::diagnostics
/// [actors]: crate::actors
/// [remote]: crate::past_one_machine
#[doc = include_str!("../docs/tour.md")]
pub mod tour {}

/// [remote]: crate::past_one_machine
#[cfg_attr(feature = "actor", doc = include_str!("../docs/actors.md"))]
#[cfg_attr(not(feature = "actor"), doc = "Actors: see the documentation with the feature `actor`.")]
pub mod actors {}

/// [actors]: crate::actors
#[cfg_attr(feature = "remote", doc = include_str!("../docs/remote.md"))]
#[cfg_attr(
    not(feature = "remote"),
    doc = "Channels past one machine: see the documentation with the feature `remote`."
)]
pub mod past_one_machine {}

/// [rules]: crate#what-a-goroutine-may-and-may-not-do
#[cfg_attr(feature = "sim", doc = include_str!("../docs/simulation.md"))]
#[cfg_attr(not(feature = "sim"), doc = "Tests that decide: see the documentation with the feature `sim`.")]
pub mod simulation {}

/// [rules]: crate#what-a-goroutine-may-and-may-not-do
/// [limits]: crate::limits
/// [blocking_crates]: crate::blocking_crates
/// [async]: crate::asynchronous
#[doc = include_str!("../docs/choosing.md")]
pub mod choosing {}

/// [rules]: crate#what-a-goroutine-may-and-may-not-do
/// [settings]: crate::settings
/// [limits]: crate::limits
#[doc = include_str!("../docs/blocking_crates.md")]
pub mod blocking_crates {}

/// [rules]: crate#what-a-goroutine-may-and-may-not-do
#[doc = include_str!("../docs/async.md")]
pub mod asynchronous {}

/// [rules]: crate#what-a-goroutine-may-and-may-not-do
#[doc = include_str!("../docs/from_go.md")]
pub mod from_go {}

#[doc = include_str!("../docs/settings.md")]
pub mod settings {}

/// [rules]: crate#what-a-goroutine-may-and-may-not-do
/// [blocking_crates]: crate::blocking_crates
#[doc = include_str!("../docs/limits.md")]
pub mod limits {}

/// [stuck]: crate::diagnostics::stuck
/// [figures]: crate::diagnostics::figures
/// [traces]: crate::diagnostics::traces
/// [window]: crate::diagnostics::window
/// [debuggers]: crate::diagnostics::debuggers
/// [settings]: crate::settings
#[doc = include_str!("../docs/diagnostics.md")]
pub mod diagnostics {
    #[doc = include_str!("../docs/diagnostics/stuck.md")]
    pub mod stuck {}

    /// [stuck]: crate::diagnostics::stuck
    #[doc = include_str!("../docs/diagnostics/figures.md")]
    pub mod figures {}

    #[doc = include_str!("../docs/diagnostics/traces.md")]
    pub mod traces {}

    /// [stuck]: crate::diagnostics::stuck
    /// [traces]: crate::diagnostics::traces
    /// [recorder]: crate::diagnostics::traces#the-flight-recorder
    #[doc = include_str!("../docs/diagnostics/window.md")]
    pub mod window {}

    #[doc = include_str!("../docs/diagnostics/debuggers.md")]
    pub mod debuggers {}
}
