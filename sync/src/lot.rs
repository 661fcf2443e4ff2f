//! The parking lot: the queues of waiters for all types of this crate.
//!
//! A lock is a word of state and has no room for a queue. Its waiters queue here. The queues of all
//! locks are in one table, keyed by the [`Identity`] of the lock. A queue exists only while it has
//! a waiter. An operation that sees in the state word that there are no waiters, which is the usual
//! case, does not come here.
//!
//! The protocol, step by step. The state word belongs to the lock; these steps are the same for all
//! types.
//!
//! 1. The waiter locks the queue ([`LockedQueue::of`]).
//! 2. It loads the state word once more. If it still has to wait, it sets a flag in the word that
//!    says "there is a waiter", in the same atomic step, and [enters](LockedQueue::enqueue) the
//!    queue, which unlocks it.
//! 3. It [sleeps](Enqueued::sleep).
//! 4. An operation that changes the state word either sees the flag of step 2 in the same atomic
//!    step, or changed the word before step 2, which then saw the change. If the flag is set, the
//!    operation locks the queue, [takes waiters out](Dequeued), decides what each of them gets,
//!    updates the state word, unlocks the queue, and only then wakes them and tells each what was
//!    decided.
//! 5. If the deadline of a waiter passes first, the waiter takes itself out of the queue
//!    ([`TimedOut::dequeue`]).
//!
//! So no wake-up is lost between the look of a waiter and its sleep. The flag stays set for as long
//! as the queue exists, because only a caller that has locked the queue resets it. The state words
//! order what the locks guard; the lock of the queue and the wake-up order what the waker tells the
//! waiter.
//!
//! The key of a queue is an address and, if that is on a copied stack, the goroutine that the stack
//! belongs to: two locks that are locals of two goroutines of one slot have one address, and two
//! queues. A key is in use only while a waiter waits, and that waiter borrows what is at the
//! address. An async task is the exception: a future that was polled and then forgotten
//! (`mem::forget`) never leaves its queue, and another object may come to be at the address, of
//! another type even. So the operation that sets the flag of step 2, where it was not set, first
//! [removes all](LockedQueue::remove_forgotten) that it finds in the queue. The table holds nodes.
//! A node belongs to its waiter and is on the heap; nothing in the table is on a stack.
//!
//! No code of the user runs in here, and nothing parks while a queue is locked. At most one queue
//! is locked at a time.

use crate::shim::{Mutex, MutexGuard};
use narrowboat_runtime::as_thread::natively;
use narrowboat_runtime::park::{
    self, Describe, Forsaken, Identity, Leave, Outcome, Reason, TaskWait, TaskWakeup, WaitNode, WaitQueue,
    Waiter,
};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::marker::PhantomData;
use std::panic::Location;
use std::ptr::NonNull;
use std::time::Instant;

/// The source line of the operation, for diagnostics.
pub(crate) type At = &'static Location<'static>;

/// Two numbers that a waiter leaves in its node. The type that owns the queue defines their
/// meaning.
#[derive(Clone, Copy)]
pub(crate) struct Ticket {
    pub(crate) value: usize,
    /// When the waiter first entered a queue for this, if the owner uses it.
    pub(crate) since: usize,
}

/// What the waiters of a queue wait for: the reason, a function that describes the object of the
/// queue, for diagnostics, and one that takes a goroutine out which never goes on.
pub(crate) struct Cause {
    pub(crate) reason: Reason,
    pub(crate) describe: Describe,
    /// `None` if it may stay: a release wakes all waiters, and gives them nothing.
    pub(crate) leave: Option<Leave>,
}

/// A function that describes a `T` that has a queue ([`LockedQueue::of`]).
macro_rules! describer {
    ($type:ty, $describe:expr) => {
        |place, each| {
            // SAFETY: a waiter in a queue borrows what is at the queue's address until its wait is
            // over.
            let thing: &$type = unsafe { &*std::ptr::with_exposed_provenance(place) };
            let (kind, details, held_by) = $describe(thing);
            each(narrowboat_runtime::park::Thing { operation: "", address: place, kind, details, held_by });
        }
    };
}
pub(crate) use describer;

