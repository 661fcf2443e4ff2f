//! The lock under [`Mutex`](crate::Mutex) and [`RwLock`](crate::RwLock): held by one holder, or
//! shared by several sharers.
//!
//! The state word has three flags and the number of sharers:
//!
//! - `HELD`: one holder has the lock for itself.
//! - `QUEUED`: there is a queue.
//! - `WOKEN`: waiters were taken out of the queue and woken to try again: one that wants the lock
//!   for itself, or several that want to share it. Until one of them has tried, no other waiter is
//!   woken, however often the lock is taken and released.
//!
//! A lock without `HELD` and without sharers is free. To take it, step by step:
//!
//! 1. If the lock is free, exchange the state for the same with `HELD`, or with one more sharer,
//!    even if there are waiters. If the lock is shared, a woken waiter may share it, too, and any
//!    caller may if there are no waiters (neither `QUEUED` nor `WOKEN`).
//! 2. Otherwise lock the queue, and look again. If 1 is still not possible, exchange the state for
//!    the same with `QUEUED` (and without `WOKEN`, if the caller is a woken waiter), enter the
//!    queue and sleep.
//! 3. A waiter that is woken has been granted the lock, or tries again from 1.
//!
//! To release it, step by step:
//!
//! 4. If there is no queue, or a woken waiter has yet to try: exchange the state for the same
//!    without the caller.
//! 5. Otherwise keep `HELD`. The last sharer has no `HELD` to keep and sets it, unless another
//!    caller takes the lock first; that caller comes here when it releases the lock. The state is
//!    now ours: with `HELD` nothing else takes the lock, and with the queue locked `QUEUED` does
//!    not change.
//! 6. Lock the queue and serve it. The waiters to serve are the first and, if that wants to share,
//!    all behind it up to the first that does not. If the first has waited for more than
//!    [`GRANT_AFTER_MICROS`], they are granted the lock. Otherwise the lock becomes free, and they
//!    are woken to try again, with `WOKEN` set.
//! 7. Unlock the queue, and wake them.
//!
//! At any time something will serve the queue. When a waiter enters it in 2, either the lock is
//! held or shared, and the release sees `QUEUED`; or waiters have been woken, and the first of them
//! takes the lock or sees that it is taken. That one resets `WOKEN`, even if the flag was set for
//! other waiters that have yet to try. Then the next release serves the queue, perhaps earlier than
//! necessary.
//!
//! No waiter starves. The queue is first in, first out. Only waiters that were taken out of the
//! queue before join sharers ahead of it. A release that makes the lock free takes at least one
//! waiter out of the queue, unless a woken waiter has yet to try; such a release only delays that
//! waiter. A waiter that tries again and fails keeps the time at which it began to wait; after
//! `GRANT_AFTER_MICROS` it does not have to try any more.
//!
//! A lock is granted only to waiters that have waited for so long, because a granted lock is held
//! by a waiter that does not run yet. Suppose that all waiting sharers were granted it. The holder
//! that lets them in then finds them there when it wants the lock for itself, a moment later, and
//! waits; each of them finds it in the queue the next time, and waits as well. That goes on, with a
//! switch for every three operations, on one processor, where no two of them would have to meet at
//! all. (That made seven times the cost, with eight goroutines of which each twentieth operation
//! was exclusive.)
//!
//! Workers that share the lock again and again, for a few nanoseconds each time, spend nearly all
//! their time in fetching the state's cache line from each other. So a sharer whose exchange fails
//! because another worker has just changed the state stays away for [`AWAY`], without a look at the
//! state. The other worker completes some hundred operations meanwhile, each several times as fast.
//! Where there is more to do between two operations, exchanges rarely meet. A caller that finds the
//! lock taken never stays away: the holder may be a goroutine of its own worker.
//!
//! An async task enters the queue likewise. If it is dropped after it was woken, it passes that on:
//! a granted lock it releases, and a wake-up to try again it [declines](RawLock::decline). If the
//! lock is shared then, it [lets in](RawLock::let_sharers_in) those that it has kept from sharing.
//! The same is done for a goroutine that never goes on ([`Forsaken`]).
//!
//! Orderings: taking acquires and releasing releases, so that the next holder sees what was done
//! under the lock. Sharers need no order between each other, but the next exclusive holder comes
//! after all of them: their releases are one release sequence. The exchange of step 2 publishes
//! nothing; the lock of the queue orders what follows.

