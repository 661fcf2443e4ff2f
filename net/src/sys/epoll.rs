//! The selector of Linux: the `polling` crate's epoll instance, driven with one system call per
//! wait.
//!
//! Guarantees what [`super`] lists. `polling` creates and owns the instance; this module talks to
//! its descriptor directly in two places, each for a reason:
//!
//! - Waiting. `polling`'s own wait arms a timer descriptor and re-arms its notifier: three to five
//!   system calls where `epoll_pwait2` with its nanosecond timeout is one.
//! - Registration. `polling` does not ask for `EPOLLRDHUP`, and without it a short read cannot be
//!   told from a short read that was followed by the end of the stream (see
//!   [`crate::poller::readiness`]).
//!
//! What that saves, by `strace -f -c` on `a_thousand_connections_echo_at_once` of
//! `tests/traffic.rs` with one worker: 64,000 receives and 4,000 calls of `epoll_ctl` instead of
//! 83,000 and 21,400, and no timer descriptor, which the other path sets before each of its 8,700
//! waits.
//!
//! The wake-up is a descriptor of our own, edge-triggered: each write to it is an edge, so it is
//! never read.

use super::{BATCH, Event};
use crate::poller::readiness::Signal;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, TryLockError};
use std::time::Duration;

/// The key of the wake-up descriptor. No registration has this key: its generation half has more
/// bits set than a generation has.
const WAKE_KEY: u64 = u64::MAX;

const INPUT: u32 = (libc::EPOLLIN | libc::EPOLLRDHUP | libc::EPOLLPRI) as u32;
const OUTPUT: u32 = libc::EPOLLOUT as u32;
/// Flags that are reported whether asked for or not, and for both directions.
const BOTH: u32 = (libc::EPOLLHUP | libc::EPOLLERR) as u32;
/// Flags for what a short read does not show; see [`crate::poller::readiness`].
const INPUT_MARKS: u32 = (libc::EPOLLRDHUP | libc::EPOLLPRI) as u32 | BOTH;
const EDGE: u32 = libc::EPOLLET as u32;

pub(crate) struct Selector {
    poller: polling::Poller,
    wake: OwnedFd,
    /// The buffer for the kernel's events. Its lock makes a second thread return instead of wait.
    events: Mutex<Box<[libc::epoll_event; BATCH]>>,
    /// The kernel, or a filter in front of it, does not know `epoll_pwait2` (Linux before 5.11).
    coarse: AtomicBool,
}

impl Selector {
    pub(crate) fn new() -> io::Result<Selector> {
        let poller = polling::Poller::new()?;
        // SAFETY: no memory is involved.
        let wake = check(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })?;
        // SAFETY: the call above made this descriptor, and nothing else has it.
        let wake = unsafe { OwnedFd::from_raw_fd(wake) };
        let events = Box::new([libc::epoll_event { events: 0, u64: 0 }; BATCH]);
        let selector = Selector { poller, wake, events: Mutex::new(events), coarse: AtomicBool::new(false) };
        selector.control(
            libc::EPOLL_CTL_ADD,
            selector.wake.as_raw_fd(),
            libc::EPOLLIN as u32 | EDGE,
            WAKE_KEY,
        )?;
        Ok(selector)
    }

    /// Registers a descriptor. `key` comes back with its events.
    ///
    /// # Safety
    /// The descriptor is deleted before it is closed. (Epoll itself would tolerate the other order;
    /// the portable selector does not.)
    pub(crate) unsafe fn add(&self, fd: BorrowedFd<'_>, key: u64) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd.as_raw_fd(), INPUT | OUTPUT | EDGE, key)
    }

    /// Whether this file is registered under this number, and key. The next wait reports its
    /// present state.
    pub(crate) fn confirm(&self, fd: BorrowedFd<'_>, key: u64) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, fd.as_raw_fd(), INPUT | OUTPUT | EDGE, key)
    }

    /// Registers another selector: each wait reports it, as input, for as long as it has events.
    pub(crate) fn add_selector(&self, other: &Selector, key: u64) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, other.poller.as_raw_fd(), libc::EPOLLIN as u32, key)
    }

    pub(crate) fn delete(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_DEL, fd.as_raw_fd(), 0, 0)
    }

    fn control(&self, operation: libc::c_int, fd: RawFd, events: u32, key: u64) -> io::Result<()> {
        let mut event = libc::epoll_event { events, u64: key };
        // SAFETY: the event outlives the call, which keeps no pointer to it; a wrong descriptor is
        // an error.
        check(unsafe { libc::epoll_ctl(self.poller.as_raw_fd(), operation, fd, &raw mut event) }).map(drop)
    }

    /// Waits for events, for at most `timeout` (`None`: without limit), hands each to `handle`, and
    /// returns how many there were. A signal ends the wait.
    ///
    /// # Panics
    /// If other code has closed the poller's descriptor.
    pub(crate) fn wait(&self, timeout: Option<Duration>, mut handle: impl FnMut(Event)) -> usize {
        let mut events = match self.events.try_lock() {
            Ok(events) => events,
            Err(TryLockError::Poisoned(events)) => events.into_inner(),
            Err(TryLockError::WouldBlock) => return 0,
        };
        let ready = match self.collect(&mut events[..], timeout) {
            Ok(ready) => ready,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return 0,
            Err(error) => panic!("the netpoller cannot wait; was its descriptor closed? {error}"),
        };
        let mut handled = 0;
        for event in &events[..ready] {
            let (key, flags) = (event.u64, event.events);
            if key != WAKE_KEY {
                handled += 1;
                handle(decode(key, flags));
            }
        }
        handled
    }

    fn collect(&self, events: &mut [libc::epoll_event], timeout: Option<Duration>) -> io::Result<usize> {
        let epoll = self.poller.as_raw_fd();
        // Relaxed: a thread that misses the flag sets it itself.
        if let Some(timeout) = timeout
            && !timeout.is_zero()
            && !self.coarse.load(Ordering::Relaxed)
        {
            match wait_precisely(epoll, events, timeout) {
                // A filter of system calls may answer EPERM for one that it does not know.
                Err(error) if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => {
                    self.coarse.store(true, Ordering::Relaxed);
                }
                result => return result,
            }
        }
        wait_coarsely(epoll, events, timeout)
    }

    /// Ends the wait under way, or otherwise the next one.
    pub(crate) fn interrupt(&self) {
        let one = 1u64;
        // SAFETY: eight bytes are read from a live integer. It could fail only after 2^64 - 2
        // wake-ups.
        unsafe { libc::write(self.wake.as_raw_fd(), (&raw const one).cast(), size_of::<u64>()) };
    }
}

