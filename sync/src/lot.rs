//! The parking lot: where the parties wait that wait for a lock, or for anything else in this crate.
//!
//! A lock is a word of state and has no room for a queue. The parties that wait for it are in a
//! *line*, and the lines of all locks are in one table, keyed by the [`Identity`] of the lock.
//! There is a line only while a party is in it. An operation that sees in the state word that
//! nothing waits, which is the rule, does not come here.
//!
//! The protocol, step by step. The state word belongs to the lock; what is said of it is the same for all of them.
//!
//! 1. The party locks the line ([`Line::of`]).
//! 2. It looks at the state word once more. If it must wait still, it notes there, in one atomic step, that somebody
//!    does, and [enters](Line::enter) the line, which unlocks it.
//! 3. It [sleeps](Entered::sleep).
//! 4. Whoever changes the state word sees the note of step 2 in the same atomic step, or had changed it before step 2,
//!    which then saw the change. If there is a note, it locks the line, takes [parties](Party) out, decides what
//!    becomes of them, settles the state word, unlocks the line, and only then wakes them, telling each what was
//!    decided.
//! 5. If the deadline of a party comes first, it takes itself out of the line ([`Late::leave`]).
//!
//! So nobody is lost between its look and its sleep; and that somebody waits is noted for as long as there is a line,
//! because only those who have locked the line take the note away. What the state words guard is ordered by the state
//! words; what is said from waker to sleeper is ordered by the line's lock and by the wake-up.
//!
//! The key of a line is an address and, if that is on a copied stack, the goroutine that the stack
//! belongs to: two locks that are locals of two goroutines of one slot have one address, and two
//! lines. A key is in use only while a party waits, and that party borrows what is at the address.
//! The table holds nodes, which are the parties' own and lie on the heap, and nothing of a stack.
//!
//! Nothing in here runs code of the user's, and nothing parks while a line is locked. At most one line is locked at a
//! time.

use crate::shim::{Mutex, MutexGuard};
use narrowboat_runtime::park::{self, Describe, Identity, Outcome, Reason, WaitNode, WaitQueue, Waiter};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::marker::PhantomData;
use std::panic::Location;
use std::ptr::NonNull;
use std::time::Instant;

/// The source line of the operation, for diagnostics.
pub(crate) type At = &'static Location<'static>;

/// What a party leaves at its place for those who take it out. Its meaning is the line owner's.
#[derive(Clone, Copy)]
pub(crate) struct Ticket {
    pub(crate) what: usize,
    /// When the party first stood in a line for this, if the owner cares.
    pub(crate) since: usize,
}

/// What the parties of a line wait for, for diagnostics: the reason, and how to describe what the line belongs to.
pub(crate) struct Cause {
    pub(crate) reason: Reason,
    pub(crate) describe: Describe,
}

/// How to describe a `T` that lines are named after ([`Line::of`]).
macro_rules! describer {
    ($type:ty, $describe:expr) => {
        |place, each| {
            // SAFETY: whoever stands in a line borrows what lies at its address until its wait is over.
            let thing: &$type = unsafe { &*std::ptr::with_exposed_provenance(place) };
            let (kind, details, held_by) = $describe(thing);
            each(narrowboat_runtime::park::Thing { operation: "", address: place, kind, details, held_by });
        }
    };
}
pub(crate) use describer;

/// What a party is told when its wait ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Told {
    /// It has what it waited for.
    Granted,
    /// It may try again.
    Retry,
}

impl Told {
    const fn note(self) -> u8 {
        self as u8
    }

    fn from_note(note: u8) -> Told {
        if note == Told::Granted.note() { Told::Granted } else { Told::Retry }
    }
}

/// The note of a party in a line: its wait has yet to be ended.
const WAITING: u8 = 10;
/// The same: its wait was ended when it was taken out of another line, and it is to be woken from this one.
const MOVED: u8 = 11;

/// A party that was taken out of a line. It sleeps until [`wake`](Party::wake) is called.
#[must_use]
pub(crate) struct Party(NonNull<WaitNode>);

impl Party {
    fn node(&mut self) -> &mut WaitNode {
        // SAFETY: a `Party` is made for the one who has ended the party's wait and taken the node out of its line.
        // Until the wake-up the node lives, and nobody else touches it.
        unsafe { self.0.as_mut() }
    }