use crate::lot::{
    At, Cause, Dequeued, DequeuedList, Enqueued, LockedQueue, Ticket, WakeReason, describer, told,
    told_forsaken,
};
use crate::poison::Flag;
use crate::shim::{AtomicU32, Ordering, const_fn, micros};
use narrowboat_runtime::park::{self, Forsaken, Reason, TaskWait, checkpoint};
use std::ptr;
use std::sync::atomic::{AtomicU16, Ordering::Relaxed};
use std::task::{Context, Poll};

const HELD: u32 = 1;
const QUEUED: u32 = 2;
const WOKEN: u32 = 4;
const SHARER: u32 = 8;
/// From this state on, one more sharer would not fit.
const FULL: u32 = u32::MAX - SHARER;

/// After how many microseconds a waiter is granted the lock instead of being woken to try again.
/// Go's figure: long enough that under load most acquisitions are by callers that already run, and
/// short enough not to be felt.
const GRANT_AFTER_MICROS: usize = 1000;

/// The number of CPU pause instructions for which a sharer stays away after a collision: some
/// microseconds.
const AWAY: u32 = 256;

pub(crate) struct RawLock {
    state: AtomicU32,
    /// The [tag](park::tag) of the last exclusive holder. For diagnostics: it takes no part in the
    /// protocol.
    holder: AtomicU16,
    /// Whether a panic has poisoned what the lock guards. It is here, and not beside the lock,
    /// because there is room for it here.
    #[cfg_attr(loom, allow(dead_code, reason = "no model has guards"))]
    pub(crate) poison: Flag,
}

const CAUSE: Cause = Cause {
    reason: Reason::Lock,
    describe: describer!(RawLock, RawLock::describe),
    leave: Some(leave_forsaken),
};

/// Step 2 or 3 of a goroutine that never goes on: as an async task that is dropped.
fn leave_forsaken(gone: &Forsaken) {
    let lock_at = |address| {
        // SAFETY: the goroutine borrows the lock, in the call that has begun its wait, for ever.
        unsafe { &*ptr::with_exposed_provenance::<RawLock>(address) }
    };
    if let Some(address) = gone.object() {
        let mut queue = LockedQueue::at(address);
        if queue.leave_forsaken(gone).is_some() {
            lock_at(address).let_sharers_in(queue);
        }
    } else {
        let (told, ticket) = told_forsaken(gone);
        let mode = if Mode::is_shared(ticket) { Mode::Shared } else { Mode::Exclusive };
        lock_at(ticket.value & !(Mode::Shared as usize)).pass_on(mode, told);
    }
}

/// The time, for a caller that begins to wait. Not zero, which would mean that it has not waited,
/// and not in the future, which would wrap round to a very long wait.
fn now_waiting() -> usize {
    micros().wrapping_sub(1) | 1
}

/// The wait of an async task for the lock.
pub(crate) struct LockWait {
    wait: TaskWait,
    /// When it began to wait.
    since: usize,
}

/// How a caller wants to have the lock. The ticket of a waiter says it, in the lowest bit of the
/// lock's address.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Exclusive = 0,
    Shared = 1,
}

impl Mode {
    /// Step 1: the state after the caller has taken the lock, if it can. `woken`: the caller is a
    /// waiter that was woken to try again.
    #[inline]
    fn take(self, state: u32, woken: bool) -> Option<u32> {
        let (shared, waited_for) = (state >= SHARER, state & (QUEUED | WOKEN) != 0);
        let rest = if woken { state & !WOKEN } else { state };
        match self {
            _ if state & HELD != 0 => None,
            Mode::Exclusive => (!shared).then_some(rest | HELD),
            Mode::Shared if shared && waited_for && !woken => None,
            Mode::Shared => {
                assert!(state < FULL, "too many active read locks on RwLock");
                Some(rest + SHARER)
            }
        }
    }

    fn is_shared(ticket: Ticket) -> bool {
        ticket.value & Mode::Shared as usize != 0
    }
}

impl RawLock {
    const_fn! {
        pub(crate) fn new() -> RawLock {
            RawLock { state: AtomicU32::new(0), holder: AtomicU16::new(0), poison: Flag::new() }
        }
    }

    /// Notes the caller, which has just taken the lock for itself, as its holder.
    #[inline]
    pub(crate) fn record_holder(&self) {
        self.holder.store(park::tag(), Relaxed);
    }

