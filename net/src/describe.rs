//! What a dump says of sockets and other descriptors. It asks by way of [`park::describe_with`].

use crate::sys::socket;
use narrowboat_runtime::park::{self, Describe, Reason, Thing};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

/// Has dumps ask here about waits for descriptors.
pub(crate) fn install() {
    const BY: Describe = |object, each| {
        // SAFETY: the party that waits keeps its descriptor open.
        each(thing(unsafe { BorrowedFd::borrow_raw(object as RawFd - 1) }));
    };
    for reason in [Reason::Read, Reason::Write, Reason::Accept, Reason::Connect] {
        park::describe_with(reason, BY);
    }
}

/// What a wait for a descriptor has for its object. The operation that waits keeps it open.
#[inline]
pub(crate) fn object(fd: BorrowedFd<'_>) -> usize {
    // Zero is for waits without one.
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
