//! The waiters of a channel, with types: what each waits for, what its node holds, and the wake-up
//! that it must get.
//!
//! A [node](crate::node) has a cell of two words and a note of one byte. This module defines what
//! they mean:
//!
//! | queue | note while waiting | cell while waiting |
//! | --- | --- | --- |
//! | receives | - | nothing |
//! | sends | `VALUE` | the value |
//! | sends | `LAZY`: a selected send | nothing |
//!
//! A *lazy* send makes its value only once it has been chosen ([`crate::pairs`]).
//!
//! | note at the wake-up | meaning for a receive | meaning for a send |
//! | --- | --- | --- |
//! | `DONE` | the cell holds the value | the value was taken |
//! | `CLOSED` | the channel is closed | the same; the value, if any, is still in the cell |
//! | `RETRY` | try again: the send gave up | lazy only: try again, the receive gave up |
//! | `RESERVED` | - | lazy only: a place in the buffer is reserved for the value |
//! | `MATCHED` | - | lazy only: a receive waits for the value without a limit |
//! | `PAIRED` | the value is being made | lazy only: a receive waits for the value for some time |
//!
//! With `MATCHED` the cell holds the node of the receive, with `PAIRED` the key of the pair. A
//! timer that is set tells its waiters `RETRY`, too.
//!
//! Taking a waiter out of a queue ends its wait. From then on its node belongs to the code that
//! took it out, until the wake-up, which must follow. The methods of the types below consume the
//! value, so that each wake-up happens once. Wake waiters after the channel's lock has been
//! released.
//!
//! Each queue has *watchers* beside it: waiters that want to know when a receive (or a send) is
//! possible, and that carry out none. A watcher is only woken: no value goes to it or comes from
//! it, and its note and cell mean nothing. Watchers have a queue of their own, so that an operation
//! that looks for a waiter never meets a watcher.

use crate::cell::{load, store};
use crate::node::{NodeRef, Note, Wakeup};
use crate::pairs::{PairKey, Pairs, ReceiveState};
use narrowboat_runtime::park::{Activity, Outcome, TaskWait, WaitQueue, Waiter};
use std::marker::PhantomData;

/// A receive that was taken out of its queue. Only the holder of this value can wake it.
#[must_use]
pub(crate) struct BlockedRecv<T>(NodeRef, PhantomData<fn(T)>);

impl<T> BlockedRecv<T> {
    /// Hands the value over.
    #[inline]
    pub(crate) fn deliver(self, value: T) {
        // SAFETY: the waiter is claimed, hence its node is ours. It expects a `T`, because it comes
        // from a queue of receives of `T`.
        unsafe {
            store(self.0.cell(), value);
            self.0.wake_with(Note::DONE);
        }
    }

    /// Wakes the receive without a value, so that it tries again.
    #[cold]
    pub(crate) fn retry(self) {
        // SAFETY: as in `deliver`.
        unsafe { self.0.wake_with(Note::RETRY) }
    }

    /// Whether it waits for a message of this channel alone, and without a time limit.
    pub(crate) fn is_sole(&self) -> bool {
        // SAFETY: as in `deliver`.
        unsafe { self.0.is_sole() }
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

    /// Pairs the receive with a selected send that has yet to make its value. The receive must be
    /// woken to learn of the pair.
    pub(crate) fn pair(self, pairs: &mut Pairs) -> (PairKey, Wakeup) {
        // SAFETY: the waiter is claimed, hence its node is ours until it is woken. The note makes
        // it look at the pair then, and take the pair out before it goes on.
        unsafe {
            let key = pairs.insert(self.0, ReceiveState::Awake, Some(Activity::of_caller()));
            store(self.0.cell(), key);
            self.0.set_note(Note::PAIRED);
            (key, Wakeup::of(self.0))
        }
    }
}

/// A send that was taken out of its queue.
#[must_use]
pub(crate) struct BlockedSend<T>(NodeRef, PhantomData<fn() -> T>);

/// What a blocked send offers.
pub(crate) enum Offer<T> {
    Value(NodeValue<T>),
    Lazy(LazySend),
}

impl<T> BlockedSend<T> {
    #[inline]
    pub(crate) fn accept(self) -> Offer<T> {
        // SAFETY: the waiter is claimed, hence its node is ours.
        if unsafe { self.0.note() } == Note::VALUE {
            Offer::Value(NodeValue { node: self.0, from_send: true, value: PhantomData })
        } else {
            Offer::Lazy(LazySend(self.0))
        }
    }
}

/// A value that is still in a node: in that of the send it comes from, or in that of the receive it
/// goes to.
///
/// It is one or two words, whatever the size of the value. So the frames through which it is passed
/// stay small.
#[must_use]
pub(crate) struct NodeValue<T> {
    node: NodeRef,
    /// The node belongs to a send, which must be woken.
    from_send: bool,
    value: PhantomData<T>,
}

impl<T> NodeValue<T> {
    /// A value in the caller's own node.
    ///
    /// # Safety
    /// The node's cell holds a `T`, and the caller does not wait before it has taken the value.
    #[inline]
    pub(crate) unsafe fn in_own_node(node: NodeRef) -> NodeValue<T> {
        NodeValue { node, from_send: false, value: PhantomData }
    }

