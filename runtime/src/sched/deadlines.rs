//! The earliest deadline of all processors, so that some worker wakes up for it.
//!
//! Each processor publishes its earliest timer; this word is at most the least of those of all idle
//! processors. It may be too early (a timer was removed): then one look finds nothing.
//!
//! 1. A processor that comes to rest has stored its own deadline. It marks itself idle, and then
//!    lowers this word to its deadline, unless the word is as low already.
//! 2. A thread that finds that the word has passed sets it to never, then looks at each processor.
//!    It lowers the word again to a deadline that is still to come. It claims and queues an idle
//!    processor if that one's deadline has passed. A processor that is not idle looks at its timers
//!    by itself.
//!
//! Why no deadline is lost: suppose a processor is found not idle in 2. That look comes before its
//! mark of step 1, so its look at this word comes after the reset, and it lowers the word again.
//! One side stores the mark and loads this word, the other stores to this word and loads the mark,
//! and each has a sequentially consistent fence between the two.

use crate::clock::NEVER;
use crate::shim::{AtomicU64, Ordering, fence};

pub(crate) struct Deadlines {
    earliest: AtomicU64,
}

impl Deadlines {
    pub(super) fn new() -> Deadlines {
        Deadlines { earliest: AtomicU64::new(NEVER) }
    }

    /// Step 1, after the mark (`Inbox::rest`).
    #[inline]
    pub(super) fn announce(&self, at: u64) {
        // Most processors that come to rest have no timer. They skip the fence.
        if at == NEVER {
            return;
        }
        fence(Ordering::SeqCst);
        if at < self.earliest.load(Ordering::Relaxed) {
            self.earliest.fetch_min(at, Ordering::Relaxed);
        }
    }

    pub(super) fn earliest(&self) -> u64 {
        self.earliest.load(Ordering::Relaxed)
    }

    /// Step 2. `deadline` reads a processor's own; `wake` claims it if it is idle, and queues it.
    pub(super) fn take_due<P>(
        &self,
        now: u64,
        processors: impl Iterator<Item = P>,
        deadline: impl Fn(&P) -> u64,
        mut wake: impl FnMut(P),
    ) {
        if self.earliest.load(Ordering::Relaxed) > now {
            return;
        }
        self.earliest.swap(NEVER, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        for processor in processors {
            let at = deadline(&processor);
            if at <= now {
                wake(processor);
            } else if at != NEVER {
                self.announce(at);
            }
        }
    }
}

#[cfg(all(test, any(loom, narrowboat_threads)))]
mod models {
    use super::*;
    use crate::sched::inbox::{Inbox, Linked};
    use loom::sync::Arc;
    use loom::thread;

    const DUE: u64 = 5;

    /// No item is ever pushed here.
    struct Nothing;

    impl Linked for Nothing {
        unsafe fn next(_: *mut Nothing) -> *mut *mut Nothing {
            unreachable!()
        }
    }

    /// A processor with a timer that is due comes to rest, while another thread looks for due
    /// deadlines: either the processor is claimed, or the word still says that there is something
    /// to do.
    #[test]
    fn loom_a_deadline_passes_while_its_processor_comes_to_rest() {
        loom::model(|| {
            let deadlines = Arc::new(Deadlines::new());
            let inbox = Arc::new(Inbox::<Nothing>::new());
            assert!(inbox.claim());
            deadlines.announce(DUE);
            let looker = {
                let (deadlines, inbox) = (deadlines.clone(), inbox.clone());
                thread::spawn(move || {
                    let mut claimed = false;
                    deadlines.take_due(DUE, std::iter::once(()), |()| DUE, |()| claimed = inbox.claim());
                    claimed
                })
            };
            assert!(inbox.rest());
            deadlines.announce(DUE);
            let claimed = looker.join().unwrap();
            assert!(claimed || deadlines.earliest() == DUE);
        });
    }
}
