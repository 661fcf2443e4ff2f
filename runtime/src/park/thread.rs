//! Plain threads as waiters.
//!
//! Each thread that ever blocks in a Narrowboat operation owns one record. Records are recycled,
//! never freed. So a stale pointer to one causes at worst a spurious wake-up of the present owner,
//! which every waiting loop tolerates.

use crate::clock;
use crate::lock::Mutex;
#[cfg(not(loom))]
use crate::ours::{self, AtEnd};
use crate::sched::{self, fork, trace};
use crate::shim::{AtomicBool, Ordering, Sleeper};
use crate::wait::{Head, Identity, Kind, Outcome, Reason, WaitNode, Waiter};
use std::cell::UnsafeCell;
use std::panic::Location;
use std::ptr::{self, NonNull};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::time::Instant;

/// A thread's record. `head` comes first, so that a pointer to the head is a pointer to the record.
#[repr(C)]
pub(crate) struct ThreadWaiter {
    pub(super) head: Head,
    /// The thread's own node, for operations that wait in one queue.
    pub(super) node: UnsafeCell<WaitNode>,
    /// Set by the waker after the value has been handed over. Only this makes the thread leave its
    /// wait.
    awake: AtomicBool,
    /// Written only while no wait is under way, by the owner; read by the owner, and by a waker
    /// between claim and wake.
    thread: UnsafeCell<Sleeper>,
    info: WaitInfo,
}

/// What the search for a deadlock, and a dump, read. Of std, also in a model: it takes part in no
/// protocol but its own.
#[derive(Default)]
struct WaitInfo {
    /// Odd while the thread sleeps in a wait without a deadline. Written by the owner.
    turns: std::sync::atomic::AtomicU64,
    wait: Mutex<CurrentWait>,
}

/// What a thread waits for. The thread locks it before its waits, and so do readers.
struct CurrentWait {
    reason: Reason,
    object: usize,
    at: &'static Location<'static>,
    since: u64,
    /// Whether the thread sleeps, or is about to.
    sleeps: bool,
    name: Option<String>,
}

impl Default for CurrentWait {
    fn default() -> CurrentWait {
        let at = Location::caller();
        CurrentWait { reason: Reason::None, object: 0, at, since: 0, sleeps: false, name: None }
    }
}

/// A plain thread that is blocked in a wait of ours, for a dump.
#[derive(Clone, Debug)]
pub(crate) struct WaitingThread {
    pub(crate) name: Option<String>,
    pub(crate) reason: Reason,
    pub(crate) object: Identity,
    pub(crate) at: &'static Location<'static>,
    /// On the runtime's clock.
    pub(crate) since: u64,
}

/// All plain threads that wait now.
pub(crate) fn waiting_threads() -> Vec<WaitingThread> {
    let all = ALL.lock().unwrap_or_else(|e| e.into_inner());
    let waits = all.iter().filter_map(|waiter| {
        let wait = waiter.info.lock();
        let CurrentWait { reason, object, at, since, ref name, .. } = *wait;
        // Once the wait has been ended it is over, although the thread may still sleep.
        (wait.sleeps && waiter.head.claim.is_waiting()).then(|| WaitingThread {
            name: name.clone(),
            reason,
            object: Identity::of(object),
            at,
            since,
        })
    });
    waits.collect()
}

impl WaitInfo {
    fn lock(&self) -> std::sync::MutexGuard<'_, CurrentWait> {
        self.wait.lock().unwrap_or_else(|e| e.into_inner())
    }
}

/// All records there are.
static ALL: Mutex<Vec<&'static ThreadWaiter>> = Mutex::new(Vec::new());

/// Threads that only another thread or a goroutine of this process can wake.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct ParkedThreads {
    pub(crate) count: usize,
    /// Their records, and the number of the wait that each is in.
    waits: Vec<(usize, u64)>,
}

/// Step 1 of the search for a deadlock. A wait that has been ended does not count, although the
/// thread may still sleep.
pub(crate) fn parked_threads() -> ParkedThreads {
    let mut parked = ParkedThreads::default();
    for waiter in ALL.lock().unwrap_or_else(|e| e.into_inner()).iter() {
        // Acquire: the claim and the mark belong to this wait.
        let turn = waiter.info.turns.load(Acquire);
        let endless = !turn.is_multiple_of(2) && waiter.head.claim.is_waiting();
        if endless && !waiter.info.lock().reason.is_external() {
            parked.count += 1;
            parked.waits.push((std::ptr::from_ref(*waiter).addr(), turn));
        }
    }
    parked
}

/// Records of threads that have ended.
static FREE: Mutex<Vec<&'static ThreadWaiter>> = Mutex::new(Vec::new());

