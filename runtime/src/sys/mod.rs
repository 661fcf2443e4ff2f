//! What depends on the operating system: address space, lending threads, signals. One folder per
//! system.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
pub(crate) use linux::*;
