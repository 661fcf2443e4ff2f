//! The blocked parties of a channel, with types: who waits, what its node holds, and what is owed
//! to it.
//!
//! A [`WaitNode`] is two words and a byte that mean nothing by themselves. Here they get their
//! meaning:
//!
//! | queue | note while waiting | cell while waiting |
//! | --- | --- | --- |
//! | receives | - | nothing |
//! | sends | `VALUE` | the value |
//! | sends | `LAZY`: a selected send; its value is made only once it has been chosen ([`crate::pairs`]) | nothing |
//!
//! | note at the wake-up | to a receive | to a send |
//! | --- | --- | --- |
//! | `DONE` | the cell holds the value | the value was taken |
//! | `CLOSED` | nothing will come | the value (if there was one) is still in the cell |
//! | `RETRY` | the partner gave up before it made its value, or a timer was set; try again | (lazy) the partner gave up; try again |
//! | `RESERVED` | - | (lazy) a place in the buffer is kept for the value |
//! | `MATCHED` | - | (lazy) the cell holds the node of a receive that waits for the value, however long it takes |
//! | `PAIRED` | the value is being made; the cell holds the key of the pair | (lazy) a receive waits for the value, for a time; the cell holds the key of the pair |
//!
//! Taking a party out of a queue ends its wait: from then on its node belongs to the one who took
//! it, until the wake-up, which must follow. The types below are consumed by what they do, so that
//! it happens once. Wake-ups belong after the channel's lock has been released.
//!
//! Beside each queue stand its *watchers*: parties that want to know when a receive (or a send) is
//! possible, and to carry out none. They are told and nothing else: no value goes to them or comes
//! from them, and their notes and cells mean nothing. The two queues are apart so that a
//! counterpart never meets a watcher on its way to a party.

use crate::cell::{load, store};
use crate::pairs::{PairKey, Pairs, ReceiveState};
use narrowboat_runtime::park::{Activity, NodeCell, Outcome, WaitNode, WaitQueue, Waiter};
use std::marker::PhantomData;
use std::ptr::NonNull;

/// The byte of a node, see the module's tables.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Note(u8);

impl Note {
    pub(crate) const NONE: Note = Note(0);
    pub(crate) const VALUE: Note = Note(1);
    pub(crate) const LAZY: Note = Note(2);
    pub(crate) const DONE: Note = Note(3);
    pub(crate) const CLOSED: Note = Note(4);
    pub(crate) const RETRY: Note = Note(5);
    pub(crate) const RESERVED: Note = Note(6);
    pub(crate) const PAIRED: Note = Note(7);
    pub(crate) const MATCHED: Note = Note(8);
}

/// The node of a party: the caller's own, or one that was taken out of a queue and whose wake-up is
/// due.
///
/// Copies are for passing it on; the methods state who may call them.
#[derive(Clone, Copy)]
pub(crate) struct NodeRef(NonNull<WaitNode>);

impl NodeRef {
    pub(crate) fn new(node: NonNull<WaitNode>) -> NodeRef {
        NodeRef(node)
    }

    /// Where it lies.
    pub(crate) fn as_ptr(self) -> NonNull<WaitNode> {
        self.0
    }

    /// # Safety
    /// The node is the caller's own and in no queue, or it belongs to the caller, who took it out.
    #[inline]
    unsafe fn get<'a>(self) -> &'a mut WaitNode {
        // SAFETY: alive and touched by nobody else meanwhile, by contract; the reference is used at
        // once.
        unsafe { &mut *self.0.as_ptr() }
    }

    /// # Safety
    /// As for [`get`](NodeRef::get).
    #[inline]
    pub(crate) unsafe fn note(self) -> Note {
        // SAFETY: by contract.
        Note(unsafe { self.get() }.note())
    }

    /// # Safety
    /// As for [`get`](NodeRef::get).
    #[inline]
    pub(crate) unsafe fn set_note(self, note: Note) {
        // SAFETY: by contract.
        unsafe { self.get() }.set_note(note.0);
    }

    /// The party that waits by way of this node.
    ///
    /// # Safety
    /// As for [`get`](NodeRef::get); the node has been prepared.
    pub(crate) unsafe fn waiter(self) -> Waiter {
        // SAFETY: by contract.
        unsafe { self.get() }.waiter()
    }

    /// Prepares the node for a wait that is not in a queue.
    ///
    /// # Safety
    /// As for [`get`](NodeRef::get).
    pub(crate) unsafe fn prepare(self, me: Waiter) {
        // SAFETY: by contract.
        unsafe { self.get() }.prepare(me, SINGLE_QUEUE, false);
    }

