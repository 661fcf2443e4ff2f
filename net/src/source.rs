//! A descriptor that goroutines wait for: the one readiness loop that every operation of every socket runs
//! through.
//!
//! Guarantees that the descriptor stays open as long as an operation is under way, is registered with the
//! netpoller at most once, and is removed from it before it is closed. Any number of parties may operate in
//! either direction at once; each blocks its goroutine, or its thread, and nobody else.
//!
//! An operation tries its system call first. Registration is put off until one has to wait, so that a socket
//! which never does is never registered, and so that making a socket out of a descriptor cannot fail.
//!
//! No system call here outlives its return: descriptors are non-blocking and the kernel copies at once. That
//! is what lets a buffer live on the stack of a goroutine, which is copied away while the goroutine is
//! parked.

use crate::limit::{Limit, deadline_passed};
use crate::poller::readiness::{Seen, Signal, Waited};
use crate::poller::{NetPoller, Registration};
use crate::sys::socket;
use narrowboat_runtime::park::{self, Reason};
use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::panic::Location;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// A direction of a descriptor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Direction {
    Input,
    Output,
}

impl Direction {
    fn of(reason: Reason) -> Direction {
        match reason {
            Reason::Read | Reason::Accept => Direction::Input,
            _ => Direction::Output,
        }
    }
}

/// An open, non-blocking descriptor.
pub(crate) struct Source {
    // Before `fd`, so that it is dropped, and the descriptor removed from the poller, before that is closed.
    registration: OnceLock<Registration>,
    registering: Mutex<()>,
    /// What the user asked for with `set_nonblocking`; the descriptor itself always is.
    nonblocking: AtomicBool,
    input: Limit,
    output: Limit,
    fd: OwnedFd,
}

impl Source {
    /// From a descriptor that is non-blocking already.
    pub(crate) fn new(fd: OwnedFd) -> Source {
        Source {
            registration: OnceLock::new(),
            registering: Mutex::new(()),
            nonblocking: AtomicBool::new(false),
            input: Limit::new(),
            output: Limit::new(),
            fd,
        }
    }

    /// From a socket that somebody else made: its mode and its timeouts become ours.
    pub(crate) fn adopt(fd: OwnedFd) -> Source {
        let source = Source::new(fd);
        // A descriptor that is no socket, or not even open, says so at the first operation.
        let (nonblocking, read, write) = socket::adopt(source.fd());
        source.set_nonblocking(nonblocking);
        let _ = source.input.set_timeout(read);
        let _ = source.output.set_timeout(write);
        source
    }

    /// Gives the descriptor away in the state that std would have it in, out of the netpoller's sight. If
    /// other handles share it, they keep it, and what is given away is a duplicate.
    ///
    /// # Panics
    /// If a duplicate is needed and there is no descriptor left for it.
    pub(crate) fn surrender(self: Arc<Self>) -> OwnedFd {
        let nonblocking = self.is_nonblocking();
        let (read, write) = (self.input.timeout(), self.output.timeout());
        let fd = match Arc::try_unwrap(self) {
            Ok(Source { registration, fd, .. }) => {
                drop(registration);
                fd
            }
            Err(shared) => {
                shared.fd.try_clone().expect("no descriptor is left for a duplicate of the socket")
            }
        };
        socket::release(fd.as_fd(), nonblocking, read, write);
        fd
    }

    #[inline]
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    pub(crate) fn set_nonblocking(&self, nonblocking: bool) {
        self.nonblocking.store(nonblocking, Ordering::Relaxed);
    }

    fn is_nonblocking(&self) -> bool {
        self.nonblocking.load(Ordering::Relaxed)
    }

    fn limit(&self, direction: Direction) -> &Limit {
        match direction {
            Direction::Input => &self.input,
            Direction::Output => &self.output,
        }
    }

