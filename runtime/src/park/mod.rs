//! The one suspension point: a goroutine or a thread waits here, and the code that ends its wait
//! wakes it here.
//!
//! Every blocking operation of every crate of Narrowboat has the same shape:
//!
//! 1. `let me = Waiter::begin(..)`: what is blocking, goroutine or plain thread, and for what.
//! 2. Under the lock of the thing waited for: look once more, then prepare and push a [`WaitNode`].
//! 3. Release the lock and [`Waiter::park`].
//! 4. The counterpart, under the same lock, takes the node with [`WaitQueue::pop_claim`], moves the
//!    value through the node's cell, releases the lock and calls [`Waiter::unpark`], exactly once.
//!
//! An operation that changes or publishes anything before step 1 asks first whether it may wait at
//! all, see [`assert_may_park`].
//!
//! Between steps 2 and 3 the waiter calls nothing of the runtime but [`Waiter::unpark`] for other
//! waiters, which neither parks nor gives way. A wake-up that comes between them is not lost: a
//! goroutine's processor reads its inbox only after the goroutine has switched out, and a thread
//! looks at its `awake` word before it sleeps. There are no spurious returns: when `park` returns,
//! the wait has been claimed.
//!
//! What a wait consists of (claims, queues, reasons) is in `crate::wait`.
//!
//! This module is for the crates of Narrowboat; programs use channels and sockets instead.

mod activity;
pub(crate) mod in_place;
mod refusal;
mod task;
mod thread;

pub use crate::wait::{
    Describe, Forsaken, Identity, Leave, NodeCell, Outcome, Reason, Thing, WaitNode, WaitQueue, Waiter,
    describe_with, describe_with_leave, note_channel_to_outside,
};
pub use activity::Activity;
pub use refusal::{assert_may_park, may_park, refuse};
pub use task::{Cancel, ENDED_BY_TASK, TaskWait, TaskWakeup};
pub(crate) use thread::{ThreadWaiter, WaitingThread, parked_threads, waiting_threads};

use crate::sched::processor::{self, Processor, Running};
use crate::sched::record::{Record, Wait};
use crate::wait::Kind;
use std::panic::Location;
use std::ptr::NonNull;
use std::time::Instant;
use task::TaskWaiter;

impl Waiter {
    /// The calling goroutine or thread as a waiter, with its claim word reset for a new wait.
    ///
    /// Call it before any node of the wait is published. `reason`, `object` (the address of what is
    /// waited for, or what else the reason's [`Describe`] takes, or 0) and `at` are kept for
    /// diagnostics. They are stored here and not when the waiter parks, because it may have been
    /// woken before it parks.
    ///
    /// # Panics
    /// Where the caller cannot be parked, with the reason. Where a lock is held, call
    /// [`try_begin`](Waiter::try_begin).
    #[inline]
    #[track_caller]
    pub fn begin(reason: Reason, object: usize, at: &'static Location<'static>) -> Waiter {
        match Waiter::try_begin(reason, object, at) {
            Some(waiter) => waiter,
            None => refuse(),
        }
    }

    /// As [`begin`](Waiter::begin); `None` where the caller cannot be parked, with nothing changed.
    /// Release every lock and [`refuse`] then.
    #[inline]
    pub fn try_begin(reason: Reason, object: usize, at: &'static Location<'static>) -> Option<Waiter> {
        let waiter = match refusal::parkable().ok()? {
            Some(goroutine) => {
                goroutine.note_wait(reason, object, at);
                // SAFETY: the calling goroutine's record.
                unsafe { Waiter::with_head(Record::head(goroutine.record())) }
            }
            None => thread::current(reason, object, at),
        };
        waiter.claim().begin();
        Some(waiter)
    }

    /// As [`begin`](Waiter::begin), for a wait that the caller will end itself, or that another
    /// event has ended already, so that the wake-up comes in a moment. A goroutine that cannot be
    /// parked blocks its thread for that moment.
    #[inline]
    pub fn begin_brief(reason: Reason, object: usize, at: &'static Location<'static>) -> Waiter {
        Waiter::try_begin(reason, object, at).unwrap_or_else(|| {
            let waiter = thread::current(reason, object, at);
            waiter.claim().begin();
            waiter
        })
    }

