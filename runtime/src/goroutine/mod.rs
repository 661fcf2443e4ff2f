//! What a goroutine is made of.
//!
//! Before it first runs a goroutine is a [`task`]: a boxed closure that any processor may take.
//! When it first runs it gets a [`record`] out of its processor's [`slab`], and stays with that
//! processor for life. When it ends, the record goes back at once, and the task stays until whoever
//! holds its handle has taken the outcome. [`spawn`] is how programs start one, [`scope`] one that
//! borrows, [`panic`] what happens when one panics, [`failure`] what is left of that for others;
//! [`local`] has the values that are a goroutine's own.

pub(crate) mod current;
pub(crate) mod failure;
pub(crate) mod join;
pub mod local;
pub(crate) mod panic;
pub(crate) mod record;
pub(crate) mod scope;
pub(crate) mod slab;
pub(crate) mod spawn;
pub(crate) mod task;