// SAFETY: the fields are atomics, or cells with their access rule beside them: the owner has access
// while it does not wait; the claimed waker (one at a time) or the holder of the node's queue lock
// has it while the owner waits.
unsafe impl Sync for ThreadWaiter {}
// SAFETY: nothing in the record is tied to the thread that made it.
unsafe impl Send for ThreadWaiter {}

/// The calling thread's record. It can be read until the very end of the thread, also by
/// destructors.
#[cfg(not(loom))]
fn known() -> Option<&'static ThreadWaiter> {
    // SAFETY: put there below; records are never freed.
    unsafe { ours::with(|ours| ours.waiter.get()).cast::<ThreadWaiter>().as_ref() }
}

#[cfg(not(loom))]
fn make_known(waiter: &'static ThreadWaiter) {
    ours::with(|ours| ours.waiter.set(ptr::from_ref(waiter).cast()));
    // A thread that blocks for the first time in its last destructors has already lost the guard;
    // its record then stays taken.
    ours::guard_thread(AtEnd::FreeWaiter, end_of_thread);
}

/// Gives the thread's record back when the thread ends.
#[cfg(not(loom))]
fn end_of_thread() {
    if let Some(waiter) = known()
        && !fork::in_child()
    {
        ours::with(|ours| ours.waiter.set(ptr::null()));
        FREE.lock().unwrap_or_else(|e| e.into_inner()).push(waiter);
        sched::wake_monitor();
    }
}

// A record is of no use to another run of a model, so none is recycled.
#[cfg(loom)]
loom::thread_local! {
    static MINE: std::cell::Cell<Option<&'static ThreadWaiter>> = std::cell::Cell::new(None);
}

#[cfg(loom)]
fn known() -> Option<&'static ThreadWaiter> {
    MINE.with(std::cell::Cell::get)
}

#[cfg(loom)]
fn make_known(waiter: &'static ThreadWaiter) {
    MINE.with(|mine| mine.set(Some(waiter)));
}

/// The record of the calling thread.
pub(super) fn current(reason: Reason, object: usize, at: &'static Location<'static>) -> Waiter {
    let waiter = mine();
    let mut wait = waiter.info.lock();
    (wait.reason, wait.object, wait.at) = (reason, object, at);
    drop(wait);
    // Not from a reference to the head, because the handle stands for the whole record.
    // SAFETY: such a record is never freed.
    unsafe { Waiter::with_head(NonNull::from(waiter).cast()) }
}

/// The calling thread's record, as it is.
pub(super) fn mine() -> &'static ThreadWaiter {
    known().unwrap_or_else(acquire)
}

#[cold]
fn acquire() -> &'static ThreadWaiter {
    // In a forked process these locks may be held for ever by a thread that does not exist.
    let forked = fork::in_child();
    let recycled = if forked { None } else { FREE.lock().unwrap_or_else(|e| e.into_inner()).pop() };
    let waiter = match recycled {
        Some(waiter) => {
            // SAFETY: no wait uses a record from the pool, so no waker reads the field.
            unsafe { *waiter.thread.get() = Sleeper::current() };
            waiter
        }
        None => Box::leak(Box::new(ThreadWaiter {
            head: Head::new(Kind::Thread),
            node: UnsafeCell::new(WaitNode::new()),
            awake: AtomicBool::new(false),
            thread: UnsafeCell::new(Sleeper::current()),
            info: WaitInfo::default(),
        })),
    };
    if waiter.info.turns.load(Relaxed) == 0 {
        waiter.info.turns.store(2, Relaxed);
        if !forked {
            ALL.lock().unwrap_or_else(|e| e.into_inner()).push(waiter);
        }
    }
    waiter.info.lock().name = std::thread::current().name().map(str::to_owned);
    make_known(waiter);
    waiter
}

impl ThreadWaiter {
    /// Whether the owner sleeps, or is about to.
    pub(super) fn sleeps(&self) -> bool {
        self.info.lock().sleeps
    }

    /// Blocks until an event has ended the wait and handed over, or the deadline has passed. Only
    /// the owner calls it.
    pub(super) fn park(&self, deadline: Option<Instant>) -> Outcome {
        let mut wait = self.info.lock();
        (wait.since, wait.sleeps) = (clock::now(), true);
        let (reason, at) = (wait.reason, wait.at);
        drop(wait);
        if deadline.is_none() {
            fork::look_at_endless_wait(reason, at);
        }
        let outcome = self.sleep(deadline);
        self.info.lock().sleeps = false;
        outcome
    }

