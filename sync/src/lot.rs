//! The parking lot: where the waiters wait that wait for a lock, or for anything else in this crate.
//!
//! A lock is a word of state and has no room for a waiters. The waiters that wait for it are in a
//! *queue*, and the queues of all locks are in one table, keyed by the [`Identity`] of the lock.
//! There is a queue only while a waiter is in it. An operation that sees in the state word that
//! nothing waits, which is the rule, does not come here.
//!
//! The protocol, step by step. The state word belongs to the lock; what is said of it is the same for all of them.
//!
//! 1. The waiter locks the queue ([`LockedQueue::of`]).
//! 2. It looks at the state word once more. If it must wait still, it notes there, in one atomic step, that somebody
//!    does, and [enters](LockedQueue::enqueue) the queue, which unlocks it.
//! 3. It [sleeps](Enqueued::sleep).
//! 4. Whoever changes the state word sees the note of step 2 in the same atomic step, or had changed it before step 2,
//!    which then saw the change. If there is a note, it locks the queue, takes [waiters](Dequeued) out, decides what
//!    becomes of them, settles the state word, unlocks the queue, and only then wakes them, telling each what was
//!    decided.
//! 5. If the deadline of a waiter comes first, it takes itself out of the queue ([`TimedOut::leave`]).
//!
//! So nobody is lost between its look and its sleep; and that somebody waits is noted for as long as there is a queue,
//! because only those who have locked the queue take the note away. What the state words guard is ordered by the state
//! words; what is said from waker to sleeper is ordered by the queue's lock and by the wake-up.
//!
//! The key of a queue is an address and, if that is on a copied stack, the goroutine that the stack
//! belongs to: two locks that are locals of two goroutines of one slot have one address, and two
//! queues. A key is in use only while a waiter waits, and that waiter borrows what is at the address.
//! The table holds nodes, which are the waiters' own and lie on the heap, and nothing of a stack.
//!
//! Nothing in here runs code of the user's, and nothing parks while a queue is locked. At most one queue is locked at a
//! time.

use crate::shim::{Mutex, MutexGuard};
use narrowboat_runtime::park::{self, Describe, Identity, Outcome, Reason, WaitNode, WaitQueue, Waiter};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::marker::PhantomData;
use std::panic::Location;
use std::ptr::NonNull;
use std::time::Instant;

/// The source queue of the operation, for diagnostics.
pub(crate) type At = &'static Location<'static>;

/// What a waiter leaves at its place for those who take it out. Its meaning is the queue owner's.
#[derive(Clone, Copy)]
pub(crate) struct Ticket {
    pub(crate) value: usize,
    /// When the waiter first stood in a queue for this, if the owner cares.
    pub(crate) since: usize,
}

/// What the waiters of a queue wait for, for diagnostics: the reason, and how to describe what the queue belongs to.
pub(crate) struct Cause {
    pub(crate) reason: Reason,
    pub(crate) describe: Describe,
}

/// How to describe a `T` that queues are named after ([`LockedQueue::of`]).
macro_rules! describer {
    ($type:ty, $describe:expr) => {
        |place, each| {
            // SAFETY: whoever stands in a queue borrows what lies at its address until its wait is over.
            let thing: &$type = unsafe { &*std::ptr::with_exposed_provenance(place) };
            let (kind, details, held_by) = $describe(thing);
            each(narrowboat_runtime::park::Thing { operation: "", address: place, kind, details, held_by });
        }
    };
}
pub(crate) use describer;

/// What a waiter is reason when its wait ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum WakeReason {
    /// It has what it waited for.
    Granted,
    /// It may try again.
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

/// The note of a waiter in a queue: its wait has yet to be ended.
const WAITING: u8 = 10;
/// The same: its wait was ended when it was taken out of another queue, and it is to be woken from this one.
const MOVED: u8 = 11;

/// A waiter that was taken out of a queue. It sleeps until [`wake`](Dequeued::wake) is called.
#[must_use]
pub(crate) struct Dequeued(NonNull<WaitNode>);

impl Dequeued {
    fn node(&mut self) -> &mut WaitNode {
        // SAFETY: a `Dequeued` is made for the one who has ended the waiter's wait and taken the node out of its queue.
        // Until the wake-up the node lives, and nobody else touches it.
        unsafe { self.0.as_mut() }
    }

