//! Goroutines, as programs see them.
//!
//! Before it first runs, a goroutine is a [`task`]: a boxed closure that any processor may take.
//! When it first runs it gets a record from its processor ([`crate::sched::record`]), and stays with
//! that processor for life. At its [`end`] the record is freed at once, and the task stays until the
//! owner of the handle has taken the outcome ([`join`]). [`spawn`] starts goroutines, [`scope`] those
//! that borrow. [`panic`] is what happens when one panics. [`current`] and [`labels`] say what the
//! caller is and what it works on. [`local`] has values that each goroutine has of its own.

pub(crate) mod current;
mod end;
pub(crate) mod join;
pub(crate) mod labels;
pub mod local;
pub(crate) mod panic;
pub(crate) mod scope;
pub(crate) mod spawn;
pub(crate) mod task;
