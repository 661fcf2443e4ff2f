//! Linux.

pub(crate) mod blocked;
pub(crate) mod fork;
pub(crate) mod getattr;
pub(crate) mod memory;
pub(crate) mod modules;
pub(crate) mod sampling;
mod setxid;
pub(crate) mod signals;
pub(crate) mod symbols;
mod thread;
pub(crate) mod tls;

pub(crate) use thread::*;