    /// The node that every waiter has of its own, for operations that wait in one queue only.
    ///
    /// Only the waiter itself asks for it, between `begin` and the return of `park`.
    #[inline]
    pub fn node(&self) -> NonNull<WaitNode> {
        match self.head().kind {
            // SAFETY: the kind says that the head is the start of such a record; only the address
            // is taken.
            Kind::Goroutine => unsafe {
                NonNull::new_unchecked(self.record().cast::<Wait>().as_ref().node.get())
            },
            // SAFETY: as above.
            Kind::Thread => unsafe {
                NonNull::new_unchecked(self.record().cast::<ThreadWaiter>().as_ref().node.get())
            },
            // SAFETY: as above.
            Kind::Task => unsafe {
                NonNull::new_unchecked(self.record().cast::<TaskWaiter>().as_ref().node.get())
            },
        }
    }

    /// Blocks the caller until an event ends its wait. Returns which event did.
    ///
    /// A `deadline` makes [`Outcome::TIMED_OUT`] possible; nodes must then not be prepared as
    /// `sole`, and after a timeout the caller takes its nodes out of their queues before it
    /// returns.
    ///
    /// # Safety
    /// `self` came from the caller's latest `begin`, and at least one node that stands for it was
    /// published, or a deadline was given (otherwise it sleeps for ever, which is safe but not
    /// useful).
    #[inline]
    pub unsafe fn park(self, deadline: Option<Instant>) -> Outcome {
        match self.head().kind {
            Kind::Goroutine => {
                // SAFETY: `begin` gave this handle to the goroutine that calls us, so it is the
                // current one.
                unsafe { Running::with_record(Record::with_head(self.record())).park(deadline) }
                self.claim().outcome()
            }
            // SAFETY: the kind says what the head is the start of.
            Kind::Thread => unsafe { self.record().cast::<ThreadWaiter>().as_ref().park(deadline) },
            Kind::Task => unreachable!("a task does not park"),
        }
    }

    /// Wakes the waiter, after the caller has ended its wait.
    ///
    /// # Safety
    /// The caller won the claim of this wait, has moved the value that belongs to it, if any, and
    /// calls this once. After the call it touches neither the handle nor the waiter's nodes.
    #[inline]
    pub unsafe fn unpark(self) {
        match self.head().kind {
            // SAFETY: the goroutine is parked or about to be, and this is its one wake-up, by
            // contract.
            Kind::Goroutine => unsafe { Processor::unpark(Record::with_head(self.record())) },
            // SAFETY: the kind says what the head is the start of.
            Kind::Thread => unsafe { self.record().cast::<ThreadWaiter>().as_ref().unpark() },
            // SAFETY: as above.
            Kind::Task => unsafe { TaskWaiter::tell(self.record().cast()).deliver() },
        }
    }

    /// As [`unpark`](Waiter::unpark), but the waker of a task is left to the caller, which calls it
    /// when no other waiter depends on what it does.
    ///
    /// # Safety
    /// As for `unpark`.
    #[inline]
    pub unsafe fn tell(self) -> Option<TaskWakeup> {
        if self.head().kind == Kind::Task {
            // SAFETY: by contract, and the kind says what the head is the start of.
            return Some(unsafe { TaskWaiter::tell(self.record().cast()) });
        }
        // SAFETY: by contract.
        unsafe { self.unpark() };
        None
    }
}

/// What a thing stores to say which goroutine owns it: the lowest bits of the calling goroutine's
/// number, which are not zero; zero on a plain thread.
#[inline]
pub fn tag() -> u16 {
    Running::now().map_or(0, |goroutine| goroutine.id as u16)
}

/// Calls `f` with the state of a small random generator that the calling thread or processor has to
/// itself; zero until it is first set. It is not a thread-local of a goroutine, so its use costs
/// none.
#[inline]
pub fn random_state<R>(f: impl FnOnce(&std::cell::Cell<u64>) -> R) -> R {
    crate::ours::with(|ours| f(&ours.random))
}

/// Gives way if the calling goroutine has kept its processor for too long. Every public call of
/// every crate that may not park makes this check, before it takes any lock or begins a wait; it
/// costs two loads. `docs/rules.md` names the exceptions. Code that prints a value must be one,
/// because `println!` holds a lock meanwhile.
#[inline]
pub fn checkpoint() {
    processor::checkpoint();
}
