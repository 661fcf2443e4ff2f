//! What a dump says of sockets and other descriptors. Dumps call it through
//! [`park::describe_with`].

use crate::sys::socket;
use narrowboat_runtime::park::{self, Describe, Reason, Thing};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

/// Registers this module for waits for descriptors.
pub(crate) fn install() {
    const BY: Describe = |object, each| {
        // SAFETY: the operation that waits keeps its descriptor open.
        each(thing(unsafe { BorrowedFd::borrow_raw(object as RawFd - 1) }));
    };
    for reason in [Reason::Read, Reason::Write, Reason::Accept, Reason::Connect] {
        park::describe_with(reason, BY);
    }
}

/// The object of a wait for a descriptor. The operation that waits keeps the descriptor open.
#[inline]
pub(crate) fn object(fd: BorrowedFd<'_>) -> usize {
    // Zero means that a wait has no object.
    fd.as_raw_fd() as usize + 1
}

pub(crate) fn thing(fd: BorrowedFd<'_>) -> Thing {
    let number = fd.as_raw_fd();
    let (kind, details) = socket::describe(fd).unwrap_or_else(|| {
        let link = std::fs::read_link(format!("/proc/self/fd/{number}"));
        ("descriptor", link.map(|target| target.display().to_string()).unwrap_or_default())
    });
    let details = format!("{details}{}descriptor {number}", if details.is_empty() { "" } else { ", " });
    Thing { operation: "", address: object(fd.as_fd()), kind, details, held_by: None }
}
