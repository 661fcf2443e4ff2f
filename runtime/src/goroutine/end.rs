//! The end of a goroutine, after its closure: what it does on its own stack before it switches away
//! for good.

use super::local;
use super::panic::discard;
use crate::locals::destructors;
use crate::park::{Outcome, Waiter};
use crate::sched::processor::{Running, SwitchReason};
use crate::sched::record::Record;
use crate::sched::record::task::{Finished, TaskPtr};
use crate::stack;
use std::ptr::NonNull;

/// Step 2 of a task ([`crate::sched::record::task`]): settles with the handle. After this the runtime
/// no longer owns the task.
///
/// # Safety
/// Called once, by the runtime, on the goroutine's stack, after the closure has run.
unsafe fn settle(task: TaskPtr) {
    // SAFETY: the runtime owns the task until the result of `finish` says otherwise.
    unsafe {
        match task.header().join.finish() {
            Finished::LeftToHandle => {}
            Finished::Detached => {
                let types = task.header().types;
                discard(|| (types.free)(task, None));
            }
            Finished::Wake(address) => {
                let waiter = Waiter::from_address(address);
                let first = waiter.try_end(Outcome(Outcome::FIRST));
                debug_assert!(first, "only the task's end ends a join");
                waiter.unpark();
            }
        }
    }
}

/// Drops what is local to the calling goroutine, and whatever its destructors create meanwhile.
///
/// # Safety
/// The closure of the goroutine has returned.
unsafe fn run_destructors(goroutine: Running) {
    loop {
        if goroutine.origin.has_late() {
            local::drop_mine();
        }
        // SAFETY: by contract.
        if !unsafe { destructors::run(goroutine.origin.private()) } {
            return;
        }
    }
}

/// What a goroutine does after its closure, still on its own stack: it settles the outcome with its
/// handle, then switches away for good.
///
/// # Safety
/// `record` is that of the calling goroutine, and its task has run.
pub(super) unsafe extern "C" fn goroutine_end(record: usize) -> ! {
    // SAFETY: `Record::entry` passed the record of the goroutine that it started. The record is
    // live until the loop has read the `SwitchReason`.
    let goroutine = unsafe { Running::with_record(NonNull::new_unchecked(record as *mut Record)) };
    // SAFETY: the closure has returned. The task is ours to settle, once. The stack is the
    // goroutine's own.
    unsafe {
        if let Some(task) = goroutine.task.get()
            && task.is_detached()
        {
            // As on a thread, the outcome is dropped before what is local to the goroutine.
            settle(task);
            goroutine.task.set(None);
        }
        run_destructors(goroutine);
        if let Some(task) = goroutine.task.get() {
            settle(task);
            // The handle may have been dropped meanwhile. Then the outcome was dropped here, and
            // may have created thread-locals.
            run_destructors(goroutine);
        }
        goroutine.end_thread_locals();
        if Running::now().is_none() {
            stack::system::keep_occupied(goroutine.here().processor().shares_its_system_stack());
        }
        goroutine.switch(SwitchReason::Finish);
    }
    unreachable!("a finished goroutine was resumed");
}
