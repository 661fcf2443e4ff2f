//! Waits for a word of memory: std's locks, `thread::park` and everything built on them.
//!
//! std waits by `syscall(SYS_futex, ...)`. The function of that name in [`syscall`] replaces
//! libc's, for all code of this module and for C libraries that are linked dynamically. In a
//! goroutine a wait parks the goroutine and not the thread; everything else goes to the kernel.
//! Goroutines and threads may wait for the same word at the same time, and either may wake both.
//!
//! # The protocol
//! Waiting goroutines are in a table, by the address of the word; waiting threads are in the
//! kernel.
//!
//! 1. A goroutine that is about to wait locks the shard of its word and counts itself as waiting
//!    there. It fences, and looks at the word. If the word has no longer the expected value, it
//!    subtracts itself and does not wait.
//! 2. Otherwise it enters the queue, unlocks the shard and parks.
//! 3. A waker has changed the word before it calls. It fences and looks at the count. If that is
//!    zero, there is no goroutine to wake, and it continues at 5.
//! 4. It locks the shard and takes out as many goroutines with the right word and bits as it may
//!    wake. It ends the wait of each and subtracts it from the count; it unlocks the shard and
//!    unparks them.
//! 5. The rest of its number goes to the kernel.
//! 6. If a goroutine's deadline comes first, it removes itself from the queue, if it is still
//!    there, and subtracts itself.
//!
//! No wake-up is lost: the count of 1 is written before the word is read, and the word of 3 is
//! written before the count is read, with a sequentially consistent fence between the two on either
//! side. So either the goroutine sees the changed word, or the waker sees the count. The waker then
//! finds the goroutine in the queue, because the goroutine enters it under the same lock as the
//! count.
//!
//! # When a goroutine waits in the kernel all the same
//! - In the runtime's own sections ([`Native`]), on the system stack, and on a stack that is
//!   neither the goroutine's nor one of its segments; a signal handler's may be such.
//! - For a word in its own thread-locals, which other threads are about to write to: the bytes
//!   would be exchanged while it is parked. Its processor stands still meanwhile.
//! - For a word that is shared with other processes, which do not know the table; and in a forked
//!   child.
//!
//! Its worker must then not miss a wake-up that another goroutine takes: see [`workers`].
//!
//! # The stack stays in place
//! Sound code may have lent its stack when it waits like this: a scope of threads waits by
//! `thread::park` while its threads use the waiter's locals. So the stack does not move during such
//! a wait. On a stack of the goroutine's own that costs nothing. A shared slot is *held*, and the
//! other goroutines of that slot wait. A goroutine only gets a shared slot if those that the same
//! line spawned did not wait like this ([`crate::stack::sharing`]).

mod syscall;
mod table;
mod workers;

use crate::locals::map;
use crate::lock::Native;
use crate::park::in_place::{may_park_for, park_in_place};
use crate::park::{self, Forsaken, Outcome, Reason, Waiter};
use crate::sched::processor::current_processor;
use crate::sched::{fork, world};
use crate::sys;
use crate::sys::futex::{Answer, Call};
use libc::{c_int, c_long, timespec};
use std::panic::Location;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use workers::workers;

pub(crate) use syscall::catches_waits;
pub use table::Shard;

const EVERY_BIT: u32 = u32::MAX;

/// Does what the call asks.
///
/// # Safety
/// As for the system call.
unsafe fn futex(call: Call) -> Answer {
    // A forked child has none of the threads that the table is for, and perhaps a lock of the table
    // that is held for ever. (Nor is the table used while loom runs a model of it: loom's locks do
    // not work outside of a model.)
    let private = call.operation & libc::FUTEX_PRIVATE_FLAG != 0 && !fork::in_child() && !cfg!(loom);
    let mask = |with_mask| if with_mask { call.mask } else { EVERY_BIT };
    match call.operation & libc::FUTEX_CMD_MASK {
        command @ (libc::FUTEX_WAIT | libc::FUTEX_WAIT_BITSET) if private && may_park(call.word) => {
            let absolute = command == libc::FUTEX_WAIT_BITSET;
            // SAFETY: by contract.
            unsafe { wait(call, mask(absolute), absolute) }
        }
        command @ (libc::FUTEX_WAKE | libc::FUTEX_WAKE_BITSET) if private => {
            // SAFETY: by contract.
            unsafe { wake(call, mask(command == libc::FUTEX_WAKE_BITSET)) }
        }
        libc::FUTEX_WAIT | libc::FUTEX_WAIT_BITSET if private && current_processor().is_some() => {
            let _counted = workers().begin();
            // SAFETY: by contract.
            unsafe { sys::futex::call(call) }
        }
        // SAFETY: by contract.
        _ => unsafe { sys::futex::call(call) },
    }
}

