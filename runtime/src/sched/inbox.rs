//! A processor's inbox: how a goroutine of one processor is woken from anywhere else, and which
//! thread must then see that the processor runs.
//!
//! The inbox is one word: the top of a stack of records linked through their `next` field or, while
//! the processor has nothing to do and no thread holds it, the mark `IDLE`. Any thread may push.
//! The carrier takes the whole stack at once and reverses it, so that goroutines run in the order
//! in which they were woken.
//!
//! A processor that is not idle is *taken*: it stands in exactly one queue of processors, or a
//! worker carries it, or a thread is about to queue it.
//!
//! 1. A waker pushes its record. If that replaces `IDLE`, the waker has taken the processor and
//!    must queue it. If not, the processor is taken already, and its holder empties the inbox
//!    before it releases the processor (3).
//! 2. A thread with other work for a processor (a goroutine to start, a deadline that has passed)
//!    puts it where the processor looks, fences, and claims the processor: it replaces `IDLE` by
//!    the empty list. Again the winner must queue the processor.
//! 3. A worker that has found nothing left to run exchanges the empty list for `IDLE`. If that
//!    fails, something has just been pushed, and the processor stays taken.
//! 4. The worker then looks at the words that say where else work may stand (`sent` of
//!    [`super::arrivals`], and [requests](super::request); deadlines have a protocol of their own).
//!    If there may be some, it claims the processor as in 2.
//!
//! Pushes cannot be lost, since 1 and 3 exchange the same word. For other work, either the claim in
//! 2 comes after the `IDLE` of 3, and sees it; or it comes before, and then the work was put there
//! before the look in 4. On both sides that is a store followed by a load of another location. The
//! side of 2 has a sequentially consistent fence between the two. On the side of 3 both the
//! exchange and the look are sequentially consistent operations themselves, which has the same
//! effect and saves a fence in every turn of a processor that runs out of work.
//!
//! A goroutine may be pushed before it has switched out: the processor reads its inbox only between
//! goroutines.

use crate::shim::{AtomicPtr, Ordering, fence_for_model};
use std::ptr;

/// Something that can stand in an inbox.
pub(crate) trait Linked: Sized {
    /// The link. While the item stands in an inbox it belongs to the inbox.
    ///
    /// # Safety
    /// `item` is live, and the caller owns the link as the inbox protocol says.
    unsafe fn next(item: *mut Self) -> *mut *mut Self;
}

/// A stack that any thread pushes to and only the carrier empties.
pub(crate) struct Inbox<T> {
    top: AtomicPtr<T>,
}

/// The mark of an idle processor. No item has this address: they are aligned.
fn idle<T>() -> *mut T {
    ptr::without_provenance_mut(1)
}

impl<T: Linked> Inbox<T> {
    /// The inbox of an idle processor.
    pub(crate) fn new() -> Inbox<T> {
        Inbox { top: AtomicPtr::new(idle()) }
    }

    /// Step 1: true if the processor was idle and the caller must now queue it.
    ///
    /// # Safety
    /// The item is live until it has been taken out, and stands in no inbox.
    #[inline]
    pub(crate) unsafe fn push(&self, item: *mut T) -> bool {
        let mut top = self.top.load(Ordering::Relaxed);
        loop {
            let was_idle = top == idle();
            // SAFETY: the pusher owns the link until the exchange succeeds.
            // (A store that a dump may read: the same instruction as a plain one.)
            unsafe {
                let link = std::sync::atomic::AtomicPtr::from_ptr(T::next(item));
                let next = if was_idle { ptr::null_mut() } else { top };
                link.store(next, std::sync::atomic::Ordering::Release);
            }
            // Release: the carrier that empties the inbox sees the link, and what the waker handed
            // over. Acquire: if the processor was idle, its next carrier, which gets it by way of
            // us, sees what its last carrier did.
            match self.top.compare_exchange_weak(top, item, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return was_idle,
                Err(now) => top = now,
            }
        }
    }

