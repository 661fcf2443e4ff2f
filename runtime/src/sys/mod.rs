//! Everything that depends on the operating system: address space, lenders, signals.
//!
//! What POSIX has is here. Each system has a folder with the same functions for the rest, which is
//! `system` here.

pub(crate) mod blocked;
pub(crate) mod fork;
pub(crate) mod memory;
pub(crate) mod modules;
pub(crate) mod signals;
pub(crate) mod symbols;
mod threads;

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
use linux as system;

#[cfg(target_vendor = "apple")]
mod macos;
#[cfg(target_vendor = "apple")]
use macos as system;

#[cfg(target_os = "freebsd")]
mod freebsd;
#[cfg(target_os = "freebsd")]
use freebsd as system;

/// What systems share on which processors are pinned to their threads.
#[cfg(not(target_os = "linux"))]
pub(crate) mod pinned;

pub(crate) use system::*;
pub(crate) use threads::*;
