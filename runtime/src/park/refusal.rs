//! Where the calling code may be parked, and where it must not. Only this module decides that.
//!
//! A wait that cannot happen panics. It does so before the operation has changed anything, because
//! a caller may catch the panic, and a half-done change would remain. So an operation that has to
//! wait, and is about to change or publish something, asks first with [`assert_may_park`]. Where a
//! lock is held it asks with [`may_park`], and releases the lock before it calls [`refuse`],
//! because the program's panic hook runs then.

use crate::ours;
use crate::sched::processor::{self, Running};
use crate::stack::system;

/// Why the calling code cannot be parked where it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Refusal {
    /// It is inside [`on_system_stack`](crate::stack::on_system_stack).
    SystemStack,
    /// It is on a stack that is not linked to its goroutine's own stack, and the goroutine may be
    /// copied away.
    ForeignStack,
    /// It is called by a wake-up: it is the waker of an async task.
    Waker,
}

impl Refusal {
    const fn text(self) -> &'static str {
        match self {
            Refusal::SystemStack => {
                "a goroutine cannot wait on the system stack, which it shares with the others of its processor: return \
                 from stack::on_system_stack before calling what may block"
            }
            Refusal::Waker => "a waker cannot wait: it is called where nothing may park",
            Refusal::ForeignStack => {
                "a goroutine cannot wait on the stack of another library's coroutine while its own stack is shared with \
                 other goroutines: spawn it with Builder::own_stack, or give every goroutine its own stack \
                 (Config::stacks, NARROWBOAT_STACKS=own)"
            }
        }
    }
}

/// What would be parked: the calling goroutine, or the calling plain thread if that is `None`.
#[inline]
pub(super) fn parkable() -> Result<Option<Running>, Refusal> {
    match Running::now() {
        Some(goroutine) if goroutine.may_suspend() => Ok(Some(goroutine)),
        Some(_) => Err(Refusal::ForeignStack),
        None if ours::with(|ours| ours.in_waker.get()) => Err(Refusal::Waker),
        // On a processor, but not as a goroutine that can park: the caller is on the system stack.
        None if processor::current_processor().is_some() => Err(Refusal::SystemStack),
        None => Ok(None),
    }
}

/// Whether the calling code may wait where it is.
#[inline]
#[must_use]
pub fn may_park() -> bool {
    parkable().is_ok()
}

/// Does nothing where the calling code may wait.
///
/// # Panics
/// Anywhere else, with the reason.
#[inline]
#[track_caller]
pub fn assert_may_park() {
    if !may_park() {
        refuse();
    }
}

/// Panics with the reason why the calling code cannot wait where it is. The caller must not hold
/// any lock.
#[cold]
#[inline(never)]
#[track_caller]
pub fn refuse() -> ! {
    match parkable() {
        Err(refusal) => panic!("{}", refusal.text()),
        Ok(_) => unreachable!("only what cannot wait is refused"),
    }
}

/// Calls `f`, in which nothing waits: what would park a goroutine, or block in a call of
/// Narrowboat, panics, and a wait for one of std's locks blocks the thread. A panic of `f` must not
/// leave it.
pub(super) fn without_waits<R>(f: impl FnOnce() -> R) -> R {
    // The threads of a model have one thread's own values together.
    let before = ours::with(|ours| ours.in_waker.replace(cfg!(not(loom))));
    let goroutine = Running::now();
    if let Some(goroutine) = goroutine {
        // As on the system stack: it is the same goroutine, and not one that can park.
        system::set_goroutine(Some(goroutine.record().cast()));
        // SAFETY: the caller is this goroutine, and it is restored below.
        unsafe { goroutine.here().set_current_goroutine(None) };
    }
    let result = f();
    if let Some(goroutine) = goroutine {
        // SAFETY: as above.
        unsafe { goroutine.here().set_current_goroutine(Some(goroutine)) };
        system::set_goroutine(None);
    }
    ours::with(|ours| ours.in_waker.set(before));
    result
}
