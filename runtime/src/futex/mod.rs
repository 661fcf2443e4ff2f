//! Waits for a word of memory: what std's locks, `thread::park` and everything built on them do.
//!
//! std waits by `syscall(SYS_futex, ...)`. The function of that name in [`entry`] stands in front
//! of libc's, for all code of this module and for C libraries that are linked dynamically. In a
//! goroutine a wait parks the goroutine and not the thread; everything else goes to the kernel. A
//! word may have goroutines and threads waiting for it at the same time, and both may wake both.
//!
//! # The protocol
//! Goroutines that wait stand in a table, by the address of the word; threads wait in the kernel.
//!
//! 1. A goroutine that is about to wait locks the shard of its word and counts itself among those
//!    that wait there. It fences, and looks at the word. If that is not what it expects any more,
//!    it counts itself out and does not wait.
//! 2. Otherwise it enters the queue, unlocks the shard and parks.
//! 3. A waker has changed the word before it calls. It fences and looks at the count. At zero there
//!    is no goroutine to wake: it goes on at 5.
//! 4. It locks the shard and takes out as many as it may wake whose word and bits are the right
//!    ones, ending the wait of each and counting it out; it unlocks the shard and unparks them.
//! 5. What is left of its number it spends in the kernel.
//! 6. A goroutine whose deadline has come first takes itself out of the queue, if it still stands
//!    there, and counts itself out.
//!
//! No wake-up is lost: the count of 1 is written before the word is read, and the word of 3 is
//! written before the count is read, with a sequentially consistent fence between the two on either
//! side. So either the goroutine sees the changed word, or the waker sees the count, and then finds
//! the goroutine in the queue, because that has been entered under the same lock as the count.
//!
//! # When a goroutine waits in the kernel all the same
//! - In the runtime's own sections ([`Native`]), on the system stack, and on a stack that is
//!   neither the goroutine's nor one of its segments, as that of a signal handler may be.
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
//! a wait. On a stack of the goroutine's own that costs nothing; a shared slot is *held*, and the
//! others that live there wait. Goroutines get to share a slot only where those that were spawned
//! by the same line did not wait like this ([`crate::stack::sharing`]).

mod entry;
mod table;
mod workers;

use crate::locals::map;
use crate::lock::Native;
use crate::park::{Outcome, Reason, Waiter};
use crate::sched::processor::current_processor;
use crate::sched::{as_thread, fork};
use libc::{c_int, c_long, timespec};
use std::panic::Location;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use workers::workers;

pub(crate) use entry::is_called_by;

/// What `syscall(SYS_futex, ...)` was called with.
#[derive(Clone, Copy)]
struct Call {
    word: usize,
    operation: c_int,
    value: u32,
    timeout: *const timespec,
    second: usize,
    mask: u32,
}

/// The result of a system call: zero or more, or an error's number.
type Answer = Result<c_long, c_int>;

const EVERY_BIT: u32 = u32::MAX;

/// What the call does.
///
/// # Safety
/// As for the system call.
unsafe fn futex(call: Call) -> Answer {
    // A forked child has none of the threads that the table is for, and perhaps a lock of it held
    // for ever. (Nor is there one while loom, whose locks are no locks outside of a model, runs a
    // model of it.)
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
            unsafe { kernel(call) }
        }
        // SAFETY: by contract.
        _ => unsafe { kernel(call) },
    }
}

/// Whether the caller is a goroutine that may park for this word.
fn may_park(word: usize) -> bool {
    !Native::is_on() && map::is_private() && as_thread::may_park_for(word)
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
    // SAFETY: this goroutine's node stands in the queue.
    let outcome = unsafe { as_thread::park_in_place(waiter, deadline) };
    if outcome != Outcome::TIMED_OUT {
        return Ok(0);
    }
    // SAFETY: it was entered there.
    unsafe { shard.leave(waiter) };
    Err(libc::ETIMEDOUT)
}

/// The instant that a timeout means; none if the clock cannot say it.
fn deadline(timeout: &timespec, absolute: bool, operation: c_int) -> Result<Option<Instant>, c_int> {
    let span = |time: &timespec| {
        let nanos = u32::try_from(time.tv_nsec).ok().filter(|nanos| *nanos < 1_000_000_000)?;
        Some(Duration::new(u64::try_from(time.tv_sec).ok()?, nanos))
    };
    let until = span(timeout).ok_or(libc::EINVAL)?;
    let left = if absolute {
        let real = operation & libc::FUTEX_CLOCK_REALTIME != 0;
        let mut now = timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: writes the time, for which there is room.
        unsafe {
            libc::clock_gettime(if real { libc::CLOCK_REALTIME } else { libc::CLOCK_MONOTONIC }, &mut now);
        }
        until.saturating_sub(span(&now).unwrap_or_default())
    } else {
        until
    };
    Ok(Instant::now().checked_add(left))
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
            wake_in_kernel(call.word);
        }
        return Ok(woken.into());
    }
    // SAFETY: by contract.
    let others = unsafe { kernel(Call { value: (most - woken) as u32, ..call }) }?;
    Ok(c_long::from(woken) + others)
}

/// # Safety
/// As for the system call.
unsafe fn kernel(call: Call) -> Answer {
    let Call { word, operation, value, timeout, second, mask } = call;
    // SAFETY: by contract.
    let answer = unsafe {
        crate::arch::system_call(
            libc::SYS_futex,
            [word, operation as usize, value as usize, timeout as usize, second, mask as usize],
        )
    };
    if (-4095..0).contains(&answer) { Err(-answer as c_int) } else { Ok(answer as c_long) }
}

/// Waits for a word in the kernel, whatever the caller is, until it is no longer `value`.
pub(crate) fn wait_in_kernel(word: &AtomicU32, value: u32) {
    while word.load(Ordering::Acquire) == value {
        let operation = libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG;
        let word = word.as_ptr().addr();
        let timeout = std::ptr::null();
        // SAFETY: the word can be read.
        let _ = unsafe { kernel(Call { word, operation, value, timeout, second: 0, mask: 0 }) };
    }
}

/// Wakes all that wait for a word in the kernel. The word need not exist any more.
pub(crate) fn wake_in_kernel(word: usize) {
    let operation = libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG;
    let timeout = std::ptr::null();
    // SAFETY: the kernel looks for the address in its table, and at nothing else.
    let _ = unsafe { kernel(Call { word, operation, value: i32::MAX as u32, timeout, second: 0, mask: 0 }) };
}
