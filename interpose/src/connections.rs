//! Connections: `accept`, `accept4`, `connect`, and the end of descriptors: `close`, `dup2`, `dup3`,
//! `close_range`.

use crate::error::{errno, fail};
use crate::next::next;
use crate::pool::{give, returned, wait_on_pool};
use crate::wait::{Ended, Wait, is_nonblocking, socket_option, timeout_of};
use crate::{define, descriptors, may_park, ready};
use libc::{c_int, c_uint, c_void, sockaddr, socklen_t, timeval};
use narrowboat_net::watch::Direction;
use narrowboat_runtime::as_thread::has_usual_signals;
use std::time::Instant;

define! {
    "accept" => accept,
    "accept4" => accept4,
    "connect" => connect,
    "close" => close,
    "close_range" => close_range,
    "dup2" => dup2,
    "dup3" => dup3,
}
next! {
    fn accept4(fd: c_int, address: *mut sockaddr, size: *mut socklen_t, flags: c_int) -> c_int;
    fn connect(fd: c_int, address: *const sockaddr, size: socklen_t) -> c_int;
    fn close(fd: c_int) -> c_int;
    fn close_range(first: c_uint, last: c_uint, flags: c_int) -> c_int;
    fn dup2(from: c_int, to: c_int) -> c_int;
    fn dup3(from: c_int, to: c_int, flags: c_int) -> c_int;
}

/// # Safety
/// As for libc's function.
unsafe extern "C-unwind" fn accept(fd: c_int, address: *mut sockaddr, size: *mut socklen_t) -> c_int {
    // SAFETY: by contract.
    unsafe { accept4(fd, address, size, 0) }
}

/// No flag keeps the kernel from waiting here. So it is asked first, one goroutine at a time. Where
/// plain threads or other processes accept from the same socket, and one of these is faster, the
/// goroutine waits in libc for the next connection.
///
/// # Safety
/// As for libc's function.
unsafe extern "C-unwind" fn accept4(
    fd: c_int,
    address: *mut sockaddr,
    size: *mut socklen_t,
    flags: c_int,
) -> c_int {
    // SAFETY: by contract.
    let natively = || unsafe { next::accept4(fd, address, size, flags) };
    if !may_park() || is_nonblocking(fd) {
        return natively();
    }
    let attempt = || {
        descriptors::one_at_a_time(fd, || ready(fd, libc::POLLIN).then(natively))
            // Taken by another in between, from a socket that has been made non-blocking.
            .filter(|answer| *answer >= 0 || errno() != libc::EAGAIN)
    };
    if let Some(answer) = attempt() {
        return answer;
    }
    let deadline = timeout_of(fd, libc::SO_RCVTIMEO).map(|timeout| Instant::now() + timeout);
    match Wait::begin_until(fd, Direction::Input, deadline) {
        Some(wait) => wait.until(attempt).unwrap_or_else(|ended| ended.answer(libc::EAGAIN)),
        None => natively(),
    }
}

/// How long the kernel waits itself, at least: a tick of its clock. 0 would be without limit.
const SHORTEST: timeval = timeval { tv_sec: 0, tv_usec: 1 };

