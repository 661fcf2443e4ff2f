//! Receives that wait for a message which is being made.
//!
//! A selected send is chosen before its message exists: the message expression of a `select!` arm
//! runs only if the arm is taken. If the arm was chosen because of a receive, nothing else gets
//! that receive, so that the send has somewhere to go with its message. A receive without a time
//! limit, which is no arm of a select with others, just waits for it. But the expression may take
//! long, and any other receive is in a hurry. The two are then a *pair*, which can be dissolved:
//!
//! 1. *Pair.* Under the channel's lock, a send that finds such a receive, or such a receive that
//!    finds a selected send, enters the receive's node here and leaves the [key](PairKey) with the
//!    send. The node is in no queue. A send that has been asleep looks when it wakes whether the
//!    pair still exists; if not, its select starts over, as nothing has been done yet. A receive
//!    that has been asleep is woken to wait anew, as below.
//! 2. *Wait.* The receive parks, for [`FIRST_WAIT`] at first, and looks at the send then.
//! 3. *Settle.* Under the lock, the send takes the pair out, moves its message into the node, and
//!    wakes the receive. It does the same, without a message, if it gives up. A close changes
//!    nothing for a pair.
//! 4. *Dissolve.* If the send has not woken yet, or has paused since it was chosen (its expression
//!    waits for something), the receive takes the pair out, under the lock, and is free: it enters
//!    the queue like any other, or tells that its limit has been reached. If the send has not
//!    paused, the receive goes on waiting, up to [`MAX_WAIT`]. The send, when it has its
//!    message, finds no pair, and goes on like a plain send: its message goes to the next receive,
//!    which may be the same one.
//!
//! Hence every message of a chosen send is received once, or given back because the channel is
//! closed.
//!
//! A send that finds no pair has been chosen, and waits although other arms of its select may have
//! become possible. That is for expressions that wait, and must not happen to one that names or
//! builds a message, however long the system keeps its thread from running: hence the question in
//! step 4 instead of a mere limit of time.
//!
//! A node that is entered here is alive: its party does not go on before it has taken the pair out
//! under the lock, or is woken by the send, which has. The send touches the node only while its
//! party sleeps and can be woken by nothing else; a receive that is awake finds what became of the
//! pair with the pair itself.

use crate::block::At;
use crate::cell::{load, store};
use crate::channel::Channel;
use crate::waiters::{LazySend, NodeRef, Note, SINGLE_QUEUE, Wakeup};
use narrowboat_runtime::park::{Activity, NodeCell, Outcome, Reason, Waiter};
use std::time::{Duration, Instant};

/// How long a receive that is in a hurry waits before it looks whether the making of its message
/// has paused.
pub(crate) const FIRST_WAIT: Duration = Duration::from_millis(1);

/// How long it waits if that has not paused: the expression computes or blocks its thread, or the
/// thread does not run.
const MAX_WAIT: Duration = Duration::from_millis(100);

/// What the receive of a pair does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReceiveState {
    /// It is awake, and comes to look at the pair.
    Awake,
    /// It sleeps in the wait of step 2, which is not ended.
    Waiting,
}

struct Pair {
    serial: u32,
    node: NodeRef,
    receive: ReceiveState,
    /// The send, as it was when it began to make its message.
    sender: Option<Activity>,
    /// What became of the pair, if the receive was awake then and has yet to learn it; the words
    /// are for its cell. (It looks at its node without the lock when it wakes, so that must not be
    /// touched meanwhile.)
    settled: Option<Note>,
    words: NodeCell,
}

impl Pair {
    /// Whether the receive sleeps. If so, it now does until the caller wakes it, and its node is
    /// the caller's.
    fn is_asleep(&self) -> bool {
        match self.receive {
            ReceiveState::Awake => false,
            // SAFETY: by the contract of `insert` the node is alive and guarded by the lock, under
            // which pairs are looked at. If the time of the receive has come first, it wakes by
            // itself.
            ReceiveState::Waiting => unsafe { self.node.waiter() }.try_end(SINGLE_QUEUE),
        }
    }

    /// Moves what the receive has to know to its node.
    ///
    /// # Safety
    /// The node is alive, and the caller's.
    unsafe fn set_result(&self, note: Note, words: NodeCell) {
        // SAFETY: by contract. A receive needs nothing in its cell.
        unsafe {
            *self.node.cell() = words;
            self.node.set_note(note);
        }
    }
}

