//! The C library's locks: mutexes, condition variables, reader-writer locks, semaphores, and
//! `pthread_once`.
//!
//! The state of a lock stays libc's, in libc's own format, and only libc's functions change it. So
//! goroutines, plain threads and other processes use one lock together. A goroutine only calls
//! functions that do not block (`pthread_mutex_trylock`), and parks in a table of this module until
//! it is worth another attempt. (A condition variable has no such function: [`condvar`].)
//!
//! # The protocol
//! 1. A goroutine attempts the operation. In most cases that succeeds, and nothing else happens.
//! 2. Otherwise it locks the shard of the object's address in the table and counts itself as
//!    waiting there. It fences, and attempts again. If that succeeds, it subtracts itself.
//! 3. Otherwise it enters the shard's queue, unlocks the shard, and parks with its stack in place.
//! 4. What may let a waiter in (an unlock, a post) calls libc's function first, goroutine or
//!    thread. Then it looks at the shard's count. If that is zero, it is done.
//! 5. Otherwise it locks the shard, takes out the first waiters of the address (one, for a mutex),
//!    ends their waits, unlocks the shard and unparks them.
//! 6. A goroutine that was woken, or that has waited for a pause, attempts again. If it fails, it
//!    continues at 2, or gives up if its deadline has passed.
//!
//! No wake-up is lost between 2 and 4. The waiter writes the count, then reads the lock; the unlock
//! writes the lock, then reads the count; each with a full fence between the two. So either the
//! waiter's attempt sees the lock free, or the unlock sees the count. Then it finds the waiter in
//! the queue, which it entered under the same lock as the count.
//! - The fence of 2 is a sequentially consistent one, and the count is relaxed ([`Shard::enter`]).
//! - The fence of 4 is [`fence_after_libc`]. On x86-64 it is in libc's function: the
//!   read-modify-write by which that frees the lock is a locked instruction, which is a full fence.
//!   Only the compiler has to be told, which cannot move a load across a call of unknown code. So an
//!   unlock pays for a load and a compare. A process where libc leaves the `lock` prefix out has one
//!   thread, and so no goroutine. Elsewhere libc frees the lock by a release, which a later load may
//!   overtake, so there the fence is an instruction of its own.
//! - The queue is guarded by the shard's lock. A waiter that was woken is ordered after its waker
//!   by the unpark.
//!
//! No wake-up is lost at 6 either. A waiter that was woken attempts once more before it gives up.
//! If it fails then, something else holds the lock, and will come to 4 and find the next waiter
//! counted.
//!
//! # Unlocks that are not seen
//! Some unlocks do not come by 4: that in libc's own `pthread_cond_wait` on a plain thread, those
//! of other processes for a lock that these share, and those of libraries that do not use the
//! program's symbols (`RTLD_DEEPBIND`). So every park of 3 ends after a pause: a quarter of the
//! time waited so far, at least [`FIRST`] and at most [`LONGEST`] for each goroutine that waits in
//! the shard, so that crowds cost no more than a few. For a lock that processes share it is
//! `LONGEST` at most. A plain thread that is about to wait for a condition wakes the first waiter
//! of its mutex, which then begins anew with short pauses.
//!
//! # What is not allocated, and where nothing parks
//! A waiter's node is in its record, and nothing is allocated on the way. libc's functions, and
//! what a preloaded library has in their place, are called under the shard's lock and between the
//! begin of a wait and its park only in a section where nothing parks. An allocator's own locks
//! block the thread ([`callers`]). So do all in signal handlers, forked children and before `main`,
//! and one that is in the goroutine's own thread-locals, whose bytes are exchanged while it is
//! parked.
//!
//! # Differences from libc
//! - A wait in a goroutine is not ended by a signal, and is no cancellation point.
//! - A reader-writer lock that prefers writers does so among threads only.
//! - Priority-inheriting and priority-protecting mutexes, and robust ones that are recursive or
//!   check errors, stay libc's: they belong to the kernel's thread.

mod callers;
mod condvar;
mod deadline;
mod mutex;
mod once;
mod owners;
mod rwlock;
mod semaphore;

use crate::dumps;
use deadline::Deadline;
use libc::{c_int, timespec};
use narrowboat_runtime::as_thread::{Shard, begin_in_place, is_forked_child, natively, park_in_place};
use narrowboat_runtime::park::Outcome;
use std::ptr;
use std::sync::atomic::{Ordering, compiler_fence, fence};
use std::time::{Duration, Instant};