    /// Takes the value, and wakes the send that it comes from, if any. Call it without any lock.
    #[inline]
    pub(crate) fn take(self) -> T {
        // SAFETY: the code that made this value promised that the cell holds a `T`. It is taken
        // once, because this call consumes `self`. The node is ours: claimed, or our own. The
        // wake-up gives a claimed node back.
        unsafe {
            let value = load::<T, 2>(self.node.cell());
            if self.from_send {
                self.node.wake_with(Note::DONE);
            }
            value
        }
    }

    /// Takes the value. Returns it with the wake-up of the send that it comes from, for when the
    /// lock has been released.
    pub(crate) fn take_with_wakeup(self) -> (T, Wakeup) {
        debug_assert!(self.from_send);
        // SAFETY: as in `take`.
        unsafe {
            let value = load::<T, 2>(self.node.cell());
            self.node.set_note(Note::DONE);
            (value, Wakeup::of(self.node))
        }
    }
}

/// A selected send that was taken out of its queue before it has a value.
#[must_use]
pub(crate) struct LazySend(NodeRef);

impl LazySend {
    /// Tells the send that a place in the buffer is reserved for its value.
    pub(crate) fn reserve(self) -> Wakeup {
        // SAFETY: the waiter is claimed, hence its node is ours.
        unsafe {
            self.0.set_note(Note::RESERVED);
            Wakeup::of(self.0)
        }
    }

    /// Tells the send that the receive of this node waits for its value.
    pub(crate) fn match_with(self, receiver: NodeRef) {
        // SAFETY: as in `reserve`; the cell of a lazy send holds nothing.
        unsafe {
            store(self.0.cell(), receiver);
            self.0.wake_with(Note::MATCHED);
        }
    }

    /// Tells the send that a receive waits for its value for a limited time.
    pub(crate) fn pair(self, key: PairKey) {
        // SAFETY: as in `reserve`; the cell of a lazy send holds nothing.
        unsafe {
            store(self.0.cell(), key);
            self.0.wake_with(Note::PAIRED);
        }
    }

    /// Tells the send that no receive waits for its value, so that it tries again.
    #[cold]
    pub(crate) fn retry(self) {
        // SAFETY: as in `reserve`.
        unsafe { self.0.wake_with(Note::RETRY) }
    }
}

/// An operation that waits in a queue: [`BlockedRecv`] or [`BlockedSend`].
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

/// One of a channel's two queues, with its watchers. The channel's lock guards it.
pub(crate) struct Waiters<P> {
    queue: WaitQueue,
    watchers: WaitQueue,
    operation: PhantomData<fn(P) -> P>,
}

impl<P: BlockedOperation> Waiters<P> {
    pub(crate) fn new() -> Self {
        Waiters { queue: WaitQueue::new(), watchers: WaitQueue::new(), operation: PhantomData }
    }

    /// Whether there are neither waiters nor watchers. A waiter counts even if its wait has just
    /// been ended elsewhere. Compiles to one branch, because every operation calls this.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty() & self.watchers.is_empty()
    }

    /// Whether there is a waiter with a wait that has not ended yet.
    pub(crate) fn has_waiter(&self) -> bool {
        count_use();
        self.queue.has_waiting()
    }

    #[cfg(test)]
    pub(crate) fn is_watched(&self) -> bool {
        !self.watchers.is_empty()
    }

    /// Whether there is a waiter other than `me`. It counts even if its wait has just been ended
    /// elsewhere.
    #[inline]
    pub(crate) fn has_other_than(&self, me: Waiter) -> bool {
        count_use();
        !self.queue.is_empty() && self.queue.has_other_than(me)
    }

    /// Takes out the first waiter with a wait that has not ended yet, and ends that wait.
    #[inline]
    pub(crate) fn pop(&mut self) -> Option<P> {
        if self.queue.is_empty() {
            return None;
        }
        count_use();
        self.queue.pop_claim(None).map(|node| P::from_claimed(NodeRef::new(node)))
    }

    /// Takes out all waiters and watchers, and tells them that the channel is closed.
    pub(crate) fn claim_all_closed(&mut self, into: &mut WakeList) {
        self.claim_all(Note::CLOSED, into);
    }