/// Names one pair of a channel. Two machine words at most, and valid for ever: a pair that has been
/// taken out is not found.
#[derive(Clone, Copy)]
pub(crate) struct PairKey {
    index: u32,
    serial: u32,
}

/// The pairs of a channel. It stands inside the channel's lock.
pub(crate) struct Pairs {
    /// Allocated with the first pair, since few channels have any.
    table: Option<Box<Table>>,
}

#[derive(Default)]
struct Table {
    entries: Vec<Option<Pair>>,
    free: Vec<u32>,
    serial: u32,
}

// SAFETY: it holds pointers to nodes; the holder of the lock around it may follow them, on any
// thread (contract of `insert`).
unsafe impl Send for Pairs {}

impl Pairs {
    pub(crate) const fn new() -> Pairs {
        Pairs { table: None }
    }

    /// Step 1.
    ///
    /// # Safety
    /// The node belongs to the caller and stands in no queue; it stays alive until the pair has
    /// been taken out, and from here on is touched under the lock only.
    pub(crate) unsafe fn insert(
        &mut self,
        node: NodeRef,
        receive: ReceiveState,
        sender: Option<Activity>,
    ) -> PairKey {
        let table = self.table.get_or_insert_default();
        table.serial = table.serial.wrapping_add(1);
        let (serial, words) = (table.serial, NodeCell::uninit());
        let pair = Some(Pair { serial, node, receive, sender, settled: None, words });
        let index = match table.free.pop() {
            Some(index) => {
                table.entries[index as usize] = pair;
                index
            }
            None => {
                table.entries.push(pair);
                (table.entries.len() - 1) as u32
            }
        };
        PairKey { index, serial: table.serial }
    }

    fn get(&mut self, key: PairKey) -> Option<&mut Pair> {
        let pair = self.table.as_mut()?.entries.get_mut(key.index as usize)?.as_mut()?;
        (pair.serial == key.serial).then_some(pair)
    }

    /// The calling send, which has been asleep, is about to make its message: false if there is no
    /// such pair any more.
    pub(crate) fn begin_message(&mut self, key: PairKey) -> bool {
        self.get(key).map(|pair| pair.sender = Some(Activity::of_caller())).is_some()
    }

    /// Step 2, before the park of a receive that has been awake: what its node says now, if the
    /// pair has been settled.
    pub(crate) fn begin_wait(&mut self, key: PairKey) -> Option<Note> {
        let pair = self.get(key).expect("a receive that is awake takes its pair out itself");
        pair.receive = ReceiveState::Waiting;
        if pair.settled.is_some() { self.dissolve(key) } else { None }
    }

    /// Whether the receive had better leave.
    fn is_settled_or_slow(&mut self, key: PairKey) -> bool {
        // In a model all senders are slow.
        self.get(key).is_none_or(|pair| {
            pair.settled.is_some() || pair.sender.is_none_or(|sender| sender.has_paused()) || cfg!(loom)
        })
    }

    /// Step 4: dissolves the pair. If it has been settled, the result is what the node of the
    /// receive says now.
    pub(crate) fn dissolve(&mut self, key: PairKey) -> Option<Note> {
        let pair = self.remove(key).expect("a receive whose time has come takes its pair out itself");
        let note = pair.settled?;
        // SAFETY: the caller is the party of the node, and awake.
        unsafe { pair.set_result(note, pair.words) };
        Some(note)
    }

    /// Takes a pair out: step 4, or for step 3.
    fn remove(&mut self, key: PairKey) -> Option<Pair> {
        self.get(key)?;
        let table = self.table.as_mut()?;
        table.free.push(key.index);
        let pair = table.entries[key.index as usize].take();
        if table.free.len() == table.entries.len() {
            table.free.clear();
            table.entries.clear();
        }
        pair
    }

    /// Step 3, with the message: it is given back if the pair has been dissolved.
    ///
    /// # Safety
    /// The receives of this channel expect a `T`.
    pub(crate) unsafe fn settle<T>(&mut self, key: PairKey, message: T) -> Result<Option<Wakeup>, T> {
        if self.get(key).is_none() {
            return Err(message);
        }
        let mut words = NodeCell::uninit();
        store(&mut words, message);
        Ok(self.finish(key, Note::DONE, words))
    }

