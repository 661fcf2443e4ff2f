//! A task: a goroutine as an allocation. This is the part that does not depend on its types, and that
//! its owners meet in; its closure and its outcome are in [`crate::goroutine::task`].
//!
//! A task has two owners, the runtime and the [`JoinHandle`](crate::JoinHandle). They meet in one
//! word:
//!
//! 1. The word starts at `RUNNING`. The runtime runs the closure once and writes the outcome in its
//!    place. If it finds `DETACHED` when it starts (most handles are dropped at once), it is the
//!    only owner: it frees the task before it runs the closure, drops the outcome, and there are no
//!    further steps.
//! 2. The runtime then sets `DONE` in the word and looks at what was there:
//!    - nothing: the handle still exists and will find `DONE`. The runtime never touches the task
//!      again.
//!    - `DETACHED`: the handle was dropped, so the outcome is not needed. The runtime drops it and
//!      frees the task.
//!    - a waiter's address: the handle's owner waits in `join`. The runtime wakes it, and never
//!      touches the task again.
//! 3. The handle, when joined, exchanges `RUNNING` for its waiter's address and parks; if `DONE`
//!    came first it does not wait. Either way it then takes the outcome and frees the task.
//!    An async task that joins leaves its waiter there and returns; when its future is dropped, it
//!    exchanges the address for `DETACHED`.
//! 4. The handle, when dropped, sets `DETACHED`; if `DONE` came first, it drops the outcome and
//!    frees the task.
//!
//! Orderings: setting `DONE` releases the outcome and acquires the waiter; the handle's side
//! acquires it. `DETACHED` releases the handle's last use of the task to the owner that frees it.

use super::origin::Origin;
use crate::arch::EntryPoint;
use crate::shim::{AtomicUsize, Ordering};
use std::mem::ManuallyDrop;
use std::panic::Location;
use std::ptr::NonNull;

const RUNNING: usize = 0;
const DONE: usize = 1;
const DETACHED: usize = 2;

/// The word in which the runtime and the handle meet. Any value but the three constants is a
/// waiter's address.
pub(crate) struct JoinWord(AtomicUsize);

/// What the runtime must do after a task has finished.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Finished {
    LeftToHandle,
    Detached,
    Wake(usize),
}

impl JoinWord {
    fn new() -> JoinWord {
        JoinWord(AtomicUsize::new(RUNNING))
    }

    /// Step 2.
    pub(crate) fn finish(&self) -> Finished {
        match self.0.swap(DONE, Ordering::AcqRel) {
            RUNNING => Finished::LeftToHandle,
            DETACHED => Finished::Detached,
            waiter => Finished::Wake(waiter),
        }
    }

