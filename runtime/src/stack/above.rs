//! What stacks ask of the scheduler, which is above them: a few functions that it registers when it
//! starts. Before that there is no goroutine. Nothing here is asked at a switch.

use super::Bounds;
use super::present::Named;
use std::cell::Cell;
use std::ptr::NonNull;
use std::sync::OnceLock;

pub(crate) struct Scheduler {
    /// The word that holds where the calling goroutine switches to when it parks; `None` on a plain
    /// thread.
    pub(crate) way_out: fn() -> Option<&'static Cell<usize>>,
    /// Suspends the calling goroutine once more, on the stack to which it has just switched. Returns
    /// the stack pointer at which it is suspended on the one that it came from.
    pub(crate) park_again: unsafe fn() -> usize,
    /// The bounds of the home of the goroutine that the calling code is. Async-signal-safe.
    pub(crate) home: fn() -> Option<Bounds>,
    /// The goroutine that the calling code belongs to. Async-signal-safe.
    pub(crate) caller: fn() -> Option<Named>,
    /// The goroutine that the calling code is, and the upper end of the free part of the native
    /// stack that belongs to the present thread pointer.
    pub(crate) system_stack: fn() -> Option<(NonNull<()>, usize)>,
    /// Makes the calling goroutine one that cannot park (`None`), or again one that can.
    pub(crate) set_current: unsafe fn(Option<NonNull<()>>),
}

static SCHEDULER: OnceLock<Scheduler> = OnceLock::new();

/// Registers the functions. The first registration stays.
pub(crate) fn install(scheduler: Scheduler) {
    let _ = SCHEDULER.set(scheduler);
}

pub(super) fn way_out() -> Option<&'static Cell<usize>> {
    (SCHEDULER.get()?.way_out)()
}

/// # Safety
/// The calling goroutine has just switched here, and [`way_out`] has been set to the next step on
/// its way to the loop.
pub(super) unsafe fn park_again() -> usize {
    let scheduler = SCHEDULER.get().expect("there is a goroutine");
    // SAFETY: by contract.
    unsafe { (scheduler.park_again)() }
}

pub(super) fn home() -> Option<Bounds> {
    (SCHEDULER.get()?.home)()
}

pub(super) fn caller() -> Option<Named> {
    (SCHEDULER.get()?.caller)()
}

pub(super) fn system_stack() -> Option<(NonNull<()>, usize)> {
    (SCHEDULER.get()?.system_stack)()
}

/// # Safety
/// The caller is a goroutine, and restores what it took away before it returns.
pub(super) unsafe fn set_current(goroutine: Option<NonNull<()>>) {
    if let Some(scheduler) = SCHEDULER.get() {
        // SAFETY: by contract.
        unsafe { (scheduler.set_current)(goroutine) };
    }
}
