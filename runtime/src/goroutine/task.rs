//! A goroutine as an allocation: first its closure, then, in the same place, its outcome.
//!
//! The part of a task that does not depend on its types, and the protocol by which its two owners
//! meet, are in [`crate::sched::record::task`]; the steps here are those.

use super::end::goroutine_end;
use super::panic::discard;
use crate::park::{self, Reason, TaskWait, Thing, Waiter};
use crate::sched::record::failure::Panic;
use crate::sched::record::origin::Origin;
use crate::sched::record::task::{ALONE, Header, TaskPtr, Types};
use crate::sched::world;
use crate::wait::GOROUTINE;
use std::cell::UnsafeCell;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::ptr::NonNull;
use std::task::{Context, Poll};

/// This file's path, as it appears in backtraces.
pub(crate) const FILE: &str = file!();

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
        let types = const { &Types { run: run::<F, T>, finish: goroutine_end, free: free::<F, T> } };
        let header = Header::new(id, origin, types);
        let body = UnsafeCell::new(Body { closure: ManuallyDrop::new(closure) });
        let task = Box::into_raw(Box::new(Task::<F, T> { header, body }));
        // SAFETY: a box is not null. The header comes first.
        TaskPtr(unsafe { NonNull::new_unchecked(task.cast()) })
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