    /// Step 3: false if the task is done already.
    pub(crate) fn wait(&self, waiter: usize) -> bool {
        debug_assert!(waiter > DETACHED);
        self.0.compare_exchange(RUNNING, waiter, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Step 3 undone: a waiter that has not been woken gives up. False if the task is done, and the
    /// waiter is woken or about to be.
    pub(crate) fn give_up(&self, waiter: usize) -> bool {
        self.0.compare_exchange(waiter, DETACHED, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Step 4: true if the task is done and now the caller's to free.
    pub(crate) fn detach(&self) -> bool {
        self.0.compare_exchange(RUNNING, DETACHED, Ordering::AcqRel, Ordering::Acquire).is_err()
    }

    /// Step 1: whether the handle is gone.
    pub(crate) fn is_detached(&self) -> bool {
        self.0.load(Ordering::Acquire) == DETACHED
    }

    pub(crate) fn is_done(&self) -> bool {
        self.0.load(Ordering::Acquire) == DONE
    }
}

/// The part of a task that does not depend on its types.
#[repr(C)]
pub(crate) struct Header {
    pub(crate) join: JoinWord,
    pub(crate) id: u64,
    /// Moved to the goroutine's record when the goroutine starts.
    origin: ManuallyDrop<Origin>,
    pub(crate) types: &'static Types,
}

impl Header {
    pub(crate) fn new(id: u64, origin: Origin, types: &'static Types) -> Header {
        Header { join: JoinWord::new(), id, origin: ManuallyDrop::new(origin), types }
    }
}

/// What depends on a task's types.
pub(crate) struct Types {
    /// Runs the closure to its end and stores the outcome. A C function, so that the first frame of
    /// a stack can call it.
    pub(crate) run: unsafe extern "C" fn(usize),
    /// What the goroutine does after that, with its record: the same for all types.
    pub(crate) finish: unsafe extern "C" fn(usize) -> !,
    /// Frees the task. Moves its outcome to the given place, or drops it.
    pub(crate) free: unsafe fn(TaskPtr, Option<NonNull<()>>),
}

/// Marks the argument of [`Types::run`]: the runtime is the task's only owner.
pub(crate) const ALONE: usize = 1;

/// A pointer to a task, without its types.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub(crate) struct TaskPtr(pub(crate) NonNull<Header>);

// SAFETY: a task may be run and joined on any thread: its closure and outcome are `Send` (bounds of
// `TaskPtr::new`), and the header is shared by the protocol above.
unsafe impl Send for TaskPtr {}
// SAFETY: as above.
unsafe impl Sync for TaskPtr {}

impl TaskPtr {
    /// The header.
    ///
    /// # Safety
    /// The caller is one of the task's two owners and does not give it up while it uses the
    /// reference.
    pub(crate) unsafe fn header<'a>(self) -> &'a Header {
        // SAFETY: an owner keeps the task alive.
        unsafe { self.0.as_ref() }
    }

    /// Where the goroutine was spawned.
    ///
    /// # Safety
    /// Called by the runtime before [`begin`](TaskPtr::begin).
    pub(crate) unsafe fn spawned_at(self) -> &'static Location<'static> {
        // SAFETY: the runtime owns its share of the task, and the handle never touches the origin.
        unsafe { (*self.0.as_ptr()).origin.spawned_at() }
    }

    /// Takes what the goroutine's record needs.
    ///
    /// # Safety
    /// Called once, by the processor that starts the task.
    pub(crate) unsafe fn begin(self) -> (u64, Origin) {
        // SAFETY: the handle never touches the origin, and it is taken once.
        unsafe {
            let header = self.0.as_ptr();
            ((*header).id, ManuallyDrop::take(&mut (*header).origin))
        }
    }

    /// Step 1. What the stack of the goroutine with this record begins with. Also whether the
    /// runtime still owns the task after that.
    ///
    /// # Safety
    /// Called once, by the runtime, which then enters the goroutine's stack with this.
    pub(crate) unsafe fn entry(self, record: usize) -> (EntryPoint, bool) {
        // SAFETY: the runtime owns its share of the task.
        let header = unsafe { self.header() };
        let alone = header.join.is_detached();
        let argument = self.0.as_ptr() as usize | if alone { ALONE } else { 0 };
        let Types { run, finish, .. } = *header.types;
        (EntryPoint { run, argument, finish, context: record }, !alone)
    }

    /// Whether the handle has been dropped, so that the outcome is the runtime's to drop.
    ///
    /// # Safety
    /// Called by the runtime, which owns its share of the task.
    pub(crate) unsafe fn is_detached(self) -> bool {
        // SAFETY: by contract.
        unsafe { self.header() }.join.is_detached()
    }
}

#[cfg(all(test, any(loom, narrowboat_threads)))]
mod models {
    use super::*;
    use loom::cell::UnsafeCell;
    use loom::sync::Arc;
    use loom::sync::atomic::{AtomicBool, AtomicUsize};
    use loom::thread;

    const HERE: usize = 64;

    /// A task, and what its two owners do with it. Loom checks the accesses to each part.
    struct Shared {
        join: JoinWord,
        outcome: UnsafeCell<u32>,
        /// Stands for all of the task that the handle uses before it gives up its share.
        header: UnsafeCell<u32>,
        /// The handle's owner as a waiter: its own until it waits, then the runtime's until it is
        /// woken.
        waiter: UnsafeCell<bool>,
        woken: AtomicBool,
        freed: AtomicUsize,
    }

    // SAFETY: the models test which thread may touch what.
    unsafe impl Sync for Shared {}
    // SAFETY: as above.
    unsafe impl Send for Shared {}

    impl Shared {
        fn new() -> Arc<Shared> {
            Arc::new(Shared {
                join: JoinWord::new(),
                outcome: UnsafeCell::new(0),
                header: UnsafeCell::new(0),
                waiter: UnsafeCell::new(false),
                woken: AtomicBool::new(false),
                freed: AtomicUsize::new(0),
            })
        }

        /// The runtime's part: steps 1 and 2.
        fn run(&self) {
            if self.join.is_detached() { self.free(0) } else { self.finish() }
        }

        fn finish(&self) {
            // SAFETY: the outcome is the runtime's until the task is done.
            self.outcome.with_mut(|outcome| unsafe { *outcome = 42 });
            match self.join.finish() {
                Finished::LeftToHandle => {}
                Finished::Detached => self.free(42),
                Finished::Wake(waiter) => {
                    assert_eq!(waiter, HERE);
                    // SAFETY: the waiter is ours until it is woken.
                    self.waiter.with_mut(|waits| unsafe { assert!(std::mem::take(&mut *waits)) });
                    self.woken.store(true, Ordering::Release);
                }
            }
        }

        /// The handle's part if joined: step 3.
        fn join(&self) {
            self.use_header();
            if !self.join.is_done() {
                // SAFETY: the runtime does not know the waiter yet.
                self.waiter.with_mut(|waits| unsafe { *waits = true });
                if self.join.wait(HERE) {
                    while !self.woken.load(Ordering::Acquire) {
                        thread::yield_now();
                    }
                }
            }
            self.free(42);
        }

        /// The handle's part if dropped: step 4.
        fn drop(&self) {
            self.use_header();
            if self.join.detach() {
                self.free(42);
            }
        }

        fn use_header(&self) {
            // SAFETY: the handle still owns its share.
            self.header.with_mut(|header| unsafe { *header += 1 });
        }

        /// Takes the whole task, which must hold this outcome.
        fn free(&self, expected: u32) {
            // SAFETY: the caller is the last owner.
            self.outcome.with_mut(|outcome| unsafe { assert_eq!(*outcome, expected) });
            self.header.with_mut(|_| ());
            self.freed.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn both(runtime: fn(&Shared), handle: fn(&Shared)) {
        loom::model(move || {
            let shared = Shared::new();
            let goroutine = {
                let shared = shared.clone();
                thread::spawn(move || runtime(&shared))
            };
            handle(&shared);
            goroutine.join().unwrap();
            assert_eq!(shared.freed.load(Ordering::Relaxed), 1, "freed by exactly one owner");
        });
    }

    /// A goroutine ends while its handle joins: the joiner never waits for ever, and sees the
    /// outcome.
    #[test]
    fn loom_a_join_sees_the_outcome_or_is_woken() {
        // The look of step 1 is left out: of two loads by one thread, loom takes only the last into
        // account.
        both(Shared::finish, Shared::join);
    }

    /// A goroutine starts and ends while its handle is dropped: exactly one of the two frees the
    /// task.
    #[test]
    fn loom_a_detached_task_is_freed_once() {
        both(Shared::run, Shared::drop);
    }
}