/// What the waker tells a waiter when its wait ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum WakeReason {
    /// The waiter has what it waited for.
    Granted,
    /// The waiter may try again.
    Retry,
}

impl WakeReason {
    const fn note(self) -> u8 {
        self as u8
    }

    fn from_note(note: u8) -> WakeReason {
        if note == WakeReason::Granted.note() { WakeReason::Granted } else { WakeReason::Retry }
    }
}

/// The note of a waiter in a queue: its wait has not been ended.
const WAITING: u8 = 10;
/// The note of a waiter that was moved here: its wait was ended when it was taken out of another
/// queue, and the wake-up comes from this queue.
const MOVED: u8 = 11;

/// A waiter that was taken out of a queue. It sleeps until [`wake`](Dequeued::wake) is called.
#[must_use]
pub(crate) struct Dequeued(NonNull<WaitNode>);

impl Dequeued {
    fn node(&mut self) -> &mut WaitNode {
        // SAFETY: a `Dequeued` is made for the caller that has ended the wait and taken the node
        // out of its queue. Until the wake-up the node lives, and nothing else touches it.
        unsafe { self.0.as_mut() }
    }

    pub(crate) fn ticket(&self) -> Ticket {
        // SAFETY: as for `node`.
        unsafe { ticket_of(self.0) }
    }

    /// No queue may be locked by the caller.
    pub(crate) fn wake(self, reason: WakeReason) {
        if let Some(wakeup) = self.tell(reason) {
            wakeup.deliver();
        }
    }

    /// As [`wake`](Dequeued::wake), but the waker of a task is left to the caller.
    fn tell(mut self, reason: WakeReason) -> Option<TaskWakeup> {
        let node = self.node();
        node.set_note(reason.note());
        let waiter = node.waiter();
        // SAFETY: the wait was ended for this `Dequeued`, and `self` is consumed.
        unsafe { waiter.tell() }
    }
}

/// # Safety
/// The node is in a queue, or has been in one; it is the caller's, or guarded by a lock that the
/// caller holds.
unsafe fn ticket_of(mut node: NonNull<WaitNode>) -> Ticket {
    // SAFETY: by contract; a node gets its ticket before it gets into a queue.
    let [value, since] = unsafe { node.as_mut().cell().assume_init() };
    Ticket { value, since }
}

/// Waiters that were taken out of their queues, chained by their own nodes, in the order in which
/// they were taken out.
#[must_use]
pub(crate) struct DequeuedList(WaitQueue);

impl DequeuedList {
    pub(crate) fn new() -> DequeuedList {
        DequeuedList(WaitQueue::new())
    }

    pub(crate) fn push(&mut self, waiter: Dequeued) {
        // SAFETY: the node is in no queue, and is ours alone until the wake-up, for which it has to
        // be popped first.
        unsafe { self.0.push(waiter.0) };
    }

    pub(crate) fn pop(&mut self) -> Option<Dequeued> {
        let node = self.0.front()?;
        // SAFETY: it was pushed here, and its waiter has not been woken.
        unsafe { self.0.remove(node) };
        Some(Dequeued(node))
    }

    /// The ticket of the first waiter.
    pub(crate) fn ticket(&self) -> Option<Ticket> {
        // SAFETY: as for `Dequeued::node`.
        self.0.front().map(|node| unsafe { ticket_of(node) })
    }

