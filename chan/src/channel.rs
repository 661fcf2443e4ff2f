//! The locked heart of a channel, and what an operation finds there.
//!
//! One mutex guards the buffer, the two queues of blocked parties, and whether the channel is
//! closed. A blocked party is handed what it waits for by whoever takes it out of its queue: it has
//! succeeded when it wakes.
//!
//! A selected send learns that it was chosen before its message is made (the message expression of
//! a `select!` arm runs only if the arm is taken). So it *reserves*: a place in the buffer, counted
//! in `reserved`, or a receive. A receive without a limit then waits for this send alone; any other
//! is a [pair](crate::pairs) with it.
//!
//! Invariants, whenever the lock is free, not counting parties whose wait has been ended elsewhere
//! and who have not left their queue yet:
//!
//! 1. `ring.len() + reserved <= capacity`. A channel of capacity 0 has nothing in its ring, ever.
//! 2. If the ring is not empty, no receive waits.
//! 3. If a send waits, then there is no room: `ring.len() + reserved == capacity`.
//! 4. A send and a receive wait at the same time only if they are two arms of one select.
//! 5. If the channel is closed, nobody waits, and nothing is added to the ring.
//! 6. Nobody watches for what is possible: if there is a message, a waiting send or a close, then
//!    no receive is watched for; if there is room, a waiting receive or a close, then no send is.
//!    So whoever makes an operation possible calls its watchers, under the same lock: by putting a
//!    message into the ring, by freeing a place that no waiting send gets, by entering the queue of
//!    the other side, by closing.
//!
//! Nothing in here runs code of the user's while the lock is held: messages are moved under it,
//! never dropped.

use crate::block::{At, Limit};
use crate::describe::ChannelInfo;
use crate::error::SendError;
use crate::lock::Lock;
use crate::pairs::{PairKey, Pairs};
use crate::ring::Ring;
use crate::shim::{MutexGuard, Ordering};
use crate::waiters::{BlockedRecv, BlockedSend, LazySend, NodeValue, Offer, Waiters, WakeList, Wakeup};
use narrowboat_runtime::park::Waiter;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// The capacity of a channel without a limit.
pub(crate) const UNBOUNDED: usize = usize::MAX;

/// What senders and receivers share. Kept alive by all of them together; `senders` and `receivers`
/// say how many of each there are.
pub(crate) struct Channel<T> {
    state: Lock<State<T>>,
    pub(crate) info: ChannelInfo,
}

pub(crate) struct State<T> {
    pub(crate) ring: Ring<T>,
    /// Places in the ring that belong to selected sends whose value is being made.
    reserved: usize,
    pub(crate) pairs: Pairs,
    pub(crate) sends: Waiters<BlockedSend<T>>,
    pub(crate) recvs: Waiters<BlockedRecv<T>>,
    pub(crate) closed: bool,
}

/// The lock of a channel, held.
pub(crate) type Guard<'a, T> = MutexGuard<'a, State<T>>;

/// What a receive finds when the buffer is empty.
pub(crate) enum Found<'a, T> {
    /// The message of a blocked send.
    Value(NodeValue<T>),
    /// A selected send that is about to make its message.
    Lazy(LazySend),
    /// No message, and none will come.
    Closed,
    /// No message yet. The lock is still held.
    Nothing(Guard<'a, T>),
}

/// What a selected send finds.
pub(crate) enum Reservation<T> {
    /// A place in the ring was reserved.
    InBuffer,
    /// A receive waits for the message of this send alone.
    Matched(BlockedRecv<T>),
    /// The same, but not for ever.
    Paired(PairKey),
    Closed,
    Impossible,
}

impl<T> State<T> {
    #[inline]
    fn has_room(&self, capacity: usize) -> bool {
        self.ring.len() + self.reserved < capacity
    }

