//! The goroutines that wait for words of memory. See the protocol in [`super`].
//!
//! As in the kernel, words share queues: whose word it is stands in the node. Nothing is allocated
//! under the lock, because an allocator may itself wake what waits for a word.

use crate::park::{Outcome, WaitNode, WaitQueue, Waiter};
use crate::shim::{AtomicUsize, Mutex, MutexGuard, Ordering, fence};
use std::ptr::NonNull;
#[cfg(not(loom))]
use std::sync::PoisonError;

/// What a wait ends with if it was not the deadline.
const WOKEN: Outcome = Outcome(Outcome::FIRST);

/// One queue, on a cache line of its own.
#[repr(align(64))]
pub(super) struct Shard {
    /// How many stand in the queue, or are about to.
    waiting: AtomicUsize,
    queue: Mutex<WaitQueue>,
}

#[cfg(not(loom))]
pub(super) fn shard_of(word: usize) -> &'static Shard {
    /// So many that wakers of different words rarely meet.
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

impl Shard {
    #[cfg(not(loom))]
    const fn new() -> Shard {
        Shard { waiting: AtomicUsize::new(0), queue: Mutex::new(WaitQueue::new()) }
    }

    #[cfg(not(loom))]
    fn lock(&self) -> MutexGuard<'_, WaitQueue> {
        // Nothing panics under the lock. It may be poisoned by a goroutine that was unwinding already.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(loom)]
    fn lock(&self) -> MutexGuard<'_, WaitQueue> {
        self.queue.lock().unwrap()
    }

    /// Steps 1 and 2: true if the caller now stands in the queue and must park.
    ///
    /// # Safety
    /// The waiter is the caller's, from its latest `begin`. The caller parks next if told to.
    pub(super) unsafe fn enter(
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
        let mut node = waiter.node();
        // SAFETY: a party that has just begun a wait stands in no queue, so the node is its own; it
        // lives until after the wait, and from here on the lock guards it.
        unsafe {
            node.as_mut().prepare(waiter, WOKEN, !deadline);
            node.as_mut().cell().write([word, mask as usize]);
            queue.push(node);
        }
        true
    }

    /// Step 6.
    ///
    /// # Safety
    /// The waiter is the caller's, which was told to park here and whose deadline came first.
    pub(super) unsafe fn leave(&self, waiter: Waiter) {
        let mut queue = self.lock();
        // SAFETY: by contract its node was pushed here, or has been passed over by a waker.
        if unsafe { queue.remove(waiter.node()) } {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Steps 3 and 4: how many were woken.
    pub(super) fn wake(&self, word: usize, mask: u32, most: usize) -> usize {
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
            // SAFETY: taken out just now, and ours until it is woken.
            unsafe { woken.push(node) };
            count += 1;
        }
        drop(queue);
        while let Some(node) = woken.front() {
            // SAFETY: pushed above; its wait was ended for us, and it is woken once. It is not touched
            // after that.
            unsafe {
                woken.remove(node);
                let waiter = node.as_ref().waiter();
                waiter.unpark();
            }
        }
        count
    }
}

/// Whether this node waits for the word, and for one of these bits.
fn matches(node: NonNull<WaitNode>, word: usize, mask: u32) -> bool {
    // SAFETY: it stands in the queue, so it is guarded by the lock that the caller holds; its cell was
    // written before it got there.
    let [its, bits] = unsafe { (*node.as_ptr()).cell().assume_init() };
    its == word && bits as u32 & mask != 0
}
