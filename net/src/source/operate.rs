//! The one readiness loop that every operation of every socket runs through.
//!
//! No system call here outlives its return: descriptors, or the calls, are non-blocking and the
//! kernel copies at once. That is what lets a buffer live on the stack of a goroutine, which is
//! copied away while the goroutine is parked.

use super::{Direction, Source};
use crate::context::Tied;
use crate::describe;
use crate::fd::IoSafe;
use crate::limit::{self, deadline_passed};
use crate::poller::readiness::{Readiness, Seen, Waited};
use narrowboat_runtime::park::{self, Reason};
use narrowboat_runtime::sched::poller::check_polled;
use narrowboat_runtime::sleep_until;
use std::io;
use std::num::NonZero;
use std::os::fd::BorrowedFd;
use std::panic::Location;
use std::time::{Duration, Instant};

/// What an operation carries through its waits. A copy taken before the operation is another operation.
#[derive(Clone, Copy)]
pub(crate) struct Wait<'a> {
    at: &'static Location<'static>,
    /// The context whose end is the operation's, too.
    tied: Option<&'a Tied>,
    /// When the timeout ends the operation, once it had to wait; see [`Limit::expiry`](crate::limit::Limit::expiry).
    expiry: Option<NonZero<u64>>,
    /// The next "would block" is the result.
    last_call: bool,
    /// How often it was tried, if the kernel does not say when it is worth another try.
    tries: Option<u8>,
    reason: Reason,
    direction: Direction,
}

impl<'a> Wait<'a> {
    /// `reason` says what for, and so in which direction; `at` is the line of the program that asked.
    #[inline]
    pub(crate) fn new(reason: Reason, at: &'static Location<'static>) -> Wait<'a> {
        let direction = Direction::of(reason);
        Wait { at, tied: None, expiry: None, last_call: false, tries: None, reason, direction }
    }

    /// One that the end of a context ends.
    pub(crate) fn tied(reason: Reason, at: &'static Location<'static>, to: &'a Tied) -> Wait<'a> {
        Wait { tied: Some(to), ..Wait::new(reason, at) }
    }

    /// One that is tried again after a pause, and not after an event. What ends it meanwhile is noticed then.
    pub(crate) fn by_trying(self) -> Wait<'a> {
        Wait { tries: Some(0), ..self }
    }
}

impl<F: IoSafe> Source<F> {
    /// Makes `call`, and makes it again after every event until it says something else than "would block".
    ///
    /// `call` also says whether it has left nothing behind, so that the next operation need not ask the kernel again before
    /// there was an event; see [`crate::poller::readiness`].
    ///
    /// # Errors
    /// The call's own. "Would block" (`EAGAIN`) if the socket is in non-blocking mode or its timeout passed,
    /// as with std on Unix; `TimedOut` if its deadline did; and the netpoller's, if the descriptor cannot be
    /// watched. If the operation is tied to a context, that context's.
    #[inline]
    pub(crate) fn operate<T>(
        &self,
        mut wait: Wait<'_>,
        mut call: impl FnMut(BorrowedFd<'_>) -> io::Result<(T, bool)>,
    ) -> io::Result<T> {
        park::checkpoint();
        let mut seen = self.look(wait.direction);
        self.check(&wait)?;
        // In non-blocking mode the caller does the waiting, and must not depend on how soon somebody polls.
        wait.last_call = self.is_nonblocking();
        let mut futile = wait.direction == Direction::Input
            && !wait.last_call
            && seen.is_some_and(|seen| seen.is_spent() && check_polled().is_ok());
        loop {
            if !futile {
                match call(self.fd()) {
                    Ok((result, emptied)) => {
                        if let (Some(seen), true) = (seen, emptied) {
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
            self.check(&wait)?;
        }
    }

    /// [`operate`](Source::operate) for calls whose result says nothing about what they left behind.
    #[inline]
    pub(crate) fn io<T>(
        &self,
        wait: Wait<'_>,
        mut call: impl FnMut(BorrowedFd<'_>) -> io::Result<T>,
    ) -> io::Result<T> {
        self.operate(wait, |fd| Ok((call(fd)?, false)))
    }

    /// Fails if the operation must not be tried (any more).
    #[inline]
    fn check(&self, wait: &Wait<'_>) -> io::Result<()> {
        self.limit(wait.direction).check()?;
        wait.tied.map_or(Ok(()), Tied::check)
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

    /// Waits for an event later than `seen`. Out of line, and keeping nothing through the wait, because what is on the stack
    /// here is copied with every goroutine that waits.
    #[inline(never)]
    fn wait(&self, seen: Option<Seen>, wait: &mut Wait<'_>) -> io::Result<()> {
        check_polled()?;
        park::assert_may_park();
        let registration = self.registered()?;
        // Who has seen nothing made its call before it saw the registration. Whatever came since then was
        // there when the descriptor was added, or came later; both are events, and change what the
        // registration began with.
        let seen = seen.unwrap_or(registration.first_seen());
        let readiness = registration.direction(wait.direction);
        if wait.tied.is_some() || wait.tries.is_some() || !self.limit(wait.direction).is_none() {
            return self.wait_within_limits(readiness, seen, wait);
        }
        readiness.wait(seen, None, wait.reason, describe::object(self.fd()), wait.at);
        Ok(())
    }

    /// The same, for as long as the limits and the context allow.
    #[inline(never)]
    fn wait_within_limits(&self, readiness: &Readiness, seen: Seen, wait: &mut Wait<'_>) -> io::Result<()> {
        let limit = self.limit(wait.direction);
        let expiry = wait.expiry.get_or_insert_with(|| limit.expiry()).get();
        let deadline = limit.deadline_or_never();
        let until = limit::instant(expiry.min(deadline));
        let waited = match (wait.tries, wait.tied) {
            (Some(tries), _) => {
                wait.tries = Some(tries.saturating_add(1));
                pause(tries, until)
            }
            (None, None) => readiness.wait(seen, until, wait.reason, describe::object(self.fd()), wait.at),
            (None, Some(tied)) => tied.wait(wait.direction, until, wait.at),
        };
        match waited {
            Waited::Woken => Ok(()),
            Waited::TimedOut if deadline <= expiry => Err(deadline_passed()),
            Waited::TimedOut => {
                // What came at the last moment, or while nobody polled, still counts.
                wait.last_call = true;
                Ok(())
            }
        }
    }
}

/// A pause after so many tries, each twice as long as the last one, from a millisecond to 32.
fn pause(tries: u8, until: Option<Instant>) -> Waited {
    const DOUBLINGS: u8 = 5;
    let end = Instant::now() + Duration::from_millis(1 << tries.min(DOUBLINGS));
    match until {
        Some(until) if until <= end => {
            sleep_until(until);
            Waited::TimedOut
        }
        _ => {
            sleep_until(end);
            Waited::Woken
        }
    }
}