fn decode(key: u64, flags: u32) -> Event {
    let signal = |concerned: u32, marks: u32| {
        if flags & marks != 0 {
            Some(Signal::Hangup)
        } else if flags & concerned != 0 {
            Some(Signal::Ready)
        } else {
            None
        }
    };
    Event { key, read: signal(INPUT, INPUT_MARKS), write: signal(OUTPUT, BOTH) }
}

/// Waits with the timeout in nanoseconds.
fn wait_precisely(epoll: RawFd, events: &mut [libc::epoll_event], timeout: Duration) -> io::Result<usize> {
    /// The kernel's own time type, which is 64 bits wide whatever the C library's is.
    #[repr(C)]
    struct KernelTimespec {
        seconds: i64,
        nanoseconds: i64,
    }
    let timeout = KernelTimespec {
        seconds: timeout.as_secs().try_into().unwrap_or(i64::MAX),
        nanoseconds: timeout.subsec_nanos().into(),
    };
    // SAFETY: the kernel writes at most `events.len()` events to live memory, reads the timeout,
    // and is given no signal mask. The C library has no wrapper for this call before glibc 2.35.
    let ready = unsafe {
        libc::syscall(
            libc::SYS_epoll_pwait2,
            epoll,
            events.as_mut_ptr(),
            events.len() as libc::c_int,
            &raw const timeout,
            ptr::null::<libc::sigset_t>(),
            0usize,
        )
    };
    if ready < 0 { Err(io::Error::last_os_error()) } else { Ok(ready as usize) }
}

/// Waits with the timeout in milliseconds, rounded up, so that it does not wake too early for
/// nothing.
fn wait_coarsely(
    epoll: RawFd,
    events: &mut [libc::epoll_event],
    timeout: Option<Duration>,
) -> io::Result<usize> {
    let timeout = match timeout {
        None => -1,
        Some(timeout) => timeout.as_nanos().div_ceil(1_000_000).try_into().unwrap_or(libc::c_int::MAX),
    };
    // SAFETY: the kernel writes at most `events.len()` events to live memory.
    let ready = unsafe { libc::epoll_wait(epoll, events.as_mut_ptr(), events.len() as libc::c_int, timeout) };
    check(ready).map(|ready| ready as usize)
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    fn signals(flags: libc::c_int) -> (Option<Signal>, Option<Signal>) {
        let event = decode(0, flags as u32);
        (event.read, event.write)
    }

    #[test]
    fn flags_reach_the_directions_they_concern() {
        use Signal::{Hangup, Ready};
        assert_eq!(signals(libc::EPOLLIN), (Some(Ready), None));
        assert_eq!(signals(libc::EPOLLOUT), (None, Some(Ready)));
        assert_eq!(signals(libc::EPOLLIN | libc::EPOLLRDHUP), (Some(Hangup), None));
        assert_eq!(signals(libc::EPOLLIN | libc::EPOLLPRI), (Some(Hangup), None));
        assert_eq!(signals(libc::EPOLLOUT | libc::EPOLLHUP), (Some(Hangup), Some(Hangup)));
        assert_eq!(signals(libc::EPOLLERR), (Some(Hangup), Some(Hangup)));
    }

    #[test]
    fn without_the_precise_call_a_wait_is_rounded_up() {
        let selector = Selector::new().unwrap();
        selector.coarse.store(true, Ordering::Relaxed);
        let began = Instant::now();
        let limit = Duration::from_micros(2_300);
        assert_eq!(selector.wait(Some(limit), |_| ()), 0);
        assert!(began.elapsed() >= limit);
        selector.interrupt();
        assert_eq!(selector.wait(None, |_| ()), 0);
        assert_eq!(selector.wait(Some(Duration::ZERO), |_| ()), 0);
    }

    #[test]
    fn a_timeout_beyond_the_kernels_range_is_no_error() {
        let selector = Selector::new().unwrap();
        for coarse in [false, true] {
            selector.coarse.store(coarse, Ordering::Relaxed);
            selector.interrupt();
            assert_eq!(selector.wait(Some(Duration::MAX), |_| ()), 0);
        }
    }
}
