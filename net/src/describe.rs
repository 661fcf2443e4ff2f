//! What a dump says of sockets and other descriptors. Dumps call it through
//! [`park::describe_with`].

use crate::handle::{Handle, Simulated};
use crate::sys::socket;
use narrowboat_runtime::park::{self, Describe, Reason, Thing};
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

/// Registers this module for waits for descriptors.
pub(crate) fn install() {
    const BY: Describe = |object, each| {
        // SAFETY: the operation that waits keeps its descriptor open, or its simulated socket alive
        // and in place.
        each(unsafe {
            match object & SIMULATED {
                0 => thing(Handle::System(BorrowedFd::borrow_raw(object as RawFd - 1))),
                _ => thing(Handle::Simulated(&*((object & !SIMULATED) as *const Simulated))),
            }
        });
    };
    for reason in [Reason::Read, Reason::Write, Reason::Accept, Reason::Connect] {
        park::describe_with(reason, BY);
    }
}

/// Set in the object of a wait for a simulated socket, whose other bits are its address. No
/// descriptor and no address has this bit.
const SIMULATED: usize = 1 << (usize::BITS - 1);

/// The object of a wait for a descriptor. The operation that waits keeps the descriptor open.
#[inline]
pub(crate) fn object(handle: Handle<'_>) -> usize {
    match handle {
        // Zero means that a wait has no object.
        Handle::System(fd) => fd.as_raw_fd() as usize + 1,
        Handle::Simulated(socket) => std::ptr::from_ref(socket).addr() | SIMULATED,
    }
}

pub(crate) fn thing(handle: Handle<'_>) -> Thing {
    let fd = match handle {
        Handle::System(fd) => fd,
        Handle::Simulated(socket) => return Thing { address: object(handle), ..socket.describe() },
    };
    let number = fd.as_raw_fd();
    let (kind, details) = socket::describe(fd).unwrap_or_else(|| {
        let link = std::fs::read_link(format!("/proc/self/fd/{number}"));
        ("descriptor", link.map(|target| target.display().to_string()).unwrap_or_default())
    });
    let details = format!("{details}{}descriptor {number}", if details.is_empty() { "" } else { ", " });
    Thing { operation: "", address: object(handle), kind, details, held_by: None }
}
