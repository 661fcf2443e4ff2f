//! What is under [`Condvar`](crate::Condvar).
//!
//! The state word says whether there is a line. A wait, step by step:
//!
//! 1. The party, which holds the lock, enters the line with the lock's address on its ticket,
//!    having set the word. If the lock is on a stack that is copied, the ticket says so instead:
//!    while the party is parked, other bytes may be at that address.
//! 2. It releases the lock, which is a matter of the state word and of waking others, and sleeps.
//! 3. It is woken: it was granted the lock, or tries to take it. If the deadline came first, it leaves the line and
//!    takes the lock like anybody else.
//!
//! A notification, step by step:
//!
//! 4. Where the word is not set, nobody waits.
//! 5. Otherwise it locks the line, takes out the first party, or all, and unlocks it. Whoever is taken out has been
//!    notified, whatever its deadline; whoever is not, being late, has not.
//! 6. A party whose lock is on a copied stack is woken to take the lock itself. The others move to
//!    the line of their lock ([`RawLock::adopt`]), where releases of the lock will let them in one
//!    after the other. So a thousand parties that are notified at once do not all wake to fight for
//!    one lock, and a party that is notified by the holder of the lock does not wake only to wait
//!    again.
//!
//! No notification is lost. A party sets the word and is in the line before it releases the lock; who has changed what
//! the party waits for has held the lock after that, and sees the word set, although its look is relaxed: the lock
//! orders it. The word is reset only when the line is locked and empty.

use super::lock::RawLock;
use crate::lot::{At, Cause, Entered, Line, Parties, Ticket, Told, describer};
use crate::shim::{AtomicU32, Ordering, const_fn};
use narrowboat_runtime::park::{self, Identity, Reason, checkpoint};
use std::ptr;
use std::time::Instant;

const NOBODY: u32 = 0;
const QUEUED: u32 = 1;

pub(crate) struct RawCondvar {
    state: AtomicU32,
}

/// On the ticket of a party whose lock must not be touched for it.
const TAKES_ITS_LOCK_ITSELF: usize = 0;

const CAUSE: Cause = Cause {
    reason: Reason::Notification,
    describe: describer!(RawCondvar, |_| ("condition variable", String::new(), None)),
};

impl RawCondvar {
    const_fn! {
        pub(crate) fn new() -> RawCondvar {
            RawCondvar { state: AtomicU32::new(NOBODY) }
        }
    }

    /// Releases the lock, waits, and takes the lock again. Whether it was a notification that ended the wait.
    ///
    /// The caller holds the lock alone.
    pub(crate) fn wait(&self, lock: &RawLock, deadline: Option<Instant>, at: At) -> bool {
        park::assert_may_park();
        let notified = self.wait_for_lock(lock, deadline, at);
        lock.sign();
        notified
    }

    fn wait_for_lock(&self, lock: &RawLock, deadline: Option<Instant>, at: At) -> bool {
        let entered = self.enter(lock, deadline.is_some(), at);
        lock.unlock();
        let told = match deadline {
            None => Ok(entered.sleep()),
            Some(deadline) => entered.sleep_until(deadline),
        };
        match told {
            Ok(Told::Granted) => true,
            Ok(Told::Retry) => {
                lock.lock_woken(at);
                true
            }
            Err(late) => {
                self.settle(&late.leave());
                lock.lock(at);
                false
            }
        }
    }

    /// Step 1.
    #[inline(never)]
    fn enter(&self, lock: &RawLock, deadline: bool, at: At) -> Entered {
        let Identity { address, stack_of } = Identity::of((&raw const *lock).expose_provenance());
        let what = if stack_of == 0 { address } else { TAKES_ITS_LOCK_ITSELF };
        let line = Line::of(self);
        self.state.store(QUEUED, Ordering::Relaxed);
        let ticket = Ticket { what, since: 0 };
        // SAFETY: between this and its sleep `wait` only releases a lock, which may wake but does not wait.
        unsafe { line.enter(ticket, deadline, &CAUSE, at) }
    }

    #[inline]
    pub(crate) fn notify_one(&self) {
        checkpoint();
        if self.state.load(Ordering::Relaxed) == QUEUED {
            self.notify(false);
        }
    }

    #[inline]
    pub(crate) fn notify_all(&self) {
        checkpoint();
        if self.state.load(Ordering::Relaxed) == QUEUED {
            self.notify(true);
        }
    }

    /// Steps 5 and 6.
    #[cold]
    #[inline(never)]
    fn notify(&self, all: bool) {
        let mut line = Line::of(self);
        let mut notified = Parties::new();
        while let Some(party) = line.pop() {
            notified.push(party);
            if !all {
                break;
            }
        }
        self.settle(&line);
        drop(line);
        // Mostly there is one lock for all.
        while let Some(first) = notified.pop() {
            let address = first.ticket().what;
            if address == TAKES_ITS_LOCK_ITSELF {
                first.wake(Told::Retry);
                continue;
            }
            // SAFETY: the address is that of the lock that the party borrows for as long as it
            // waits, which it does until `adopt` lets it go. `adopt` touches the lock only before
            // that. The lock is there although the party is parked: it is not on a copied stack.
            let lock = unsafe { &*ptr::with_exposed_provenance::<RawLock>(address) };
            lock.adopt(first, &mut notified, |other| other.what == address);
        }
    }

    /// Resets the word if nobody is left.
    fn settle(&self, line: &Line) {
        if line.is_empty() {
            self.state.store(NOBODY, Ordering::Relaxed);
        }
    }
}
