//! A descriptor that goroutines wait for: its state, and how it is registered, shut down and
//! closed. The loop that every operation runs through is in [`operate`].
//!
//! Guarantees that the descriptor stays open as long as an operation is under way, is registered
//! with the netpoller at most once, and is removed from it before it is closed. Any number of
//! operations may run in either direction at once; each blocks only its own goroutine or thread.
//!
//! An operation tries its system call first. Registration is put off until an operation has to
//! wait. So a socket that never waits is never registered, and making a socket from a descriptor
//! cannot fail.

mod operate;
#[cfg(all(test, not(loom)))]
mod tests;

pub(crate) use operate::Operation;

use crate::direction::Direction;
use crate::handle::{Handle, Kind, Lend, Socket};
use crate::io_safe::IoSafe;
use crate::limit::Limit;
use crate::poller::readiness::{Readiness, Seen, Signal};
use crate::poller::{NetPoller, Registration};
use crate::sys::socket;
use narrowboat_runtime::lock::{Mutex, OnceLock};
use narrowboat_runtime::sched::poller::check_polled;
use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

/// A socket, or an open descriptor as `F` says, and all that operations on it need.
pub(crate) struct Source<F = Socket> {
    // Before `what`, so that it is dropped first: the descriptor leaves the poller before it is
    // closed.
    registration: OnceLock<Registration>,
    registering: Mutex<()>,
    /// What the user has set with `set_nonblocking`.
    nonblocking: AtomicBool,
    /// How many calls of `accept` in succession ran out of descriptors or memory; see
    /// [`crate::accept`].
    accept_backoff: AtomicU8,
    input: Limit,
    output: Limit,
    what: F,
}

impl Source {
    /// From a socket that was made elsewhere: takes over its mode and its timeouts. A socket that
    /// `accepts` connections is made non-blocking; any other is left as it is.
    pub(crate) fn adopt(fd: OwnedFd, accepts: bool) -> Source {
        let (nonblocking, read, write) = socket::adopt(fd.as_fd(), accepts);
        let source = Source::new(Socket::from(fd));
        // For a descriptor that is no socket, or not even open, the first operation returns the
        // error.
        source.set_nonblocking(nonblocking);
        let _ = source.input.set_timeout(read);
        let _ = source.output.set_timeout(write);
        source
    }

    /// Gives the descriptor away, removed from the netpoller and in the state that std would have
    /// it in. If other handles share the descriptor, they keep it, and a duplicate is given away.
    ///
    /// # Panics
    /// If a duplicate is needed and there is no descriptor left for it. If the socket is simulated.
    #[track_caller]
    pub(crate) fn into_fd(self: Arc<Self>) -> OwnedFd {
        let nonblocking = self.is_nonblocking();
        let (read, write) = (self.input.timeout(), self.output.timeout());
        let fd = match Arc::try_unwrap(self) {
            Ok(source) => source.into_inner().into_fd(),
            Err(shared) => {
                let duplicate = shared.handle().fd().try_clone_to_owned();
                duplicate.expect("no descriptor is left for a duplicate of the socket")
            }
        };
        socket::release(fd.as_fd(), nonblocking, read, write);
        fd
    }
}

impl<F: IoSafe> Source<F> {
    /// The descriptor of a source that is never simulated.
    #[inline]
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.what.as_fd()
    }
}

impl<F: Lend> Source<F> {
    /// From a descriptor on which no operation waits.
    pub(crate) fn new(what: F) -> Source<F> {
        Source {
            registration: OnceLock::new(),
            registering: Mutex::new(()),
            nonblocking: AtomicBool::new(false),
            accept_backoff: AtomicU8::new(0),
            input: Limit::new(),
            output: Limit::new(),
            what,
        }
    }

    /// Removes the descriptor from the netpoller and gives it back.
    pub(crate) fn into_inner(self) -> F {
        let Source { registration, what, .. } = self;
        drop(registration);
        what
    }

    #[inline]
    pub(crate) fn get_ref(&self) -> &F {
        &self.what
    }