    pub(crate) fn ticket(&self) -> Ticket {
        // SAFETY: as for `node`.
        unsafe { ticket_of(self.0) }
    }

    /// Call it without any line locked.
    pub(crate) fn wake(mut self, told: Told) {
        let node = self.node();
        node.set_note(told.note());
        let waiter = node.waiter();
        // SAFETY: this party's wait was ended for us, and `self` is consumed.
        unsafe { waiter.unpark() };
    }
}

/// # Safety
/// The node stands, or has stood, in a line; it is the caller's, or guarded by a lock that the caller holds.
unsafe fn ticket_of(mut node: NonNull<WaitNode>) -> Ticket {
    // SAFETY: by contract; a node gets its ticket before it gets into a line.
    let [what, since] = unsafe { node.as_mut().cell().assume_init() };
    Ticket { what, since }
}

/// Parties that were taken out of their lines, chained by their own nodes, first taken first.
#[must_use]
pub(crate) struct Parties(WaitQueue);

impl Parties {
    pub(crate) fn new() -> Parties {
        Parties(WaitQueue::new())
    }

    pub(crate) fn push(&mut self, party: Party) {
        // SAFETY: the node stands nowhere, and is ours alone until it is woken, which needs it to be popped first.
        unsafe { self.0.push(party.0) };
    }

    pub(crate) fn pop(&mut self) -> Option<Party> {
        let node = self.0.front()?;
        // SAFETY: it was pushed here and has not been woken.
        unsafe { self.0.remove(node) };
        Some(Party(node))
    }

    /// The ticket of the first.
    pub(crate) fn ticket(&self) -> Option<Ticket> {
        // SAFETY: as for `Party::node`.
        self.0.front().map(|node| unsafe { ticket_of(node) })
    }

    /// Call it without any line locked.
    pub(crate) fn wake(mut self, told: Told) {
        while let Some(party) = self.pop() {
            party.wake(told);
        }
    }
}

/// The parties that wait for one object. It is locked: nothing else enters or leaves meanwhile.
pub(crate) struct Line {
    key: Identity,
    /// Taken out of the table for as long as the line is locked.
    queue: WaitQueue,
    table: MutexGuard<'static, Table>,
}

impl Line {
    /// Locks the line of `thing`.
    pub(crate) fn of<T>(thing: &T) -> Line {
        Line::at((&raw const *thing).expose_provenance())
    }

    /// Locks the line of what the caller has borrowed at this address.
    fn at(address: usize) -> Line {
        let key = Identity::of(address);
        let mut table = table_of(key);
        let queue = table.remove(&key).unwrap_or_default();
        Line { key, queue, table }
    }

    /// Whether nobody stands here. A party whose deadline has come may still do so for a moment.
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Puts the calling party last, and unlocks the line. A party with a `deadline` may end its wait by itself.
    ///
    /// # Safety
    /// The caller sleeps next; until then it may release what it holds, but begins no other wait.
    pub(crate) unsafe fn enter(mut self, ticket: Ticket, deadline: bool, cause: &Cause, at: At) -> Entered {
        park::describe_with(cause.reason, cause.describe);
        let me = Waiter::begin(cause.reason, self.key.address, at);
        let mut node = me.node();
        // SAFETY: a party that has just begun a wait stands in no line, so the node is its own; it lives for ever. In a
        // line it is touched by those who have locked the line, until a `Party` is made of it.
        unsafe {
            let node = node.as_mut();
            node.prepare(me, DONE, !deadline);
            node.cell().write([ticket.what, ticket.since]);
            node.set_note(WAITING);
            self.queue.push(node.into());
        }
        Entered { me, address: self.key.address, not_send: PhantomData }
    }

    /// Puts a party last that was taken out of another line: it has what it waited for there, and now waits here.
    pub(crate) fn adopt(&mut self, mut party: Party, ticket: Ticket) {
        let node = party.node();
        node.cell().write([ticket.what, ticket.since]);
        node.set_note(MOVED);
        // SAFETY: the node stands nowhere; from here on it is touched as `enter` says.
        unsafe { self.queue.push(party.0) };
    }

