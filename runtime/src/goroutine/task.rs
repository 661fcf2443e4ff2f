//! A goroutine as an allocation: first its closure, then, in the same place, its outcome.
//!
//! A task has two owners, the runtime and the [`JoinHandle`](super::join::JoinHandle). They meet in
//! one word:
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

use super::failure::Panic;
use super::origin::Origin;
use crate::park::{self, Outcome, Reason, TaskWait, Thing, Waiter};
use crate::sched::world;
use crate::shim::{AtomicUsize, Ordering};
use crate::wait::GOROUTINE;
use std::cell::UnsafeCell;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::ptr::NonNull;
use std::task::{Context, Poll};

/// This file's path, as it appears in backtraces.
pub(crate) const FILE: &str = file!();

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
    pub(crate) fn new() -> JoinWord {
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
    join: JoinWord,
    pub(crate) id: u64,
    /// Moved to the goroutine's record when the goroutine starts.
    origin: ManuallyDrop<Origin>,
    types: &'static Types,
}

/// What depends on a task's types.
struct Types {
    /// Runs the closure to its end and stores the outcome. A C function, so that the first frame of
    /// a stack can call it.
    run: unsafe extern "C" fn(usize),
    /// Frees the task. Moves its outcome to the given place, or drops it.
    free: unsafe fn(TaskPtr, Option<NonNull<()>>),
}

#[repr(C)]
struct Task<F, T> {
    header: Header,
    body: UnsafeCell<Body<F, T>>,
}

/// The closure until it runs, the outcome once it has.
union Body<F, T> {
    closure: ManuallyDrop<F>,
    outcome: ManuallyDrop<Result<T, Panic>>,
}

/// A pointer to a task, without its types.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub(crate) struct TaskPtr(NonNull<Header>);

// SAFETY: a task may be run and joined on any thread: its closure and outcome are `Send` (bounds of
// `TaskPtr::new`), and the header is shared by the protocol above.
unsafe impl Send for TaskPtr {}
// SAFETY: as above.
unsafe impl Sync for TaskPtr {}

impl TaskPtr {
    /// A task for `closure`. It is freed when neither the runtime nor the handle needs it any more.
    ///
    /// # Safety
    /// What the closure borrows outlives its run, and what the outcome borrows outlives the task.
    pub(crate) unsafe fn new<F, T>(id: u64, origin: Origin, closure: F) -> TaskPtr
    where
        F: FnOnce() -> T + Send,
        T: Send,
    {
        let types = const { &Types { run: run::<F, T>, free: free::<F, T> } };
        let header = Header { join: JoinWord::new(), id, origin: ManuallyDrop::new(origin), types };
        let body = UnsafeCell::new(Body { closure: ManuallyDrop::new(closure) });
        let task = Box::into_raw(Box::new(Task::<F, T> { header, body }));
        // SAFETY: a box is not null. The header comes first.
        TaskPtr(unsafe { NonNull::new_unchecked(task.cast()) })
    }

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

    /// Step 1. What the goroutine's stack begins with: a function that runs the closure, and its
    /// argument. Also whether the runtime still owns the task after that.
    ///
    /// # Safety
    /// Called once, by the runtime, which then calls the function once, on the goroutine's stack.
    pub(crate) unsafe fn entry(self) -> (unsafe extern "C" fn(usize), usize, bool) {
        // SAFETY: the runtime owns its share of the task.
        let header = unsafe { self.header() };
        let alone = header.join.is_detached();
        (header.types.run, self.0.as_ptr() as usize | if alone { ALONE } else { 0 }, !alone)
    }

    /// Whether the handle has been dropped, so that the outcome is the runtime's to drop.
    ///
    /// # Safety
    /// Called by the runtime, which owns its share of the task.
    pub(crate) unsafe fn is_detached(self) -> bool {
        // SAFETY: by contract.
        unsafe { self.header() }.join.is_detached()
    }

