//! The handle of a waiter, and the head of its record. What a waiter can do depends on its kind, and
//! is in [`crate::park`].

use super::{Claim, Outcome};
use std::ptr::NonNull;

/// The first fields of the records of a goroutine, of a thread, and of a task's wait.
#[repr(C)]
pub(crate) struct Head {
    pub(crate) claim: Claim,
    pub(crate) kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    Goroutine,
    Thread,
    Task,
}

impl Head {
    pub(crate) fn new(kind: Kind) -> Head {
        Head { claim: Claim::new(), kind }
    }
}

/// A handle of the calling goroutine, or of the calling plain thread, while it blocks.
///
/// The handle is valid from [`begin`](Waiter::begin) until [`park`](Waiter::park) returns; the
/// records behind handles are never unmapped.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Waiter(pub(crate) NonNull<Head>);

// SAFETY: a handle is an address. Each field of the record behind it states the rule by which it is
// shared.
unsafe impl Send for Waiter {}
// SAFETY: as above.
unsafe impl Sync for Waiter {}

impl Waiter {
    #[inline]
    pub(crate) fn head(&self) -> &Head {
        // SAFETY: records of goroutines are in slabs and records of threads are recycled: the
        // memory is a record for as long as a valid handle exists.
        unsafe { self.0.as_ref() }
    }

    #[inline]
    pub(crate) fn claim(&self) -> &Claim {
        &self.head().claim
    }

    /// The handle as a word that is never null and has its three lowest bits clear.
    pub(crate) fn address(self) -> usize {
        self.0.as_ptr() as usize
    }

    /// # Safety
    /// The word came from [`address`](Waiter::address), and the handle is still valid.
    pub(crate) unsafe fn from_address(address: usize) -> Waiter {
        // SAFETY: addresses of handles are not null.
        Waiter(unsafe { NonNull::new_unchecked(address as *mut Head) })
    }

    /// Ends the wait with `outcome`, if no event has ended it before. The caller then owes the
    /// waiter its wake-up.
    ///
    /// For waits without a queue (a join, a timer). With a queue, use
    /// [`WaitQueue::pop_claim`](super::WaitQueue::pop_claim).
    #[inline]
    pub fn try_end(self, outcome: Outcome) -> bool {
        self.claim().try_end(outcome)
    }
}
