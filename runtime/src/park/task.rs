//! Async tasks as waiters: the third kind, beside goroutines and threads.
//!
//! A task waits in the same queues as goroutines and threads do, and is served in its turn. What
//! differs is the end of its wait: a task does not sleep in [`Waiter::park`]. It returns `Pending`
//! from a poll, and the wake-up calls its waker. And it may be dropped while it waits.
//!
//! A [`TaskWait`] is one wait of a task. The code that ends the wait gets a [`Waiter`], and never
//! learns which kind of waiter it is. The protocol:
//!
//! 1. [`TaskWait::begin`] allocates the record of the wait, with the waker of the poll in it. The
//!    record has two owners: the task, and the wait itself.
//! 2. The operation publishes the record's node under the lock of what it waits for, as any waiter
//!    does.
//! 3. The code that ends the wait moves the value into the node and calls [`Waiter::unpark`]. That
//!    sets `WOKEN` under the record's lock, takes the waker out, calls it after the lock, and gives
//!    up the wait's share of the record. Where one operation wakes several tasks, it may do so in
//!    two halves ([`Waiter::tell`]): all of them are `WOKEN` before the first waker is called.
//! 4. A later poll looks at the state under that lock. If it is `WOKEN`, the task takes what is in
//!    the node. Otherwise it leaves its present waker there.
//! 5. A task that is dropped takes its node out of the queue, under the lock of the queue, unless
//!    something has ended the wait by way of that node: such a node is in no queue of the task's any
//!    more, but may be in a list of those that are about to be woken. The claim says so
//!    ([`TaskWait::leave`], [`TaskWait::cancel`]). Three things may be found:
//!    - the node was there, or the task can still end its own wait: nothing will wake it, and the
//!      wait's share is given up ([`TaskWait::cancelled`]);
//!    - the state is `WOKEN`: the task has won what it waited for, and passes it on;
//!    - something else has ended the wait, and its wake-up is on the way: the task leaves a function
//!      in the record, and the wake-up calls that instead of the waker, to pass on what the task has
//!      won ([`TaskWait::abandon`]). Or it waits for the wake-up, if that comes within a few
//!      instructions ([`TaskWait::await_wakeup`]).
//!
//! Wakers are code of the program, and wake-ups come where nothing may park: a goroutine wakes
//! others between the beginning of its own wait and its park. So a waker is called in a section in
//! which a Narrowboat call that would wait panics, and a wait for a lock of std's blocks the
//! thread. A panic ends in the section, because other waiters may have to be woken after this one.

use super::refusal;
use crate::shim::{Mutex, Sleeper};
use crate::wait::{Head, Kind, Outcome, WaitNode, WaitQueue, Waiter};
use std::cell::UnsafeCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Wake, Waker};

/// The record of a wait. `head` comes first, so that a pointer to the head is a pointer to the
/// record.
#[repr(C)]
pub(crate) struct TaskWaiter {
    head: Head,
    pub(super) node: UnsafeCell<WaitNode>,
    state: Mutex<State>,
}

// SAFETY: the claim and the state are shared by their own means. The node belongs to the task until
// it is published, then to the holder of the queue's lock, then to the code that has ended the wait
// until its wake-up, then to the task again.
unsafe impl Send for TaskWaiter {}
// SAFETY: as above.
unsafe impl Sync for TaskWaiter {}

enum State {
    Waiting(Waker),
    Woken,
    Abandoned(PassOn),
}

/// What passes on what a dropped task has won. It gets the node.
type PassOn = Box<dyn FnOnce(NonNull<WaitNode>) + Send>;

/// One wait of a task, from its beginning until the task has seen its end.
pub struct TaskWait(Arc<TaskWaiter>);

impl TaskWait {
    /// Step 1. The caller publishes the [node](TaskWait::node), or calls
    /// [`cancelled`](TaskWait::cancelled).
    pub fn begin(cx: &Context<'_>) -> TaskWait {
        let record = Arc::new(TaskWaiter {
            head: Head::new(Kind::Task),
            node: UnsafeCell::new(WaitNode::new()),
            state: Mutex::new(State::Waiting(cx.waker().clone())),
        });
        // The wait's share, which `unpark` or `cancelled` takes back.
        let _ = Arc::into_raw(record.clone());
        record.head.claim.begin();
        TaskWait(record)
    }

    /// The handle for the code that ends the wait.
    pub fn waiter(&self) -> Waiter {
        // Not from a reference: the wake-up makes an `Arc` of this again, which counts beside it.
        // SAFETY: the address of what an `Arc` holds is not null, and the wait has a share of it.
        unsafe { Waiter::with_head(NonNull::new_unchecked(Arc::as_ptr(&self.0).cast_mut()).cast()) }
    }

    /// The node of the wait, on the heap.
    pub fn node(&self) -> NonNull<WaitNode> {
        self.waiter().node()
    }

