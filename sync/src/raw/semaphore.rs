//! The protocol of [`Semaphore`](crate::Semaphore).
//!
//! The state word is the number of free permits, and the flag `QUEUED`. While the flag is set,
//! permits are taken only by callers that have locked the queue, and in the order of the queue. To
//! acquire, step by step:
//!
//! 1. If the flag is not set and there are enough permits: subtract them from the state.
//! 2. Otherwise lock the queue and look again. If 1 is still not possible, exchange the state for
//!    the same with the flag, enter the queue with the number of permits on the ticket, and sleep.
//! 3. A waiter that is woken has its permits. If the deadline passes first, the waiter leaves the
//!    queue, and serves it (5), because it may have been in front of waiters that need fewer
//!    permits.
//!
//! To release, step by step:
//!
//! 4. Add the permits. If the flag was not set, that is all.
//! 5. Otherwise lock the queue and serve it: while there are enough free permits for the first
//!    waiter, subtract them and take the waiter out. If no waiter is left, reset the flag. Unlock
//!    the queue, and wake the waiters that were taken out.
//!
//! A waiter is served as soon as it is the first and there are enough permits: every caller that
//! adds permits, or takes the first waiter out, serves the queue. No waiter is overtaken, however
//! many permits it wants.
//!
//! An async task enters the queue likewise. If it is dropped, it leaves the queue as in 3; if it
//! has its permits by then, it releases them. The same is done for a goroutine that never goes on
//! ([`Forsaken`]).
//!
//! Orderings: adding releases and taking acquires; in 5 the taking is on behalf of the woken
//! waiters.

use crate::lot::{
    At, Cause, DequeuedList, Enqueued, LockedQueue, Ticket, WakeReason, describer, told_forsaken,
};
use crate::shim::{AtomicUsize, Ordering, const_fn};
use narrowboat_runtime::park::{self, Forsaken, Reason, TaskWait, checkpoint};
use narrowboat_runtime::world;
use std::ptr;
use std::task::{Context, Poll};
use std::time::Instant;

const QUEUED: usize = 1;
const PERMIT: usize = 2;

pub(crate) struct RawSemaphore {
    state: AtomicUsize,
}

const CAUSE: Cause = Cause {
    reason: Reason::Permit,
    describe: describer!(RawSemaphore, RawSemaphore::describe),
    leave: Some(leave_forsaken),
};

/// Step 3 of a goroutine that never goes on: as an async task that is dropped.
fn leave_forsaken(gone: &Forsaken) {
    let semaphore_at = |address| {
        // SAFETY: the goroutine borrows the semaphore, in the call that has begun its wait, for
        // ever.
        unsafe { &*ptr::with_exposed_provenance::<RawSemaphore>(address) }
    };
    if let Some(address) = gone.object() {
        let mut queue = LockedQueue::at(address);
        if queue.leave_forsaken(gone).is_some() {
            semaphore_at(address).serve(queue);
        }
    } else {
        let (_, ticket) = told_forsaken(gone);
        // If there are as many as there can be, none is missed.
        let _ = semaphore_at(ticket.since).add(ticket.value);
    }
}

/// Step 1: the state after `permits` have been taken, if they can be.
#[inline]
fn take(state: usize, permits: usize) -> Option<usize> {
    if state & QUEUED != 0 || state / PERMIT < permits { None } else { Some(state - permits * PERMIT) }
}

impl RawSemaphore {
    pub(crate) const MAX_PERMITS: usize = usize::MAX / PERMIT;

    const_fn! {
        /// `permits` is at most [`MAX_PERMITS`](RawSemaphore::MAX_PERMITS).
        pub(crate) fn new(permits: usize) -> RawSemaphore {
            RawSemaphore { state: AtomicUsize::new(permits * PERMIT) }
        }
    }

    pub(crate) fn available(&self) -> usize {
        self.state.load(Ordering::Relaxed) / PERMIT
    }

    fn describe(&self) -> (&'static str, String, Option<u16>) {
        let details = match self.available() {
            1 => "1 permit is left".into(),
            n => format!("{n} permits are left"),
        };
        ("semaphore", details, None)
    }

    #[inline]
    pub(crate) fn try_acquire(&self, permits: usize) -> bool {
        checkpoint();
        self.try_take(permits)
    }

    /// Step 1.
    #[inline]
    fn try_take(&self, permits: usize) -> bool {
        let mut state = self.state.load(Ordering::Relaxed);
        while let Some(taken) = take(state, permits) {
            match self.state.compare_exchange_weak(state, taken, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(now) => state = now,
            }
        }
        false
    }

    #[inline]
    pub(crate) fn acquire(&self, permits: usize, at: At) {
        if !self.try_acquire(permits) {
            self.acquire_contended(permits, at);
        }
    }

    #[cold]
    #[inline(never)]
    fn acquire_contended(&self, permits: usize, at: At) {
        if let Some(enqueued) = self.take_or_enqueue(permits, false, at) {
            enqueued.sleep();
        }
    }