    /// Makes `call`, and makes it again after every event until it says something else than "would block".
    ///
    /// `reason` says what for, and so in which direction; `at` is the line of the program that asked.
    ///
    /// # Errors
    /// The call's own. "Would block" (`EAGAIN`) if the socket is in non-blocking mode or its timeout passed,
    /// as with std on Unix; `TimedOut` if its deadline did; and the netpoller's, if the descriptor cannot be
    /// registered.
    #[inline]
    pub(crate) fn io<T>(
        &self,
        reason: Reason,
        at: &'static Location<'static>,
        call: impl FnMut(BorrowedFd<'_>) -> io::Result<T>,
    ) -> io::Result<T> {
        self.operate(Wait::new(reason, at), call, |_| false)
    }

    /// [`io`](Source::io) for a read from a stream of bytes, which asks for `asked` of them. After one that
    /// returns fewer, the next does not ask the kernel again before an event; see
    /// [`crate::poller::readiness`].
    ///
    /// # Errors
    /// As `io`.
    #[inline]
    pub(crate) fn read_stream(
        &self,
        asked: usize,
        at: &'static Location<'static>,
        call: impl FnMut(BorrowedFd<'_>) -> io::Result<usize>,
    ) -> io::Result<usize> {
        // A read of nothing is the end, which can be read any number of times.
        self.operate(Wait::new(Reason::Read, at), call, |&read| 0 < read && read < asked)
    }

    #[inline]
    fn operate<T>(
        &self,
        mut wait: Wait,
        mut call: impl FnMut(BorrowedFd<'_>) -> io::Result<T>,
        emptied: impl FnOnce(&T) -> bool,
    ) -> io::Result<T> {
        park::checkpoint();
        let mut seen = self.look(wait.direction);
        self.limit(wait.direction).check()?;
        // In non-blocking mode the caller does the waiting, and must not depend on how soon somebody polls.
        wait.last_call = self.is_nonblocking();
        let mut futile =
            wait.direction == Direction::Input && !wait.last_call && seen.is_some_and(Seen::is_spent);
        loop {
            if !futile {
                match call(self.fd.as_fd()) {
                    Ok(result) => {
                        if let (Some(seen), true) = (seen, emptied(&result)) {
                            self.note_spent(wait.direction, seen);
                        }
                        return Ok(result);
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(error) if wait.last_call || error.kind() != io::ErrorKind::WouldBlock => {
                        return Err(error);
                    }
                    Err(_) => {}
                }
            }
            self.wait(seen, &mut wait)?;
            futile = false;
            seen = self.look(wait.direction);
        }
    }

    /// What is known of a direction; nothing, as long as the descriptor is not registered.
    #[inline]
    fn look(&self, direction: Direction) -> Option<Seen> {
        self.registration.get().map(|it| it.direction(direction).look())
    }

    #[inline]
    fn note_spent(&self, direction: Direction, seen: Seen) {
        if let Some(registration) = self.registration.get() {
            registration.direction(direction).note_spent(seen);
        }
    }

    /// Waits for an event later than `seen`. Out of line, so that the frame of a parked operation stays
    /// small.
    #[inline(never)]
    fn wait(&self, seen: Option<Seen>, wait: &mut Wait) -> io::Result<()> {
        let registration = self.registered()?;
        // Who has seen nothing made its call before it saw the registration. Whatever came since then was
        // there when the descriptor was added, or came later; both are events, and change what the
        // registration began with.
        let seen = seen.unwrap_or(registration.first_seen());
        let limit = self.limit(wait.direction);
        let timeout = *wait
            .timeout
            .get_or_insert_with(|| limit.timeout().and_then(|timeout| Instant::now().checked_add(timeout)));
        let deadline = limit.deadline();
        let until = match (timeout, deadline) {
            (Some(timeout), Some(deadline)) => Some(timeout.min(deadline)),
            (timeout, deadline) => timeout.or(deadline),
        };
        match registration.direction(wait.direction).wait(seen, until, wait.reason, wait.at) {
            Waited::Woken => Ok(()),
            Waited::TimedOut if deadline.is_some() && deadline == until => Err(deadline_passed()),
            Waited::TimedOut => {
                // What came at the last moment, or while nobody polled, still counts.
                wait.last_call = true;
                Ok(())
            }
        }
    }

    fn registered(&self) -> io::Result<&Registration> {
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
        // SAFETY: the registration goes into a field that is dropped before the descriptor, or is dropped by
        // `surrender` before it gives the descriptor away.
        let registration = unsafe { poller.register(self.fd.as_fd())? };
        Ok(self.registration.get_or_init(|| registration))
    }

    /// Ends the stream in one direction or both, and wakes whoever is blocked there.
    ///
    /// # Errors
    /// The kernel's: `NotConnected`, for one.
    pub(crate) fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        socket::shutdown(self.fd(), how)?;
        // Linux reports this as an event as well; not every kernel does.
        if how != Shutdown::Write {
            self.nudge(Direction::Input, Signal::Hangup);
        }
        if how != Shutdown::Read {
            self.nudge(Direction::Output, Signal::Hangup);
        }
        Ok(())
    }

    fn nudge(&self, direction: Direction, signal: Signal) {
        let registration = self.registration.get().or_else(|| {
            // An operation that registers from here on does so after this lock, and what the caller changed
            // before is seen by it; one that did before is found.
            drop(self.registering.lock().unwrap_or_else(PoisonError::into_inner));
            self.registration.get()
        });
        if let Some(registration) = registration {
            registration.nudge(direction, signal);
        }
    }

    /// Sets the longest that an operation may wait, from the next one on.
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
        self.nudge(direction, Signal::Ready);
    }
}

/// What an operation carries through its waits.
struct Wait {
    direction: Direction,
    reason: Reason,
    at: &'static Location<'static>,
    /// When the timeout ends the operation, once it had to wait: `Some(None)` means never.
    timeout: Option<Option<Instant>>,
    /// The next "would block" is the result.
    last_call: bool,
}

impl Wait {
    #[inline]
    fn new(reason: Reason, at: &'static Location<'static>) -> Wait {
        Wait { direction: Direction::of(reason), reason, at, timeout: None, last_call: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};
    use std::thread;

    fn pair() -> (TcpStream, Source) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        peer.set_nodelay(true).unwrap();
        (peer, Source::adopt(listener.accept().unwrap().0.into()))
    }

    /// Reads at most `buffer` bytes; returns how many came, and how many calls it took.
    fn read(source: &Source, buffer: usize) -> (usize, u32) {
        let calls = Cell::new(0);
        let mut buffer = vec![0; buffer];
        let asked = buffer.len();
        let call = |fd: BorrowedFd<'_>| {
            calls.set(calls.get() + 1);
            socket::receive(fd, &mut buffer, 0)
        };
        let read = source.read_stream(asked, Location::caller(), call).unwrap();
        (read, calls.get())
    }

    /// Has the source registered, its first events handled, and its input found empty.
    fn settle(source: &Source) {
        source.set_timeout(Direction::Input, Some(Duration::from_millis(50))).unwrap();
        let call = |fd: BorrowedFd<'_>| socket::receive(fd, &mut [0; 1], 0);
        let error = source.io(Reason::Read, Location::caller(), call).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        source.set_timeout(Direction::Input, None).unwrap();
    }

    #[test]
    fn a_socket_that_never_waits_is_never_registered() {
        let (mut peer, source) = pair();
        peer.write_all(b"data").unwrap();
        assert_eq!(read(&source, 8), (4, 1));
        assert!(source.registration.get().is_none());
    }

    #[test]
    #[cfg_attr(
        feature = "portable-poller",
        ignore = "that selector cannot tell the end of a stream, and asks again"
    )]
    fn a_read_after_a_short_one_waits_without_asking() {
        let (mut peer, source) = pair();
        settle(&source);
        thread::scope(|scope| {
            for _ in 0..20 {
                let reader = scope.spawn(|| read(&source, 8));
                thread::sleep(Duration::from_millis(5));
                peer.write_all(b"data").unwrap();
                assert_eq!(reader.join().unwrap(), (4, 1));
            }
        });
    }

    #[test]
    fn a_read_that_filled_its_buffer_is_followed_by_a_call() {
        let (mut peer, source) = pair();
        settle(&source);
        peer.write_all(b"more than that").unwrap();
        assert_eq!(read(&source, 4).0, 4);
        assert_eq!(read(&source, 4), (4, 1));
        assert_eq!(read(&source, 400), (6, 1));
    }

    #[test]
    fn after_the_end_no_call_is_left_out() {
        let (mut peer, source) = pair();
        settle(&source);
        peer.write_all(b"last").unwrap();
        peer.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read(&source, 8).0, 4);
        for _ in 0..3 {
            assert_eq!(read(&source, 8).0, 0);
        }
    }

    #[test]
    fn what_came_in_time_is_read_even_if_nobody_polled() {
        let (mut peer, source) = pair();
        // SAFETY: the registration goes into the field that is dropped before the descriptor.
        let registration = unsafe { NetPoller::unpolled().register(source.fd()) }.unwrap();
        assert!(source.registration.set(registration).is_ok());
        source.set_timeout(Direction::Input, Some(Duration::from_millis(200))).unwrap();
        thread::scope(|scope| {
            let reader = scope.spawn(|| read(&source, 8));
            thread::sleep(Duration::from_millis(20));
            peer.write_all(b"data").unwrap();
            assert_eq!(reader.join().unwrap().0, 4);
        });
    }

    #[test]
    fn a_registration_is_made_once_by_all_who_wait_first() {
        let (peer, source) = pair();
        thread::scope(|scope| {
            let readers: Vec<_> = (0..8).map(|_| scope.spawn(|| read(&source, 8).0)).collect();
            thread::sleep(Duration::from_millis(20));
            drop(peer);
            for reader in readers {
                assert_eq!(reader.join().unwrap(), 0);
            }
        });
        assert!(source.registration.get().is_some());
    }
}