    /// Step 4: whether the wait has been ended and the wake-up has come. If not, the waker of this
    /// poll is the one that is called.
    pub fn is_over(&self, cx: &Context<'_>) -> bool {
        let mut state = self.state();
        let old = match &mut *state {
            State::Waiting(waker) if waker.will_wake(cx.waker()) => None,
            State::Waiting(waker) => Some(std::mem::replace(waker, cx.waker().clone())),
            State::Woken | State::Abandoned(_) => return true,
        };
        drop(state);
        drop(old);
        false
    }

    /// Another handle of the same wait, for something that ends it beside its queue.
    pub fn handle(&self) -> TaskWait {
        TaskWait(self.0.clone())
    }

    /// Step 5, for a wait that only a holder of the queue's lock can end: takes the node out of the
    /// queue. False if the wait has been ended. The node is then not touched: it may be in a list
    /// of the code that has ended the wait.
    ///
    /// # Safety
    /// The caller holds the lock of the queue, and the node was pushed to this queue, or the wait
    /// has been ended.
    pub unsafe fn leave(&self, queue: &mut WaitQueue) -> bool {
        // Waits are ended under the lock, so this is no hint here.
        // SAFETY: by contract, and the node is alive. It was not taken out, as that ends the wait.
        self.waiter().claim().is_waiting() && unsafe { queue.remove(self.node()) }
    }

    /// Step 5, for a wait that several events can end: the task ends it, if nothing has. Only the
    /// code that ends a wait with another outcome than [`ENDED_BY_TASK`] has the node: otherwise
    /// the caller takes it out of its queue, where it may still be.
    pub fn cancel(&self) -> Cancel {
        let waiter = self.waiter();
        if waiter.try_end(ENDED_BY_TASK) {
            Cancel::Ended
        } else if waiter.claim().outcome() == ENDED_BY_TASK {
            Cancel::EndedBesideQueue
        } else {
            Cancel::TakenOut
        }
    }

    /// Step 5: the wait was ended by the task itself. Nothing wakes it, and its node is in no
    /// queue.
    ///
    /// # Safety
    /// That is so, and this is the only call.
    pub unsafe fn cancelled(self) {
        // SAFETY: `begin` has made a pointer of this share, and the caller promises that nothing
        // else takes it back.
        unsafe { drop(Arc::from_raw(Arc::as_ptr(&self.0))) };
    }

    /// Step 5: the wait was ended by something else, which has woken the task or is about to.
    /// `pass_on` gets the node then: now, or in the thread of the wake-up.
    pub fn abandon(self, pass_on: impl FnOnce(NonNull<WaitNode>) + Send + 'static) {
        let mut state = self.state();
        if let State::Waiting(_) = *state {
            let old = std::mem::replace(&mut *state, State::Abandoned(Box::new(pass_on)));
            drop(state);
            drop(old);
        } else {
            drop(state);
            pass_on(self.node());
        }
    }

    /// Step 5: the same, and waits for the wake-up. For wake-ups that follow the end of the wait
    /// without anything in between that may wait itself, or calls a waker.
    pub fn await_wakeup(&self) {
        let me = Sleeper::current();
        let waker = Waker::from(Arc::new(Caller(me.clone())));
        let cx = Context::from_waker(&waker);
        let mut slept = false;
        while !self.is_over(&cx) {
            me.sleep();
            slept = true;
        }
        if slept {
            // It may have been the program's `unpark` that ended a sleep here.
            me.call();
        }
    }

    fn state(&self) -> crate::shim::MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Caller(Sleeper);

impl Wake for Caller {
    fn wake(self: Arc<Caller>) {
        self.0.call();
    }
}

impl TaskWaiter {
    /// Step 3 up to the waker.
    ///
    /// # Safety
    /// The caller has ended the wait, and calls this once. It does not touch the record afterwards.
    pub(super) unsafe fn tell(this: NonNull<TaskWaiter>) -> TaskWakeup {
        // SAFETY: the wait's share has not been taken back, by contract.
        let record = unsafe { Arc::from_raw(this.as_ptr()) };
        let before = {
            let mut state = record.state.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *state, State::Woken)
        };
        TaskWakeup { before, record }
    }
}

/// The rest of a task's wake-up: its waker. The task knows already that its wait is over.
#[must_use = "a task whose waker is not called is not polled again"]
pub struct TaskWakeup {
    before: State,
    /// The wait's share.
    record: Arc<TaskWaiter>,
}

impl TaskWakeup {
    /// Calls the waker.
    pub fn deliver(self) {
        let TaskWakeup { before, record } = self;
        // The record is given up in there, too: an allocator may use one of std's locks.
        match before {
            State::Waiting(waker) => without_waits(move || {
                drop(record);
                waker.wake();
            }),
            State::Abandoned(pass_on) => without_waits(move || {
                pass_on(NonNull::from(&record.node).cast());
                drop(record);
            }),
            State::Woken => unreachable!("a wait is ended once"),
        }
    }
}

