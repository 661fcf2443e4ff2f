//! A mark by which any thread asks a processor for something, which its loop gives at the end of a
//! batch.
//!
//! 1. The asker publishes what it asks for, under a lock, and sets the mark. Then it fences and
//!    claims the processor: step 2 of the [inbox](super::inbox)'s protocol.
//! 2. The loop takes the mark, and only then takes the lock and looks at what is asked for.
//! 3. A carrier whose processor has come to rest looks at the mark: step 4 of the inbox's protocol.
//!
//! Both changes of the mark are exchanges. So either 1 comes first, and 2 acquires what it has
//! released: it finds what was published. Or 2 comes first, and the mark is set after it. A plain
//! store in 2 could become visible only after the look: it would clear a mark whose request the
//! look has missed. (A CPU whose locks are full fences forgives that.)

use crate::shim::{AtomicBool, Ordering};

pub(crate) struct Request(AtomicBool);

impl Request {
    pub(crate) fn new() -> Request {
        Request(AtomicBool::new(false))
    }

    /// Step 1. The caller has published what it asks for, and fences and claims the processor next.
    pub(crate) fn make(&self) {
        self.0.swap(true, Ordering::Release);
    }

    /// A cheap look, for the loop.
    #[inline]
    pub(crate) fn is_made(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Step 2.
    pub(crate) fn take(&self) {
        self.0.swap(false, Ordering::Acquire);
    }

    /// Step 3. Sequentially consistent, as the exchange is by which the processor has come to rest.
    pub(crate) fn is_made_at_rest(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

#[cfg(all(test, any(loom, narrowboat_threads)))]
mod models {
    use super::*;
    use crate::sched::inbox::{Inbox, Linked};
    use crate::shim::{AtomicUsize, fence};
    use loom::sync::{Arc, Mutex};
    use loom::thread;

    /// Nothing is pushed in these models.
    struct Nothing;

    impl Linked for Nothing {
        unsafe fn next(_: *mut Nothing) -> *mut *mut Nothing {
            unreachable!()
        }
    }

    struct Shared {
        inbox: Inbox<Nothing>,
        request: Request,
        /// What is asked for.
        asked: Mutex<Vec<usize>>,
        answered: AtomicUsize,
    }

    impl Shared {
        fn carry(&self) {
            loop {
                if self.request.is_made() {
                    self.request.take();
                    let asked = std::mem::take(&mut *self.asked.lock().unwrap());
                    self.answered.fetch_add(asked.into_iter().sum(), Ordering::Relaxed);
                }
                if self.inbox.rest() && !(self.request.is_made_at_rest() && self.inbox.claim()) {
                    return;
                }
            }
        }

        fn ask(&self, what: usize) {
            self.asked.lock().unwrap().push(what);
            self.request.make();
            fence(Ordering::SeqCst);
            if self.inbox.claim() {
                self.carry();
            }
        }
    }

    /// Whatever the carrier does meanwhile, also while it answers another one, a request is
    /// answered before the processor is idle. (It fails without step 3. That a store in step 2 may
    /// be late it does not show: here stores take effect in the order in which they run.)
    #[test]
    fn loom_a_request_is_answered_before_the_processor_rests() {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(4);
        model.check(|| {
            let shared = Arc::new(Shared {
                inbox: Inbox::new(),
                request: Request::new(),
                asked: Mutex::new(Vec::new()),
                answered: AtomicUsize::new(0),
            });
            let other = {
                let shared = shared.clone();
                thread::spawn(move || shared.ask(1))
            };
            shared.ask(2);
            other.join().unwrap();
            assert_eq!(shared.answered.load(Ordering::Relaxed), 3);
            assert!(shared.inbox.is_idle());
        });
    }
}
