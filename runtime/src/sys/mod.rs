//! Everything that depends on the operating system: address space, lenders, signals. One folder per
//! system.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
pub(crate) use linux::*;