    pub(crate) fn ticket(&self) -> Ticket {
        // SAFETY: as for `node`.
        unsafe { ticket_of(self.0) }
    }

    /// Call it without any queue locked.
    pub(crate) fn wake(mut self, reason: WakeReason) {
        let node = self.node();
        node.set_note(reason.note());
        let waiter = node.waiter();
        // SAFETY: this waiter's wait was ended for us, and `self` is consumed.
        unsafe { waiter.unpark() };
    }
}

/// # Safety
/// The node stands, or has stood, in a queue; it is the caller's, or guarded by a lock that the caller holds.
unsafe fn ticket_of(mut node: NonNull<WaitNode>) -> Ticket {
    // SAFETY: by contract; a node gets its ticket before it gets into a queue.
    let [value, since] = unsafe { node.as_mut().cell().assume_init() };
    Ticket { value, since }
}

/// DequeuedList that were taken out of their queues, chained by their own nodes, first taken first.
#[must_use]
pub(crate) struct DequeuedList(WaitQueue);

impl DequeuedList {
    pub(crate) fn new() -> DequeuedList {
        DequeuedList(WaitQueue::new())
    }

    pub(crate) fn push(&mut self, waiter: Dequeued) {
        // SAFETY: the node stands nowhere, and is ours alone until it is woken, which needs it to be popped first.
        unsafe { self.0.push(waiter.0) };
    }

    pub(crate) fn pop(&mut self) -> Option<Dequeued> {
        let node = self.0.front()?;
        // SAFETY: it was pushed here and has not been woken.
        unsafe { self.0.remove(node) };
        Some(Dequeued(node))
    }

    /// The ticket of the first.
    pub(crate) fn ticket(&self) -> Option<Ticket> {
        // SAFETY: as for `Dequeued::node`.
        self.0.front().map(|node| unsafe { ticket_of(node) })
    }

    /// Call it without any queue locked.
    pub(crate) fn wake(mut self, reason: WakeReason) {
        while let Some(waiter) = self.pop() {
            waiter.wake(reason);
        }
    }
}

/// The waiters that wait for one object. It is locked: nothing else enters or leaves meanwhile.
pub(crate) struct LockedQueue {
    key: Identity,
    /// Taken out of the table for as long as the queue is locked.
    waiters: WaitQueue,
    table: MutexGuard<'static, Table>,
}

impl LockedQueue {
    /// Locks the queue of `thing`.
    pub(crate) fn of<T>(thing: &T) -> LockedQueue {
        LockedQueue::at((&raw const *thing).expose_provenance())
    }

    /// Locks the queue of what the caller has borrowed at this address.
    fn at(address: usize) -> LockedQueue {
        let key = Identity::of(address);
        let mut table = table_of(key);
        let waiters = table.remove(&key).unwrap_or_default();
        LockedQueue { key, waiters, table }
    }