    /// Step 2: settles with the handle. After this the runtime no longer owns the task.
    ///
    /// # Safety
    /// Called once, by the runtime, on the goroutine's stack, after the closure has run.
    pub(crate) unsafe fn settle(self) {
        // SAFETY: the runtime owns the task until the result of `finish` says otherwise.
        unsafe {
            match self.header().join.finish() {
                Finished::LeftToHandle => {}
                Finished::Detached => {
                    let types = self.header().types;
                    discard(|| (types.free)(self, None));
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

    /// Step 3: waits for the end and takes the outcome.
    ///
    /// # Safety
    /// Called by the handle, which gives up its share of the task. `T` is the task's.
    pub(crate) unsafe fn join<T>(self, at: &'static Location<'static>) -> Result<T, Panic> {
        let mut outcome = MaybeUninit::<Result<T, Panic>>::uninit();
        // SAFETY: the handle owns the task until it frees it here. Once the task is done the
        // outcome is there, and `free` moves it to `outcome`.
        unsafe {
            let header = self.header();
            if !header.join.is_done() {
                park::describe_with(Reason::Join, describe);
                let waiter = Waiter::begin(Reason::Join, self.0.as_ptr() as usize, at);
                if header.join.wait(waiter.address()) {
                    waiter.park(None);
                }
            }
            (header.types.free)(self, Some(NonNull::from(&mut outcome).cast()));
            outcome.assume_init()
        }
    }

    /// Step 3 of an async task: takes the outcome if it is there. If not, `wait` is begun, unless
    /// that has been done.
    ///
    /// # Safety
    /// As for [`join`](TaskPtr::join), which this is if it returns `Ready`. The wait is that of the
    /// earlier calls.
    pub(crate) unsafe fn poll_join<T>(
        self,
        wait: &mut Option<TaskWait>,
        cx: &Context<'_>,
    ) -> Poll<Result<T, Panic>> {
        // SAFETY: the handle owns the task until it frees it.
        let header = unsafe { self.header() };
        loop {
            if let Some(waiting) = &*wait {
                if !waiting.is_over(cx) {
                    return Poll::Pending;
                }
                *wait = None;
            }
            if header.join.is_done() {
                // SAFETY: by contract; it is done, so this does not wait.
                return Poll::Ready(unsafe { self.join(Location::caller()) });
            }
            let begun = TaskWait::begin(cx);
            if header.join.wait(begun.waiter().address()) {
                *wait = Some(begun);
            } else {
                // SAFETY: nothing was published.
                unsafe { begun.cancelled() };
            }
        }
    }

    /// Step 4 of an async task, which may be in a wait of [`poll_join`](TaskPtr::poll_join).
    ///
    /// # Safety
    /// As for [`detach`](TaskPtr::detach).
    pub(crate) unsafe fn detach_polled(self, wait: Option<TaskWait>) {
        // SAFETY: by contract. If the waiter has given up, the task is the runtime's, as after a
        // detach.
        unsafe {
            match wait {
                None => self.detach(),
                Some(wait) if self.header().join.give_up(wait.waiter().address()) => wait.cancelled(),
                Some(wait) => {
                    wait.abandon(|_| ());
                    (self.header().types.free)(self, None);
                }
            }
        }
    }

    /// Whether the goroutine has ended.
    ///
    /// # Safety
    /// Called by the handle, which still owns the task.
    pub(crate) unsafe fn is_finished(self) -> bool {
        // SAFETY: by contract.
        unsafe { self.header().join.is_done() }
    }

    /// Step 4: gives up the handle's share.
    ///
    /// # Safety
    /// Called by the handle, once, instead of `join`.
    pub(crate) unsafe fn detach(self) {
        // SAFETY: the task is the handle's until the word says that it is the runtime's.
        unsafe {
            let types = self.header().types;
            if self.header().join.detach() {
                (types.free)(self, None);
            }
        }
    }
}

/// # Safety
/// As for [`park::Describe`]: the object is that of a join.
unsafe fn describe(task: usize, each: &mut dyn FnMut(Thing)) {
    // SAFETY: the joiner keeps the task until its wait is over.
    let id = unsafe { (*(task as *const Header)).id };
    each(Thing {
        operation: "",
        address: id as usize,
        kind: GOROUTINE,
        details: String::new(),
        held_by: None,
    });
}

/// Marks the argument of [`run`]: the runtime is the task's only owner.
const ALONE: usize = 1;

/// # Safety
/// `task` is the address of a task of these types, which holds its closure and is run once. It has
/// the mark `ALONE` if the handle no longer owns a share.
unsafe extern "C" fn run<F: FnOnce() -> T, T>(task: usize) {
    let alone = task & ALONE != 0;
    let task = (task & !ALONE) as *mut Task<F, T>;
    // SAFETY: by contract; the closure is taken once, and the outcome put in its place.
    unsafe {
        let outcome = catch_unwind(AssertUnwindSafe(|| take_closure(task, alone)()));
        if alone {
            discard(|| drop(outcome.map_err(world::panicked)));
        } else {
            let outcome = outcome.map_err(Panic::of_caller);
            (*(*task).body.get()).outcome = ManuallyDrop::new(outcome);
        }
    }
}

/// Takes the closure out of a task, and frees the task if the runtime is its only owner.
///
/// This is a function of its own because a value that must outlive a call has its own room in the
/// caller's frame: otherwise the closure would be on the stack twice for as long as the goroutine
/// lives.
///
/// # Safety
/// As for [`run`].
#[inline(never)]
unsafe fn take_closure<F, T>(task: *mut Task<F, T>, alone: bool) -> F {
    // SAFETY: by contract; the handle does not touch the body before the runtime has said that it
    // is done.
    unsafe {
        let closure = ManuallyDrop::take(&mut (*(*task).body.get()).closure);
        if alone {
            // Neither the origin nor the body is dropped with the box: both have been moved out.
            drop(Box::from_raw(task.cast::<ManuallyDrop<Task<F, T>>>()));
        }
        closure
    }
}

/// Drops an outcome that is not needed. The hook has reported a panic of a destructor. The payload
/// of that panic is not dropped, because that could panic again, with nothing left to catch it.
pub(super) fn discard(outcome: impl FnOnce()) {
    std::mem::forget(catch_unwind(AssertUnwindSafe(outcome)));
}

/// # Safety
/// The task is of these types, holds its outcome, and the caller is its last owner. `to` has room
/// for the outcome.
unsafe fn free<F, T>(task: TaskPtr, to: Option<NonNull<()>>) {
    // SAFETY: by contract. The box is freed when this returns or unwinds.
    unsafe {
        let task = Box::from_raw(task.0.cast::<Task<F, T>>().as_ptr());
        let outcome = ManuallyDrop::into_inner(task.body.into_inner().outcome);
        match to {
            Some(to) => to.cast::<Result<T, Panic>>().write(outcome),
            None => drop(outcome),
        }
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
