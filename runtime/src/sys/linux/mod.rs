//! Linux.

mod blocked;
pub(crate) mod futex;
pub(crate) mod getattr;
mod load;
mod mapping;
mod modules;
pub(crate) mod sampling;
mod setxid;
mod symbols;
mod thread;
mod timers;
pub(crate) mod tls;

pub(crate) use blocked::call_of;
pub(crate) use load::{idle_time, waited_for_core};
pub(crate) use mapping::*;
pub(crate) use modules::all_modules;
pub(crate) use symbols::Program;
pub(crate) use thread::*;
pub(crate) use timers::Question;