    #[inline]
    pub(crate) fn handle(&self) -> Handle<'_> {
        self.what.handle()
    }

    pub(crate) fn set_nonblocking(&self, nonblocking: bool) {
        // Relaxed: the value does not order anything else.
        self.nonblocking.store(nonblocking, Ordering::Relaxed);
    }

    pub(crate) fn is_nonblocking(&self) -> bool {
        self.nonblocking.load(Ordering::Relaxed)
    }

    pub(crate) fn accept_backoff(&self) -> u8 {
        self.accept_backoff.load(Ordering::Relaxed)
    }

    pub(crate) fn set_accept_backoff(&self, times: u8) {
        // Relaxed: a hint. The store is skipped if nothing changes, so that a listener without
        // failures never writes.
        if self.accept_backoff() != times {
            self.accept_backoff.store(times, Ordering::Relaxed);
        }
    }

    pub(crate) fn limit(&self, direction: Direction) -> &Limit {
        match direction {
            Direction::Input => &self.input,
            Direction::Output => &self.output,
        }
    }

    /// Registers the descriptor now, instead of when an operation first has to wait.
    ///
    /// # Errors
    /// The netpoller's, if the descriptor cannot be watched.
    pub(crate) fn registered(&self) -> io::Result<&Registration> {
        match self.registration.get() {
            Some(registration) => Ok(registration),
            None => self.register(),
        }
    }

    #[cold]
    fn register(&self) -> io::Result<&Registration> {
        let poller = NetPoller::get()?;
        let _one_at_a_time = self.registering.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(registration) = self.registration.get() {
            return Ok(registration);
        }
        let registration = match self.handle().kind() {
            // SAFETY: the registration goes into a field that is dropped before the descriptor, or
            // is dropped by `into_inner` before it gives the descriptor away; and `F` has the same
            // one open for as long as it lives.
            Kind::System(fd) => unsafe { poller.register(fd)? },
            Kind::Simulated(socket) => {
                let registration = poller.register_simulated();
                socket.report_to(registration.events());
                registration
            }
        };
        Ok(self.registration.get_or_init(|| registration))
    }

    /// Whether an operation in this direction would have to wait. If so, returns where, and as of
    /// which state. An operation that would fail would not wait; that includes a failure to
    /// register.
    pub(crate) fn would_wait(&self, direction: Direction) -> Option<(&'static Readiness, Seen)> {
        let readiness = self.registered().ok()?.direction(direction);
        let seen = readiness.look();
        self.limit(direction).check().ok()?;
        // Without a poller the word says nothing.
        if direction == Direction::Output || !seen.is_drained() || check_polled().is_err() {
            if self.handle().is_ready(direction) {
                return None;
            }
            if direction == Direction::Input {
                // This is as good as a call that found nothing.
                readiness.mark_drained(seen);
            }
        }
        Some((readiness, seen))
    }

    fn inject_event(&self, direction: Direction, signal: Signal) {
        let registration = self.registration.get().or_else(|| {
            // If an operation registers later, it does so after this lock and sees what the caller
            // changed before. If it registered before, we find its registration.
            drop(self.registering.lock().unwrap_or_else(PoisonError::into_inner));
            self.registration.get()
        });
        if let Some(registration) = registration {
            registration.inject_event(direction, signal);
        }
    }

    /// Ends the stream in one direction or both, and wakes the operations that are blocked there.
    ///
    /// # Errors
    /// The kernel's, for example `NotConnected`.
    pub(crate) fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.handle().shutdown(how)?;
        // Linux reports this as an event as well; some other kernels do not.
        if how != Shutdown::Write {
            self.inject_event(Direction::Input, Signal::Hangup);
        }
        if how != Shutdown::Read {
            self.inject_event(Direction::Output, Signal::Hangup);
        }
        Ok(())
    }

    /// Ends everything: operations fail from now on, also those under way, and the peer sees the
    /// end. The last handle closes the descriptor itself, so its number cannot become another
    /// descriptor's while it is in use.
    pub(crate) fn close(&self) {
        self.input.close();
        self.output.close();
        // It fails if there is no connection to shut down; then there is nothing to do.
        let _ = self.handle().shutdown(Shutdown::Both);
        self.inject_event(Direction::Input, Signal::Hangup);
        self.inject_event(Direction::Output, Signal::Hangup);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.input.is_closed()
    }

    /// Sets the longest time that an operation may wait, from the next one on.
    ///
    /// # Errors
    /// `InvalidInput` if the duration is zero.
    pub(crate) fn set_timeout(&self, direction: Direction, timeout: Option<Duration>) -> io::Result<()> {
        self.limit(direction).set_timeout(timeout)
    }

    pub(crate) fn timeout(&self, direction: Direction) -> Option<Duration> {
        self.limit(direction).timeout()
    }

    /// Sets the point in time after which operations fail, also those under way.
    pub(crate) fn set_deadline(&self, direction: Direction, deadline: Option<Instant>) {
        self.limit(direction).set_deadline(deadline);
        self.inject_event(direction, Signal::Ready);
    }
}