    /// # Safety
    /// As for [`get`](NodeRef::get).
    #[inline]
    pub(crate) unsafe fn cell<'a>(self) -> &'a mut NodeCell {
        // SAFETY: by contract.
        unsafe { self.get() }.cell()
    }

    /// Tells the party what became of its wait, and wakes it.
    ///
    /// # Safety
    /// The node was taken out of a queue (or paired with) by the caller, whose last use of it this
    /// is.
    #[inline]
    unsafe fn wake_with(self, note: Note) {
        // SAFETY: the node is ours until the wake-up, which is the last thing we do.
        unsafe {
            let waiter = self.get().waiter();
            self.set_note(note);
            waiter.unpark();
        }
    }
}

/// A party that has what it waited for and is only to be woken.
#[must_use = "a party whose wait was ended sleeps on until it is woken"]
pub(crate) struct Wakeup(NodeRef);

impl Wakeup {
    /// # Safety
    /// The node's party was claimed by the caller and told what it has to know, and this is its one
    /// wake-up.
    pub(crate) unsafe fn of(node: NodeRef) -> Wakeup {
        Wakeup(node)
    }

    #[inline]
    pub(crate) fn wake(self) {
        // SAFETY: an `Wakeup` stands for one claimed party, which this consumes.
        unsafe {
            let waiter = self.0.get().waiter();
            waiter.unpark();
        }
    }
}

/// A receive that was taken out of its queue, and now waits for this caller only.
#[must_use]
pub(crate) struct BlockedRecv<T>(NodeRef, PhantomData<fn(T)>);

impl<T> BlockedRecv<T> {
    /// Hands the value over.
    #[inline]
    pub(crate) fn deliver(self, value: T) {
        // SAFETY: the party is claimed, hence its node is ours; it expects a `T`, being from a
        // queue of such.
        unsafe {
            store(self.0.cell(), value);
            self.0.wake_with(Note::DONE);
        }
    }

    /// Lets the party go without a value.
    #[cold]
    pub(crate) fn retry(self) {
        // SAFETY: as in `give`.
        unsafe { self.0.wake_with(Note::RETRY) }
    }

    /// Whether it waits for a message of this channel and nothing else, however long it takes.
    pub(crate) fn is_sole(&self) -> bool {
        // SAFETY: as in `give`.
        unsafe { self.0.get() }.is_sole()
    }

    pub(crate) fn into_node(self) -> NodeRef {
        self.0
    }

    /// # Safety
    /// The node came from [`into_node`](BlockedRecv::into_node) of a receive of the same type, or
    /// from the match of a lazy send of the same type, and comes back once.
    pub(crate) unsafe fn from_node(node: NodeRef) -> BlockedRecv<T> {
        BlockedRecv(node, PhantomData)
    }

    /// Pairs it with a selected send that has yet to make its value, and is to be woken to learn
    /// that.
    pub(crate) fn pair(self, pairs: &mut Pairs) -> (PairKey, Wakeup) {
        // SAFETY: the party is claimed, hence its node is ours until it is woken. Because of the
        // note it then looks at the pair, and takes that out before it goes on.
        unsafe {
            let key = pairs.insert(self.0, ReceiveState::Awake, Some(Activity::of_caller()));
            store(self.0.cell(), key);
            self.0.set_note(Note::PAIRED);
            (key, Wakeup(self.0))
        }
    }
}

/// A send that was taken out of its queue.
#[must_use]
pub(crate) struct BlockedSend<T>(NodeRef, PhantomData<fn() -> T>);

/// What a blocked send has to offer.
pub(crate) enum Offer<T> {
    Value(NodeValue<T>),
    Lazy(LazySend),
}

impl<T> BlockedSend<T> {
    #[inline]
    pub(crate) fn accept(self) -> Offer<T> {
        // SAFETY: the party is claimed, hence its node is ours.
        if unsafe { self.0.note() } == Note::VALUE {
            Offer::Value(NodeValue { node: self.0, from_send: true, value: PhantomData })
        } else {
            Offer::Lazy(LazySend(self.0))
        }
    }
}

/// A value on its way, still in a node: that of the send it comes from, or that of the receive it
/// came to.
///
/// It is a word or two whatever the value is, and so are the frames it is passed through.
#[must_use]
pub(crate) struct NodeValue<T> {
    node: NodeRef,
    /// The node belongs to a send, which is to be woken.
    from_send: bool,
    value: PhantomData<T>,
}