    /// No queue may be locked by the caller. All waiters are told before the first waker of a task
    /// is called: it may drop other tasks of the list, which then know what they have to pass on.
    pub(crate) fn wake(mut self, reason: WakeReason) {
        let mut wakeups = Vec::new();
        while let Some(waiter) = self.pop() {
            if wakeups.is_empty() && self.0.is_empty() {
                return waiter.wake(reason);
            }
            if let Some(wakeup) = waiter.tell(reason) {
                // The caller may have begun a wait of its own (a release in a wait for a
                // condition), and an allocator may use one of std's locks.
                natively(|| wakeups.push(wakeup));
            }
        }
        if !wakeups.is_empty() {
            natively(|| wakeups.into_iter().for_each(TaskWakeup::deliver));
        }
    }
}

/// The queue of one object, locked: no other caller enqueues or removes waiters meanwhile.
pub(crate) struct LockedQueue {
    key: Identity,
    /// Out of the table for as long as the queue is locked.
    waiters: WaitQueue,
    table: MutexGuard<'static, Table>,
}

impl LockedQueue {
    /// Locks the queue of `thing`.
    pub(crate) fn of<T>(thing: &T) -> LockedQueue {
        LockedQueue::at((&raw const *thing).expose_provenance())
    }

    /// Locks the queue of the object that the caller, or a waiter, has borrowed at this address.
    pub(crate) fn at(address: usize) -> LockedQueue {
        let key = Identity::of(address);
        let mut table = table_of(key);
        let waiters = table.remove(&key).unwrap_or_default();
        LockedQueue { key, waiters, table }
    }

    /// Whether the queue has no waiters. A waiter that has timed out may still be in it for a
    /// moment.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiters.is_empty()
    }

    /// Takes out the nodes of forgotten futures, whose object is not there any more. For objects
    /// that have a flag which is set whenever the queue has a waiter of theirs: call this when it
    /// is being set. The nodes stay allocated, and are not woken.
    pub(crate) fn remove_forgotten(&mut self) {
        while let Some(node) = self.waiters.front() {
            // SAFETY: it is in the queue.
            unsafe { self.waiters.remove(node) };
        }
    }

    /// Puts the caller last in the queue, and unlocks the queue. With a `deadline` the wait can
    /// also end by itself.
    ///
    /// # Safety
    /// The caller sleeps next. Until then it may release what it holds, but it begins no other
    /// wait.
    pub(crate) unsafe fn enqueue(
        mut self,
        ticket: Ticket,
        deadline: bool,
        cause: &Cause,
        at: At,
    ) -> Enqueued {
        park::describe_with_leave(cause.reason, cause.describe, cause.leave);
        let me = Waiter::begin(cause.reason, self.key.address, at);
        let mut node = me.node();
        // SAFETY: the caller has just begun a wait, so its node is in no queue and is its own; the
        // node lives for ever. In a queue, only callers that have locked the queue touch it, until
        // a `Dequeued` is made of it.
        unsafe {
            let node = node.as_mut();
            node.prepare(me, DONE, !deadline);
            node.cell().write([ticket.value, ticket.since]);
            node.set_note(WAITING);
            self.waiters.push(node.into());
        }
        Enqueued { me, address: self.key.address, not_send: PhantomData }
    }

    /// Puts an async task last in the queue, and unlocks the queue. The task
    /// [leaves](LockedQueue::leave) before its wait is given up.
    pub(crate) fn enqueue_task(mut self, ticket: Ticket, wait: &TaskWait) {
        // SAFETY: the wait is new, so its node is in no queue; it lives until the task has left. In
        // a queue, only callers that have locked the queue touch it, until a `Dequeued` is made of
        // it.
        unsafe {
            let node = wait.node().as_mut();
            node.prepare(wait.waiter(), DONE, true);
            node.cell().write([ticket.value, ticket.since]);
            node.set_note(WAITING);
            self.waiters.push(node.into());
        }
    }

    /// Takes an async task out of the queue. False if it is not there any more: it has been woken,
    /// or is about to be.
    pub(crate) fn leave(&mut self, wait: &TaskWait) -> bool {
        // SAFETY: the queue is locked, and the task was enqueued there.
        unsafe { wait.leave(&mut self.waiters) }
    }

    /// Takes a goroutine out of the queue that never goes on, and returns its ticket. `None` if it
    /// was taken out before: it is about to be woken.
    pub(crate) fn leave_forsaken(&mut self, gone: &Forsaken) -> Option<Ticket> {
        // SAFETY: the queue is locked, and the goroutine has entered it with its node, in which it
        // has put its ticket.
        unsafe { gone.leave(&mut self.waiters).then(|| ticket_of(gone.node())) }
    }

    /// Puts a waiter last that was taken out of another queue. It has what it waited for there, and
    /// now waits here.
    pub(crate) fn requeue(&mut self, mut waiter: Dequeued, ticket: Ticket) {
        let node = waiter.node();
        node.cell().write([ticket.value, ticket.since]);
        node.set_note(MOVED);
        // SAFETY: the node is in no queue; from here on it is touched as `enqueue` says.
        unsafe { self.waiters.push(waiter.0) };
    }

    /// Takes out the first waiter and ends its wait, if its ticket is `wanted`. Waiters that have
    /// timed out are removed and skipped.
    pub(crate) fn pop_if(&mut self, wanted: impl Fn(Ticket) -> bool) -> Option<Dequeued> {
        loop {
            let mut node = self.waiters.front()?;
            // SAFETY: it is in the queue, so it lives and is guarded by the lock that we hold.
            if !wanted(unsafe { ticket_of(node) }) {
                return None;
            }
            // SAFETY: as above.
            let (waiter, moved) = unsafe {
                self.waiters.remove(node);
                let node = node.as_mut();
                (node.waiter(), node.note() == MOVED)
            };
            if moved || waiter.try_end(DONE) {
                return Some(Dequeued(node));
            }
        }
    }

    pub(crate) fn pop(&mut self) -> Option<Dequeued> {
        self.pop_if(|_| true)
    }

    /// Takes out all waiters.
    pub(crate) fn pop_all(&mut self) -> DequeuedList {
        let mut waiters = DequeuedList::new();
        while let Some(waiter) = self.pop() {
            waiters.push(waiter);
        }
        waiters
    }
}