    /// False if the deadline passed first.
    pub(crate) fn acquire_until(&self, permits: usize, deadline: Instant, at: At) -> bool {
        if self.try_acquire(permits) {
            return true;
        }
        if deadline <= world::now() {
            return false;
        }
        let Some(enqueued) = self.take_or_enqueue(permits, true, at) else {
            return true;
        };
        match enqueued.sleep_until(deadline) {
            Ok(_) => true,
            Err(timed_out) => {
                self.serve(timed_out.dequeue());
                false
            }
        }
    }

    /// A waiter's ticket. No time is kept here, so there is room for the address.
    fn ticket(&self, permits: usize) -> Ticket {
        Ticket { value: permits, since: (&raw const *self).expose_provenance() }
    }

    /// Steps 1 and 2, with the queue locked.
    #[inline(never)]
    fn take_or_enqueue(&self, permits: usize, deadline: bool, at: At) -> Option<Enqueued> {
        park::assert_may_park();
        let queue = self.take_or_flag(permits)?;
        // SAFETY: both callers sleep at once.
        Some(unsafe { queue.enqueue(self.ticket(permits), deadline, &CAUSE, at) })
    }

    /// Steps 1 and 2 without the wait: the locked queue, which the caller enters next, unless the
    /// permits have been taken.
    fn take_or_flag(&self, permits: usize) -> Option<LockedQueue> {
        let mut queue = LockedQueue::of(self);
        let mut state = self.state.load(Ordering::Relaxed);
        loop {
            let taken = take(state, permits);
            let next = taken.unwrap_or(state | QUEUED);
            match self.state.compare_exchange_weak(state, next, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) if taken.is_some() => return None,
                Ok(_) => {
                    if state & QUEUED == 0 {
                        queue.remove_forgotten();
                    }
                    return Some(queue);
                }
                Err(now) => state = now,
            }
        }
    }

    /// An acquire of an async task. `wait` is its wait, once it has one.
    pub(crate) fn poll_acquire(
        &self,
        permits: usize,
        wait: &mut Option<TaskWait>,
        cx: &Context<'_>,
    ) -> Poll<()> {
        if let Some(waiting) = &*wait {
            return if waiting.is_over(cx) {
                *wait = None;
                Poll::Ready(())
            } else {
                Poll::Pending
            };
        }
        // Without a checkpoint: a task does not park.
        if self.try_take(permits) {
            return Poll::Ready(());
        }
        // Begun without a lock, because it clones a waker.
        let begun = TaskWait::begin(cx);
        match self.take_or_flag(permits) {
            Some(queue) => {
                queue.enqueue_task(self.ticket(permits), &begun);
                *wait = Some(begun);
                Poll::Pending
            }
            None => {
                // SAFETY: nothing was published.
                unsafe { begun.cancelled() };
                Poll::Ready(())
            }
        }
    }

    /// An async task is dropped in its wait: it leaves the queue, or gives back the permits that it
    /// has been given.
    pub(crate) fn leave(&self, permits: usize, wait: TaskWait) {
        let mut queue = LockedQueue::of(self);
        if queue.leave(&wait) {
            // It may have been in front of waiters that need fewer permits.
            self.serve(queue);
            // SAFETY: the node is in no queue, and nothing else ends such a wait.
            unsafe { wait.cancelled() };
        } else {
            drop(queue);
            // It has its permits since it was taken out. The wake-up may come later: the caller
            // that took it out wakes others first, and a waker of theirs may have brought us here.
            self.release(permits);
            wait.abandon(|_| ());
        }
    }

    /// # Panics
    /// If there would be more than [`MAX_PERMITS`](RawSemaphore::MAX_PERMITS).
    #[inline]
    pub(crate) fn release(&self, permits: usize) {
        let added = self.add(permits);
        assert!(added, "a semaphore cannot have more than {} permits", Self::MAX_PERMITS);
    }

    /// Adds permits, unless there would be more than the most.
    #[inline]
    fn add(&self, permits: usize) -> bool {
        let added = self.state.fetch_update(Ordering::Release, Ordering::Relaxed, |state| {
            permits.checked_mul(PERMIT).and_then(|permits| state.checked_add(permits))
        });
        if added.is_ok_and(|before| before & QUEUED != 0) {
            self.serve(LockedQueue::of(self));
        }
        added.is_ok()
    }

    /// Step 5.
    #[cold]
    #[inline(never)]
    fn serve(&self, mut queue: LockedQueue) {
        let mut served = DequeuedList::new();
        loop {
            // Nothing else takes permits now. Other callers may add some meanwhile, which does no
            // harm: they come here, too.
            let free = self.state.load(Ordering::Acquire) / PERMIT;
            let Some(waiter) = queue.pop_if(|ticket| ticket.value <= free) else { break };
            self.state.fetch_sub(waiter.ticket().value * PERMIT, Ordering::Relaxed);
            served.push(waiter);
        }
        if queue.is_empty() {
            // Relaxed: it continues the release sequences of the callers that have added permits,
            // and ends none.
            self.state.fetch_and(!QUEUED, Ordering::Relaxed);
        }
        drop(queue);
        served.wake(WakeReason::Granted);
    }
}