    /// Takes out all waiters and watchers, and sets the note in their nodes.
    pub(crate) fn claim_all(&mut self, note: Note, into: &mut WakeList) {
        into.claim_from(&mut self.queue, note);
        into.claim_from(&mut self.watchers, note);
    }

    /// Takes out the watchers, because the operation that they watch for may be possible now.
    #[inline]
    pub(crate) fn take_watchers(&mut self) -> WakeList {
        let mut list = WakeList::new();
        if !self.watchers.is_empty() {
            list.claim_from(&mut self.watchers, Note::NONE);
        }
        list
    }

    /// Puts the caller's node at the end of the queue.
    ///
    /// # Safety
    /// `node` is the caller's own and stands in no queue. Its note and cell are as the module's
    /// table says for this queue. It lives on the heap until [`leave`](Waiters::leave) or an
    /// operation of the other side has taken it out; if this node ended the wait, that is when the
    /// caller returns from its park. `sole` as in
    /// [`WaitNode::prepare`](narrowboat_runtime::park::WaitNode::prepare).
    #[inline]
    pub(crate) unsafe fn enter(&mut self, node: NodeRef, me: Waiter, outcome: Outcome, sole: bool) {
        count_use();
        // SAFETY: by contract.
        unsafe {
            node.prepare(me, outcome, sole);
            self.queue.push(node.as_ptr());
        }
    }

    /// Takes the caller's node out of the queue. False if it is not there any more.
    ///
    /// # Safety
    /// The node was entered here, or never entered anywhere, and is alive.
    #[inline]
    pub(crate) unsafe fn leave(&mut self, node: NodeRef) -> bool {
        count_use();
        // SAFETY: by contract.
        unsafe { self.queue.remove(node.as_ptr()) }
    }

    /// Takes the node of an async task out of the queue. False if its wait has been ended.
    ///
    /// # Safety
    /// The node was entered here, or the wait has been ended.
    pub(crate) unsafe fn leave_task(&mut self, wait: &TaskWait) -> bool {
        count_use();
        // SAFETY: the caller holds the channel's lock, since it has the queue; by contract.
        unsafe { wait.leave(&mut self.queue) }
    }

    /// Puts the caller's node at the end of the watchers' queue.
    ///
    /// # Safety
    /// As for [`enter`](Waiters::enter), with [`unwatch`](Waiters::unwatch) for `leave`.
    pub(crate) unsafe fn watch(&mut self, node: NodeRef, me: Waiter, outcome: Outcome, sole: bool) {
        count_use();
        // SAFETY: by contract.
        unsafe {
            node.prepare(me, outcome, sole);
            self.watchers.push(node.as_ptr());
        }
    }

    /// Takes the caller's node out of the watchers' queue, if it is still there.
    ///
    /// # Safety
    /// The node came here by [`watch`](Waiters::watch), and is alive.
    pub(crate) unsafe fn unwatch(&mut self, node: NodeRef) {
        count_use();
        // SAFETY: by contract.
        unsafe { self.watchers.remove(node.as_ptr()) };
    }
}

/// Counts the uses of queues by a thread, in tests. The tests of `WaitQueue` count the steps of one
/// use.
#[inline(always)]
fn count_use() {
    #[cfg(test)]
    USES.with(|uses| uses.set(uses.get() + 1));
}

#[cfg(test)]
thread_local!(pub(crate) static USES: std::cell::Cell<usize> = const { std::cell::Cell::new(0) });

/// The wake-ups of any number of waiters, in a list linked through their own nodes.
#[must_use = "waiters whose wait was ended sleep on until they are woken"]
pub(crate) struct WakeList(WaitQueue);

impl WakeList {
    #[inline]
    pub(crate) fn new() -> WakeList {
        WakeList(WaitQueue::new())
    }

    /// Ends all waits in a queue, and sets `note` in their nodes. The caller holds the lock of the
    /// queue.
    pub(crate) fn claim_from(&mut self, queue: &mut WaitQueue, note: Note) {
        while let Some(node) = queue.pop_claim(None) {
            // SAFETY: a claimed node stands in no queue, lives until its waiter is woken, and is
            // ours.
            unsafe {
                NodeRef::new(node).set_note(note);
                self.0.push(node);
            }
        }
    }

    /// Wakes all waiters in the list. Call it without any lock.
    #[inline]
    pub(crate) fn wake(mut self) {
        while let Some(node) = self.0.front() {
            // SAFETY: `claim_from` has pushed the node, which lives until its waiter is woken. The
            // wake-up is the last use of the node. The next node in the list belongs to a waiter
            // that is still asleep, and is therefore alive.
            unsafe {
                self.0.remove(node);
                Wakeup::of(NodeRef::new(node)).wake();
            }
        }
    }
}
