//! Plain threads as waiters.
//!
//! Each thread that ever blocks in a Narrowboat operation owns one record. Records are recycled, never freed, so a
//! stale pointer to one is at worst a spurious wake-up of whoever owns it now, which every waiting loop tolerates.

use super::{Head, Kind, Outcome, Waiter};
use std::cell::{Cell, UnsafeCell};
use std::ptr::NonNull;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Thread;
use std::time::Instant;

use super::queue::WaitNode;

/// A thread's place to wait. `head` comes first, so that a pointer to the head is a pointer to the record.
#[repr(C)]
pub(crate) struct ThreadWaiter {
    pub(super) head: Head,
    /// The thread's own node, for operations that wait in one queue.
    pub(super) node: UnsafeCell<WaitNode>,
    /// Set by the waker after the value has been handed over; the thread leaves its wait on this alone.
    awake: AtomicBool,
    /// Written only while no wait is under way, by the owner; read by a waker between claim and wake.
    thread: UnsafeCell<Thread>,
}

/// Records whose thread has ended.
static FREE: Mutex<Vec<&'static ThreadWaiter>> = Mutex::new(Vec::new());

// SAFETY: the fields are atomics, or cells whose access rule stands beside them: the owner while it does not
// wait, the claimed waker (one at a time) or the holder of the node's queue lock while it does.
unsafe impl Sync for ThreadWaiter {}
// SAFETY: nothing in the record is tied to the thread that made it.
unsafe impl Send for ThreadWaiter {}

thread_local! {
    // No destructor, so it can be read until the very end of the thread, also from other destructors.
    static MINE: Cell<Option<&'static ThreadWaiter>> = const { Cell::new(None) };
    static RECYCLE: Recycle = const { Recycle };
}

/// Gives the thread's record back when the thread ends.
struct Recycle;

impl Drop for Recycle {
    fn drop(&mut self) {
        if let Some(waiter) = MINE.take() {
            FREE.lock().unwrap_or_else(|e| e.into_inner()).push(waiter);
        }
    }
}

/// The record of the calling thread.
pub(super) fn current() -> Waiter {
    let waiter = match MINE.get() {
        Some(waiter) => waiter,
        None => acquire(),
    };
    Waiter(NonNull::from(&waiter.head))
}

#[cold]
fn acquire() -> &'static ThreadWaiter {
    let recycled = FREE.lock().unwrap_or_else(|e| e.into_inner()).pop();
    let waiter = match recycled {
        Some(waiter) => {
            // SAFETY: nobody waits on a record from the pool, so no waker reads the field.
            unsafe { *waiter.thread.get() = std::thread::current() };
            waiter
        }
        None => Box::leak(Box::new(ThreadWaiter {
            head: Head::new(Kind::Thread),
            node: UnsafeCell::new(WaitNode::new()),
            awake: AtomicBool::new(false),
            thread: UnsafeCell::new(std::thread::current()),
        })),
    };
    MINE.set(Some(waiter));
    // A thread that blocks for the first time in its last destructors has lost the guard already; its record
    // stays taken.
    let _ = RECYCLE.try_with(|_| ());
    waiter
}

impl ThreadWaiter {
    /// Blocks until some event has ended the wait and handed over, or the deadline has.
    pub(super) fn park(&self, deadline: Option<Instant>) -> Outcome {
        let mut deadline = deadline;
        // Acquire: pairs with the release in `unpark`, so that what the waker wrote is seen.
        while !self.awake.load(Ordering::Acquire) {
            match deadline {
                None => std::thread::park(),
                Some(at) => {
                    let now = Instant::now();
                    if now < at {
                        std::thread::park_timeout(at - now);
                    } else if self.head.claim.try_end(Outcome::TIMED_OUT) {
                        return Outcome::TIMED_OUT;
                    } else {
                        // Someone else ended the wait and is about to say so.
                        deadline = None;
                    }
                }
            }
        }
        // Relaxed: only this thread clears it, and the next wake-up comes after a new claim.
        self.awake.store(false, Ordering::Relaxed);
        self.head.claim.outcome()
    }

    /// Called once per claim, by the winner.
    pub(super) fn unpark(&self) {
        // SAFETY: the wait is not over until `awake` is set below, so the owner does not write the field now.
        let thread = unsafe { (*self.thread.get()).clone() };
        // Release: publishes the value handed over. After this store the record may belong to another wait.
        self.awake.store(true, Ordering::Release);
        thread.unpark();
    }
}
