//! The readiness loop that every operation of every socket runs through.
//!
//! No system call here uses a buffer after it has returned: descriptors, or the calls, are
//! non-blocking, and the kernel copies at once. So a buffer may be on the stack of a goroutine,
//! which is copied away while the goroutine is parked.

use super::Source;
use crate::context::Tied;
use crate::direction::Direction;
use crate::handle::{Handle, Lend};
use crate::limit::{self, deadline_passed};
use crate::poller::readiness::{Readiness, Seen, Waited};
use narrowboat_runtime::park::{self, Reason};
use narrowboat_runtime::sched::poller::check_polled;
use narrowboat_runtime::{sleep_until, world};
use std::io;
use std::num::NonZero;
use std::panic::Location;
use std::time::{Duration, Instant};

/// The state of an operation, kept through its waits. A copy that is made before the operation
/// begins is another operation.
#[derive(Clone, Copy)]
pub(crate) struct Operation<'a> {
    at: &'static Location<'static>,
    /// A context: when it ends, the operation ends.
    tied: Option<&'a Tied>,
    /// When the timeout ends the operation. Set when it first waits; see
    /// [`Limit::expiry`](crate::limit::Limit::expiry).
    expiry: Option<NonZero<u64>>,
    /// Return the next "would block" instead of waiting.
    final_attempt: bool,
    /// How many times the call was tried, if the kernel does not report when to try it again.
    tries: Option<u8>,
    reason: Reason,
    direction: Direction,
}

impl<'a> Operation<'a> {
    /// `reason` says what the operation waits for, and so its direction; `at` is the user's source
    /// line.
    #[inline]
    pub(crate) fn new(reason: Reason, at: &'static Location<'static>) -> Operation<'a> {
        let direction = Direction::of(reason);
        Operation { at, tied: None, expiry: None, final_attempt: false, tries: None, reason, direction }
    }

    /// An operation that ends when a context does.
    pub(crate) fn tied(reason: Reason, at: &'static Location<'static>, to: &'a Tied) -> Operation<'a> {
        Operation { tied: Some(to), ..Operation::new(reason, at) }
    }

    /// An operation that is tried again after a pause, not after an event. A close, the end of a
    /// context or a changed deadline is noticed after the pause.
    pub(crate) fn retried_by_time(self) -> Operation<'a> {
        Operation { tries: Some(0), ..self }
    }
}

