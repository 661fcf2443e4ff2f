//! A processor's inbox and state word: how a goroutine of one processor is woken from anywhere else.
//!
//! The inbox is a stack of records linked through their `next` field. Many push, and the processor takes the whole of
//! it at once and turns it round, so that goroutines run in the order they were woken in.
//!
//! The state word says whether somebody already sees to it that the processor runs:
//!
//! - `IDLE`: nobody does, and it has nothing to do.
//! - `QUEUED`: it stands in exactly one queue of processors (or in the hands of a thread about to queue it).
//! - `RUNNING`: a worker carries it.
//!
//! Waking, step by step:
//!
//! 1. The waker pushes the record.
//! 2. It looks at the state. `IDLE`: it exchanges that for `QUEUED`, and if it wins, it must queue the processor.
//!    Anything else: whoever made it so will look at the inbox later than our push (see 4).
//!
//! Running out of work, step by step:
//!
//! 3. The worker, having found the inbox and all queues of the processor empty, stores `IDLE`.
//! 4. It looks at the inbox again. If something is there now, it tries the exchange of step 2 itself.
//!
//! Either the waker's look in 2 comes after the store in 3, and it sees `IDLE`; or it comes before, and then its push
//! (1) comes before the second look (4). That argument is about a store followed by a load of another location on both
//! sides, hence a sequentially consistent fence between the two on each side.
//!
//! A goroutine may be pushed before it has switched out: the processor reads its inbox only between goroutines.

use crate::shim::{AtomicPtr, AtomicU32, Ordering, fence};
use std::ptr;

/// Something that can stand in an inbox.
pub(crate) trait Linked: Sized {
    /// The link. While the item stands in an inbox it belongs to the inbox.
    ///
    /// # Safety
    /// `item` is live, and the caller owns the link as the inbox protocol says.
    unsafe fn next(item: *mut Self) -> *mut *mut Self;
}

/// Many push, one empties.
pub(crate) struct Inbox<T> {
    top: AtomicPtr<T>,
}

impl<T: Linked> Inbox<T> {
    pub(crate) fn new() -> Inbox<T> {
        Inbox { top: AtomicPtr::new(ptr::null_mut()) }
    }

    /// Step 1.
    ///
    /// # Safety
    /// The item is live until it has been taken out, and stands in no inbox.
    pub(crate) unsafe fn push(&self, item: *mut T) {
        let mut top = self.top.load(Ordering::Relaxed);
        loop {
            // SAFETY: the pusher owns the link until the exchange succeeds.
            unsafe { *T::next(item) = top };
            // Release: whoever empties the inbox sees the link, and what the waker handed over.
            match self.top.compare_exchange_weak(top, item, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => break,
                Err(now) => top = now,
            }
        }
        // Between steps 1 and 2.
        fence(Ordering::SeqCst);
    }

    /// Whether there is anything to take. Exact only for the protocol's step 4.
    pub(crate) fn is_empty(&self) -> bool {
        self.top.load(Ordering::SeqCst).is_null()
    }

    /// Takes everything, and calls `each` with the items, first pushed first.
    #[inline]
    pub(crate) fn drain(&self, each: impl FnMut(*mut T)) {
        // Relaxed: a cheap look; the exchange below is what counts.
        if !self.top.load(Ordering::Relaxed).is_null() {
            self.drain_all(each);
        }
    }

    fn drain_all(&self, mut each: impl FnMut(*mut T)) {
        // Acquire: pairs with the release of every push in the chain (each exchange continues the release sequence).
        let mut item = self.top.swap(ptr::null_mut(), Ordering::Acquire);
        let mut turned = ptr::null_mut();
        while !item.is_null() {
            // SAFETY: what was taken out is live and its link is ours.
            unsafe {
                let next = *T::next(item);
                *T::next(item) = turned;
                turned = item;
                item = next;
            }
        }
        while !turned.is_null() {
            // SAFETY: as above. The link is read before the item is given away.
            let next = unsafe { *T::next(turned) };
            each(turned);
            turned = next;
        }
    }
}