    fn sleep(&self, deadline: Option<Instant>) -> Outcome {
        // SAFETY: we are the owner, which alone writes the field.
        let thread = unsafe { &*self.thread.get() };
        trace::thread_waits(std::ptr::from_ref(self).addr());
        let mut deadline = deadline;
        let endless = deadline.is_none();
        if endless {
            self.info.turns.store(self.info.turns.load(Relaxed) + 1, Release);
            sched::wake_monitor();
        }
        // Acquire: pairs with the release in `unpark`, so that what the waker wrote is seen.
        while !self.awake.load(Ordering::Acquire) {
            match deadline {
                None => thread.sleep(),
                Some(at) if thread.sleep_until(at) => {}
                Some(_) if self.head.claim.try_end(Outcome::TIMED_OUT) => {
                    trace::thread_goes_on(std::ptr::from_ref(self).addr());
                    return Outcome::TIMED_OUT;
                }
                // Another event ended the wait and its wake-up is about to come.
                Some(_) => deadline = None,
            }
        }
        if endless {
            self.info.turns.store(self.info.turns.load(Relaxed) + 1, Release);
        }
        trace::thread_goes_on(std::ptr::from_ref(self).addr());
        // Relaxed: only this thread clears it, and the next wake-up comes after a new claim.
        self.awake.store(false, Ordering::Relaxed);
        self.head.claim.outcome()
    }

    /// Called once per claim, by the winner.
    pub(super) fn unpark(&self) {
        trace::wakes_thread(std::ptr::from_ref(self).addr());
        // SAFETY: the wait is not over until `awake` is set below, so the owner does not write the
        // field now.
        let thread = unsafe { (*self.thread.get()).clone() };
        // Release: publishes the value handed over. After this store the record may belong to
        // another wait.
        self.awake.store(true, Ordering::Release);
        thread.call();
    }
}

#[cfg(all(test, any(loom, narrowboat_threads)))]
mod models {
    use super::*;
    use crate::park::{Reason, WaitQueue};
    use loom::sync::{Arc, Mutex};
    use loom::thread;

    /// A counter of permits, with a value that each waker hands over outside the lock.
    struct Shared {
        state: Mutex<(usize, WaitQueue)>,
        value: loom::cell::UnsafeCell<usize>,
    }

    // SAFETY: the models test which thread may touch the value.
    unsafe impl Send for Shared {}
    // SAFETY: as above.
    unsafe impl Sync for Shared {}

    impl Shared {
        fn new() -> Arc<Shared> {
            let state = Mutex::new((0, WaitQueue::new()));
            Arc::new(Shared { state, value: loom::cell::UnsafeCell::new(0) })
        }

        /// False if the deadline came first.
        fn acquire(&self, deadline: Option<Instant>) -> bool {
            let mut state = self.state.lock().unwrap();
            if state.0 > 0 {
                state.0 -= 1;
                return true;
            }
            let me = Waiter::begin(Reason::Receive, 0, Location::caller());
            let node = me.node();
            // SAFETY: the steps of the module `park`.
            unsafe {
                (*node.as_ptr()).prepare(me, Outcome(Outcome::FIRST), deadline.is_none());
                state.1.push(node);
                drop(state);
                let outcome = me.park(deadline);
                if outcome == Outcome::TIMED_OUT {
                    self.state.lock().unwrap().1.remove(node);
                    return false;
                }
                assert_eq!(outcome, Outcome(Outcome::FIRST));
                self.value.with(|value| assert_ne!(*value, 0));
            }
            true
        }

        fn release(&self) {
            let mut state = self.state.lock().unwrap();
            match state.1.pop_claim(None) {
                None => state.0 += 1,
                Some(node) => {
                    drop(state);
                    // SAFETY: the claimed waiter reads the value after its wake-up, which comes
                    // once.
                    unsafe {
                        self.value.with_mut(|value| *value += 1);
                        (*node.as_ptr()).waiter().unpark();
                    }
                }
            }
        }
    }

    /// A thread that waits twice is woken twice, and sees what each waker wrote: no wake-up is lost
    /// before it sleeps, and no wake-up of the first wait ends the second.
    #[test]
    fn loom_a_thread_is_woken_from_each_wait() {
        loom::model(|| {
            let shared = Shared::new();
            let waker = {
                let shared = shared.clone();
                thread::spawn(move || (0..2).for_each(|_| shared.release()))
            };
            assert!(shared.acquire(None));
            assert!(shared.acquire(None));
            waker.join().unwrap();
        });
    }

    /// A deadline and a wake-up compete: one of them ends the wait, and the permit is neither lost
    /// nor given twice.
    #[test]
    fn loom_a_deadline_and_a_wake_up_end_a_wait_once() {
        loom::model(|| {
            let shared = Shared::new();
            let waker = {
                let shared = shared.clone();
                thread::spawn(move || shared.release())
            };
            let in_time = shared.acquire(Some(Instant::now()));
            if !in_time {
                assert!(shared.acquire(None));
            }
            waker.join().unwrap();
            assert_eq!(shared.state.lock().unwrap().0, 0);
        });
    }
}
