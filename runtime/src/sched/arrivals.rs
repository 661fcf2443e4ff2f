//! Goroutines that other processors and threads have sent to a processor, to be started there.
//!
//! Any thread sends. The carrier takes them, and so do thieves. That none is overlooked when the
//! processor comes to rest is a matter of one word beside the queue, `sent`: the queue, which is
//! another crate's, promises no more than to hand over what was put in.
//!
//! 1. A sender puts the goroutine into the queue and sets `sent`. Then it fences and claims the
//!    processor: step 2 of the [inbox](super::inbox)'s protocol.
//! 2. A carrier whose processor has come to rest looks at `sent`: step 4 there.
//! 3. A carrier that takes goroutines clears `sent` first. Acquire: it sees the queue as every
//!    sender left it that had set the word, since setting it is an exchange and so continues the
//!    release of those before. If something is left afterwards, it sets the word again.
//!
//! So while `sent` is clear at rest, the queue holds nothing but what a sender has put there that
//! has yet to set the word, and that sender then finds the processor idle. A thief leaves the word
//! as it is: at worst the carrier looks once more.

use super::search::steal;
use crate::sched::record::task::TaskPtr;
use crossbeam_deque::{Injector, Worker};
use std::sync::atomic::{AtomicBool, Ordering};

pub(crate) struct Arrivals {
    queue: Injector<TaskPtr>,
    sent: AtomicBool,
}

impl Arrivals {
    pub(super) fn new() -> Arrivals {
        Arrivals { queue: Injector::new(), sent: AtomicBool::new(false) }
    }

    /// Step 1. The caller fences and claims the processor next.
    pub(super) fn send(&self, task: TaskPtr) {
        self.queue.push(task);
        self.sent.swap(true, Ordering::Release);
    }

    /// Step 2: whether something may have been sent. Sequentially consistent, as the exchange is by
    /// which the processor has come to rest.
    pub(super) fn may_have_some(&self) -> bool {
        self.sent.load(Ordering::SeqCst)
    }

    /// Step 3: takes one for the carrier, and more of them `into` its own queue.
    pub(super) fn take(&self, into: &Worker<TaskPtr>) -> Option<TaskPtr> {
        if !self.sent.load(Ordering::Relaxed) {
            return None;
        }
        self.sent.swap(false, Ordering::Acquire);
        let taken = steal(|| self.queue.steal_batch_and_pop(into));
        if taken.is_some() && !self.queue.is_empty() {
            // An exchange, for 3: a store would end the release of a sender that has just set it.
            self.sent.swap(true, Ordering::Relaxed);
        }
        taken
    }

    /// Takes one for another processor.
    pub(super) fn steal(&self) -> Option<TaskPtr> {
        steal(|| self.queue.steal())
    }

    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    /// A hint.
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}
