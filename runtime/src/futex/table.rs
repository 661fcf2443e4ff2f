//! The goroutines that wait for words of memory, or for other objects that have an address. See the
//! protocol in [`super`]. `narrowboat-interpose` has a table of its own for the C library's locks.
//!
//! As in the kernel, words share queues: each node holds the word that it waits for. Nothing is
//! allocated under the lock, because an allocator may itself wake what waits for a word.

use crate::park::{Forsaken, Outcome, WaitNode, WaitQueue, Waiter};
use crate::shim::{AtomicUsize, Mutex, MutexGuard, Ordering, fence};
use std::ptr::NonNull;
#[cfg(not(loom))]
use std::sync::PoisonError;

/// How a wait ends that the deadline did not end.
const WOKEN: Outcome = Outcome(Outcome::FIRST);

/// One queue, on a cache line of its own.
#[repr(align(64))]
pub struct Shard {
    /// How many nodes are in the queue, or are about to be.
    waiting: AtomicUsize,
    queue: Mutex<WaitQueue>,
}

#[cfg(not(loom))]
pub(super) fn shard_of(word: usize) -> &'static Shard {
    /// Enough that wakers of different words rarely share one.
    const SHARDS: usize = 1024;
    static SHARDED: [Shard; SHARDS] = [const { Shard::new() }; SHARDS];
    // Fibonacci hashing: the upper bits depend on all bits of the address.
    let spread = (word as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    &SHARDED[(spread >> (64 - SHARDS.ilog2())) as usize]
}

#[cfg(loom)]
pub(super) fn shard_of(_word: usize) -> &'static Shard {
    unreachable!("a model has a shard of its own")
}

#[expect(clippy::new_without_default, reason = "shards are in static tables")]
impl Shard {
    /// A shard without waiters.
    #[cfg(not(loom))]
    pub const fn new() -> Shard {
        Shard { waiting: AtomicUsize::new(0), queue: Mutex::new(WaitQueue::new()) }
    }

    #[cfg(all(test, loom))]
    pub(super) fn new() -> Shard {
        Shard { waiting: AtomicUsize::new(0), queue: Mutex::new(WaitQueue::new()) }
    }