/// No flag keeps the kernel from waiting here, and the mode of the descriptor is not ours to change. But
/// a socket that connects has nothing to send yet: so its timeout for that is the shortest meanwhile,
/// and the kernel goes on with the connection after a tick of its clock.
///
/// # Safety
/// As for libc's function.
unsafe extern "C-unwind" fn connect(fd: c_int, address: *const sockaddr, size: socklen_t) -> c_int {
    // SAFETY: by contract.
    let natively = || unsafe { next::connect(fd, address, size) };
    if !may_park()
        || socket_option::<c_int>(fd, libc::SO_TYPE).is_none_or(|kind| kind == libc::SOCK_DGRAM)
        || is_nonblocking(fd)
        || !has_usual_signals()
    {
        return natively();
    }
    let timeout = timeout_of(fd, libc::SO_SNDTIMEO);
    let deadline = timeout.map(|timeout| Instant::now() + timeout);
    let attempt = || {
        let Some(before) = socket_option::<timeval>(fd, libc::SO_SNDTIMEO) else { return natively() };
        set_send_timeout(fd, SHORTEST);
        let answer = natively();
        let error = errno();
        set_send_timeout(fd, before);
        if answer < 0 { fail(error) } else { answer }
    };
    let answer = attempt();
    match errno() {
        _ if answer == 0 => return 0,
        // A call before this one has begun it, and gave up.
        libc::EINPROGRESS | libc::EALREADY => {}
        // A Unix socket: the queue of the listener is full.
        // SAFETY: by contract the address can be read; the kernel has accepted its size.
        libc::EAGAIN => return unsafe { connect_on_pool(fd, address, size, attempt) },
        _ => return answer,
    }
    let Some(wait) = Wait::begin_until(fd, Direction::Output, deadline) else {
        // A second call waits for the connection that is under way.
        return match natively() {
            -1 if errno() == libc::EISCONN => 0,
            answer => answer,
        };
    };
    match wait.until(|| ready(fd, libc::POLLOUT).then(|| socket_option::<c_int>(fd, libc::SO_ERROR))) {
        Ok(Some(0)) => 0,
        Ok(error) => fail(error.unwrap_or(libc::EBADF)),
        Err(Ended::TimedOut) => fail(libc::EINPROGRESS),
        Err(Ended::Closed) => fail(libc::EBADF),
    }
}

/// Connects on a thread that waits for it: no event says that there is room in the queue of a listener.
///
/// # Safety
/// The address can be read, and is so long.
unsafe fn connect_on_pool(
    fd: c_int,
    address: *const sockaddr,
    size: socklen_t,
    attempt: impl Fn() -> c_int,
) -> c_int {
    // SAFETY: by contract.
    let address = unsafe { std::slice::from_raw_parts(address.cast::<u8>(), size as usize) }.to_vec();
    let attempt = || Some(returned(attempt())).filter(|returned| *returned != Err(libc::EAGAIN));
    give(wait_on_pool(attempt, move || {
        // SAFETY: the address can be read, and is so long.
        returned(unsafe { next::connect(fd, address.as_ptr().cast(), size) })
    }))
}

fn set_send_timeout(fd: c_int, timeout: timeval) {
    let size = size_of::<timeval>() as socklen_t;
    let value: *const c_void = (&raw const timeout).cast();
    // SAFETY: the value can be read, and is so long.
    unsafe { libc::setsockopt(fd, libc::SOL_SOCKET, libc::SO_SNDTIMEO, value, size) };
}

extern "C-unwind" fn close(fd: c_int) -> c_int {
    descriptors::forget(fd);
    // SAFETY: no pointers. What becomes of the descriptor's users is the caller's business.
    unsafe { next::close(fd) }
}

extern "C-unwind" fn close_range(first: c_uint, last: c_uint, flags: c_int) -> c_int {
    if flags & libc::CLOSE_RANGE_CLOEXEC as c_int == 0 {
        descriptors::forget_range(first, last);
    }
    // SAFETY: as for `close`.
    unsafe { next::close_range(first, last, flags) }
}

extern "C-unwind" fn dup2(from: c_int, to: c_int) -> c_int {
    // SAFETY: as for `close`.
    let answer = unsafe { next::dup2(from, to) };
    // Only now: a call that fails leaves the number as it was.
    if answer >= 0 && from != to {
        descriptors::forget(to);
    }
    answer
}

extern "C-unwind" fn dup3(from: c_int, to: c_int, flags: c_int) -> c_int {
    // SAFETY: as for `close`.
    let answer = unsafe { next::dup3(from, to, flags) };
    // As above.
    if answer >= 0 {
        descriptors::forget(to);
    }
    answer
}