const IDLE: u32 = 0;
const QUEUED: u32 = 1;
const RUNNING: u32 = 2;

/// Who sees to it that the processor runs.
pub(crate) struct State(AtomicU32);

impl State {
    pub(crate) fn new() -> State {
        State(AtomicU32::new(IDLE))
    }

    /// Step 2: true if the processor was idle and the caller must now queue it.
    #[inline]
    pub(crate) fn claim(&self) -> bool {
        self.0.load(Ordering::SeqCst) == IDLE
            && self.0.compare_exchange(IDLE, QUEUED, Ordering::SeqCst, Ordering::Relaxed).is_ok()
    }

    /// A worker has taken the processor out of the queue and carries it. The queue has ordered this after whatever
    /// the last carrier did.
    pub(crate) fn run(&self) {
        debug_assert_eq!(self.0.load(Ordering::Relaxed), QUEUED);
        self.0.store(RUNNING, Ordering::Relaxed);
    }

    /// The carrier puts the processor back although it has more to do; it must queue it.
    pub(crate) fn requeue(&self) {
        debug_assert_eq!(self.0.load(Ordering::Relaxed), RUNNING);
        self.0.store(QUEUED, Ordering::Relaxed);
    }

    /// Step 3. The caller now looks again (step 4). Release: the next carrier, who gets here through `claim`, sees all that
    /// this one did.
    pub(crate) fn rest(&self) {
        debug_assert_eq!(self.0.load(Ordering::Relaxed), RUNNING);
        self.0.store(IDLE, Ordering::Release);
        // Between steps 3 and 4.
        fence(Ordering::SeqCst);
    }

    pub(crate) fn is_queued(&self) -> bool {
        self.0.load(Ordering::SeqCst) == QUEUED
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.0.load(Ordering::SeqCst) == IDLE
    }
}

#[cfg(all(test, loom))]
mod models {
    use super::*;
    use loom::sync::Arc;
    use loom::thread;

    struct Item {
        next: *mut Item,
        value: usize,
    }

    impl Linked for Item {
        unsafe fn next(item: *mut Item) -> *mut *mut Item {
            // SAFETY: live by contract.
            unsafe { &raw mut (*item).next }
        }
    }

    struct Shared {
        inbox: Inbox<Item>,
        state: State,
        received: AtomicU32,
    }

    // SAFETY: the inbox's protocol is what is under test.
    unsafe impl Send for Shared {}
    // SAFETY: as above.
    unsafe impl Sync for Shared {}

    impl Shared {
        /// What a worker does with a processor that it took from a queue.
        fn carry(&self) {
            self.state.run();
            loop {
                self.inbox.drain(|item| {
                    // SAFETY: pushed from a box, taken out once.
                    let item = unsafe { Box::from_raw(item) };
                    self.received.fetch_add(item.value as u32, Ordering::Relaxed);
                });
                self.state.rest();
                if self.inbox.is_empty() || !self.state.claim() {
                    break;
                }
                self.state.run();
            }
        }

        /// What a waker does; the queue is the waker's own hand.
        fn wake(&self, value: usize) {
            let item = Box::into_raw(Box::new(Item { next: ptr::null_mut(), value }));
            // SAFETY: from a box, pushed once.
            unsafe { self.inbox.push(item) };
            if self.state.claim() {
                self.carry();
            }
        }
    }

    /// Two wakers and a processor: every wake-up is received, whoever ends up carrying the processor.
    #[test]
    fn loom_no_wake_up_is_lost_between_push_and_rest() {
        loom::model(|| {
            let shared =
                Arc::new(Shared { inbox: Inbox::new(), state: State::new(), received: AtomicU32::new(0) });
            let other = {
                let shared = shared.clone();
                thread::spawn(move || shared.wake(1))
            };
            shared.wake(2);
            other.join().unwrap();
            assert_eq!(shared.received.load(Ordering::Relaxed), 3);
            assert!(shared.state.is_idle());
        });
    }
}
