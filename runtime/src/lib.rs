//! The scheduler of [Narrowboat](https://docs.rs/narrowboat): goroutines on copying stacks, on processors that carry
//! their thread-locals.
//!
//! Programs use the `narrowboat` crate, which re-exports what they need from here. The crates of Narrowboat that block
//! (channels, sockets) build on [`park`], and the netpoller plugs into [`sched::poller`].
//!
//! # What a goroutine may and may not do
//! A goroutine is written like a thread, and what is sound on a thread is sound in it, across blocking calls too: it
//! keeps its thread-locals and its `thread::current().id()` from its first instruction to its last. Two rules are its
//! own:
//!
//! - Nothing outside a goroutine may hold a pointer into its stack while it is parked in a call of ours, because its
//!   stack may be copied away meanwhile. Safe code can break this only with scoped threads of other libraries
//!   (`std::thread::scope`, rayon) that borrow a goroutine's locals while it parks inside the scope. Run such code in a
//!   goroutine with a stack of its own ([`Builder::own_stack`]); the main goroutine of [`run`] has one. Our own
//!   [`scope()`] looks where it runs and refuses elsewhere.
//! - What the kernel ties to a thread of its own (`gettid`, CPU affinity, credentials, per-thread signals, priority
//!   inheritance, restartable sequences) is the worker's that carries the goroutine at the moment. Code that needs
//!   these runs on a `std::thread`, which can use everything of ours.

mod arch;
mod blocking;
mod clock;
mod diag;
mod futex;
mod goroutine;
mod locals;
#[doc(hidden)]
pub mod lock;
pub mod park;
pub mod sched;
mod shim;
pub mod stack;
mod sys;
mod time;

pub use blocking::blocking;
#[doc(hidden)]
pub use blocking::waiting_for;
pub use diag::dump::{Dump, GoroutineInfo, dump};
pub use diag::stats::{ProcessorStats, Stats, WorkerStats, stats};
pub use diag::trace;
pub use goroutine::current::{Goroutine, current};
pub use goroutine::failure::Panic;
pub use goroutine::join::{GoroutineId, JoinHandle};
pub use goroutine::local;
pub use goroutine::panic::panicking;
pub use goroutine::scope::{Scope, ScopedJoinHandle, scope};
pub use goroutine::spawn::{Builder, run, spawn};
pub use sched::config::{Config, Stacks};
pub use sched::num_goroutines;
pub use sched::processor::yield_now;
pub use time::{sleep, sleep_until};