    fn describe(&self) -> (&'static str, String, Option<u16>) {
        let state = self.state.load(Ordering::Relaxed);
        let details = match state / SHARER {
            0 => String::new(),
            1 => "shared by 1 reader".into(),
            n => format!("shared by {n} readers"),
        };
        ("lock", details, (state & HELD != 0).then(|| self.holder.load(Relaxed)))
    }

    fn ticket(&self, mode: Mode, since: usize) -> Ticket {
        const { assert!(align_of::<RawLock>() > Mode::Shared as usize) };
        Ticket { value: (&raw const *self).expose_provenance() | mode as usize, since }
    }

    #[inline]
    pub(crate) fn lock(&self, at: At) {
        checkpoint();
        if self.state.compare_exchange(0, HELD, Ordering::Acquire, Ordering::Relaxed).is_err() {
            self.contend(Mode::Exclusive, 0, at);
        }
    }

    /// As [`lock`](RawLock::lock), for a waiter that was woken to try again.
    #[cold]
    pub(crate) fn lock_woken(&self, at: At) {
        self.contend(Mode::Exclusive, now_waiting(), at);
    }

    /// `since`: when the caller began to wait, or 0 if it has not been woken.
    #[cold]
    #[inline(never)]
    fn contend(&self, mode: Mode, mut since: usize, at: At) {
        while let Some(enqueued) = self.take_or_enqueue(mode, &mut since, at) {
            if enqueued.sleep() == WakeReason::Granted {
                return;
            }
        }
    }

    /// Steps 1 and 2.
    #[inline(never)]
    fn take_or_enqueue(&self, mode: Mode, since: &mut usize, at: At) -> Option<Enqueued> {
        let queue = self.take_or_flag(mode, since, park::assert_may_park)?;
        let ticket = self.ticket(mode, *since);
        // SAFETY: the caller sleeps at once.
        Some(unsafe { queue.enqueue(ticket, false, &CAUSE, at) })
    }

