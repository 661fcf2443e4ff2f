//! What makes a goroutine a thread on its processor: the destructors and the end of its
//! thread-locals ([`crate::locals`]), and waits in which its stack stays in place
//! ([`crate::futex`]).
//!
//! The running goroutine calls these functions; it is the carrier's code.

use super::fork;
use super::processor::{Here, Running, calling_goroutine, current_goroutine_is_copied, current_processor};
use crate::locals::map;
use crate::locals::private::Destructor;
use crate::lock::Native;
use crate::park::{Outcome, Reason, Waiter};
use crate::sched::world;
use crate::stack::sharing;
use crate::sys;
use std::panic::Location;
use std::sync::atomic::Ordering;
use std::time::Instant;

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
    fn has_in_locals(self, address: usize) -> bool {
        self.here().local().resident.contains(address)
    }
}

/// Whether the calling code is a goroutine that may park until a word of memory changes: see
/// [`crate::futex`].
pub(crate) fn may_park_for(word: usize) -> bool {
    Running::now().is_some_and(|goroutine| goroutine.may_suspend() && !goroutine.has_in_locals(word))
}

/// Whether the calling code is a goroutine in which a blocking call of libc's may park.
pub fn may_park() -> bool {
    // With thread-locals that are shared, std's locks block threads, and one that is held across a
    // park would block the thread that has to carry its holder on.
    !Native::is_on()
        && map::is_private()
        && !fork::in_child()
        && Running::now().is_some_and(Running::may_suspend)
}

/// The same for a wait until an object changes, which something else writes to meanwhile. So the
/// object must not be in the goroutine's thread-locals: their bytes are exchanged while it is
/// parked.
pub fn may_park_for_object(address: usize) -> bool {
    may_park() && may_park_for(address)
}

/// Whether the calling thread blocks the signals that a worker blocks, and no others.
///
/// The mask belongs to the kernel's thread. So a goroutine that has changed it, and a signal
/// handler, which runs with its signal blocked, must not park.
pub fn has_usual_signals() -> bool {
    sys::signals::has_mask_of_workers()
}

/// The number of the goroutine that the calling code belongs to, also on the system stack, or 0.
#[inline]
pub fn goroutine() -> u64 {
    calling_goroutine().map_or(0, |goroutine| goroutine.id)
}

/// Whether this process was forked from one in which the runtime had started. Locks of ours may be
/// held in it by threads that it does not have.
pub fn is_forked_child() -> bool {
    fork::in_child()
}

/// Calls `f`, in which nothing parks: a wait blocks the thread.
pub fn natively<R>(f: impl FnOnce() -> R) -> R {
    let _native = Native::begin();
    f()
}

/// Begins a wait of the calling goroutine in a function of the C library. `object` is for
/// diagnostics; 0 is none.
///
/// # Panics
/// If [`may_park`] would not say so.
#[track_caller]
pub fn begin_in_place(object: usize) -> Waiter {
    assert!(may_park(), "this code cannot park");
    Waiter::begin(Reason::Libc, object, Location::caller())
}

/// Parks the calling goroutine until then, with its stack left in place.
///
/// # Panics
/// If [`may_park`] would not say so.
#[track_caller]
pub fn sleep_in_place(deadline: Instant) {
    let waiter = begin_in_place(0);
    // SAFETY: the wait has just begun, and the caller is a goroutine. Nothing but the deadline ends
    // it.
    unsafe { park_in_place(waiter, Some(deadline)) };
}

/// Gives way if the monitor has asked for it, with the stack left in place. Called in a goroutine
/// that [may park](may_park) when a call has not had to wait, as [`crate::park::checkpoint`]
/// elsewhere.
#[track_caller]
pub fn checkpoint_in_place() {
    if current_processor().is_some_and(|processor| processor.yield_flag.load(Ordering::Relaxed))
        && has_usual_signals()
    {
        // A time that has come: the others of the processor have their turns first.
        sleep_in_place(world::now());
    }
}

/// Whether a goroutine has to let others run, at its next call that may park. For async code, which
/// does so by returning `Pending`.
pub fn should_give_way() -> bool {
    current_processor().is_some_and(|processor| processor.yield_flag.load(Ordering::Relaxed))
}

/// Whether the calling code is on a stack that may be copied away while it is parked.
pub fn is_on_copied_stack() -> bool {
    current_goroutine_is_copied()
}

/// As [`Waiter::park`]; the stack of a goroutine stays in place, as in [`park_in_place`].
///
/// # Safety
/// As for [`Waiter::park`].
pub unsafe fn park_in_place_or_block(waiter: Waiter, deadline: Option<Instant>) -> Outcome {
    // SAFETY: by contract. Where the calling code is a goroutine, the waiter is that goroutine.
    unsafe { if Running::now().is_some() { park_in_place(waiter, deadline) } else { waiter.park(deadline) } }
}

/// Lets others run, with the stack left in place: for code that is to be called again at once.
pub fn yield_in_place() {
    if may_park() {
        sleep_in_place(world::now());
    } else if Running::now().is_none() {
        std::thread::yield_now();
    }
}

/// Parks the calling goroutine and keeps its stack in place until it goes on, even if other
/// goroutines need the slot.
///
/// # Safety
/// As for [`Waiter::park`]; the caller is a goroutine.
pub unsafe fn park_in_place(waiter: Waiter, deadline: Option<Instant>) -> Outcome {
    let goroutine = Running::now().expect("the caller is a goroutine");
    let home = goroutine.home;
    let held = !home.is_own();
    sharing::note_wait_in_place(goroutine.origin.spawned_at(), held);
    if held {
        goroutine.here().with_parts(|parts| parts.slots.hold_slot(home));
    }
    // SAFETY: by contract.
    let outcome = unsafe { waiter.park(deadline) };
    if held {
        // The queue may need room, and the loop owns it as soon as something parks.
        let _native = Native::begin();
        goroutine.here().with_parts(|parts| {
            parts.slots.release_slot(home);
            // Those that had their turn meanwhile are ready again.
            parts.ready.extend(parts.deferred.extract_if(.., |deferred| deferred.home == home));
        });
    }
    outcome
}
