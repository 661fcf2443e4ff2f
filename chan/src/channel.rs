//! The state of a channel, under its lock, and what an operation finds there.
//!
//! One mutex guards the buffer, the two queues of waiters, and whether the channel is closed. The
//! operation that takes a waiter out of its queue hands it what it waits for: the waiter has
//! succeeded when it wakes.
//!
//! A selected send learns that it is chosen before its message is made (the message expression of a
//! `select!` arm runs only if the arm is taken). So it *reserves*: either a place in the buffer,
//! counted in `reserved`, or a receive. A receive without a limit then waits for this send alone;
//! any other receive forms a [pair](crate::pairs) with it.
//!
//! Invariants, whenever the lock is free. They do not count a waiter that has not left its queue
//! yet although its wait has been ended elsewhere.
//!
//! 1. `ring.len() + reserved <= capacity`, not counting messages that dropped receives have given
//!    back. So a channel of capacity 0 has nothing else in its ring.
//! 2. If the ring is not empty, no receive waits.
//! 3. If a send waits, then there is no room: `ring.len() + reserved >= capacity`.
//! 4. A send and a receive wait at the same time only if they are two arms of one select.
//! 5. If the channel is closed, no operation waits, and nothing is added to the ring.
//! 6. No watcher stands in the queue of an operation that is possible: if there is a message, a
//!    waiting send or a close, no receive is watched for; if there is room, a waiting receive or a
//!    close, no send is watched for. So an operation that makes another one possible wakes its
//!    watchers, under the same lock: when it puts a message into the ring, frees a place that no
//!    waiting send gets, enters the queue of the other side, or closes.
//!
//! No code of the user runs while the lock is held: messages are moved under it, never dropped.

use crate::error::SendError;
use crate::info::{ChannelInfo, UNBOUNDED};
use crate::lock::Lock;
use crate::node::Wakeup;
use crate::pairs::{PairKey, Pairs};
use crate::ring::Ring;
use crate::shim::{MutexGuard, Ordering};
use crate::waiters::{BlockedRecv, BlockedSend, LazySend, NodeValue, Offer, Waiters, WakeList};
use narrowboat_runtime::park::Waiter;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// What senders and receivers share. All of them together keep it alive; `ChannelInfo` counts the
/// senders and the receivers.
pub(crate) struct Channel<T> {
    state: Lock<State<T>>,
    pub(crate) info: ChannelInfo,
}

pub(crate) struct State<T> {
    pub(crate) ring: Ring<T>,
    /// Number of places in the ring that belong to selected sends that are making their values.
    reserved: usize,
    pub(crate) pairs: Pairs,
    pub(crate) sends: Waiters<BlockedSend<T>>,
    pub(crate) recvs: Waiters<BlockedRecv<T>>,
    pub(crate) closed: bool,
}

/// A held lock of a channel.
pub(crate) type Guard<'a, T> = MutexGuard<'a, State<T>>;

/// What a receive finds when the buffer is empty.
pub(crate) enum Found<'a, T> {
    /// The message of a blocked send.
    Value(NodeValue<T>),
    /// A selected send, which makes its message next.
    Lazy(LazySend),
    /// No message, and none will come.
    Closed,
    /// No message yet. The lock is still held.
    Nothing(Guard<'a, T>),
}

/// What [`reserve_send`](Channel::reserve_send) finds for a selected send.
pub(crate) enum Reservation<T> {
    /// A place in the ring was reserved.
    InBuffer,
    /// A receive waits for the message of this send alone.
    Matched(BlockedRecv<T>),
    /// A receive waits for the message of this send, but only for a limited time.
    Paired(PairKey),
    Closed,
    Impossible,
}

impl<T> State<T> {
    #[inline]
    fn has_room(&self, capacity: usize) -> bool {
        self.ring.len() + self.reserved < capacity
    }

    /// Gives the place that has just become free to the first blocked send (invariant 3).
    fn admit_send(&mut self) -> Option<Wakeup> {
        match self.sends.pop()?.accept() {
            Offer::Value(value) => {
                let (value, sender) = value.take_with_wakeup();
                self.ring.push(value);
                Some(sender)
            }
            Offer::Lazy(sender) => {
                self.reserved += 1;
                Some(sender.reserve())
            }
        }
    }

