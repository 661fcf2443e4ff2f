//! What the tests of the workspace share, one idea per module.
//!
//! | module | what it has |
//! | --- | --- |
//! | `on` | what a test runs on: threads, goroutines, or both |
//! | `size` | how large a test is |
//! | `usage` | what a process uses, and limits on it |
//! | `control_group` | groups of processes that get less than the machine has |
//! | `in_libc` | goroutines that wait in functions of the C library |
//! | `limit` | how long a test may take |
//! | `pause` | waiting for some time |
//! | `process` | tests that run in another process, and tools |
//! | `fork` | closures that run in a forked process |
//! | `census` | values that count how many of them are alive |
//! | `dice` | random numbers |
//! | `auto_traits` | whether a type is `Send` and `Sync` |
//!
//! The environment variables `NARROWBOAT_TEST_ON`, `NARROWBOAT_TEST_SCALE` and
//! `NARROWBOAT_REQUIRE_TOOLS` control the tests: see [`on()`], [`scaled`] and [`tool`].
//!
//! Unit tests inside `narrowboat-runtime` cannot use this crate: it links the runtime as a library,
//! and a program can contain the runtime only once.

mod auto_traits;
mod census;
mod control_group;
mod dice;
mod fork;
mod in_libc;
mod limit;
mod on;
mod pause;
mod process;
mod size;
mod usage;

#[doc(hidden)]
pub use auto_traits::{Neither, Probe};
pub use census::{Census, Counted};
pub use control_group::{ControlGroup, Inside};
pub use dice::{Dice, Integer};
pub use fork::{FORKED, fork, works_in_fork};
pub use in_libc::{named, parked_in_libc, waits_in_libc};
pub use limit::{LONG, bounded, eventually, program, program_on_one_processor, within};
pub use on::{On, Stack, Work, as_task, body, go, join_all, on, one_site, own_stacks, waits};
pub use pause::{ms, pause, settle};
pub use process::{again, all_again, assert_passed, in_child, in_child_with, python_with, this_binary, tool};
pub use size::{number_from_env, scaled, sized};
pub use usage::{block_natively, cpu_time, cpu_time_of_thread, limit_resource, memory, processor};
