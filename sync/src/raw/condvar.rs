//! What is under [`Condvar`](crate::Condvar).
//!
//! The state word says whether there is a queue. A wait, step by step:
//!
//! 1. The waiter, which holds the lock, enters the queue with the lock's address on its ticket,
//!    having set the word. If the lock is on a stack that is copied, the ticket says so instead:
//!    while the waiter is parked, other bytes may be at that address.
//! 2. It releases the lock, which is a matter of the state word and of waking others, and sleeps.
//! 3. It is woken: it was granted the lock, or tries to take it. If the deadline came first, it leaves the queue and
//!    takes the lock like anybody else.
//!
//! A notification, step by step:
//!
//! 4. Where the word is not set, nobody waits.
//! 5. Otherwise it locks the queue, takes out the first waiter, or all, and unlocks it. Whoever is taken out has been
//!    notified, whatever its deadline; whoever is not, being late, has not.
//! 6. A waiter whose lock is on a copied stack is woken to take the lock itself. The others move to
//!    the queue of their lock ([`RawLock::requeue`]), where releases of the lock will let them in one
//!    after the other. So a thousand waiters that are notified at once do not all wake to fight for
//!    one lock, and a waiter that is notified by the holder of the lock does not wake only to wait
//!    again.
//!
//! No notification is lost. A waiter sets the word and is in the queue before it releases the lock; who has changed what
//! the waiter waits for has held the lock after that, and sees the word set, although its look is relaxed: the lock
//! orders it. The word is reset only when the queue is locked and empty.

use super::lock::RawLock;
use crate::lot::{At, Cause, DequeuedList, Enqueued, LockedQueue, Ticket, WakeReason, describer};
use crate::shim::{AtomicU32, Ordering, const_fn};
use narrowboat_runtime::park::{self, Identity, Reason, checkpoint};
use std::ptr;
use std::time::Instant;

const EMPTY: u32 = 0;
const QUEUED: u32 = 1;

pub(crate) struct RawCondvar {
    state: AtomicU32,
}

/// On the ticket of a waiter whose lock must not be touched for it.
const RETRY_LOCK: usize = 0;

const CAUSE: Cause = Cause {
    reason: Reason::Notification,
    describe: describer!(RawCondvar, |_| ("condition variable", String::new(), None)),
};

impl RawCondvar {
    const_fn! {
        pub(crate) fn new() -> RawCondvar {
            RawCondvar { state: AtomicU32::new(EMPTY) }
        }
    }

    /// Releases the lock, waits, and takes the lock again. Whether it was a notification that ended the wait.
    ///
    /// The caller holds the lock alone.
    pub(crate) fn wait(&self, lock: &RawLock, deadline: Option<Instant>, at: At) -> bool {
        park::assert_may_park();
        let notified = self.wait_for_lock(lock, deadline, at);
        lock.record_holder();
        notified
    }

    fn wait_for_lock(&self, lock: &RawLock, deadline: Option<Instant>, at: At) -> bool {
        let enqueued = self.enqueue(lock, deadline.is_some(), at);
        lock.unlock();
        let reason = match deadline {
            None => Ok(enqueued.sleep()),
            Some(deadline) => enqueued.sleep_until(deadline),
        };
        match reason {
            Ok(WakeReason::Granted) => true,
            Ok(WakeReason::Retry) => {
                lock.lock_woken(at);
                true
            }
            Err(timed_out) => {
                self.clear_if_empty(&timed_out.dequeue());
                lock.lock(at);
                false
            }
        }
    }

    /// Step 1.
    #[inline(never)]
    fn enqueue(&self, lock: &RawLock, deadline: bool, at: At) -> Enqueued {
        let Identity { address, stack_of } = Identity::of((&raw const *lock).expose_provenance());
        let value = if stack_of == 0 { address } else { RETRY_LOCK };
        let queue = LockedQueue::of(self);
        self.state.store(QUEUED, Ordering::Relaxed);
        let ticket = Ticket { value, since: 0 };
        // SAFETY: between this and its sleep `wait` only releases a lock, which may wake but does not wait.
        unsafe { queue.enqueue(ticket, deadline, &CAUSE, at) }
    }

    #[inline]
    pub(crate) fn notify_one(&self) {
        checkpoint();
        if self.state.load(Ordering::Relaxed) == QUEUED {
            self.notify(false);
        }
    }

    #[inline]
    pub(crate) fn notify_all(&self) {
        checkpoint();
        if self.state.load(Ordering::Relaxed) == QUEUED {
            self.notify(true);
        }
    }

    /// Steps 5 and 6.
    #[cold]
    #[inline(never)]
    fn notify(&self, all: bool) {
        let mut queue = LockedQueue::of(self);
        let mut notified = DequeuedList::new();
        while let Some(waiter) = queue.pop() {
            notified.push(waiter);
            if !all {
                break;
            }
        }
        self.clear_if_empty(&queue);
        drop(queue);
        // Mostly there is one lock for all.
        while let Some(first) = notified.pop() {
            let address = first.ticket().value;
            if address == RETRY_LOCK {
                first.wake(WakeReason::Retry);
                continue;
            }
            // SAFETY: the address is that of the lock that the waiter borrows for as long as it
            // waits, which it does until `requeue` lets it go. `requeue` touches the lock only before
            // that. The lock is there although the waiter is parked: it is not on a copied stack.
            let lock = unsafe { &*ptr::with_exposed_provenance::<RawLock>(address) };
            lock.requeue(first, &mut notified, |other| other.value == address);
        }
    }

    /// Resets the word if nobody is left.
    fn clear_if_empty(&self, queue: &LockedQueue) {
        if queue.is_empty() {
            self.state.store(EMPTY, Ordering::Relaxed);
        }
    }
}
