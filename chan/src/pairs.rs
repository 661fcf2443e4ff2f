//! Pairs: a receive that waits for a message, and the selected send that is making it.
//!
//! A selected send is chosen before its message exists: the message expression of a `select!` arm
//! runs only if the arm is taken. If the arm was chosen because of a receive, that receive is
//! reserved for the send, so that the send can deliver its message. A receive without a time limit,
//! which is not an arm of a select with several arms, simply waits for the send. But the expression
//! may take long, and any other receive must be able to stop waiting. Such a receive and the send
//! form a *pair*, which can be dissolved:
//!
//! 1. *Pair.* Under the channel's lock, a send that finds such a receive, or such a receive that
//!    finds a selected send, inserts the receive's node into [`Pairs`] and gives the [key](PairKey)
//!    to the send. The node is in no queue. A send that was asleep checks when it wakes whether the
//!    pair still exists. If not, its select starts over, because nothing has been done yet. A
//!    receive that was asleep is woken, to wait again as in step 2.
//! 2. *Wait.* The receive parks, for [`FIRST_WAIT`](crate::pairing::FIRST_WAIT) at first. Then it
//!    looks at the send.
//! 3. *Settle.* Under the lock, the send takes the pair out, moves its message into the node, and
//!    wakes the receive. It does the same, without a message, if it gives up. A close changes
//!    nothing for a pair.
//! 4. *Dissolve.* If the send has not woken yet, or has paused since it was chosen (its expression
//!    waits for something), the receive takes the pair out, under the lock. It then enters the
//!    queue like any other receive, or reports that its limit has been reached. If the send has not
//!    paused, the receive goes on waiting, up to [`MAX_WAIT`]. When the send has its message, it
//!    finds no pair, and continues like a plain send: its message goes to the next receive, which
//!    may be the same one.
//!
//! Hence every message of a chosen send is either received once, or returned because the channel is
//! closed.
//!
//! A send that finds no pair has already been chosen. It waits for a receive, although other arms
//! of its select may have become possible. This is acceptable for an expression that waits. It must
//! not happen to an expression that names or builds a message, however long the system keeps its
//! thread from running. That is why step 4 asks whether the send has paused, and does not only
//! apply a time limit.
//!
//! A node in `Pairs` is alive: its waiter does not continue before it has taken the pair out under
//! the lock, or the send has taken the pair out and woken it. The send touches the node only while
//! the waiter sleeps and nothing else can wake it. A receive that is awake finds the result in the
//! pair itself.

use crate::cell::store;
use crate::node::{NodeRef, Note, SINGLE_QUEUE, Wakeup};
use narrowboat_runtime::park::{Activity, NodeCell};

/// What the receive of a pair is doing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReceiveState {
    /// It is awake, and will look at the pair.
    Awake,
    /// It sleeps in the wait of step 2, which has not ended.
    Waiting,
}

struct Pair {
    serial: u32,
    node: NodeRef,
    receive: ReceiveState,
    /// The activity of the send when it began to make its message; `None` if it has not begun.
    sender: Option<Activity>,
    /// The note for a receive that was awake when the pair was settled, and that has not looked
    /// yet; `words` are for its cell. (They are kept here because the receive reads its node
    /// without the lock when it wakes, so the send must not touch the node meanwhile.)
    settled: Option<Note>,
    words: NodeCell,
}

impl Pair {
    /// Whether the receive sleeps. If so, this ends its wait: it sleeps until the caller wakes it,
    /// and its node is the caller's.
    fn is_asleep(&self) -> bool {
        match self.receive {
            ReceiveState::Awake => false,
            // SAFETY: by the contract of `insert` the node is alive and guarded by the lock, which
            // the caller holds. If the receive's park has timed out first, `try_end` fails and the
            // receive wakes by itself.
            ReceiveState::Waiting => unsafe { self.node.waiter() }.try_end(SINGLE_QUEUE),
        }
    }

    /// Sets the note and the cell of the receive's node.
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

/// Identifies one pair of a channel. It fits into two machine words, and never becomes dangling:
/// the lookup fails once the pair has been taken out.
#[derive(Clone, Copy)]
pub(crate) struct PairKey {
    index: u32,
    serial: u32,
}

/// The pairs of a channel. The channel's lock guards them.
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

// SAFETY: it holds pointers to nodes. The holder of the lock around it may follow them, on any
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
    /// been taken out, and from here on it is touched under the lock only.
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

    /// Notes that the calling send, which has been asleep, begins to make its message. False if the
    /// pair no longer exists.
    pub(crate) fn begin_message(&mut self, key: PairKey) -> bool {
        self.get(key).map(|pair| pair.sender = Some(Activity::of_caller())).is_some()
    }

    /// Step 2, before the park of a receive that has been awake. If the pair has been settled,
    /// takes it out and returns the note that the receive's node has now.
    pub(crate) fn begin_wait(&mut self, key: PairKey) -> Option<Note> {
        let pair = self.get(key).expect("while a receive is awake, only the receive takes its pair out");
        pair.receive = ReceiveState::Waiting;
        if pair.settled.is_some() { self.dissolve(key) } else { None }
    }

    /// Whether the receive should stop waiting: the pair is settled, or the send has not begun or
    /// has paused.
    pub(crate) fn is_settled_or_slow(&mut self, key: PairKey) -> bool {
        // In a model every send counts as slow.
        self.get(key).is_none_or(|pair| {
            pair.settled.is_some() || pair.sender.is_none_or(|sender| sender.has_paused()) || cfg!(loom)
        })
    }

    /// Step 4: takes the pair out. If it has been settled, the result is the note that the
    /// receive's node has now.
    pub(crate) fn dissolve(&mut self, key: PairKey) -> Option<Note> {
        let pair = self.remove(key).expect("after its park timed out, only the receive takes its pair out");
        let note = pair.settled?;
        // SAFETY: the caller is the waiter of the node, and awake.
        unsafe { pair.set_result(note, pair.words) };
        Some(note)
    }

    /// Takes a pair out, for steps 3 and 4.
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

    /// Step 3, with the message. Returns the message if the pair has been dissolved.
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

    /// Step 3, for a send that gives up.
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
