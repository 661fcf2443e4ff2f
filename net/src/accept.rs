//! Taking connections, also when the system has run out of descriptors or memory.
//!
//! When it has run out, the kernel leaves the connection in its queue and returns an error; there
//! is no event when there are resources again. The error is returned to the caller, as with std.
//! But a loop that only tries again would be a busy one, and would keep the goroutines from running
//! that could close descriptors. So a listener counts how many calls in succession have failed in
//! this way. A call that fails like the one before it pauses and tries once more before it returns
//! the error:
//!
//! 1. The first failure is returned at once: the caller may know what to close.
//! 2. The next calls pause for 4 ms, 8 ms and so on up to a quarter of a second if their first
//!    attempt fails, and return the result of their second attempt. Only the accepting goroutine
//!    pauses.
//! 3. A connection that is taken resets the count. No connection is lost: pending ones are in the
//!    kernel's queue.
//!
//! No descriptor is kept in reserve to take connections with and close them at once: it is better
//! to serve a connection late.

use crate::direction::Direction;
use crate::handle::{Handle, Socket};
use crate::source::{Operation, Source};
use crate::sys::socket;
use narrowboat_runtime::{sleep_until, world};
use socket2::SockAddr;
use std::io;
use std::time::Duration;

const FIRST_PAUSE: Duration = Duration::from_millis(4);
/// How many times the pause is doubled at most.
const DOUBLINGS: u8 = 6;

/// Takes a pending connection. `InvalidInput` after a shutdown of the listener: the kernel reports
/// that for a Unix listener only to a caller that may block.
fn take(source: &Source, listener: Handle<'_>) -> io::Result<(Socket, SockAddr)> {
    match listener.accept() {
        Err(error) if listener.means_shut_down(&error, source.is_nonblocking()) => {
            Err(io::Error::from_raw_os_error(libc::EINVAL))
        }
        taken => taken,
    }
}

/// Waits for a connection and takes it.
///
/// # Errors
/// As [`Source::operate`].
pub(crate) fn accept(source: &Source, operation: Operation<'_>) -> io::Result<(Socket, SockAddr)> {
    let failures = source.accept_backoff();
    let mut taken = source.io(operation, |listener| take(source, listener));
    let is_out = |taken: &io::Result<_>| taken.as_ref().is_err_and(socket::is_out_of_resources);
    if failures > 0 && is_out(&taken) && !source.is_nonblocking() {
        let until = world::now() + FIRST_PAUSE * (1 << (failures - 1));
        let deadline = source.limit(Direction::Input).deadline();
        // Not in the queue for connections: connections are pending, and something else is missing.
        sleep_until(deadline.map_or(until, |deadline| deadline.min(until)));
        taken = source.io(operation, |listener| take(source, listener));
    }
    let failures = if is_out(&taken) { (failures + 1).min(DOUBLINGS + 1) } else { 0 };
    source.set_accept_backoff(failures);
    taken
}