/// Whether the caller is a goroutine that may park for this word.
fn may_park(word: usize) -> bool {
    !Native::is_on() && map::is_private() && may_park_for(word)
}

/// Steps 1, 2 and 6.
///
/// # Safety
/// As for the system call; the caller may park.
unsafe fn wait(call: Call, mask: u32, absolute: bool) -> Answer {
    if mask == 0 || !call.word.is_multiple_of(4) {
        return Err(libc::EINVAL);
    }
    // SAFETY: a timeout that is given can be read.
    let deadline = match unsafe { call.timeout.as_ref() } {
        None => None,
        Some(timeout) => deadline(timeout, absolute, call.operation)?,
    };
    let waiter = Waiter::begin(Reason::Futex, call.word, Location::caller());
    // SAFETY: the word can be read, as the kernel would.
    let word = unsafe { AtomicU32::from_ptr(call.word as *mut u32) };
    let expected = || word.load(Ordering::SeqCst) == call.value;
    let shard = table::shard_of(call.word);
    // SAFETY: the waiter has just begun, and parks next.
    if !unsafe { shard.enter(waiter, call.word, mask, deadline.is_some(), expected) } {
        return Err(libc::EAGAIN);
    }
    // SAFETY: this goroutine's node is in the queue.
    let outcome = unsafe { park_in_place(waiter, deadline) };
    if outcome != Outcome::TIMED_OUT {
        return Ok(0);
    }
    // SAFETY: the waiter was entered there.
    unsafe { shard.leave(waiter) };
    Err(libc::ETIMEDOUT)
}

/// The instant that a timeout means; `None` if the clock cannot represent it.
fn deadline(timeout: &timespec, absolute: bool, operation: c_int) -> Result<Option<Instant>, c_int> {
    let span = |time: &timespec| {
        let nanos = u32::try_from(time.tv_nsec).ok().filter(|nanos| *nanos < 1_000_000_000)?;
        Some(Duration::new(u64::try_from(time.tv_sec).ok()?, nanos))
    };
    let until = span(timeout).ok_or(libc::EINVAL)?;
    let left = if absolute {
        let real = operation & libc::FUTEX_CLOCK_REALTIME != 0;
        let mut now = timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: there is room for the time.
        unsafe {
            libc::clock_gettime(if real { libc::CLOCK_REALTIME } else { libc::CLOCK_MONOTONIC }, &mut now);
        }
        until.saturating_sub(span(&now).unwrap_or_default())
    } else {
        until
    };
    Ok(world::now().checked_add(left))
}

/// Steps 3 to 5.
///
/// # Safety
/// As for the system call.
unsafe fn wake(call: Call, mask: u32) -> Answer {
    let most = call.value as c_int;
    let woken = if most > 0 && mask != 0 {
        table::shard_of(call.word).wake(call.word, mask, most as usize) as c_int
    } else {
        0
    };
    if woken == most && most > 0 {
        if workers().wait() {
            sys::futex::wake_all(call.word);
        }
        return Ok(woken.into());
    }
    // SAFETY: by contract.
    let others = unsafe { sys::futex::call(Call { value: (most - woken) as u32, ..call }) }?;
    Ok(c_long::from(woken) + others)
}

/// Registers what a goroutine that never runs again leaves its wait for a word by.
pub(crate) fn register_leave() {
    // A word has no words beyond those of its reason.
    park::describe_with_leave(Reason::Futex, |_, _| {}, Some(leave));
}

/// Takes a goroutine that never runs again out of the queue, where it would take the wake-up of
/// another waiter. If it has been woken, wakes another one in its place.
///
/// # Safety
/// As for [`park::Leave`].
unsafe fn leave(gone: &Forsaken) {
    match gone.object() {
        // SAFETY: the object of such a wait is its word, which leads to its shard.
        Some(word) => unsafe { table::shard_of(word).forsake(gone) },
        None => {
            // SAFETY: after the wake-up the node is its goroutine's again, and that does not run.
            // It was in a queue, so its cell was written.
            let [word, _] = unsafe { (*gone.node().as_ptr()).cell().assume_init() };
            let operation = libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG;
            let call = Call { word, operation, value: 1, timeout: std::ptr::null(), second: 0, mask: 0 };
            // SAFETY: the word need not exist any more: the table and the kernel only look for its
            // address.
            let _ = unsafe { wake(call, EVERY_BIT) };
        }
    }
}