impl<T> NodeValue<T> {
    /// A value in the calling party's own node.
    ///
    /// # Safety
    /// The node's cell holds a `T`, and the party does not wait before it has taken it.
    #[inline]
    pub(crate) unsafe fn in_own_node(node: NodeRef) -> NodeValue<T> {
        NodeValue { node, from_send: false, value: PhantomData }
    }

    /// The value. The send that it comes from is woken; call it without any lock.
    #[inline]
    pub(crate) fn take(self) -> T {
        // SAFETY: whoever made this says that the cell holds a `T`, and it is taken once, because
        // this consumes the handle. The node is ours: claimed, or our own. A claimed one is given
        // back with its wake-up.
        unsafe {
            let value = load::<T, 2>(self.node.cell());
            if self.from_send {
                self.node.wake_with(Note::DONE);
            }
            value
        }
    }

    /// The value, and the send that it comes from, to be woken when the lock has been released.
    pub(crate) fn take_with_wakeup(self) -> (T, Wakeup) {
        debug_assert!(self.from_send);
        // SAFETY: as in `take`.
        unsafe {
            let value = load::<T, 2>(self.node.cell());
            self.node.set_note(Note::DONE);
            (value, Wakeup(self.node))
        }
    }
}

/// A selected send that was taken out of its queue before it has a value.
#[must_use]
pub(crate) struct LazySend(NodeRef);

impl LazySend {
    /// Tells it that the buffer keeps a place for its value.
    pub(crate) fn reserve(self) -> Wakeup {
        // SAFETY: the party is claimed, hence its node is ours.
        unsafe { self.0.set_note(Note::RESERVED) };
        Wakeup(self.0)
    }

    /// Tells it that the receive of this node waits for its value.
    pub(crate) fn match_with(self, receiver: NodeRef) {
        // SAFETY: as in `reserve`; the cell of a lazy send holds nothing.
        unsafe {
            store(self.0.cell(), receiver);
            self.0.wake_with(Note::MATCHED);
        }
    }

    /// Tells it that a receive waits for its value, for a time.
    pub(crate) fn pair(self, key: PairKey) {
        // SAFETY: as in `reserve`; the cell of a lazy send holds nothing.
        unsafe {
            store(self.0.cell(), key);
            self.0.wake_with(Note::PAIRED);
        }
    }

    /// Tells it that it was chosen for nothing.
    #[cold]
    pub(crate) fn retry(self) {
        // SAFETY: as in `reserve`.
        unsafe { self.0.wake_with(Note::RETRY) }
    }
}

/// The outcome of every wait in one queue; what it led to is in the note.
pub(crate) const SINGLE_QUEUE: Outcome = Outcome(Outcome::FIRST);

/// What stands in a queue: [`BlockedRecv`] or [`BlockedSend`].
pub(crate) trait BlockedOperation {
    fn from_claimed(node: NodeRef) -> Self;
}

impl<T> BlockedOperation for BlockedRecv<T> {
    #[inline]
    fn from_claimed(node: NodeRef) -> Self {
        BlockedRecv(node, PhantomData)
    }
}

impl<T> BlockedOperation for BlockedSend<T> {
    #[inline]
    fn from_claimed(node: NodeRef) -> Self {
        BlockedSend(node, PhantomData)
    }
}

/// One of a channel's two queues, with those who watch for their turn. It stands inside the
/// channel's lock.
pub(crate) struct Waiters<P> {
    queue: WaitQueue,
    watchers: WaitQueue,
    operation: PhantomData<fn(P) -> P>,
}

impl<P: BlockedOperation> Waiters<P> {
    pub(crate) fn new() -> Self {
        Waiters { queue: WaitQueue::new(), watchers: WaitQueue::new(), operation: PhantomData }
    }