impl Drop for LockedQueue {
    fn drop(&mut self) {
        if !self.waiters.is_empty() {
            self.table.insert(self.key, std::mem::take(&mut self.waiters));
        }
    }
}

/// What an async task was told by its wake-up.
pub(crate) fn told(wait: &TaskWait) -> WakeReason {
    // SAFETY: the caller has seen that the wait is over, so the node is its own.
    WakeReason::from_note(unsafe { wait.node().as_ref() }.note())
}

/// What a goroutine was told by its wake-up that never goes on, and its ticket.
pub(crate) fn told_forsaken(gone: &Forsaken) -> (WakeReason, Ticket) {
    debug_assert!(gone.object().is_none());
    // SAFETY: it has been woken, so the node is the caller's.
    unsafe { (WakeReason::from_note(gone.node().as_ref().note()), ticket_of(gone.node())) }
}

/// The outcome of a wait that its deadline did not end.
const DONE: Outcome = Outcome(Outcome::FIRST);

/// The caller as a waiter that has entered a queue and is about to sleep.
#[must_use]
pub(crate) struct Enqueued {
    me: Waiter,
    address: usize,
    not_send: PhantomData<*mut ()>,
}

impl Enqueued {
    pub(crate) fn sleep(self) -> WakeReason {
        sleep(self.me)
    }

    pub(crate) fn sleep_until(self, deadline: Instant) -> Result<WakeReason, TimedOut> {
        match sleep_until(self.me, deadline) {
            Some(reason) => Ok(reason),
            None => Err(TimedOut(self)),
        }
    }
}

// What is on the stack when a goroutine parks is copied with it. So these two functions have almost
// no frame, and everything else is done in functions that have returned by then.

