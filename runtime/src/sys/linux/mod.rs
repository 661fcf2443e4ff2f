//! Linux.

pub(crate) mod memory;
mod setxid;
pub(crate) mod signals;
mod thread;

pub(crate) use thread::*;
