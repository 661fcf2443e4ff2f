//! Readiness as a channel, so that a `select!` can have a socket beside messages and timers.
//!
//! Such a channel has a message whenever an operation in its direction would not have to wait.
//! Nothing is read to find that out: the state word of the direction (see
//! [`crate::poller::readiness`]) tells, or one `poll` that does not wait. A waiter enters the queue
//! of the direction, as an operation does. So a socket that is never selected on pays nothing, and
//! one that is pays only while it is waited for.

use crate::describe;
use crate::direction::Direction;
use crate::handle::Lend;
use crate::source::Source;
use narrowboat_chan::__outside::{EventSource, receiver};
use narrowboat_chan::Receiver;
use narrowboat_runtime::park::{Outcome, Thing, WaitNode, Waiter};
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::Instant;

/// The state "an operation in this direction would not have to wait".
struct Ready<F> {
    source: Arc<Source<F>>,
    direction: Direction,
}

/// The channel of a direction.
pub(crate) fn ready<F: Lend + Send + Sync + 'static>(
    source: &Arc<Source<F>>,
    direction: Direction,
) -> Receiver<()> {
    // Registered now, because that may start the runtime, which a caller that has begun to wait
    // must not do. If it fails, the operation that follows returns the error.
    let _ = source.registered();
    receiver(Ready { source: Arc::clone(source), direction })
}

// SAFETY: the queue is that of `Readiness`, which keeps these rules. It is asked without a panic
// whether a socket is ready: `Handle::is_ready`.
unsafe impl<F: Lend + Send + Sync> EventSource for Ready<F> {
    fn is_ready(&self) -> bool {
        self.source.would_wait(self.direction).is_none()
    }

    unsafe fn enter(
        &self,
        node: NonNull<WaitNode>,
        me: Waiter,
        outcome: Outcome,
        sole: bool,
        until: &mut Option<Instant>,
    ) -> bool {
        // Each further iteration means that there was an event.
        while let Some((readiness, seen)) = self.source.would_wait(self.direction) {
            // Setting a deadline later is an event, too.
            *until = self.source.limit(self.direction).deadline();
            // SAFETY: by contract.
            if unsafe { readiness.enqueue(seen, node, me, outcome, sole && until.is_none()) } {
                return true;
            }
        }
        false
    }

    unsafe fn leave(&self, node: NonNull<WaitNode>) {
        let registration = self.source.registered().expect("a socket is registered before a wait for it");
        // SAFETY: by contract.
        unsafe { registration.direction(self.direction).dequeue(node) };
    }

    fn describe(&self) -> Thing {
        let operation = match self.direction {
            Direction::Input => "input of",
            Direction::Output => "room for output of",
        };
        Thing { operation, ..describe::thing(self.source.handle()) }
    }
}
