//! Taking connections, also when the system has run out of what they need.
//!
//! Out of descriptors or memory, the kernel leaves the connection in its queue and says so; there is no event when things
//! get better. The error is the caller's, as with std. But a loop that only tries again would be a busy one, and would keep
//! those from running who could give descriptors back. So a listener counts how often it was short of means in
//! succession, and a call that is so again after the last one was lets some time pass and tries once more before it fails:
//!
//! 1. The first failure of a failures is returned at once: the caller may know what to close.
//! 2. The next calls pause for 4 ms, 8 ms and so on up to a quarter of a second if their first attempt fails, and return what
//!    their second attempt gives. Only the party that accepts pauses.
//! 3. A connection that was taken ends the failures. None is lost: those that wait are in the kernel's queue.
//!
//! No descriptor is kept in reserve to take connections with and turn them away: those who wait are better served late.

use crate::source::{Direction, Operation, Source};
use crate::sys::socket;
use narrowboat_runtime::sleep_until;
use socket2::SockAddr;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

const FIRST_PAUSE: Duration = Duration::from_millis(4);
/// The pause is doubled so many times at most.
const DOUBLINGS: u8 = 6;

/// Takes a connection that waits. `InvalidInput` after a shutdown of the listener: a Unix one says
/// so only to a party that may block.
fn take(source: &Source, listener: BorrowedFd<'_>) -> io::Result<(OwnedFd, SockAddr)> {
    match socket::accept(listener) {
        Err(error) if socket::means_shut_down(&error, source.is_nonblocking(), listener) => {
            Err(io::Error::from_raw_os_error(libc::EINVAL))
        }
        taken => taken,
    }
}

/// Waits for a connection and takes it.
///
/// # Errors
/// As [`Source::operate`].
pub(crate) fn accept(source: &Source, operation: Operation<'_>) -> io::Result<(OwnedFd, SockAddr)> {
    let failures = source.accept_backoff();
    let mut taken = source.io(operation, |listener| take(source, listener));
    let is_out = |taken: &io::Result<_>| taken.as_ref().is_err_and(socket::is_out_of_resources);
    if failures > 0 && is_out(&taken) && !source.is_nonblocking() {
        let until = Instant::now() + FIRST_PAUSE * (1 << (failures - 1));
        let deadline = source.limit(Direction::Input).deadline();
        // Not in the queue of those who wait for connections: there are some, and it is not they that are missing.
        sleep_until(deadline.map_or(until, |deadline| deadline.min(until)));
        taken = source.io(operation, |listener| take(source, listener));
    }
    let failures = if is_out(&taken) { (failures + 1).min(DOUBLINGS + 1) } else { 0 };
    source.set_accept_backoff(failures);
    taken
}