    /// Step 3, of a send that gives up.
    pub(crate) fn give_up(&mut self, key: PairKey) -> Option<Wakeup> {
        self.finish(key, Note::RETRY, NodeCell::uninit())
    }

    fn finish(&mut self, key: PairKey, note: Note, words: NodeCell) -> Option<Wakeup> {
        let pair = self.get(key)?;
        if !pair.is_asleep() {
            (pair.settled, pair.words) = (Some(note), words);
            return None;
        }
        let pair = self.remove(key)?;
        // SAFETY: the receive sleeps until we wake it, so its node is alive and ours.
        unsafe {
            pair.set_result(note, words);
            Some(Wakeup::of(pair.node))
        }
    }
}

/// How the wait of a receive for its pair's message ended.
pub(crate) enum PairOutcome {
    /// The node of the pair says how.
    Settled(NodeRef, Note),
    /// It took too long, and the pair has been dissolved.
    Dissolved,
    /// The caller cannot wait where it is. The send's select starts over.
    Refused,
}

impl<T> Channel<T> {
    /// Waits for the message of a selected send that was found asleep in its queue. The calling
    /// party has no node in any queue.
    #[cold]
    #[inline(never)]
    pub(crate) fn await_lazy_send(&self, sender: LazySend, may_dissolve: bool, at: At) -> PairOutcome {
        let Some(me) = Waiter::try_begin(Reason::Receive, self.address(), at) else {
            sender.retry();
            return PairOutcome::Refused;
        };
        let node = NodeRef::new(me.node());
        if !may_dissolve {
            // SAFETY: our own node, which is in no queue and lives for ever; until we are woken it
            // is the send's. `me` is from our latest `begin`. We have ended the wait ourselves, in
            // the send's name: nothing else can.
            unsafe {
                node.prepare(me);
                let ended = me.try_end(SINGLE_QUEUE);
                debug_assert!(ended);
                sender.match_with(node);
                me.park(None);
                return PairOutcome::Settled(node, node.note());
            }
        }
        let mut state = self.lock();
        // SAFETY: our own node, which is in no queue and lives for ever. It is not touched from
        // here on but after the pair has been taken out.
        let key = unsafe {
            node.prepare(me);
            state.pairs.insert(node, ReceiveState::Waiting, None)
        };
        drop(state);
        sender.pair(key);
        self.sleep_paired(me, node, key, at)
    }

    /// The same for a receive that was found asleep, and was woken because it is in a hurry. Its
    /// node says [`PAIRED`](Note::PAIRED).
    #[cold]
    #[inline(never)]
    pub(crate) fn resume_pair(&self, node: NodeRef, at: At) -> PairOutcome {
        let mut state = self.lock();
        // SAFETY: our own node, which nothing else touches while we are awake. By the note the cell
        // holds the key.
        let key = unsafe { load::<PairKey, 2>(node.cell()) };
        if let Some(note) = state.pairs.begin_wait(key) {
            return PairOutcome::Settled(node, note);
        }
        let me =
            Waiter::try_begin(Reason::Receive, self.address(), at).expect("it has been parked here before");
        drop(state);
        self.sleep_paired(me, node, key, at)
    }

    /// Steps 2 and 4.
    fn sleep_paired(&self, mut me: Waiter, node: NodeRef, key: PairKey, at: At) -> PairOutcome {
        let begun = Instant::now();
        let mut wait = FIRST_WAIT;
        loop {
            // SAFETY: `me` is from our latest `begin`. What settles the pair wakes us, or finds
            // that the time has come.
            let outcome = unsafe { me.park(Some(begun + wait)) };
            if outcome != Outcome::TIMED_OUT {
                // SAFETY: the pair has been taken out before we were woken, so the node is ours.
                return PairOutcome::Settled(node, unsafe { node.note() });
            }
            let mut state = self.lock();
            if wait >= MAX_WAIT || state.pairs.is_settled_or_slow(key) {
                return state
                    .pairs
                    .dissolve(key)
                    .map_or(PairOutcome::Dissolved, |note| PairOutcome::Settled(node, note));
            }
            me = self.begin_again(at);
            wait = (wait * 2).min(MAX_WAIT);
        }
    }

    /// A further wait of a party that has been parked where it is, with the lock held.
    fn begin_again(&self, at: At) -> Waiter {
        Waiter::try_begin(Reason::Receive, self.address(), at).expect("it has been parked here before")
    }
}
