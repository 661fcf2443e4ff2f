//! What a receive and a selected send of a channel do with their pair: steps 2 to 4 of
//! [`crate::pairs`].

use crate::cell::load;
use crate::channel::Channel;
use crate::limit::At;
use crate::node::{NodeRef, Note, SINGLE_QUEUE};
use crate::pairs::{PairKey, ReceiveState};
use crate::waiters::LazySend;
use narrowboat_runtime::park::{Outcome, Reason, Waiter};
use narrowboat_runtime::world;
use std::time::Duration;

/// How long a receive that can dissolve its pair waits before it looks whether the send has paused.
pub(crate) const FIRST_WAIT: Duration = Duration::from_millis(1);

/// How long the receive waits at most if the send has not paused. Its expression then computes or
/// blocks its thread, or the thread does not run.
const MAX_WAIT: Duration = Duration::from_millis(100);

/// How the wait of a receive for the message of a selected send ended.
pub(crate) enum PairOutcome {
    /// The send has settled it: the receive's node and its note.
    Settled(NodeRef, Note),
    /// It took too long, and the receive has dissolved the pair.
    Dissolved,
    /// The caller is in a context that cannot wait. The send's select starts over.
    Refused,
}

impl<T> Channel<T> {
    /// Ends a pair because its send gives up.
    #[cold]
    pub(crate) fn give_up(&self, key: PairKey) {
        let receiver = self.lock().pairs.give_up(key);
        if let Some(receiver) = receiver {
            receiver.wake();
        }
    }

    /// Waits for the message of a selected send that was found asleep in its queue. The caller has
    /// no node in any queue. `may_dissolve`: whether the receive may stop waiting for this send.
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
            // is the send's. `me` is from our latest `begin`. We end the wait ourselves, on behalf
            // of the send, so nothing else can end it.
            unsafe {
                node.prepare(me, SINGLE_QUEUE, false);
                let ended = me.try_end(SINGLE_QUEUE);
                debug_assert!(ended);
                sender.match_with(node);
                me.park(None);
                return PairOutcome::Settled(node, node.note());
            }
        }
        let mut state = self.lock();
        // SAFETY: our own node, which is in no queue and lives for ever. From here on we do not
        // touch it until the pair has been taken out.
        let key = unsafe {
            node.prepare(me, SINGLE_QUEUE, false);
            state.pairs.insert(node, ReceiveState::Waiting, None)
        };
        drop(state);
        sender.pair(key);
        self.sleep_paired(me, node, key, at)
    }

    /// The same for a receive that a selected send found asleep and woke. Its node's note is
    /// [`PAIRED`](Note::PAIRED).
    #[cold]
    #[inline(never)]
    pub(crate) fn resume_pair(&self, node: NodeRef, at: At) -> PairOutcome {
        let mut state = self.lock();
        // SAFETY: our own node, which nothing else touches while we are awake. The note says that
        // the cell holds the key.
        let key = unsafe { load::<PairKey, 2>(node.cell()) };
        if let Some(note) = state.pairs.begin_wait(key) {
            return PairOutcome::Settled(node, note);
        }
        let me = Waiter::try_begin(Reason::Receive, self.address(), at)
            .expect("a receive that has parked once can park again");
        drop(state);
        self.sleep_paired(me, node, key, at)
    }

    /// Steps 2 and 4.
    fn sleep_paired(&self, mut me: Waiter, node: NodeRef, key: PairKey, at: At) -> PairOutcome {
        let begun = world::now();
        let mut wait = FIRST_WAIT;
        loop {
            // SAFETY: `me` is from our latest `begin`. The send that settles the pair wakes us, or
            // finds that our park has timed out.
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

    /// Begins a further wait of a receive that has parked before in the same context. The lock is
    /// held.
    fn begin_again(&self, at: At) -> Waiter {
        Waiter::try_begin(Reason::Receive, self.address(), at)
            .expect("a receive that has parked once can park again")
    }
}