    /// Takes out the first party, if it is `wanted`, and ends its wait. Parties whose deadline has come are passed
    /// over.
    pub(crate) fn pop_if(&mut self, wanted: impl Fn(Ticket) -> bool) -> Option<Party> {
        loop {
            let mut node = self.queue.front()?;
            // SAFETY: it stands here, so it lives and is guarded by the lock that we hold.
            if !wanted(unsafe { ticket_of(node) }) {
                return None;
            }
            // SAFETY: as above.
            let (waiter, moved) = unsafe {
                self.queue.remove(node);
                let node = node.as_mut();
                (node.waiter(), node.note() == MOVED)
            };
            if moved || waiter.try_end(DONE) {
                return Some(Party(node));
            }
        }
    }

    pub(crate) fn pop(&mut self) -> Option<Party> {
        self.pop_if(|_| true)
    }

    /// Takes out everybody.
    pub(crate) fn pop_all(&mut self) -> Parties {
        let mut parties = Parties::new();
        while let Some(party) = self.pop() {
            parties.push(party);
        }
        parties
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if !self.queue.is_empty() {
            self.table.insert(self.key, std::mem::take(&mut self.queue));
        }
    }
}

/// What a wait ends with if it was not the deadline.
const DONE: Outcome = Outcome(Outcome::FIRST);

/// The calling party, that has entered a line and is about to sleep.
#[must_use]
pub(crate) struct Entered {
    me: Waiter,
    address: usize,
    not_send: PhantomData<*mut ()>,
}

impl Entered {
    pub(crate) fn sleep(self) -> Told {
        sleep(self.me)
    }

    pub(crate) fn sleep_until(self, deadline: Instant) -> Result<Told, Late> {
        match sleep_until(self.me, deadline) {
            Some(told) => Ok(told),
            None => Err(Late(self)),
        }
    }
}

// What is on the stack when a goroutine parks is copied with it. So these two are all but empty, and what has to be
// done before belongs into functions that have returned by then.

#[inline(never)]
fn sleep(me: Waiter) -> Told {
    // SAFETY: `me` is from our latest `begin`, and its node is in a line. Who ends the wait takes it out.
    unsafe {
        me.park(None);
        Told::from_note(me.node().as_ref().note())
    }
}

#[inline(never)]
fn sleep_until(me: Waiter, deadline: Instant) -> Option<Told> {
    // SAFETY: as in `sleep`; after a timeout the node, which may still be in the line, is not looked at.
    unsafe {
        let outcome = me.park(Some(deadline));
        (outcome != Outcome::TIMED_OUT).then(|| Told::from_note(me.node().as_ref().note()))
    }
}

/// A party whose deadline came first, and which may still stand in its line.
#[must_use]
pub(crate) struct Late(Entered);

impl Late {
    /// Takes the party out. The line is then still locked.
    pub(crate) fn leave(self) -> Line {
        // The same key as at the entry: the party's stack is in place again, and what it waits for
        // is borrowed still.
        let mut line = Line::at(self.0.address);
        // SAFETY: it was entered there, and it is the calling party's own.
        unsafe { line.queue.remove(self.0.me.node()) };
        line
    }
}

#[cfg(all(test, not(loom)))]
impl Line {
    /// How many stand here. Turns the queue once around, which no one can see.
    pub(crate) fn len(&mut self) -> usize {
        let Some(first) = self.queue.front() else { return 0 };
        let mut count = 0;
        loop {
            count += 1;
            let Some(node) = self.queue.front() else { unreachable!("it is put back") };
            // SAFETY: it stands here, and stands here again before the line is unlocked.
            unsafe {
                self.queue.remove(node);
                self.queue.push(node);
            }
            if self.queue.front() == Some(first) {
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

    /// One table, on a cache line of its own.
    #[repr(align(64))]
    struct Shard(Mutex<Table>);

    static SHARDED: [Shard; SHARDS] =
        [const { Shard(Mutex::new(Table::with_hasher(BuildHasherDefault::new()))) }; SHARDS];

    // The hash map places its entries by the lowest bits and tells them apart by the uppermost seven.
    let shard = (spread(key.address as u64) >> 40) as usize % SHARDS;
    // Nothing panics while a table is locked. It may be poisoned by a party that was unwinding already.
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
