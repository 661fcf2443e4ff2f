//! The end of a world, which its caller waits for.

use crate::lock::Mutex;
use crate::park::{Outcome, Reason, WaitQueue, Waiter};
use crate::sched::world::Over;
use std::panic::Location;
use std::sync::{MutexGuard, PoisonError};

#[derive(Default)]
pub(super) struct Ending(Mutex<State>);

#[derive(Default)]
struct State {
    over: Option<Over>,
    waiter: WaitQueue,
}

impl Ending {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the world is over. Called once.
    pub(super) fn wait(&self, at: &'static Location<'static>) -> Over {
        let waiter = Waiter::begin(Reason::Scope, 0, at);
        let node = waiter.node();
        let mut state = self.lock();
        if state.over.is_none() {
            // SAFETY: the node is the waiter's own and is in no queue between its waits; it lives
            // until after the wait, and the lock guards it. The waiter is from its latest `begin`.
            unsafe {
                (*node.as_ptr()).prepare(waiter, Outcome(Outcome::FIRST), true);
                state.waiter.push(node);
                drop(state);
                waiter.park(None);
            }
            state = self.lock();
        }
        state.over.take().expect("woken when it is over")
    }

    /// The world is over. Called once, by its loop.
    pub(super) fn tell(&self, over: Over) {
        let mut state = self.lock();
        state.over = Some(over);
        let waiting = state.waiter.pop_claim(None);
        drop(state);
        if let Some(node) = waiting {
            // SAFETY: popped above, so valid until the unpark, which is the only one of this wait.
            unsafe { node.as_ref().waiter().unpark() };
        }
    }
}