    /// Whether nobody waits or watches here; somebody whose wait has just ended elsewhere may. One
    /// branch, because every operation takes it.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty() & self.watchers.is_empty()
    }

    /// Whether a party stands here that still waits.
    pub(crate) fn has_waiter(&self) -> bool {
        count_use();
        self.queue.has_waiting()
    }

    #[cfg(test)]
    pub(crate) fn is_watched(&self) -> bool {
        !self.watchers.is_empty()
    }

    /// Whether a party other than `me` stands here; it may be one whose wait has just ended
    /// elsewhere.
    #[inline]
    pub(crate) fn has_other_than(&self, me: Waiter) -> bool {
        count_use();
        !self.queue.is_empty() && self.queue.has_other_than(me)
    }

    /// Takes out the first party that still waits, ending its wait.
    #[inline]
    pub(crate) fn pop(&mut self) -> Option<P> {
        if self.queue.is_empty() {
            return None;
        }
        count_use();
        self.queue.pop_claim(None).map(|node| P::from_claimed(NodeRef(node)))
    }

    /// Takes out everybody, to be told that the channel is closed.
    pub(crate) fn claim_all_closed(&mut self, into: &mut WakeList) {
        self.claim_all(Note::CLOSED, into);
    }

    /// Takes out everybody, to be told what the note says.
    pub(crate) fn claim_all(&mut self, note: Note, into: &mut WakeList) {
        into.claim_from(&mut self.queue, note);
        into.claim_from(&mut self.watchers, note);
    }

    /// Takes out the watchers, to be told that their turn has come.
    #[inline]
    pub(crate) fn take_watchers(&mut self) -> WakeList {
        let mut watchers = WakeList::new();
        if !self.watchers.is_empty() {
            watchers.claim_from(&mut self.watchers, Note::NONE);
        }
        watchers
    }

    /// Puts the calling party last.
    ///
    /// # Safety
    /// `node` is the caller's own, stands in no queue, and its note and cell are as the module's
    /// table has them for this queue. It lives on the heap until it has been taken out by
    /// [`leave`](Waiters::leave) or by another party, which for a wait that was ended by this node
    /// is when the caller returns from its park. `sole` as in [`WaitNode::prepare`].
    #[inline]
    pub(crate) unsafe fn enter(&mut self, node: NodeRef, me: Waiter, outcome: Outcome, sole: bool) {
        count_use();
        // SAFETY: by contract.
        unsafe {
            node.get().prepare(me, outcome, sole);
            self.queue.push(node.0);
        }
    }

    /// Takes the calling party's node out, if it is still there.
    ///
    /// # Safety
    /// The node was entered here, or never entered anywhere, and is alive.
    #[inline]
    pub(crate) unsafe fn leave(&mut self, node: NodeRef) {
        count_use();
        // SAFETY: by contract.
        unsafe { self.queue.remove(node.0) };
    }

    /// Puts the calling party last among the watchers.
    ///
    /// # Safety
    /// As for [`enter`](Waiters::enter), with [`unwatch`](Waiters::unwatch) for `leave`.
    pub(crate) unsafe fn watch(&mut self, node: NodeRef, me: Waiter, outcome: Outcome, sole: bool) {
        count_use();
        // SAFETY: by contract.
        unsafe {
            node.get().prepare(me, outcome, sole);
            self.watchers.push(node.0);
        }
    }

    /// Takes the calling party's node out, if it is still there.
    ///
    /// # Safety
    /// The node came here by [`watch`](Waiters::watch), and is alive.
    pub(crate) unsafe fn unwatch(&mut self, node: NodeRef) {
        count_use();
        // SAFETY: by contract.
        unsafe { self.watchers.remove(node.0) };
    }
}

/// Counts what a thread does with queues, in tests. What one use costs is counted where queues are.
#[inline(always)]
fn count_use() {
    #[cfg(test)]
    USES.with(|uses| uses.set(uses.get() + 1));
}

#[cfg(test)]
thread_local!(pub(crate) static USES: std::cell::Cell<usize> = const { std::cell::Cell::new(0) });

/// Any number of parties that are only to be woken, chained by their own nodes.
#[must_use = "parties whose wait was ended sleep on until they are woken"]
pub(crate) struct WakeList(WaitQueue);

impl WakeList {
    #[inline]
    pub(crate) fn new() -> WakeList {
        WakeList(WaitQueue::new())
    }

    /// Ends the waits in a queue that stands under a lock of the caller's, leaving `note` in their
    /// nodes.
    fn claim_from(&mut self, queue: &mut WaitQueue, note: Note) {
        while let Some(node) = queue.pop_claim(None) {
            // SAFETY: a claimed node stands in no queue, lives until its party is woken, and is
            // ours.
            unsafe {
                NodeRef(node).set_note(note);
                self.0.push(node);
            }
        }
    }

    /// Wakes them. Call it without any lock.
    #[inline]
    pub(crate) fn wake(mut self) {
        while let Some(node) = self.0.front() {
            // SAFETY: the node was pushed by `take` and lives until its party is woken, which is
            // the last thing done with it; its successor in the chain is still asleep, and
            // therefore alive.
            unsafe {
                self.0.remove(node);
                Wakeup(NodeRef(node)).wake();
            }
        }
    }
}
