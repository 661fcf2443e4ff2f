//! The protocol of [`Condvar`](crate::Condvar).
//!
//! The state word says whether there is a queue. A wait, step by step:
//!
//! 1. The caller, which holds the lock, sets the word and enters the queue with the lock's address
//!    on its ticket. If the lock is on a stack that is copied, the ticket is `RETRY_LOCK` instead:
//!    while the waiter is parked, other bytes may be at that address.
//! 2. It releases the lock, which changes the lock's state word and may wake other waiters, and
//!    sleeps.
//! 3. It is woken. It has been granted the lock, or it tries to take the lock. If the deadline
//!    passed first, it leaves the queue and takes the lock as any caller does.
//!
//! A notification, step by step:
//!
//! 4. If the word is not set, there is no waiter.
//! 5. Otherwise lock the queue, take out the first waiter, or all, and unlock it. A waiter that is
//!    taken out has been notified, whatever its deadline. One that has already timed out is
//!    skipped, and has not been notified.
//! 6. Wake each waiter that has its lock on a copied stack; it takes the lock itself. Move the
//!    other waiters to the queue of their lock ([`RawLock::requeue`]); releases of the lock let
//!    them in one after the other. So a thousand waiters that are notified at once do not all wake
//!    to compete for one lock, and a waiter that the holder of the lock notifies does not wake only
//!    to wait again.
//!
//! No notification is lost. A waiter sets the word and is in the queue before it releases the lock.
//! A notifier that has changed what the waiter waits for has held the lock after that. So it sees
//! the word set, although its load is relaxed: the lock orders it. The word is reset only when the
//! queue is locked and empty.

use super::lock::{Mode, RawLock};
use crate::lot::{
    At, Cause, DequeuedList, Enqueued, LockedQueue, Ticket, WakeReason, describer, told_forsaken,
};
use crate::shim::{AtomicU32, Ordering, const_fn};
use narrowboat_runtime::park::{self, Forsaken, Identity, Reason, checkpoint};
use std::ptr;
use std::time::Instant;

const EMPTY: u32 = 0;
const QUEUED: u32 = 1;

pub(crate) struct RawCondvar {
    state: AtomicU32,
}

/// The ticket of a waiter that takes its lock itself, because the lock must not be touched on its
/// behalf.
const RETRY_LOCK: usize = 0;

const CAUSE: Cause = Cause {
    reason: Reason::Notification,
    describe: describer!(RawCondvar, |_| ("condition variable", String::new(), None)),
    leave: Some(leave_forsaken),
};

/// A goroutine that never goes on leaves the queue. If it was notified, it may have been moved to
/// the queue of its lock: it passes on the lock, but not the notification.
fn leave_forsaken(gone: &Forsaken) {
    if let Some(address) = gone.object() {
        let mut queue = LockedQueue::at(address);
        if queue.leave_forsaken(gone).is_some() {
            // SAFETY: the goroutine borrows the condition variable, in the call that has begun its
            // wait, for ever.
            unsafe { &*ptr::with_exposed_provenance::<RawCondvar>(address) }.clear_if_empty(&queue);
        }
    } else {
        let (told, ticket) = told_forsaken(gone);
        if ticket.value != RETRY_LOCK {
            // SAFETY: as above; the ticket has the address of the lock, in either queue.
            unsafe { &*ptr::with_exposed_provenance::<RawLock>(ticket.value) }.pass_on(Mode::Exclusive, told);
        }
    }
}

impl RawCondvar {
    const_fn! {
        pub(crate) fn new() -> RawCondvar {
            RawCondvar { state: AtomicU32::new(EMPTY) }
        }
    }

    /// Releases the lock, waits, and takes the lock again. Returns whether a notification ended the
    /// wait.
    ///
    /// The caller holds the lock exclusively.
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
        let mut queue = LockedQueue::of(self);
        if self.state.swap(QUEUED, Ordering::Relaxed) == EMPTY {
            // Their tickets need not be addresses of locks.
            queue.remove_forgotten();
        }
        let ticket = Ticket { value, since: 0 };
        // SAFETY: between this and its sleep, `wait` only releases a lock, which may wake but does
        // not wait.
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
        // Usually all notified waiters have the same lock.
        while let Some(first) = notified.pop() {
            let address = first.ticket().value;
            if address == RETRY_LOCK {
                first.wake(WakeReason::Retry);
                continue;
            }
            // SAFETY: all waiters here are of this condition variable: no task waits for one, and
            // `enqueue` removes what tasks have left behind at this address. So the address on the
            // ticket is that of the lock that the waiter borrows for as long as it waits, which it
            // does until `requeue` wakes it or unlocks the queue that it is moved to. `requeue`
            // touches the lock only before that. The lock is there although the waiter is parked:
            // it is not on a copied stack.
            let lock = unsafe { &*ptr::with_exposed_provenance::<RawLock>(address) };
            lock.requeue(first, &mut notified, |other| other.value == address);
        }
    }

    /// Resets the word if the queue is empty.
    fn clear_if_empty(&self, queue: &LockedQueue) {
        if queue.is_empty() {
            self.state.store(EMPTY, Ordering::Relaxed);
        }
    }
}