    #[cfg(not(loom))]
    fn lock(&self) -> MutexGuard<'_, WaitQueue> {
        // Nothing panics under the lock. A goroutine that was already unwinding may have poisoned
        // it.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(loom)]
    fn lock(&self) -> MutexGuard<'_, WaitQueue> {
        self.queue.lock().unwrap()
    }

    /// How many waiters there may be. Not ordered with anything: see [`wake`](Shard::wake).
    #[inline]
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Steps 1 and 2: true if the caller is now in the queue and must park. It has its place in the
    /// queue only if `expected` says so, which is called under the shard's lock. `deadline` says
    /// whether anything but a waker may end the wait.
    ///
    /// # Safety
    /// The waiter is the caller's, from its latest `begin`. The caller parks next if this returns
    /// true.
    pub unsafe fn enter(
        &self,
        waiter: Waiter,
        word: usize,
        mask: u32,
        deadline: bool,
        expected: impl FnOnce() -> bool,
    ) -> bool {
        let mut queue = self.lock();
        // Relaxed: the fence orders it before the look at the word.
        self.waiting.fetch_add(1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if !expected() {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return false;
        }
        // SAFETY: by contract.
        unsafe { push(&mut queue, waiter, [word, mask as usize], !deadline) };
        true
    }

    /// Enters the queue again after a deadline, with `begin` for the new wait. False if a waker has
    /// skipped the waiter because the deadline came first: then the caller is in no queue, has
    /// begun no wait, and counts as woken.
    ///
    /// # Safety
    /// The waiter is the caller's. It was entered here, and its deadline came first. The caller
    /// parks next if this returns true; the new wait is its latest.
    pub unsafe fn stay(
        &self,
        waiter: Waiter,
        word: usize,
        mask: u32,
        begin: impl FnOnce() -> Waiter,
    ) -> bool {
        let mut queue = self.lock();
        // SAFETY: by contract its node was pushed here, or a waker has skipped it. A waiter that
        // has begun a wait is in no queue.
        unsafe {
            let is_there = queue.remove(waiter.node());
            if is_there {
                push(&mut queue, begin(), [word, mask as usize], false);
            }
            is_there
        }
    }

    /// Step 6.
    ///
    /// # Safety
    /// The waiter is the caller's. It was entered here, and its deadline came first.
    pub unsafe fn leave(&self, waiter: Waiter) {
        let mut queue = self.lock();
        // SAFETY: by contract its node was pushed here, or a waker has skipped it.
        if unsafe { queue.remove(waiter.node()) } {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Step 6 for a goroutine that never runs again, unless a waker has taken it out.
    ///
    /// # Safety
    /// If it was entered anywhere in its present wait, it was here.
    pub(super) unsafe fn forsake(&self, gone: &Forsaken) {
        let mut queue = self.lock();
        // SAFETY: by contract; the lock of the queue is held.
        if unsafe { gone.leave(&mut queue) } {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Steps 3 and 4: how many were woken.
    pub fn wake(&self, word: usize, mask: u32, most: usize) -> usize {
        fence(Ordering::SeqCst);
        // Relaxed: the fence orders it after the change of the word.
        if self.waiting.load(Ordering::Relaxed) == 0 {
            return 0;
        }
        let mut woken = WaitQueue::new();
        let mut count = 0;
        let mut queue = self.lock();
        while count < most {
            let (node, taken_out) = queue.pop_claim_where(|node| matches(node, word, mask));
            self.waiting.fetch_sub(taken_out, Ordering::Relaxed);
            let Some(node) = node else { break };
            // SAFETY: just removed, and ours until it is woken.
            unsafe { woken.push(node) };
            count += 1;
        }
        drop(queue);
        while let Some(node) = woken.front() {
            // SAFETY: pushed above; its wait was ended for us, and it is woken once. It is not
            // touched after that.
            unsafe {
                woken.remove(node);
                let waiter = node.as_ref().waiter();
                waiter.unpark();
            }
        }
        count
    }
}

/// Enters a waiter at the end of the queue.
///
/// # Safety
/// The waiter has just begun a wait. The lock of the queue is held.
unsafe fn push(queue: &mut WaitQueue, waiter: Waiter, cell: [usize; 2], sole: bool) {
    let mut node = waiter.node();
    // SAFETY: a waiter that has just begun a wait is in no queue, so the node is its own; it lives
    // until after the wait, and from here on the lock guards it.
    unsafe {
        node.as_mut().prepare(waiter, WOKEN, sole);
        node.as_mut().cell().write(cell);
        queue.push(node);
    }
}

/// Whether this node waits for the word, and for one of these bits.
fn matches(node: NonNull<WaitNode>, word: usize, mask: u32) -> bool {
    // SAFETY: it is in the queue, so the lock that the caller holds guards it. Its cell was written
    // before it got there.
    let [its, bits] = unsafe { (*node.as_ptr()).cell().assume_init() };
    its == word && bits as u32 & mask != 0
}

#[cfg(all(test, any(loom, narrowboat_threads)))]
mod models {
    use super::*;
    use crate::park::Reason;
    use crate::shim::AtomicU32;
    use loom::sync::Arc;
    use loom::thread;
    use std::panic::Location;
    use std::time::Instant;

    const EVERY_BIT: u32 = u32::MAX;
    const ADDRESS: usize = 64;

    struct Shared {
        shard: Shard,
        word: AtomicU32,
    }

    impl Shared {
        fn new() -> Arc<Shared> {
            Arc::new(Shared { shard: Shard::new(), word: AtomicU32::new(0) })
        }

        /// As `futex::wait`: false if the deadline came first.
        fn wait(&self, expected: u32, deadline: Option<Instant>) -> bool {
            let waiter = Waiter::begin(Reason::Futex, ADDRESS, Location::caller());
            // Relaxed: the waker must order the word by other means; the fences are under test.
            let looks = || self.word.load(Ordering::Relaxed) == expected;
            // SAFETY: the steps of the module.
            unsafe {
                if !self.shard.enter(waiter, ADDRESS, EVERY_BIT, deadline.is_some(), looks) {
                    return true;
                }
                if waiter.park(deadline) == Outcome::TIMED_OUT {
                    self.shard.leave(waiter);
                    return false;
                }
            }
            true
        }

        /// Waits for a wake-up, and not for the word: its deadline comes once before the wait is
        /// over, and it stays.
        fn wait_for_a_call(&self, entered: impl FnOnce()) {
            let begin = || Waiter::begin(Reason::Futex, ADDRESS, Location::caller());
            let waiter = begin();
            // SAFETY: the steps of the module.
            unsafe {
                assert!(self.shard.enter(waiter, ADDRESS, EVERY_BIT, true, || true));
                entered();
                if waiter.park(Some(Instant::now())) == Outcome::TIMED_OUT
                    && self.shard.stay(waiter, ADDRESS, EVERY_BIT, begin)
                {
                    waiter.park(None);
                }
            }
        }

        /// Sets the word, and wakes.
        fn set(&self, value: u32, most: usize) -> usize {
            self.word.store(value, Ordering::Relaxed);
            self.shard.wake(ADDRESS, EVERY_BIT, most)
        }
    }

    /// A word changes while a waiter is about to wait for that: the waiter never sleeps for ever.
    #[test]
    fn loom_a_wait_sees_the_change_or_is_woken() {
        loom::model(|| {
            let shared = Shared::new();
            let waker = {
                let shared = shared.clone();
                thread::spawn(move || shared.set(1, 1))
            };
            while shared.word.load(Ordering::Relaxed) == 0 {
                shared.wait(0, None);
            }
            waker.join().unwrap();
            assert_eq!(shared.shard.waiting.load(Ordering::Relaxed), 0);
        });
    }

    /// A deadline and a wake-up compete: one ends the wait, and in the end nothing is counted.
    #[test]
    fn loom_a_deadline_and_a_wake_up_count_a_waiter_out_once() {
        loom::model(|| {
            let shared = Shared::new();
            let waker = {
                let shared = shared.clone();
                thread::spawn(move || shared.set(1, 1))
            };
            let in_time = shared.wait(0, Some(Instant::now()));
            let woken = waker.join().unwrap();
            // Either the waker has woken it, or its deadline has passed, or it saw the change.
            assert!(in_time || woken == 0);
            assert_eq!(shared.shard.waiting.load(Ordering::Relaxed), 0);
        });
    }

    /// A waiter whose deadline comes stays in the queue, and a wake-up that comes while it does so
    /// is not lost, as that of a condition variable must not be.
    #[test]
    fn loom_a_waiter_that_stays_is_woken() {
        loom::model(|| {
            let shared = Shared::new();
            let mut waker = None;
            shared.wait_for_a_call(|| {
                let shared = shared.clone();
                waker = Some(thread::spawn(move || shared.set(1, 1)));
            });
            waker.unwrap().join().unwrap();
            assert_eq!(shared.shard.waiting.load(Ordering::Relaxed), 0);
        });
    }

    /// A waiter that never goes on is taken out while a waker may take it out, too: it is counted
    /// out once. (Loom does not switch threads while the node is in the waker's own list, so the
    /// look at the claim is not under test.) With a deadline, that may have ended the wait before.
    fn forsakes_a_waiter(deadline: bool) {
        loom::model(move || {
            let shared = Shared::new();
            let waiter = Waiter::begin(Reason::Futex, ADDRESS, Location::caller());
            // SAFETY: the wait has just begun; it is over at the end of the model.
            assert!(unsafe { shared.shard.enter(waiter, ADDRESS, EVERY_BIT, deadline, || true) });
            let waker = {
                let shared = shared.clone();
                thread::spawn(move || shared.set(1, 1))
            };
            let late = deadline && waiter.try_end(Outcome::TIMED_OUT);
            // SAFETY: its node is alive, and it was entered there.
            unsafe { shared.shard.forsake(&Forsaken::new(waiter, waiter.node(), Some(ADDRESS))) };
            let woken = waker.join().unwrap();
            if deadline {
                assert_eq!(woken, usize::from(!late));
            }
            if woken == 1 {
                // SAFETY: its wait has been ended, and its wake-up has come.
                assert_eq!(unsafe { waiter.park(None) }, WOKEN);
            }
            assert_eq!(shared.shard.waiting.load(Ordering::Relaxed), 0);
            assert!(shared.shard.lock().is_empty());
        });
    }

    #[test]
    fn loom_a_forsaken_waiter_is_counted_out_once() {
        forsakes_a_waiter(false);
    }

    #[test]
    fn loom_a_forsaken_waiter_whose_deadline_has_passed_is_counted_out_once() {
        forsakes_a_waiter(true);
    }

    /// Two waiters, and a waker that may wake both.
    #[test]
    fn loom_all_that_wait_are_woken() {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(3);
        model.check(|| {
            let shared = Shared::new();
            let others = [(); 2].map(|()| {
                let shared = shared.clone();
                thread::spawn(move || {
                    while shared.word.load(Ordering::Relaxed) == 0 {
                        shared.wait(0, None);
                    }
                })
            });
            shared.set(1, usize::MAX);
            others.into_iter().for_each(|other| other.join().unwrap());
            assert_eq!(shared.shard.waiting.load(Ordering::Relaxed), 0);
        });
    }
}