    /// Step 2, after the fence: true if the processor was idle and the caller must now queue it.
    /// Acquire as in `push`.
    #[inline]
    pub(crate) fn claim(&self) -> bool {
        self.is_idle()
            && self.top.compare_exchange(idle(), ptr::null_mut(), Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Step 3: true if the processor is idle now; false if something has come in, and the caller
    /// must queue it. Release: the next carrier sees all that this one did.
    pub(crate) fn rest(&self) -> bool {
        // A look first, since a failed exchange costs as much as a successful one.
        let rests = self.top.load(Ordering::Relaxed).is_null()
            && self
                .top
                .compare_exchange(ptr::null_mut(), idle(), Ordering::SeqCst, Ordering::Relaxed)
                .is_ok();
        fence_for_model();
        rests
    }

    /// Whether the processor is idle: no thread holds it.
    #[inline]
    pub(crate) fn is_idle(&self) -> bool {
        self.top.load(Ordering::SeqCst) == idle()
    }

    /// Takes everything, and calls `each` with the items, first pushed first. Only the carrier of
    /// the processor does this.
    #[inline]
    pub(crate) fn drain(&self, each: impl FnMut(*mut T)) {
        // Relaxed: a cheap look; the exchange below is what counts.
        if !self.top.load(Ordering::Relaxed).is_null() {
            self.drain_all(each);
        }
    }

    fn drain_all(&self, mut each: impl FnMut(*mut T)) {
        // Acquire: pairs with the release of every push in the chain (each exchange continues the
        // release sequence).
        let mut item = self.top.swap(ptr::null_mut(), Ordering::Acquire);
        debug_assert_ne!(item, idle(), "a processor is taken while it is carried");
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

#[cfg(all(test, any(loom, narrowboat_threads)))]
mod models {
    use super::*;
    use crate::shim::{AtomicU32, AtomicUsize, fence};
    use loom::cell::UnsafeCell;
    use loom::sync::Arc;
    use loom::sync::atomic::AtomicBool;
    use loom::thread;

    /// A goroutine's record. Loom checks the accesses to each part of it.
    struct Item {
        next: UnsafeCell<*mut Item>,
        /// What its waker hands over.
        value: UnsafeCell<u32>,
        /// What it writes when it switches out.
        sp: UnsafeCell<u32>,
    }

    impl Item {
        fn new() -> *mut Item {
            let next = UnsafeCell::new(ptr::null_mut());
            Box::into_raw(Box::new(Item { next, value: UnsafeCell::new(0), sp: UnsafeCell::new(0) }))
        }

        /// Resumes the goroutine for the last time.
        ///
        /// # Safety
        /// The caller carries its processor and has taken it out of the inbox.
        unsafe fn resume(item: *mut Item) -> u32 {
            // SAFETY: made by `new`, and by contract no other thread refers to it any more.
            let item = unsafe { Box::from_raw(item) };
            item.sp.with(|_| ());
            // SAFETY: as above.
            item.value.with(|value| unsafe { *value })
        }
    }

    impl Linked for Item {
        unsafe fn next(item: *mut Item) -> *mut *mut Item {
            // SAFETY: live by contract. Loom is told that the caller owns the link at this moment.
            unsafe { (*item).next.with_mut(|next| next) }
        }
    }

    /// A processor: its inbox, another place where work may stand, and what only its carrier
    /// touches.
    struct Shared {
        inbox: Inbox<Item>,
        /// Stand for the queue and the word of [`crate::sched::arrivals`].
        arrivals: AtomicUsize,
        sent: AtomicBool,
        local: UnsafeCell<u32>,
        done: AtomicU32,
    }

    // SAFETY: the inbox's protocol is what is under test.
    unsafe impl Send for Shared {}
    // SAFETY: as above.
    unsafe impl Sync for Shared {}

    impl Shared {
        fn new() -> Arc<Shared> {
            Arc::new(Shared {
                inbox: Inbox::new(),
                arrivals: AtomicUsize::new(0),
                sent: AtomicBool::new(false),
                local: UnsafeCell::new(0),
                done: AtomicU32::new(0),
            })
        }

        /// What a worker does with a processor that it took from a queue.
        fn carry(&self) {
            loop {
                // SAFETY: taken by us; loom complains if another carrier is not ordered with us.
                let mut sum = self.local.with_mut(|local| unsafe { std::mem::take(&mut *local) });
                self.inbox.drain(|item| {
                    // SAFETY: just taken out, by the carrier.
                    sum += unsafe { Item::resume(item) };
                });
                if self.sent.load(Ordering::Relaxed) {
                    self.sent.swap(false, Ordering::Acquire);
                    sum += self.arrivals.swap(0, Ordering::Relaxed) as u32;
                }
                self.done.fetch_add(sum, Ordering::Relaxed);
                if !self.inbox.rest() {
                    continue;
                }
                if !self.sent.load(Ordering::SeqCst) || !self.inbox.claim() {
                    return;
                }
            }
        }

        /// Wakes a goroutine. A waker that takes the processor carries it at once, instead of
        /// queueing it.
        fn wake(&self, item: *mut Item, value: u32) {
            // SAFETY: the waker owes the goroutine a value and one push.
            let was_idle = unsafe {
                (*item).value.with_mut(|to| *to = value);
                self.inbox.push(item)
            };
            if was_idle {
                self.carry();
            }
        }

        /// Brings other work than a wake-up.
        fn send(&self, value: usize) {
            self.arrivals.fetch_add(value, Ordering::Relaxed);
            self.sent.swap(true, Ordering::Release);
            fence(Ordering::SeqCst);
            if self.inbox.claim() {
                self.carry();
            }
        }

        fn ends_idle_with(&self, sum: u32) {
            assert_eq!(self.done.load(Ordering::Relaxed), sum);
            assert!(self.inbox.is_idle());
        }
    }

    /// For models that would take minutes in full.
    fn bounded(preemptions: usize) -> loom::model::Builder {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(preemptions);
        model
    }

    /// Two wakers, one of which wakes twice, and a processor that rests in between: every wake-up
    /// is received, whichever thread carries the processor, and each carrier sees what the last one
    /// did.
    #[test]
    fn loom_no_wake_up_is_lost_between_push_and_rest() {
        loom::model(|| {
            let shared = Shared::new();
            let other = {
                let shared = shared.clone();
                thread::spawn(move || shared.wake(Item::new(), 1))
            };
            shared.wake(Item::new(), 2);
            shared.wake(Item::new(), 4);
            other.join().unwrap();
            shared.ends_idle_with(7);
        });
    }

    /// Work that does not come through the inbox is not lost either.
    #[test]
    fn loom_no_arrival_is_lost_between_claim_and_rest() {
        bounded(4).check(|| {
            let shared = Shared::new();
            let other = {
                let shared = shared.clone();
                thread::spawn(move || shared.send(1))
            };
            shared.wake(Item::new(), 2);
            shared.send(4);
            other.join().unwrap();
            shared.ends_idle_with(7);
        });
    }

    /// Two wakers of a processor that a third thread carries.
    #[test]
    fn loom_two_wakers_and_a_carrier_whose_processor_rests() {
        bounded(3).check(|| {
            let shared = Shared::new();
            assert!(shared.inbox.claim());
            let wakers = [1, 2].map(|value| {
                let shared = shared.clone();
                thread::spawn(move || shared.wake(Item::new(), value))
            });
            shared.carry();
            wakers.into_iter().for_each(|waker| waker.join().unwrap());
            shared.ends_idle_with(3);
        });
    }

    /// A goroutine is woken after it has published its wait and before it has switched out. It is
    /// resumed after the switch, by the thread that carries its processor then.
    #[test]
    fn loom_a_goroutine_is_pushed_before_it_has_switched_out() {
        loom::model(|| {
            let shared = Shared::new();
            assert!(shared.inbox.claim());
            let (item, published) = (Item::new(), Arc::new(AtomicBool::new(false)));
            let waker = {
                /// Belongs to the waker once the wait is published.
                struct Owed(*mut Item);
                // SAFETY: only its address is used before.
                unsafe impl Send for Owed {}
                let (shared, published, item) = (shared.clone(), published.clone(), Owed(item));
                thread::spawn(move || {
                    let Owed(item) = { item };
                    // The lock under which it finds the wait.
                    while !published.load(Ordering::Acquire) {
                        thread::yield_now();
                    }
                    shared.wake(item, 1);
                })
            };
            published.store(true, Ordering::Release);
            // SAFETY: the goroutine still runs, on the processor that this thread carries.
            unsafe { (*item).sp.with_mut(|sp| *sp = 1) };
            shared.carry();
            waker.join().unwrap();
            shared.ends_idle_with(1);
        });
    }
}
