//! For `narrowboat-interpose`, whose functions park where libc's block: a goroutine as the thread that
//! the C library takes it for. Its stack stays in place when it waits here ([`park_in_place`]).

pub use crate::blocking::{most_threads, on_pool_in_place};
#[cfg(target_os = "linux")]
pub use crate::futex::Shard;
pub use crate::park::in_place::park_in_place;
pub use crate::sys::symbols::{Caller, function_at};

use crate::locals::map;
use crate::lock::Native;
use crate::park::in_place::may_park_for;
use crate::park::{Outcome, Reason, Waiter};
use crate::sched::processor::{Running, asked_to_give_way, calling_goroutine, current_goroutine_is_copied};
use crate::sched::{fork, world};
use crate::sys;
use std::panic::Location;
use std::time::Instant;

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
    if asked_to_give_way() && has_usual_signals() {
        // A time that has come: the others of the processor have their turns first.
        sleep_in_place(world::now());
    }
}

/// Whether a goroutine has to let others run, at its next call that may park. For async code, which
/// does so by returning `Pending`.
pub fn should_give_way() -> bool {
    asked_to_give_way()
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