/// The pauses between two attempts.
const FIRST: Duration = Duration::from_micros(20);
const LONGEST: Duration = Duration::from_millis(5);
/// With how many waiters of a shard the longest pause grows.
const MOST_COUNTED: usize = 64;

/// What a waiter wants, and what a waker offers.
const ANYTHING: u32 = 1;

/// Looks up libc's own functions.
pub(crate) fn find() {
    mutex::next::find();
    condvar::next::find();
    rwlock::next::find();
    semaphore::next::find();
    once::next::find();
    condvar::read_layout();
}

#[cfg(not(loom))]
#[inline]
fn shard_of(object: usize) -> &'static Shard {
    /// Enough that unlocks rarely meet the waiters of another lock.
    const SHARDS: usize = 256;
    static TABLE: [Shard; SHARDS] = [const { Shard::new() }; SHARDS];
    // Fibonacci hashing: the upper bits depend on all bits of the address.
    let spread = (object as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    &TABLE[(spread >> (64 - SHARDS.ilog2())) as usize]
}

#[cfg(loom)]
fn shard_of(_object: usize) -> &'static Shard {
    unreachable!("nothing parks outside of a model")
}

/// Whether processes share an object, so that others may change it without a call of ours.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shared {
    No,
    Yes,
}

/// Steps 2, 3 and 6: parks until `attempt` has an answer, or the deadline has passed (`None`). The
/// caller may park.
#[cold]
fn wait(
    object: usize,
    wants: u32,
    shared: Shared,
    deadline: Option<&Deadline>,
    mut attempt: impl FnMut() -> Option<c_int>,
) -> Option<c_int> {
    dumps::install();
    let shard = shard_of(object);
    let start = Instant::now();
    loop {
        let now = Instant::now();
        let pause = now + pause_after(now - start, shard, shared);
        let until = deadline.map_or(pause, |deadline| pause.min(deadline.instant()));
        let waiter = begin_in_place(object);
        let mut answer = None;
        let is_busy = || {
            answer = natively(&mut attempt);
            answer.is_none()
        };
        // SAFETY: the waiter has just begun, and parks next if it is entered. Then it leaves, if a
        // waker has not taken it out.
        unsafe {
            if !shard.enter(waiter, object, wants, true, is_busy) {
                return answer;
            }
            if park_in_place(waiter, Some(until)) == Outcome::TIMED_OUT {
                shard.leave(waiter);
            }
        }
        if let Some(answer) = attempt() {
            return Some(answer);
        }
        if deadline.is_some_and(Deadline::has_passed) {
            return None;
        }
    }
}

fn pause_after(waited: Duration, shard: &Shard, shared: Shared) -> Duration {
    let crowd = if shared == Shared::Yes { 1 } else { shard.waiting().clamp(1, MOST_COUNTED) as u32 };
    (waited / 4).clamp(FIRST, LONGEST * crowd)
}

/// The fence of step 4, between libc's write to the object and the look at the count.
#[inline]
fn fence_after_libc() {
    if cfg!(target_arch = "x86_64") {
        compiler_fence(Ordering::SeqCst);
    } else {
        fence(Ordering::SeqCst);
    }
}

/// Steps 4 and 5: libc's function has just been called, and the object may be gone.
#[inline]
fn wake(object: usize, offers: u32, most: usize) {
    fence_after_libc();
    if is_waited_for(object) {
        wake_waiting(object, offers, most);
    }
}

/// Whether a goroutine may be waiting for the object, or for another of its shard.
#[inline]
fn is_waited_for(object: usize) -> bool {
    !cfg!(loom) && shard_of(object).waiting() != 0
}

/// Step 5: how many were woken.
#[cold]
fn wake_waiting(object: usize, offers: u32, most: usize) -> usize {
    // The child has none of those that wait, and a lock of the table may be held for ever.
    if is_forked_child() { 0 } else { natively(|| shard_of(object).wake(object, offers, most)) }
}

/// Blocks the thread while another goroutine has what the caller wants, and the caller cannot park.
/// False if the deadline has passed first.
#[cold]
fn block_while(deadline: Option<&Deadline>, is_taken: impl Fn() -> bool) -> bool {
    let time = timespec { tv_sec: 0, tv_nsec: 200_000 };
    while is_taken() {
        if deadline.is_some_and(Deadline::has_passed) {
            return false;
        }
        // SAFETY: the time can be read, and the rest is not asked for.
        unsafe { libc::syscall(libc::SYS_nanosleep, &raw const time, ptr::null_mut::<timespec>()) };
    }
    true
}