    /// Steps 1 and 2 without the wait: the locked queue, which the caller enters next, unless the
    /// lock has been taken. `before_wait` is called before the queue is locked.
    #[inline]
    fn take_or_flag(&self, mode: Mode, since: &mut usize, before_wait: impl Fn()) -> Option<LockedQueue> {
        let woken = *since != 0;
        let mut queue = None;
        let mut state = self.state.load(Ordering::Relaxed);
        loop {
            let taken = mode.take(state, woken);
            let next = match taken {
                Some(taken) => taken,
                None if queue.is_none() => {
                    before_wait();
                    queue = Some(LockedQueue::of(self));
                    state = self.state.load(Ordering::Relaxed);
                    continue;
                }
                None if woken => (state | QUEUED) & !WOKEN,
                None => state | QUEUED,
            };
            match self.state.compare_exchange_weak(state, next, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) if taken.is_some() => return None,
                Ok(_) => break,
                Err(now) => state = now,
            }
        }
        if !woken {
            *since = now_waiting();
        }
        if state & QUEUED == 0
            && let Some(queue) = &mut queue
        {
            queue.remove_forgotten();
        }
        queue
    }

    /// A lock by an async task, of which `wait` is the wait, once it has one.
    pub(crate) fn poll_lock(&self, mode: Mode, wait: &mut Option<LockWait>, cx: &Context<'_>) -> Poll<()> {
        let mut since = 0;
        if let Some(waiting) = &*wait {
            if !waiting.wait.is_over(cx) {
                return Poll::Pending;
            }
            since = waiting.since;
            if told(&waiting.wait) == WakeReason::Granted {
                *wait = None;
                return Poll::Ready(());
            }
        } else if self.try_take(mode) {
            return Poll::Ready(());
        }
        // Begun without a lock, because it clones a waker. And before the wait that is over is
        // given up: if the clone panics, the wake-up has yet to be used, or passed on.
        let begun = TaskWait::begin(cx);
        *wait = None;
        // A task does not park, so it may be polled anywhere.
        match self.take_or_flag(mode, &mut since, || ()) {
            Some(queue) => {
                queue.enqueue_task(self.ticket(mode, since), &begun);
                *wait = Some(LockWait { wait: begun, since });
                Poll::Pending
            }
            None => {
                // SAFETY: nothing was published.
                unsafe { begun.cancelled() };
                Poll::Ready(())
            }
        }
    }

    /// An async task is dropped in its wait for the lock: it leaves the queue, or passes on what it
    /// has been given.
    pub(crate) fn leave(&self, mode: Mode, LockWait { wait, .. }: LockWait) {
        let mut queue = LockedQueue::of(self);
        if queue.leave(&wait) {
            // SAFETY: the node is in no queue, and nothing else ends such a wait.
            unsafe { wait.cancelled() };
            return self.let_sharers_in(queue);
        }
        drop(queue);
        // The caller that took it out tells it next, before it calls any waker.
        wait.await_wakeup();
        self.pass_on(mode, told(&wait));
    }

    /// A waiter that was told this does not want the lock any more.
    pub(crate) fn pass_on(&self, mode: Mode, told: WakeReason) {
        match told {
            WakeReason::Granted => self.release(mode),
            WakeReason::Retry => self.decline(mode),
        }
    }

    /// A waiter has left the queue, or does not try again. If the lock is shared, those behind it
    /// that want to share it need not wait for a release: the caller shares the lock, too, so that
    /// it cannot become free meanwhile, and grants it to them. And where the queue is empty, nothing
    /// may say that it is not: that would keep callers from sharing.
    fn let_sharers_in(&self, mut queue: LockedQueue) {
        if queue.is_empty() {
            // What is about to serve the queue finds that there is nothing to do.
            self.state.fetch_and(!QUEUED, Ordering::Relaxed);
            return;
        }
        let shares = |state| (state & HELD == 0 && (SHARER..FULL).contains(&state)).then(|| state + SHARER);
        if self.state.fetch_update(Ordering::Acquire, Ordering::Relaxed, shares).is_err() {
            return;
        }
        let mut front = DequeuedList::new();
        while let Some(sharer) = queue.pop_if(Mode::is_shared) {
            front.push(sharer);
            // Relaxed: it continues the release sequences of the holders before.
            self.state.fetch_add(SHARER, Ordering::Relaxed);
        }
        if queue.is_empty() {
            self.state.fetch_and(!QUEUED, Ordering::Relaxed);
        }
        drop(queue);
        front.wake(WakeReason::Granted);
        self.unlock_shared();
    }

    /// The caller has the lock in this mode.
    fn release(&self, mode: Mode) {
        match mode {
            Mode::Exclusive => self.unlock(),
            Mode::Shared => self.unlock_shared(),
        }
    }

    /// A waiter that was woken to try again does not want the lock any more. It tries, so that
    /// others are woken: it takes the lock and releases it, or finds that another caller has it,
    /// whose release will then serve the queue.
    #[cold]
    fn decline(&self, mode: Mode) {
        let mut state = self.state.load(Ordering::Relaxed);
        loop {
            let taken = mode.take(state, true);
            let next = taken.unwrap_or(state & !WOKEN);
            match self.state.compare_exchange_weak(state, next, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) if taken.is_some() => return self.release(mode),
                Ok(_) if state & QUEUED != 0 => return self.let_sharers_in(LockedQueue::of(self)),
                Ok(_) => return,
                Err(now) => state = now,
            }
        }
    }

    #[inline]
    pub(crate) fn try_lock(&self) -> bool {
        self.try_take(Mode::Exclusive)
    }

    #[inline]
    fn try_take(&self, mode: Mode) -> bool {
        let mut state = self.state.load(Ordering::Relaxed);
        while let Some(taken) = mode.take(state, false) {
            match self.state.compare_exchange_weak(state, taken, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(now) => state = now,
            }
        }
        false
    }

    /// The caller holds the lock exclusively.
    #[inline]
    pub(crate) fn unlock(&self) {
        if self.state.compare_exchange(HELD, 0, Ordering::Release, Ordering::Relaxed).is_err() {
            self.unlock_contended();
        }
    }

    #[cold]
    #[inline(never)]
    fn unlock_contended(&self) {
        if !self.release_unless_queued(0) {
            self.serve(0);
        }
    }

    /// Step 4: exchanges `HELD` for `rest` (a sharer, or nothing), unless there is a queue to be
    /// served.
    fn release_unless_queued(&self, rest: u32) -> bool {
        let mut state = self.state.load(Ordering::Relaxed);
        while state & (QUEUED | WOKEN) != QUEUED {
            let left = (state & !HELD) + rest;
            match self.state.compare_exchange_weak(state, left, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(now) => state = now,
            }
        }
        false
    }

    /// Steps 6 and 7. The state is `HELD` and `QUEUED`, and the caller is the holder. Of the
    /// caller, `rest` remains in the state: nothing, or one sharer, which lets other sharers in at
    /// once.
    fn serve(&self, rest: u32) {
        let mut queue = LockedQueue::of(self);
        let mut front = DequeuedList::new();
        let mut sharers = 0;
        while let Some(sharer) = queue.pop_if(Mode::is_shared) {
            front.push(sharer);
            sharers += SHARER;
        }
        if sharers == 0
            && rest == 0
            && let Some(first) = queue.pop()
        {
            front.push(first);
        }
        let (mut state, mut reason) = (rest, WakeReason::Granted);
        if let Some(first) = front.ticket() {
            if rest == 0 && micros().wrapping_sub(first.since) <= GRANT_AFTER_MICROS {
                state = WOKEN;
                reason = WakeReason::Retry;
            } else {
                state += if sharers == 0 { HELD } else { sharers };
            }
        }
        if !queue.is_empty() {
            state |= QUEUED;
        }
        self.state.store(state, Ordering::Release);
        drop(queue);
        front.wake(reason);
    }

    #[inline]
    pub(crate) fn lock_shared(&self, at: At) {
        checkpoint();
        // Not a load first: that would fetch the state's cache line for reading, and a processor
        // that shares the lock at the same time would have to send it twice. An exchange that fails
        // has fetched it for writing, and the next one finds it there.
        let Err(state) = self.state.compare_exchange(0, SHARER, Ordering::Acquire, Ordering::Relaxed) else {
            return;
        };
        // It is common to find other sharers.
        let taken = Mode::Shared.take(state, false);
        let collided = match taken {
            Some(taken) => {
                if self.state.compare_exchange(state, taken, Ordering::Acquire, Ordering::Relaxed).is_ok() {
                    return;
                }
                true
            }
            None => false,
        };
        self.share_contended(collided, at);
    }

    /// `collided`: the lock could have been shared, but another worker changed the state at the
    /// same moment.
    #[cold]
    #[inline(never)]
    pub(super) fn share_contended(&self, collided: bool, at: At) {
        if collided && !cfg!(loom) {
            (0..AWAY).for_each(|_| std::hint::spin_loop());
        }
        self.contend(Mode::Shared, 0, at);
    }

    #[inline]
    pub(crate) fn try_lock_shared(&self) -> bool {
        self.try_take(Mode::Shared)
    }

    /// The caller is a sharer.
    #[inline]
    pub(crate) fn unlock_shared(&self) {
        let left = self.state.fetch_sub(SHARER, Ordering::Release) - SHARER;
        if left == QUEUED {
            self.release_last_share();
        }
    }

    /// Step 5 for the last sharer. Acquire: the next release has to come after those of all
    /// sharers.
    #[cold]
    #[inline(never)]
    fn release_last_share(&self) {
        if self.state.compare_exchange(QUEUED, QUEUED | HELD, Ordering::Acquire, Ordering::Relaxed).is_ok() {
            self.serve(0);
        }
    }

    /// The caller holds the lock exclusively, and becomes a sharer. Waiting sharers at the front
    /// come in.
    pub(crate) fn downgrade(&self) {
        if !self.release_unless_queued(SHARER) {
            self.serve(SHARER);
        }
    }

    /// Takes over `first`, and from `others` all up to the first that is not for this lock
    /// (`same_lock`). They were taken out of another queue and now want this lock exclusively. They
    /// enter the queue of the lock. But if the lock is free and no woken waiter has yet to try,
    /// nothing would serve that queue; then `first` is woken to try.
    #[cold]
    pub(crate) fn requeue(
        &self,
        first: Dequeued,
        others: &mut DequeuedList,
        same_lock: impl Fn(Ticket) -> bool,
    ) {
        let ticket = self.ticket(Mode::Exclusive, now_waiting());
        let mut queue = LockedQueue::of(self);
        let more = others.ticket().is_some_and(&same_lock);
        let mut state = self.state.load(Ordering::Relaxed);
        let lock_was_free = loop {
            let free = state & (HELD | WOKEN) == 0 && state < SHARER;
            let next = state | if free { WOKEN } else { 0 } | if more || !free { QUEUED } else { 0 };
            match self.state.compare_exchange_weak(state, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => break free,
                Err(now) => state = now,
            }
        };
        if state & QUEUED == 0 {
            queue.remove_forgotten();
        }
        let first = if lock_was_free {
            Some(first)
        } else {
            queue.requeue(first, ticket);
            None
        };
        while others.ticket().is_some_and(&same_lock)
            && let Some(waiter) = others.pop()
        {
            queue.requeue(waiter, ticket);
        }
        drop(queue);
        if let Some(first) = first {
            first.wake(WakeReason::Retry);
        }
    }
}
