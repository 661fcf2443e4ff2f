//! What a dump says of that for which a goroutine waits here.

use narrowboat_net::watch;
use narrowboat_runtime::park::{Describe, Reason, Thing, describe_with};
use std::os::fd::RawFd;

/// Set in the object of a wait for a descriptor; no address has it.
const DESCRIPTOR: usize = 1 << 63;

/// The object of a wait for a descriptor. That of a wait for a lock is its address.
pub(crate) fn object(fd: RawFd) -> usize {
    DESCRIPTOR | fd as u32 as usize
}

/// Registers this module. Called before a wait that has an object.
pub(crate) fn install() {
    const BY: Describe = |object, each| {
        each(if object & DESCRIPTOR != 0 {
            watch::describe((object & !DESCRIPTOR) as RawFd)
        } else {
            let kind = "lock of the C library";
            Thing { operation: "", address: object, kind, details: String::new(), held_by: None }
        });
    };
    describe_with(Reason::Libc, BY);
}
