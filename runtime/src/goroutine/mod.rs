//! What a goroutine is made of.
//!
//! Before it first runs, a goroutine is a [`task`]: a boxed closure that any processor may take.
//! When it first runs it gets a [`record`] from its processor's [`slab`], and stays with that
//! processor for life. When it ends, the record is freed at once, and the task stays until the
//! owner of the handle has taken the outcome. [`spawn`] starts goroutines, [`scope`] those that
//! borrow. [`panic`] is what happens when one panics, [`failure`] what a joiner gets of that.
//! [`labels`] say what one works on.
//! [`local`] has values that each goroutine has of its own.

pub(crate) mod current;
pub(crate) mod failure;
pub(crate) mod join;
pub(crate) mod labels;
pub mod local;
pub(crate) mod origin;
pub(crate) mod panic;
pub(crate) mod record;
pub(crate) mod scope;
pub(crate) mod slab;
pub(crate) mod spawn;
pub(crate) mod task;
