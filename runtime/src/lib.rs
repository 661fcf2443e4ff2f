//! The scheduler of [Narrowboat](https://docs.rs/narrowboat): goroutines on copying stacks, on
//! processors that carry their thread-locals.
//!
//! Programs use the `narrowboat` crate, which re-exports what they need from here.
//!
//! # Stability
//! This crate makes no promise of its own. What `narrowboat` re-exports is as stable as it is
//! there. Everything else that is public is hidden from this documentation: it is there for the
//! other crates of Narrowboat, which depend on exactly this version, and any release may change it.
//!
//! # What a goroutine may and may not do
//! What is sound on a thread is sound in a goroutine, which has thread-locals and a
//! `thread::current()` of its own, and parks where a thread would block in one of std's locks. The
//! rules of the `narrowboat` crate have the exceptions.

// The hidden modules are for the crates of Narrowboat that block: channels, locks and sockets wait
// in `park`, the netpoller plugs into `sched::poller`, `interpose` uses `as_thread`, and `sim` runs
// a `world`.

// Linux alone has functions that replace the C library's, and shows what its threads do.
#![cfg_attr(not(target_os = "linux"), allow(dead_code))]

#[cfg(all(test, narrowboat_threads))]
extern crate narrowboat_loom_on_threads as loom;

mod arch;
#[doc(hidden)]
pub mod as_thread;
mod blocking;
mod clock;
mod counter;
mod diag;
#[cfg(target_os = "linux")]
mod futex;
mod goroutine;
mod locals;
#[doc(hidden)]
pub mod lock;
mod ours;
#[doc(hidden)]
pub mod park;
mod say;
#[doc(hidden)]
pub mod sched;
mod shim;
pub mod stack;
mod sys;
mod telemetry;
mod time;
mod wait;
#[doc(hidden)]
pub mod world;

/// What the scheduler calls of what is above it. The root of the crate stands above both, so that
/// neither refers to the other.
const ABOVE_SCHEDULER: sched::above::Above = sched::above::Above {
    catches_waits: futex::catches_waits,
    install_panic_hook: goroutine::panic::install_hook,
    diagnostics: diag::DIAGNOSTICS,
};
#[cfg(not(target_os = "linux"))]
use sys::pinned::futex;

/// For `narrowboat-debug`, which shows a running program to those outside.
#[doc(hidden)]
pub use diag::window;

pub use blocking::blocking;
#[doc(hidden)]
pub use blocking::waiting_for;
pub use diag::dump::{Dump, GoroutineInfo, dump};
pub use diag::leak;
pub use diag::stats::{ProcessorStats, Stats, WorkerStats, stats};
pub use diag::trace;
pub use goroutine::current::{Goroutine, current};
pub use goroutine::join::{JoinFuture, JoinHandle};
pub use goroutine::labels::EnteredLabels;
pub use goroutine::local;
pub use goroutine::panic::panicking;
pub use goroutine::scope::{Scope, ScopedJoinHandle, scope};
pub use goroutine::spawn::{Builder, run, spawn};
pub use sched::config::{Config, Stacks};
pub use sched::num_goroutines;
pub use sched::processor::yield_now;
pub use sched::record::failure::Panic;
pub use sched::record::id::GoroutineId;
pub use sched::record::labels::Labels;
pub use time::{sleep, sleep_until};
