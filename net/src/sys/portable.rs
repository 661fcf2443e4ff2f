//! The selector of every system but Linux, and of Linux with the feature `portable-poller`, which
//! the tests use: the `polling` crate as it is.
//!
//! Guarantees what [`super`] lists, wherever `polling` has edge-triggered events (epoll and
//! kqueue). It cannot tell whether a stream has ended, so every event is a [`Signal::Hangup`], and
//! no read skips its call after that.

use super::{BATCH, Event};
use crate::poller::readiness::Signal;
use polling::{Events, PollMode, Poller};
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::{Mutex, TryLockError};
use std::time::Duration;

// A key is an index of 32 bits and a generation; `polling` carries keys as `usize`.
#[cfg(not(target_pointer_width = "64"))]
compile_error!("narrowboat-net needs 64-bit pointers on systems other than Linux");

pub(crate) struct Selector {
    poller: Poller,
    /// The buffer for events. Its lock makes a second thread return instead of wait.
    events: Mutex<Events>,
}

impl Selector {
    pub(crate) fn new() -> io::Result<Selector> {
        let poller = Poller::new()?;
        if !poller.supports_edge() {
            let message = "narrowboat-net needs a system with edge-triggered events (epoll or kqueue)";
            return Err(io::Error::new(io::ErrorKind::Unsupported, message));
        }
        let batch = const { NonZeroUsize::new(BATCH).unwrap() };
        Ok(Selector { poller, events: Mutex::new(Events::with_capacity(batch)) })
    }

    /// Registers a descriptor. `key` comes back with its events.
    ///
    /// # Safety
    /// The descriptor is deleted before it is closed.
    pub(crate) unsafe fn add(&self, fd: BorrowedFd<'_>, key: u64) -> io::Result<()> {
        let interest = polling::Event::all(key as usize);
        // SAFETY: the contract of this function is that of the one called.
        unsafe { self.poller.add_with_mode(fd.as_raw_fd(), interest, PollMode::Edge) }
    }

    /// Whether this file is registered under this number, and key. The next wait reports its
    /// present state.
    pub(crate) fn confirm(&self, fd: BorrowedFd<'_>, key: u64) -> io::Result<()> {
        self.poller.modify_with_mode(fd, polling::Event::all(key as usize), PollMode::Edge)
    }

    /// Registers another selector: each wait reports it, as input, for as long as it has events.
    pub(crate) fn add_selector(&self, other: &Selector, key: u64) -> io::Result<()> {
        let interest = polling::Event::readable(key as usize);
        // SAFETY: selectors that stand in others are never dropped.
        unsafe { self.poller.add_with_mode(other.poller.as_raw_fd(), interest, PollMode::Level) }
    }

    pub(crate) fn delete(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        self.poller.delete(fd)
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
        events.clear();
        match self.poller.wait(&mut events, timeout) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return 0,
            Err(error) => panic!("the netpoller cannot wait; was its descriptor closed? {error}"),
        }
        let mut handled = 0;
        for event in events.iter() {
            handled += 1;
            let signal = |concerned: bool| concerned.then_some(Signal::Hangup);
            handle(Event {
                key: event.key as u64,
                read: signal(event.readable),
                write: signal(event.writable),
            });
        }
        handled
    }

    /// Ends the wait under way, or otherwise the next one.
    pub(crate) fn interrupt(&self) {
        // It fails only if the poller's own descriptor is gone, which `wait` reports.
        let _ = self.poller.notify();
    }
}