/// Calls code of the program where nothing may wait. A panic ends here: the hook has reported it.
fn without_waits(f: impl FnOnce()) {
    let end = refusal::without_waits(|| catch_unwind(AssertUnwindSafe(f)));
    if let Err(payload) = end {
        // Its destructor may panic, too.
        let _ = refusal::without_waits(|| {
            catch_unwind(AssertUnwindSafe(|| drop(payload))).map_err(std::mem::forget)
        });
    }
}

/// The outcome with which a task, or something on its behalf, ends its wait without its node.
pub const ENDED_BY_TASK: Outcome = Outcome(u32::MAX - 1);

/// What [`TaskWait::cancel`] has found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cancel {
    /// Nothing had ended the wait. The node may be in its queue.
    Ended,
    /// Something on behalf of the task has ended it. The node may be in its queue.
    EndedBesideQueue,
    /// The node was taken out of its queue, and belongs to the code that wakes the task.
    TakenOut,
}

#[cfg(all(test, any(loom, narrowboat_threads)))]
mod models {
    use super::*;
    use loom::sync::atomic::{AtomicUsize, Ordering};
    use loom::thread;

    /// Counts its calls.
    struct Counter(AtomicUsize);

    impl Wake for Counter {
        fn wake(self: Arc<Counter>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A queue of permits, as others use the records; and how many were handed over.
    struct Permits(loom::sync::Mutex<(usize, super::super::WaitQueue)>, AtomicUsize);

    impl Permits {
        fn new() -> Arc<Permits> {
            let state = loom::sync::Mutex::new((0, super::super::WaitQueue::new()));
            Arc::new(Permits(state, AtomicUsize::new(0)))
        }

        fn release(&self) {
            let mut state = self.0.lock().unwrap();
            match state.1.pop_claim(None) {
                None => state.0 += 1,
                Some(node) => {
                    // As where several are woken: a list of those whose waits were ended.
                    let mut ended = super::super::WaitQueue::new();
                    // SAFETY: the wait was ended here, so the node is ours; it is woken once.
                    unsafe {
                        ended.push(node);
                        drop(state);
                        // Others in the list would be woken here, and the task be dropped
                        // meanwhile.
                        self.1.fetch_add(1, Ordering::Relaxed);
                        ended.remove(node);
                        (*node.as_ptr()).waiter().unpark();
                    }
                }
            }
        }

        /// A wait for a permit, or `None` if there is one.
        fn begin(&self, cx: &Context<'_>) -> Option<TaskWait> {
            let mut state = self.0.lock().unwrap();
            if state.0 > 0 {
                state.0 -= 1;
                return None;
            }
            let wait = TaskWait::begin(cx);
            // SAFETY: the node is the wait's own, and lives until the wait is over.
            unsafe {
                wait.node().as_mut().prepare(wait.waiter(), Outcome(Outcome::FIRST), true);
                state.1.push(wait.node());
            }
            Some(wait)
        }
    }

    /// The wake-up and the second poll, with another waker, race: one of the wakers is called, or
    /// the poll sees the end.
    #[test]
    fn loom_a_task_is_woken_or_sees_the_end() {
        loom::model(|| {
            let permits = Permits::new();
            let counters = [(); 2].map(|()| Arc::new(Counter(AtomicUsize::new(0))));
            let wakers = counters.clone().map(Waker::from);
            let wait = permits.begin(&Context::from_waker(&wakers[0])).unwrap();
            let releases = {
                let permits = permits.clone();
                thread::spawn(move || permits.release())
            };
            let over = wait.is_over(&Context::from_waker(&wakers[1]));
            releases.join().unwrap();
            let calls = counters.each_ref().map(|counter| counter.0.load(Ordering::Relaxed));
            assert_eq!(calls, if over { [1, 0] } else { [0, 1] });
            assert!(wait.is_over(&Context::from_waker(&wakers[1])));
        });
    }

    /// A task is dropped while a permit is handed to it: the permit is there for the next one,
    /// whichever of the two comes first.
    #[test]
    fn loom_a_dropped_task_passes_on_what_it_has_won() {
        loom::model(|| {
            let permits = Permits::new();
            let waker = Waker::from(Arc::new(Counter(AtomicUsize::new(0))));
            let wait = permits.begin(&Context::from_waker(&waker)).unwrap();
            let releases = {
                let permits = permits.clone();
                thread::spawn(move || permits.release())
            };
            // SAFETY: the node was pushed there.
            let was_there = unsafe { wait.leave(&mut permits.0.lock().unwrap().1) };
            // Loom tries the orders of accesses to one atomic.
            permits.1.load(Ordering::Relaxed);
            if was_there {
                // SAFETY: nothing else can end a wait whose node is in no queue.
                unsafe { wait.cancelled() };
            } else {
                let permits = permits.clone();
                wait.abandon(move |_| permits.release());
            }
            releases.join().unwrap();
            assert_eq!(permits.0.lock().unwrap().0, 1);
        });
    }
}