    /// Establishes invariant 5.
    fn close(&mut self) -> WakeList {
        let mut woken = WakeList::new();
        self.closed = true;
        self.sends.claim_all_closed(&mut woken);
        self.recvs.claim_all_closed(&mut woken);
        woken
    }
}

impl<T> Channel<T> {
    /// A channel with one sender and one receiver.
    #[track_caller]
    pub(crate) fn new(capacity: usize) -> Channel<T> {
        let state = State {
            ring: Ring::new(capacity),
            reserved: 0,
            pairs: Pairs::new(),
            sends: Waiters::new(),
            recvs: Waiters::new(),
            closed: false,
        };
        Channel { state: Lock::new(state), info: ChannelInfo::new(capacity) }
    }

    #[inline]
    pub(crate) fn lock(&self) -> Guard<'_, T> {
        self.state.lock()
    }

    /// The address that identifies this channel in diagnostics and comparisons.
    #[inline]
    pub(crate) fn address(&self) -> usize {
        (&raw const self.info).expose_provenance()
    }

    /// Completes a receive that has taken a message from the buffer.
    #[inline]
    pub(crate) fn after_pop(&self, state: Guard<'_, T>) {
        if !state.sends.is_empty() {
            self.offer_room(state);
        }
    }

    /// Gives a place in the buffer that has become free to a blocked send. If there is none, wakes
    /// the watchers of sends. Nothing has become free if the message was one that had been given
    /// back.
    #[cold]
    #[inline(never)]
    fn offer_room(&self, mut state: Guard<'_, T>) {
        if !state.has_room(self.info.capacity) {
            return;
        }
        if let Some(sender) = state.admit_send() {
            drop(state);
            sender.wake();
        } else {
            let watchers = state.sends.take_watchers();
            drop(state);
            watchers.wake();
        }
    }

    /// Receives when the buffer is empty, if that is possible now.
    pub(crate) fn find<'a>(&self, mut state: Guard<'a, T>) -> Found<'a, T> {
        debug_assert!(state.ring.is_empty());
        match state.sends.pop().map(BlockedSend::accept) {
            Some(Offer::Value(value)) => Found::Value(value),
            Some(Offer::Lazy(sender)) => Found::Lazy(sender),
            None if state.closed => Found::Closed,
            None => Found::Nothing(state),
        }
    }

    /// Sends, if that is possible now. If not, calls `refused` with the value, and with the lock,
    /// which is still held, unless the channel is closed.
    #[inline]
    pub(crate) fn put<'a, E>(
        &'a self,
        value: T,
        refused: impl FnOnce(T, Option<Guard<'a, T>>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut state = self.lock();
        if state.closed {
            drop(state);
            return refused(value, None);
        }
        if !state.recvs.is_empty() {
            match state.recvs.pop() {
                Some(receiver) => {
                    drop(state);
                    receiver.deliver(value);
                    return Ok(());
                }
                None if state.has_room(self.info.capacity) => {
                    Channel::push_watched(state, value);
                    return Ok(());
                }
                None => {}
            }
        } else if state.has_room(self.info.capacity) {
            state.ring.push(value);
            return Ok(());
        }
        refused(value, Some(state))
    }

    /// Adds a value to the buffer, and wakes the watchers of receives.
    #[cold]
    fn push_watched(mut state: Guard<'_, T>, value: T) {
        state.ring.push(value);
        let watchers = state.recvs.take_watchers();
        drop(state);
        watchers.wake();
    }

    /// Reserves a place in the buffer, or a receive, for a selected send.
    pub(crate) fn reserve_send(&self, mut state: Guard<'_, T>) -> Reservation<T> {
        if state.closed {
            return Reservation::Closed;
        }
        if state.has_room(self.info.capacity) {
            state.reserved += 1;
            return Reservation::InBuffer;
        }
        match state.recvs.pop() {
            None => Reservation::Impossible,
            Some(receiver) if receiver.is_sole() => Reservation::Matched(receiver),
            Some(receiver) => {
                let (key, receiver) = receiver.pair(&mut state.pairs);
                drop(state);
                receiver.wake();
                Reservation::Paired(key)
            }
        }
    }

    /// Whether [`reserve_send`](Channel::reserve_send) may find something, for a select that waits
    /// here with more than one arm. The select's own nodes do not count.
    pub(crate) fn send_may_succeed(&self, state: &State<T>, me: Waiter) -> bool {
        state.closed || state.has_room(self.info.capacity) || state.recvs.has_other_than(me)
    }

    /// Whether a receive may find something, for a select as above.
    pub(crate) fn recv_may_succeed(&self, state: &State<T>, me: Waiter) -> bool {
        state.closed || !state.ring.is_empty() || state.sends.has_other_than(me)
    }

    /// Whether a send is possible now; exact.
    pub(crate) fn can_send(&self, state: &State<T>) -> bool {
        state.closed || state.has_room(self.info.capacity) || state.recvs.has_waiter()
    }

    /// Whether a receive is possible now; exact.
    pub(crate) fn can_recv(&self, state: &State<T>) -> bool {
        state.closed || !state.ring.is_empty() || state.sends.has_waiter()
    }

    /// Delivers the value for a reserved place. If a receive waits, it gets the value. The place is
    /// then free, but by invariants 4 and 6 no send waits or watches for it.
    pub(crate) fn deliver(&self, value: T) -> Result<(), SendError<T>> {
        let mut state = self.lock();
        state.reserved -= 1;
        if state.closed {
            drop(state);
            return Err(SendError(value));
        }
        match state.recvs.pop() {
            Some(receiver) => {
                drop(state);
                receiver.deliver(value);
            }
            None => Channel::push_watched(state, value),
        }
        Ok(())
    }

    /// Takes a message back from a receive that was dropped after the message had been handed to it.
    /// The message is the oldest, so it goes to the first receive that waits, or to the front of the
    /// buffer, which may then hold more than its capacity. If there is no receiver left, it is
    /// dropped.
    #[cold]
    pub(crate) fn give_back(&self, value: T) {
        let mut state = self.lock();
        if let Some(receiver) = state.recvs.pop() {
            drop(state);
            receiver.deliver(value);
        } else if self.info.receivers.load(Ordering::Relaxed) == 0 {
            // The last receiver takes the messages out under the lock, after it has set the count.
            drop(state);
            drop(value);
        } else {
            state.ring.push_front(value);
            let watchers = state.recvs.take_watchers();
            drop(state);
            watchers.wake();
        }
    }

    /// Frees a reserved place that is not used.
    #[cold]
    pub(crate) fn withdraw(&self) {
        let mut state = self.lock();
        state.reserved -= 1;
        self.offer_room(state);
    }

    pub(crate) fn close(&self) -> bool {
        let mut state = self.lock();
        if state.closed {
            return false;
        }
        let woken = state.close();
        drop(state);
        woken.wake();
        true
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().ring.len()
    }

    pub(crate) fn is_full(&self) -> bool {
        !self.lock().has_room(self.info.capacity)
    }

    pub(crate) fn capacity(&self) -> Option<usize> {
        (self.info.capacity != UNBOUNDED).then_some(self.info.capacity)
    }

    // The counts only say which handle is the last. What happens before a handle is dropped is
    // ordered by the mutex, which the drop of the last handle takes. The counts cannot overflow
    // before the count of the `Arc`, which aborts.

    pub(crate) fn add_sender(&self) {
        self.info.senders.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn add_receiver(&self) {
        self.info.receivers.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn drop_sender(&self) {
        if self.info.senders.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.close();
        }
    }

    /// The last receiver closes the channel and drops the messages in it, because no operation can
    /// receive them any more.
    pub(crate) fn drop_receiver(&self) {
        if self.info.receivers.fetch_sub(1, Ordering::AcqRel) == 1 {
            let mut state = self.lock();
            let woken = state.close();
            let messages = state.ring.take();
            drop(state);
            woken.wake();
            drop_each(messages);
        }
    }
}

/// Drops every message, even if the destructors of several panic (dropping the whole queue would
/// then abort). The first panic is resumed when all messages are dropped.
fn drop_each<T>(messages: VecDeque<T>) {
    if !std::mem::needs_drop::<T>() {
        return;
    }
    let mut first = None;
    for message in messages {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(message))) {
            if first.is_none() {
                first = Some(panic);
            } else if let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(panic))) {
                // The payload panicked when it was dropped, and the payload of that panic may do
                // the same.
                std::mem::forget(panic);
            }
        }
    }
    if let Some(panic) = first {
        resume_unwind(panic);
    }
}