    /// Lets the first blocked send have the place that has just become free (invariant 3).
    fn admit_send(&mut self) -> Option<Wakeup> {
        match self.sends.pop()?.accept() {
            Offer::Value(held) => {
                let (value, sender) = held.take_with_wakeup();
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

    /// What stands for this channel in diagnostics and comparisons.
    #[inline]
    pub(crate) fn address(&self) -> usize {
        (&raw const self.info).expose_provenance()
    }

    /// Ends a receive that has taken a message from the buffer.
    #[inline]
    pub(crate) fn after_pop(&self, state: Guard<'_, T>) {
        if !state.sends.is_empty() {
            Channel::offer_room(state);
        }
    }

    /// A place in the buffer has become free: it goes to a blocked send, or else those who watch
    /// for it are called.
    #[cold]
    #[inline(never)]
    fn offer_room(mut state: Guard<'_, T>) {
        if let Some(sender) = state.admit_send() {
            drop(state);
            sender.wake();
        } else {
            let watchers = state.sends.take_watchers();
            drop(state);
            watchers.wake();
        }
    }

    /// Receives, if that is possible now, when the buffer is empty.
    pub(crate) fn find<'a>(&self, mut state: Guard<'a, T>) -> Found<'a, T> {
        debug_assert!(state.ring.is_empty());
        match state.sends.pop().map(BlockedSend::accept) {
            Some(Offer::Value(held)) => Found::Value(held),
            Some(Offer::Lazy(sender)) => Found::Lazy(sender),
            None if state.closed => Found::Closed,
            None => Found::Nothing(state),
        }
    }

    /// Sends, if that is possible now. If not, `refused` decides: it gets the value back, and the
    /// lock, which is still held, unless the channel is closed.
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

    /// Adds a value to the buffer, for which somebody may watch.
    #[cold]
    fn push_watched(mut state: Guard<'_, T>, value: T) {
        state.ring.push(value);
        let watchers = state.recvs.take_watchers();
        drop(state);
        watchers.wake();
    }

    /// Finds a place for the value of a selected send.
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

    /// Brings the value of a paired send. If the pair has been dissolved, the value goes to the
    /// next receive.
    pub(crate) fn settle(&self, key: PairKey, value: T, at: At) -> Result<(), SendError<T>> {
        let mut state = self.lock();
        // SAFETY: the receives of this channel expect a `T`.
        let settled = unsafe { state.pairs.settle(key, value) };
        drop(state);
        match settled {
            Ok(receiver) => {
                if let Some(receiver) = receiver {
                    receiver.wake();
                }
                Ok(())
            }
            Err(value) => self.send(value, Limit::None, at).map_err(|error| SendError(error.into_inner())),
        }
    }

    /// Dissolves a pair whose send gives up.
    #[cold]
    pub(crate) fn give_up(&self, key: PairKey) {
        let receiver = self.lock().pairs.give_up(key);
        if let Some(receiver) = receiver {
            receiver.wake();
        }
    }

    /// Whether [`reserve_send`](Channel::reserve_send) would find something, for a select that waits
    /// here with more than one arm, and does not count.
    pub(crate) fn send_may_succeed(&self, state: &State<T>, me: Waiter) -> bool {
        state.closed || state.has_room(self.info.capacity) || state.recvs.has_other_than(me)
    }

    /// Whether a receive would find something, for a select as above.
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

    /// Brings the value for a reserved place. If a receive waits it is handed over: the place is
    /// then free, but by invariants 4 and 6 nobody waits or watches for it.
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

    /// Gives a reserved place back unused.
    #[cold]
    pub(crate) fn withdraw(&self) {
        let mut state = self.lock();
        state.reserved -= 1;
        Channel::offer_room(state);
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

    // The counts say who is last, nothing more: what a party did before it dropped its handle is
    // ordered by the mutex, which the last one takes. They cannot overflow before the count of the
    // `Arc`, which aborts.

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

    /// With the last receiver go the messages that nobody can receive any more.
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

/// Drops every message, also if the destructors of several panic (to drop the whole queue would
/// then abort). The first panic goes on when all are gone.
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
                // A payload that panics when it is dropped, with another that may do the same.
                std::mem::forget(panic);
            }
        }
    }
    if let Some(panic) = first {
        resume_unwind(panic);
    }
}
