//! The wait of a call until a descriptor is ready.
//!
//! Every blocking call on a descriptor goes the same way:
//!
//! 1. It is tried so that it does not wait. Usually it succeeds, and that is all.
//! 2. If it would have to wait, [`Wait::begin`] looks whether it should: not on a descriptor in
//!    non-blocking mode; natively, if the goroutine must not park or the kernel does not watch such
//!    a file.
//! 3. [`Wait::until`] tries it again after each event, until it succeeds, the timeout passes or the
//!    descriptor is closed. If the system has no memory or descriptors for a watch, it tries again in
//!    pauses: a native wait would hold up what the goroutine waits for, if that is on its processor.
//!
//! The mode of a descriptor is never changed: other threads and processes may share the open file.
//! A signal does not end a wait, since it goes to some thread of the process and not to a
//! goroutine.

use crate::descriptors;
use crate::dumps::object;
use crate::error::fail;
use crate::poll;
use crate::pool::pauses_until;
use libc::{c_int, c_short, timeval};
use narrowboat_net::watch::{self, Direction, Watch};
use narrowboat_runtime::as_thread;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A call on a descriptor that has to wait.
pub(crate) struct Wait {
    /// `None`: in pauses.
    watch: Option<Arc<Watch>>,
    fd: RawFd,
    direction: Direction,
    deadline: Option<Instant>,
}

/// What to do with a call that would have to wait.
pub(crate) enum Begun {
    /// Wait here.
    Wait(Wait),
    /// Let the caller wait in libc.
    Natively,
    /// Say that it would have to wait: the descriptor is in non-blocking mode.
    Refused,
}

/// Why a wait has ended without success.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ended {
    TimedOut,
    Closed,
}

impl Wait {
    /// Step 2. `timeout` is the socket option with the timeout of such calls, or 0.
    pub(crate) fn begin(fd: RawFd, direction: Direction, timeout: c_int) -> Begun {
        if is_nonblocking(fd) {
            return Begun::Refused;
        }
        let deadline = match timeout {
            0 => None,
            option => timeout_of(fd, option).map(|timeout| Instant::now() + timeout),
        };
        Wait::begin_until(fd, direction, deadline).map_or(Begun::Natively, Begun::Wait)
    }

    /// Step 2 where the mode of the descriptor does not matter. `None`: natively.
    pub(crate) fn begin_until(fd: RawFd, direction: Direction, deadline: Option<Instant>) -> Option<Wait> {
        if !as_thread::has_usual_signals() {
            return None;
        }
        let watch = descriptors::watch_if_possible(fd)?;
        Some(Wait { watch, fd, direction, deadline })
    }

    /// Step 3. `attempt` returns `None` if the call would still have to wait.
    pub(crate) fn until<T>(&self, mut attempt: impl FnMut() -> Option<T>) -> Result<T, Ended> {
        let Some(watch) = &self.watch else {
            return pauses_until(self.deadline, attempt).ok_or(Ended::TimedOut);
        };
        loop {
            let look = watch.look(self.direction);
            if watch.is_over() {
                return Err(Ended::Closed);
            }
            if let Some(answer) = attempt() {
                return Ok(answer);
            }
            if !watch::wait(&[(watch, self.direction, look)], object(self.fd), self.deadline) {
                return Err(Ended::TimedOut);
            }
        }
    }
}

impl Ended {
    /// The answer of a call that has ended so; `timed_out` is its error for a timeout.
    pub(crate) fn answer<T: From<i8>>(self, timed_out: c_int) -> T {
        fail(match self {
            Ended::TimedOut => timed_out,
            Ended::Closed => libc::EBADF,
        })
    }
}

/// Whether calls on this descriptor do not wait.
pub(crate) fn is_nonblocking(fd: RawFd) -> bool {
    // Straight to the kernel: `fcntl` may be one of ours.
    // SAFETY: no pointers.
    let flags = unsafe { libc::syscall(libc::SYS_fcntl, fd, libc::F_GETFL) };
    flags >= 0 && flags as c_int & libc::O_NONBLOCK != 0
}

/// Whether an error of a socket is pending, or something is in its queue of errors. The look leaves
/// it there.
pub(crate) fn is_in_error(fd: RawFd) -> bool {
    state(fd) & libc::POLLERR != 0
}

/// Whether a TCP connection has ended by an error, of which no call has told yet. After a part, the
/// kernel leaves the error for the next call. One more attempt would take it.
pub(crate) fn has_failed(fd: RawFd) -> bool {
    const FAILED: c_short = libc::POLLERR | libc::POLLHUP;
    state(fd) & FAILED == FAILED && socket_option::<c_int>(fd, libc::SO_PROTOCOL) == Some(libc::IPPROTO_TCP)
}

/// What the kernel says of a descriptor in any case.
fn state(fd: RawFd) -> c_short {
    let mut one = libc::pollfd { fd, events: 0, revents: 0 };
    // SAFETY: there is one descriptor.
    unsafe { poll::next::poll(&mut one, 1, 0) };
    one.revents
}

/// A timeout of a socket; `None` if there is none.
pub(crate) fn timeout_of(fd: RawFd, option: c_int) -> Option<Duration> {
    let timeout: timeval = socket_option(fd, option)?;
    let timeout = Duration::from_secs(u64::try_from(timeout.tv_sec).ok()?)
        + Duration::from_micros(u64::try_from(timeout.tv_usec).ok()?);
    (!timeout.is_zero()).then_some(timeout)
}

/// Numbers, for which zeroes are values.
pub(crate) trait Numbers: Copy {
    const ZERO: Self;
}

impl Numbers for c_int {
    const ZERO: c_int = 0;
}

impl Numbers for timeval {
    const ZERO: timeval = timeval { tv_sec: 0, tv_usec: 0 };
}

/// The value of an option of a socket.
pub(crate) fn socket_option<T: Numbers>(fd: RawFd, option: c_int) -> Option<T> {
    let mut value = T::ZERO;
    let mut size = size_of::<T>() as libc::socklen_t;
    // SAFETY: there is room for the value, and the kernel is told how much.
    let answer =
        unsafe { libc::getsockopt(fd, libc::SOL_SOCKET, option, (&raw mut value).cast(), &mut size) };
    (answer == 0).then_some(value)
}