    /// Whether nobody stands here. A waiter whose deadline has come may still do so for a moment.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiters.is_empty()
    }

    /// Puts the calling waiter last, and unlocks the queue. A waiter with a `deadline` may end its wait by itself.
    ///
    /// # Safety
    /// The caller sleeps next; until then it may release what it holds, but begins no other wait.
    pub(crate) unsafe fn enqueue(
        mut self,
        ticket: Ticket,
        deadline: bool,
        cause: &Cause,
        at: At,
    ) -> Enqueued {
        park::describe_with(cause.reason, cause.describe);
        let me = Waiter::begin(cause.reason, self.key.address, at);
        let mut node = me.node();
        // SAFETY: a waiter that has just begun a wait stands in no queue, so the node is its own; it lives for ever. In a
        // queue it is touched by those who have locked the queue, until a `Dequeued` is made of it.
        unsafe {
            let node = node.as_mut();
            node.prepare(me, DONE, !deadline);
            node.cell().write([ticket.value, ticket.since]);
            node.set_note(WAITING);
            self.waiters.push(node.into());
        }
        Enqueued { me, address: self.key.address, not_send: PhantomData }
    }

    /// Puts a waiter last that was taken out of another queue: it has what it waited for there, and now waits here.
    pub(crate) fn requeue(&mut self, mut waiter: Dequeued, ticket: Ticket) {
        let node = waiter.node();
        node.cell().write([ticket.value, ticket.since]);
        node.set_note(MOVED);
        // SAFETY: the node stands nowhere; from here on it is touched as `enqueue` says.
        unsafe { self.waiters.push(waiter.0) };
    }

    /// Takes out the first waiter, if it is `wanted`, and ends its wait. DequeuedList whose deadline has come are passed
    /// over.
    pub(crate) fn pop_if(&mut self, wanted: impl Fn(Ticket) -> bool) -> Option<Dequeued> {
        loop {
            let mut node = self.waiters.front()?;
            // SAFETY: it stands here, so it lives and is guarded by the lock that we hold.
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

    /// Takes out everybody.
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

/// What a wait ends with if it was not the deadline.
const DONE: Outcome = Outcome(Outcome::FIRST);

/// The calling waiter, that has enqueued a queue and is about to sleep.
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

// What is on the stack when a goroutine parks is copied with it. So these two are all but empty, and what has to be
// done before belongs into functions that have returned by then.

#[inline(never)]
fn sleep(me: Waiter) -> WakeReason {
    // SAFETY: `me` is from our latest `begin`, and its node is in a queue. Who ends the wait takes it out.
    unsafe {
        me.park(None);
        WakeReason::from_note(me.node().as_ref().note())
    }
}

#[inline(never)]
fn sleep_until(me: Waiter, deadline: Instant) -> Option<WakeReason> {
    // SAFETY: as in `sleep`; after a timeout the node, which may still be in the queue, is not looked at.
    unsafe {
        let outcome = me.park(Some(deadline));
        (outcome != Outcome::TIMED_OUT).then(|| WakeReason::from_note(me.node().as_ref().note()))
    }
}

/// A waiter whose deadline came first, and which may still stand in its queue.
#[must_use]
pub(crate) struct TimedOut(Enqueued);

impl TimedOut {
    /// Takes the waiter out. The queue is then still locked.
    pub(crate) fn dequeue(self) -> LockedQueue {
        // The same key as at the entry: the waiter's stack is in place again, and what it waits for
        // is borrowed still.
        let mut queue = LockedQueue::at(self.0.address);
        // SAFETY: it was enqueued there, and it is the calling waiter's own.
        unsafe { queue.waiters.remove(self.0.me.node()) };
        queue
    }
}

#[cfg(all(test, not(loom)))]
impl LockedQueue {
    /// How many stand here. Turns the waiters once around, which no one can see.
    pub(crate) fn len(&mut self) -> usize {
        let Some(first) = self.waiters.front() else { return 0 };
        let mut count = 0;
        loop {
            count += 1;
            let Some(node) = self.waiters.front() else { unreachable!("it is put back") };
            // SAFETY: it stands here, and stands here again before the queue is unlocked.
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

/// Addresses of locks are multiples of four or more and otherwise near each other. A multiplication spreads them.
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

    /// The number of a goroutine: mostly 0.
    fn write_u64(&mut self, stack_of: u64) {
        if stack_of != 0 {
            self.0 ^= spread(stack_of).rotate_left(17);
        }
    }
}

/// The golden ratio, as far as it fits. The upper bits depend on all bits of the number.
fn spread(number: u64) -> u64 {
    let product = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    product ^ (product >> 32)
}

#[cfg(not(loom))]
fn table_of(key: Identity) -> MutexGuard<'static, Table> {
    use std::sync::PoisonError;

    /// So many that workers rarely meet at one table, on any machine of today.
    const SHARDS: usize = 128;

    /// One table, on a cache queue of its own.
    #[repr(align(64))]
    struct Shard(Mutex<Table>);

    static SHARDED: [Shard; SHARDS] =
        [const { Shard(Mutex::new(Table::with_hasher(BuildHasherDefault::new()))) }; SHARDS];

    // The hash map places its entries by the lowest bits and tells them apart by the uppermost seven.
    let shard = (spread(key.address as u64) >> 40) as usize % SHARDS;
    // Nothing panics while a table is locked. It may be poisoned by a waiter that was unwinding already.
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
