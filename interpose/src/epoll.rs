//! Waits in the program's own epoll instances: `epoll_wait`, `epoll_pwait`, `epoll_pwait2`.
//!
//! An instance is a descriptor that can be read while it has events. So a goroutine waits for it as for
//! others, and a runtime for futures lives in a goroutine.

use crate::error::fail;
use crate::next::next;
use crate::poll::limit;
use crate::time::FOR_EVER;
use crate::wait::{Ended, Wait};
use crate::{define, may_park};
use libc::{c_int, epoll_event, sigset_t, timespec};
use narrowboat_net::watch::Direction;
use narrowboat_runtime::as_thread::checkpoint_in_place;
use std::time::{Duration, Instant};

define! {
    "epoll_wait" => epoll_wait,
    "epoll_pwait" => epoll_pwait,
    "epoll_pwait2" => epoll_pwait2,
}
next! {
    fn epoll_wait(epoll: c_int, events: *mut epoll_event, most: c_int, timeout: c_int) -> c_int;
    fn epoll_pwait(
        epoll: c_int, events: *mut epoll_event, most: c_int, timeout: c_int, mask: *const sigset_t,
    ) -> c_int;
}

/// # Safety
/// As for libc's function.
unsafe extern "C-unwind" fn epoll_wait(
    epoll: c_int,
    events: *mut epoll_event,
    most: c_int,
    timeout: c_int,
) -> c_int {
    if timeout != 0 && may_park() {
        let limit = u64::try_from(timeout).ok().map(Duration::from_millis);
        // SAFETY: by contract.
        if let Some(answer) = unsafe { wait(epoll, events, most, limit) } {
            return answer;
        }
    }
    // SAFETY: by contract.
    unsafe { next::epoll_wait(epoll, events, most, timeout) }
}

/// # Safety
/// As for libc's function.
unsafe extern "C-unwind" fn epoll_pwait(
    epoll: c_int,
    events: *mut epoll_event,
    most: c_int,
    timeout: c_int,
    mask: *const sigset_t,
) -> c_int {
    // SAFETY: by contract.
    unsafe {
        if mask.is_null() {
            epoll_wait(epoll, events, most, timeout)
        } else {
            // For its wait it changes the mask, which is the kernel thread's.
            next::epoll_pwait(epoll, events, most, timeout, mask)
        }
    }
}

/// # Safety
/// As for libc's function.
unsafe extern "C-unwind" fn epoll_pwait2(
    epoll: c_int,
    events: *mut epoll_event,
    most: c_int,
    timeout: *const timespec,
    mask: *const sigset_t,
) -> c_int {
    // SAFETY: by contract a timeout that is given can be read.
    if let Some(limit) = unsafe { limit(timeout) }
        && mask.is_null()
        && may_park()
        // SAFETY: by contract.
        && let Some(answer) = unsafe { wait(epoll, events, most, limit) }
    {
        return answer;
    }
    // Not every libc has this function, but the kernel does, or says that it does not.
    // SAFETY: by contract. The kernel's mask has 64 signals.
    unsafe {
        libc::syscall(libc::SYS_epoll_pwait2, epoll, events, most, timeout, mask, size_of::<u64>()) as c_int
    }
}

/// `None` if the caller must wait natively.
///
/// # Safety
/// As for `epoll_wait`.
unsafe fn wait(
    epoll: c_int,
    events: *mut epoll_event,
    most: c_int,
    limit: Option<Duration>,
) -> Option<c_int> {
    // SAFETY: by contract.
    let attempt = || Some(unsafe { next::epoll_wait(epoll, events, most, 0) }).filter(|answer| *answer != 0);
    if let Some(answer) = attempt() {
        if answer > 0 {
            checkpoint_in_place();
        }
        return Some(answer);
    }
    let deadline = limit.map(|limit| Instant::now() + limit.min(FOR_EVER));
    let wait = Wait::begin_until(epoll, Direction::Input, deadline)?;
    Some(wait.until(attempt).unwrap_or_else(|ended| match ended {
        Ended::TimedOut => 0,
        Ended::Closed => fail(libc::EBADF),
    }))
}
