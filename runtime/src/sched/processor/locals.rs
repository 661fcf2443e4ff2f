//! The thread-locals of a processor's goroutines ([`crate::locals`]): destructors that are registered,
//! and the end. The running goroutine calls these functions; it is the carrier's code.

use super::{Here, Running, calling_goroutine};
use crate::locals::private::Destructor;
use crate::lock::Native;

/// Adds a destructor that the calling code registers to the list of its goroutine, if there is one
/// and the destructor belongs to one of the goroutine's own thread-locals.
pub(crate) fn add_destructor(destructor: Destructor) -> bool {
    let Some(goroutine) = calling_goroutine() else { return false };
    // The list is reached through thread-local bytes that move when the goroutine is copied out, so
    // the allocator must not park here.
    let _native = Native::begin();
    let Some(here) = Here::now() else { return false };
    let own = here.local().resident.contains(destructor.object.addr());
    if own {
        destructor.add_to(goroutine.origin.private());
    }
    own
}

impl Running {
    /// The last thing that a goroutine does with its thread-locals: their bytes become those of a
    /// new thread.
    ///
    /// # Safety
    /// Its destructors have run. It uses no thread-local of the program's after this.
    pub(crate) unsafe fn end_thread_locals(self) {
        // SAFETY: by contract; the goroutine's thread-locals are in place, as it runs.
        unsafe { self.here().local().resident.end_of_owner() }
    }

    /// Whether an address is in the goroutine's thread-locals.
    pub(crate) fn has_in_locals(self, address: usize) -> bool {
        self.here().local().resident.contains(address)
    }
}
