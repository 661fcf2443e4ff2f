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
pub struct Waiter(NonNull<Head>);

// SAFETY: a handle is an address. Each field of the record behind it states the rule by which it is
// shared.
unsafe impl Send for Waiter {}
// SAFETY: as above.
unsafe impl Sync for Waiter {}

impl Waiter {
    /// The handle of the waiter with this head.
    ///
    /// # Safety
    /// The head is the start of a record of its kind, which stays one for as long as the handle is
    /// used: records of goroutines are in slabs, those of threads are recycled, and a task keeps
    /// its own.
    #[inline]
    pub(crate) unsafe fn with_head(head: NonNull<Head>) -> Waiter {
        Waiter(head)
    }

    /// The head as the pointer to the record that it is the start of.
    #[inline]
    pub(crate) fn record(self) -> NonNull<Head> {
        self.0
    }

    #[inline]
    pub(crate) fn head(&self) -> &Head {
        // SAFETY: by the contract of `with_head`.
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