#[inline(never)]
fn sleep(me: Waiter) -> WakeReason {
    // SAFETY: `me` is from our latest `begin`, and its node is in a queue. The caller that ends the
    // wait takes the node out.
    unsafe {
        me.park(None);
        WakeReason::from_note(me.node().as_ref().note())
    }
}

#[inline(never)]
fn sleep_until(me: Waiter, deadline: Instant) -> Option<WakeReason> {
    // SAFETY: as in `sleep`; after a timeout the node, which may still be in the queue, is not
    // read.
    unsafe {
        let outcome = me.park(Some(deadline));
        (outcome != Outcome::TIMED_OUT).then(|| WakeReason::from_note(me.node().as_ref().note()))
    }
}

/// A waiter that has timed out. Its node may still be in the queue.
#[must_use]
pub(crate) struct TimedOut(Enqueued);

impl TimedOut {
    /// Takes the waiter out of the queue, and returns the queue, locked.
    pub(crate) fn dequeue(self) -> LockedQueue {
        // The same key as in `enqueue`: the waiter's stack is in place again, and what it waits for
        // is still borrowed.
        let mut queue = LockedQueue::at(self.0.address);
        // SAFETY: the node was enqueued there, and it is the calling waiter's own.
        unsafe { queue.waiters.remove(self.0.me.node()) };
        queue
    }
}

#[cfg(all(test, not(loom)))]
impl LockedQueue {
    /// The number of waiters. Rotates the queue once, which has no effect that can be observed.
    pub(crate) fn len(&mut self) -> usize {
        let Some(first) = self.waiters.front() else { return 0 };
        let mut count = 0;
        loop {
            count += 1;
            let Some(node) = self.waiters.front() else { unreachable!("it is put back") };
            // SAFETY: it is in the queue, and is in the queue again before that is unlocked.
            unsafe {
                self.waiters.remove(node);
                self.waiters.push(node);
            }
            if self.waiters.front() == Some(first) {
                return count;
            }
        }
    }
}

type Table = HashMap<Identity, WaitQueue, BuildHasherDefault<Spread>>;

/// Addresses of locks are multiples of four or more, and often near each other. A multiplication
/// spreads them.
#[derive(Default)]
struct Spread(u64);

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _bytes: &[u8]) {
        unreachable!("the keys are pairs of numbers")
    }

    fn write_usize(&mut self, address: usize) {
        self.0 = spread(address as u64);
    }

    /// The number of a goroutine, mostly 0.
    fn write_u64(&mut self, stack_of: u64) {
        if stack_of != 0 {
            self.0 ^= spread(stack_of).rotate_left(17);
        }
    }
}

/// Multiplies by 2^64 divided by the golden ratio. The upper bits depend on all bits of the number.
fn spread(number: u64) -> u64 {
    let product = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    product ^ (product >> 32)
}

#[cfg(not(loom))]
fn table_of(key: Identity) -> MutexGuard<'static, Table> {
    use std::sync::PoisonError;

    /// The number of tables. With so many, workers rarely meet at one table, on any machine of
    /// today.
    const SHARDS: usize = 128;

    /// One table, on a cache line of its own.
    #[repr(align(64))]
    struct Shard(Mutex<Table>);

    static SHARDED: [Shard; SHARDS] =
        [const { Shard(Mutex::new(Table::with_hasher(BuildHasherDefault::new()))) }; SHARDS];

    // The hash map places its entries by the lowest bits of the hash and compares the upper seven.
    // The shard is chosen by other bits.
    let shard = (spread(key.address as u64) >> 40) as usize % SHARDS;
    // Nothing panics while a table is locked. A caller that was already unwinding may poison the
    // lock.
    SHARDED[shard].0.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(loom)]
fn table_of(_key: Identity) -> MutexGuard<'static, Table> {
    loom::lazy_static! {
        static ref TABLE: Mutex<Table> = Mutex::new(Table::default());
    }
    let table: &'static Mutex<Table> = &TABLE;
    table.lock().unwrap()
}
