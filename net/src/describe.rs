//! What a dump says of sockets and other descriptors. Dumps call it through
//! [`park::describe_with`].

use crate::handle::{Handle, Kind};
use crate::sys::socket;
use narrowboat_runtime::park::{self, Describe, Reason, Thing};
use std::os::fd::AsRawFd;

/// Registers this module for waits for descriptors.
pub(crate) fn install() {
    const BY: Describe = |object, each| {
        // SAFETY: the operation that waits keeps its descriptor open, or its simulated socket alive
        // and in place.
        each(thing(unsafe { Handle::from_object(object) }));
    };
    for reason in [Reason::Read, Reason::Write, Reason::Accept, Reason::Connect] {
        park::describe_with(reason, BY);
    }
}

pub(crate) fn thing(handle: Handle<'_>) -> Thing {
    let fd = match handle.kind() {
        Kind::System(fd) => fd,
        Kind::Simulated(socket) => return Thing { address: handle.object(), ..socket.describe() },
    };
    let number = fd.as_raw_fd();
    let (kind, details) = socket::describe(fd).unwrap_or_else(|| {
        let link = std::fs::read_link(format!("/proc/self/fd/{number}"));
        ("descriptor", link.map(|target| target.display().to_string()).unwrap_or_default())
    });
    let details = format!("{details}{}descriptor {number}", if details.is_empty() { "" } else { ", " });
    Thing { operation: "", address: handle.object(), kind, details, held_by: None }
}
