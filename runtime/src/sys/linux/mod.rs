//! Linux.

pub(crate) mod blocked;
pub(crate) mod fork;
mod getattr;
pub(crate) mod memory;
mod setxid;
pub(crate) mod signals;
pub(crate) mod symbols;
mod thread;
pub(crate) mod tls;

pub(crate) use thread::*;