impl<F: Lend> Source<F> {
    /// Makes `call`, and makes it again after every event until it returns something other than
    /// "would block".
    ///
    /// `call` also returns whether it has left nothing behind. If so, the next operation does not
    /// ask the kernel before there was an event; see [`crate::poller::readiness`].
    ///
    /// # Errors
    /// The call's own. "Would block" (`EAGAIN`) if the socket is in non-blocking mode or its
    /// timeout passed, as with std on Unix; `TimedOut` if its deadline passed; and the netpoller's,
    /// if the descriptor cannot be watched. If the operation is tied to a context, that context's.
    #[inline]
    pub(crate) fn operate<T>(
        &self,
        mut operation: Operation<'_>,
        mut call: impl FnMut(Handle<'_>) -> io::Result<(T, bool)>,
    ) -> io::Result<T> {
        park::checkpoint();
        let mut seen = self.look(operation.direction);
        self.check(&operation)?;
        // In non-blocking mode the caller does the waiting, and must not depend on how soon the
        // next poll comes.
        operation.final_attempt = self.is_nonblocking();
        let mut skip_call = operation.direction == Direction::Input
            && !operation.final_attempt
            && seen.is_some_and(|seen| seen.is_drained() && check_polled().is_ok());
        loop {
            if !skip_call {
                match call(self.handle()) {
                    Ok((result, emptied)) => {
                        if let (Some(seen), true) = (seen, emptied) {
                            self.mark_drained(operation.direction, seen);
                        }
                        return Ok(result);
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(error) if operation.final_attempt || error.kind() != io::ErrorKind::WouldBlock => {
                        return Err(error);
                    }
                    Err(_) => {}
                }
            }
            self.wait(seen, &mut operation)?;
            skip_call = false;
            seen = self.look(operation.direction);
            self.check(&operation)?;
        }
    }

    /// [`operate`](Source::operate) for calls with a result that does not show what they left
    /// behind.
    #[inline]
    pub(crate) fn io<T>(
        &self,
        operation: Operation<'_>,
        mut call: impl FnMut(Handle<'_>) -> io::Result<T>,
    ) -> io::Result<T> {
        self.operate(operation, |socket| Ok((call(socket)?, false)))
    }

    /// Makes `call` once, for an async task, which waits by itself: neither waits nor gives way.
    ///
    /// # Errors
    /// As `operate` in non-blocking mode.
    #[cfg(feature = "tokio")]
    pub(crate) fn attempt<T>(
        &self,
        direction: Direction,
        mut call: impl FnMut(Handle<'_>) -> io::Result<(T, bool)>,
    ) -> io::Result<T> {
        let seen = self.look(direction);
        self.limit(direction).check()?;
        if direction == Direction::Input
            && seen.is_some_and(|seen| seen.is_drained() && check_polled().is_ok())
        {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        loop {
            match call(self.handle()) {
                Ok((result, emptied)) => {
                    if let (Some(seen), true) = (seen, emptied) {
                        self.mark_drained(direction, seen);
                    }
                    return Ok(result);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Fails if the operation must not be tried (any more).
    #[inline]
    fn check(&self, operation: &Operation<'_>) -> io::Result<()> {
        self.limit(operation.direction).check()?;
        operation.tied.map_or(Ok(()), Tied::check)
    }

    /// The state word of a direction; `None` if the descriptor is not registered.
    #[inline]
    fn look(&self, direction: Direction) -> Option<Seen> {
        self.registration.get().map(|it| it.direction(direction).look())
    }

    #[inline]
    fn mark_drained(&self, direction: Direction, seen: Seen) {
        if let Some(registration) = self.registration.get() {
            registration.direction(direction).mark_drained(seen);
        }
    }

    /// Waits for an event later than `seen`. Out of line, and keeping nothing through the wait,
    /// because what is on the stack here is copied with every goroutine that waits.
    #[inline(never)]
    fn wait(&self, seen: Option<Seen>, operation: &mut Operation<'_>) -> io::Result<()> {
        check_polled()?;
        park::assert_may_park();
        let registration = self.registered()?;
        // Without a `seen`, the call was made before the descriptor was registered. Whatever came
        // since then was there when the descriptor was added, or came later; both are events, and
        // change the word that the registration began with.
        let seen = seen.unwrap_or(registration.first_seen());
        let readiness = registration.direction(operation.direction);
        if operation.tied.is_some() || operation.tries.is_some() || !self.limit(operation.direction).is_none()
        {
            return self.wait_within_limits(readiness, seen, operation);
        }
        readiness.wait(seen, None, operation.reason, self.handle().object(), operation.at);
        Ok(())
    }

    /// The same, for as long as the limits and the context allow.
    #[inline(never)]
    fn wait_within_limits(
        &self,
        readiness: &Readiness,
        seen: Seen,
        operation: &mut Operation<'_>,
    ) -> io::Result<()> {
        let limit = self.limit(operation.direction);
        let expiry = operation.expiry.get_or_insert_with(|| limit.expiry()).get();
        let deadline = limit.deadline_or_never();
        let until = limit::instant(expiry.min(deadline));
        let waited = match (operation.tries, operation.tied) {
            (Some(tries), _) => {
                operation.tries = Some(tries.saturating_add(1));
                pause(tries, until)
            }
            (None, None) => {
                readiness.wait(seen, until, operation.reason, self.handle().object(), operation.at)
            }
            (None, Some(tied)) => tied.wait(operation.direction, until, operation.at),
        };
        match waited {
            Waited::Woken => Ok(()),
            Waited::TimedOut if deadline <= expiry => Err(deadline_passed()),
            Waited::TimedOut => {
                // What came at the last moment, or while no thread polled, still counts.
                operation.final_attempt = true;
                Ok(())
            }
        }
    }
}

/// The pause after so many tries: each is twice as long as the last one, from 1 to 32 ms.
fn pause(tries: u8, until: Option<Instant>) -> Waited {
    const DOUBLINGS: u8 = 5;
    let end = world::now() + Duration::from_millis(1 << tries.min(DOUBLINGS));
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
