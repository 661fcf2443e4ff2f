//! Condition variables.
//!
//! libc has no operation on a condition variable that does not block. So goroutines wait for one in
//! the module's table alone, by its address, and threads wait in libc:
//!
//! 1. A goroutine enters the table; only then it unlocks the mutex, parks, and locks the mutex
//!    again. What changes the condition locks the mutex after that, so a signal that follows finds
//!    the waiter counted: the mutex orders the two, and no fence is needed.
//! 2. A signal wakes the first goroutine in the table. If there is none, libc wakes a thread. To
//!    wake neither while one waits is not possible: each look comes after the waiter has entered.
//!    So that threads do not starve, every eighth signal while goroutines wait is libc's as well,
//!    and may wake one of each: POSIX allows that a wait ends without a reason.
//! 3. A broadcast wakes all goroutines, and all threads.
//! 4. A wait that ends by its deadline leaves the table. If a signal comes just then, one of the
//!    two ends the wait. A wait until a time of the real clock looks at that clock now and then,
//!    and stays in the table; a signal that comes in between counts.
//!
//! Signals of other processes cannot be seen. So where processes share the condition variable, the
//! wait ends without a reason after a pause, as POSIX allows, and its caller looks at the
//! condition.
//!
//! Which clock a condition variable uses and whether processes share it is in a word that versions
//! of glibc keep in different places: a look at new ones tells where.

use super::deadline::{self, Deadline};
use super::mutex::{note_hidden_unlock, owner_in, pthread_mutex_lock, pthread_mutex_unlock};
use super::owners::{Kind, Mutex};
use super::{ANYTHING, FIRST, LONGEST, is_waited_for, shard_of, wake_waiting};
use crate::next::next;
use crate::{define, may_park_for};
use libc::{c_int, clockid_t, pthread_cond_t, pthread_condattr_t, pthread_mutex_t, timespec};
use narrowboat_runtime::as_thread::{begin_in_place, has_usual_signals, natively, park_in_place};
use narrowboat_runtime::park::{Outcome, Waiter};
use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Instant;

define! {
    "pthread_cond_wait" => pthread_cond_wait,
    "pthread_cond_timedwait" => pthread_cond_timedwait,
    "pthread_cond_clockwait" => pthread_cond_clockwait,
    "pthread_cond_signal" => pthread_cond_signal,
    "pthread_cond_broadcast" => pthread_cond_broadcast,
}
/// On x86-64, those without a version are of before 2003, and have another format. Newer CPUs have
/// one version.
const VERSION: Option<&CStr> = if cfg!(target_arch = "x86_64") { Some(c"GLIBC_2.3.2") } else { None };

next! {
    mod next: super::super::VERSION;
    fn pthread_cond_wait(condition: *mut pthread_cond_t, mutex: *mut pthread_mutex_t) -> c_int;
    fn pthread_cond_timedwait(
        condition: *mut pthread_cond_t,
        mutex: *mut pthread_mutex_t,
        time: *const timespec,
    ) -> c_int;
    fn pthread_cond_signal(condition: *mut pthread_cond_t) -> c_int;
    fn pthread_cond_broadcast(condition: *mut pthread_cond_t) -> c_int;
}
// Since glibc 2.30: looked up when it is called.
next! {
    mod newer: None;
    fn pthread_cond_clockwait(
        condition: *mut pthread_cond_t,
        mutex: *mut pthread_mutex_t,
        clock: clockid_t,
        time: *const timespec,
    ) -> c_int;
}

/// Of so many signals that may find a goroutine, one is libc's as well.
const FOR_THREADS: u32 = 8;

/// # Safety
/// As for libc's function.
unsafe extern "C-unwind" fn pthread_cond_wait(
    condition: *mut pthread_cond_t,
    mutex: *mut pthread_mutex_t,
) -> c_int {
    // SAFETY: by contract.
    unsafe {
        match flags_of(condition).filter(|_| may_wait(condition, mutex)) {
            Some(flags) => wait(condition, mutex, flags, None),
            None => wait_in_libc(mutex, || next::pthread_cond_wait(condition, mutex)),
        }
    }
}

/// # Safety
/// As for libc's function.
unsafe extern "C-unwind" fn pthread_cond_timedwait(
    condition: *mut pthread_cond_t,
    mutex: *mut pthread_mutex_t,
    time: *const timespec,
) -> c_int {
    // SAFETY: by contract.
    unsafe {
        match flags_of(condition).filter(|_| may_wait(condition, mutex)) {
            Some(flags) => wait_until(condition, mutex, flags, flags.clock, time),
            None => wait_in_libc(mutex, || next::pthread_cond_timedwait(condition, mutex, time)),
        }
    }
}

/// # Safety
/// As for libc's function.
unsafe extern "C-unwind" fn pthread_cond_clockwait(
    condition: *mut pthread_cond_t,
    mutex: *mut pthread_mutex_t,
    clock: clockid_t,
    time: *const timespec,
) -> c_int {
    // SAFETY: by contract.
    unsafe {
        match flags_of(condition).filter(|_| deadline::is_usable(clock) && may_wait(condition, mutex)) {
            Some(flags) => wait_until(condition, mutex, flags, clock, time),
            None => wait_in_libc(mutex, || newer::pthread_cond_clockwait(condition, mutex, clock, time)),
        }
    }
}

/// # Safety
/// As for libc's function.
unsafe extern "C-unwind" fn pthread_cond_signal(condition: *mut pthread_cond_t) -> c_int {
    static SIGNALS: AtomicU32 = AtomicU32::new(0);
    if is_waited_for(condition.addr()) {
        if SIGNALS.fetch_add(1, Ordering::Relaxed).is_multiple_of(FOR_THREADS) {
            // libc first: once a goroutine goes on, the condition variable may be gone.
            // SAFETY: by contract.
            let answer = unsafe { next::pthread_cond_signal(condition) };
            wake_waiting(condition.addr(), ANYTHING, 1);
            return answer;
        }
        if wake_waiting(condition.addr(), ANYTHING, 1) != 0 {
            return 0;
        }
    }
    // SAFETY: by contract.
    unsafe { next::pthread_cond_signal(condition) }
}

/// # Safety
/// As for libc's function.
unsafe extern "C-unwind" fn pthread_cond_broadcast(condition: *mut pthread_cond_t) -> c_int {
    // libc first, as above.
    // SAFETY: by contract.
    let answer = unsafe { next::pthread_cond_broadcast(condition) };
    if is_waited_for(condition.addr()) {
        wake_waiting(condition.addr(), ANYTHING, usize::MAX);
    }
    answer
}

/// Whether the caller is a goroutine that may park until a condition holds which this mutex guards.
///
/// # Safety
/// The mutex is one.
unsafe fn may_wait(condition: *mut pthread_cond_t, mutex: *mut pthread_mutex_t) -> bool {
    // SAFETY: by contract.
    may_park_for(condition.addr())
        && may_park_for(mutex.addr())
        && unsafe { Mutex::at(mutex).kind() } != Kind::Libc
        && has_usual_signals()
}

/// Waits in libc, which frees the mutex meanwhile and does not tell.
///
/// # Safety
/// As for libc's function, which `by_libc` is.
unsafe fn wait_in_libc(mutex: *mut pthread_mutex_t, by_libc: impl FnOnce() -> c_int) -> c_int {
    // SAFETY: by contract.
    unsafe {
        let parts = Mutex::at(mutex);
        note_hidden_unlock(mutex);
        // The goroutine does not own the mutex while it waits, and does again when libc returns.
        let owner =
            owner_in(parts).filter(|me| parts.is_owned_by(*me) && parts.clear_owner_before_last_unlock());
        let answer = by_libc();
        if let Some(owner) = owner {
            parts.set_owner(owner);
        }
        answer
    }
}

/// # Safety
/// As for libc's function; the caller may wait.
unsafe fn wait_until(
    condition: *mut pthread_cond_t,
    mutex: *mut pthread_mutex_t,
    flags: Flags,
    clock: clockid_t,
    time: *const timespec,
) -> c_int {
    // SAFETY: by contract.
    unsafe {
        match Deadline::read(clock, time) {
            Some(deadline) => wait(condition, mutex, flags, Some(deadline)),
            None => libc::EINVAL,
        }
    }
}

/// # Safety
/// As for libc's function; the caller may wait.
unsafe fn wait(
    condition: *mut pthread_cond_t,
    mutex: *mut pthread_mutex_t,
    flags: Flags,
    deadline: Option<Deadline>,
) -> c_int {
    let object = condition.addr();
    let begin = || begin_in_place(object);
    let waiter = begin();
    // SAFETY: by contract. The waiter has just begun, and parks next: in between nothing is called
    // that could begin another wait.
    unsafe {
        shard_of(object).enter(waiter, object, ANYTHING, true, || true);
        let error = natively(|| pthread_mutex_unlock(mutex));
        if error != 0 {
            withdraw(waiter, object);
            return error;
        }
        let answer = park(waiter, object, flags, deadline.as_ref(), begin);
        match pthread_mutex_lock(mutex, 0) {
            0 => answer,
            error => error,
        }
    }
}

/// Parks until a signal, the deadline, or the end of a pause where processes share the condition
/// variable. That need not exist any more after a signal.
///
/// # Safety
/// The waiter has entered the table, and parks now.
unsafe fn park(
    mut waiter: Waiter,
    object: usize,
    flags: Flags,
    deadline: Option<&Deadline>,
    begin: impl Fn() -> Waiter,
) -> c_int {
    let shard = shard_of(object);
    let pause = flags.shared.then(|| Instant::now() + LONGEST);
    loop {
        let look = deadline.map(Deadline::instant);
        let until = pause.into_iter().chain(look).min();
        // SAFETY: by contract; after the first time, the waiter has just entered again. It leaves,
        // if a waker has not taken it out.
        unsafe {
            if park_in_place(waiter, until) != Outcome::TIMED_OUT {
                return 0;
            }
            if deadline.is_some_and(Deadline::has_passed) {
                shard.leave(waiter);
                return libc::ETIMEDOUT;
            }
            if flags.shared {
                shard.leave(waiter);
                return 0;
            }
            if !shard.stay(waiter, object, ANYTHING, || {
                waiter = begin();
                waiter
            }) {
                return 0;
            }
        }
    }
}

/// Takes back a wait that has begun.
///
/// # Safety
/// The waiter has entered the table, and has not parked.
unsafe fn withdraw(waiter: Waiter, object: usize) {
    // SAFETY: by contract. If the wait was ended already, its wake-up is on its way, and is taken.
    // The signal is for another.
    unsafe {
        if waiter.try_end(Outcome::TIMED_OUT) {
            shard_of(object).leave(waiter);
        } else {
            park_in_place(waiter, Some(Instant::now() + FIRST));
            pthread_cond_signal(object as *mut pthread_cond_t);
        }
    }
}

/// What was chosen for a condition variable when it was made.
#[derive(Clone, Copy)]
struct Flags {
    clock: clockid_t,
    shared: bool,
}

/// Where a flag is: the index of its word, times 2^32, and the bit; 0 if that is not known.
static MONOTONIC: AtomicU64 = AtomicU64::new(0);
static SHARED: AtomicU64 = AtomicU64::new(0);

type Words = [u32; size_of::<pthread_cond_t>() / size_of::<u32>()];

/// `None` if glibc's format is not known.
///
/// # Safety
/// The condition variable is one.
unsafe fn flags_of(condition: *mut pthread_cond_t) -> Option<Flags> {
    let is_set = |place: &AtomicU64| {
        // Relaxed: written before there are threads.
        let place = place.load(Ordering::Relaxed);
        // SAFETY: the index is one of the structure's. libc accesses the word as an atomic, and the
        // bit does not change.
        let word = || unsafe { AtomicU32::from_ptr(condition.cast::<u32>().add((place >> 32) as usize)) };
        (place != 0).then(|| word().load(Ordering::Relaxed) & place as u32 != 0)
    };
    let clock = if is_set(&MONOTONIC)? { libc::CLOCK_MONOTONIC } else { libc::CLOCK_REALTIME };
    Some(Flags { clock, shared: is_set(&SHARED)? })
}

/// Looks where glibc keeps the flags.
pub(super) fn read_layout() {
    let plain = new_with(|_| 0);
    // SAFETY: an attribute that was made.
    let monotonic =
        new_with(|attribute| unsafe { libc::pthread_condattr_setclock(attribute, libc::CLOCK_MONOTONIC) });
    // SAFETY: as above.
    let shared = new_with(|attribute| unsafe {
        libc::pthread_condattr_setpshared(attribute, libc::PTHREAD_PROCESS_SHARED)
    });
    MONOTONIC.store(place_of_difference(&plain, &monotonic), Ordering::Relaxed);
    SHARED.store(place_of_difference(&plain, &shared), Ordering::Relaxed);
}

/// A new condition variable, as words.
fn new_with(choose: impl FnOnce(*mut pthread_condattr_t) -> c_int) -> Words {
    let mut attribute = MaybeUninit::<pthread_condattr_t>::uninit();
    let mut words: Words = Default::default();
    // SAFETY: the attribute is made, used and destroyed; the condition variable is never used.
    unsafe {
        libc::pthread_condattr_init(attribute.as_mut_ptr());
        choose(attribute.as_mut_ptr());
        libc::pthread_cond_init(ptr::from_mut(&mut words).cast(), attribute.as_ptr());
        libc::pthread_condattr_destroy(attribute.as_mut_ptr());
    }
    words
}

/// Where one bit differs and nothing else; 0 if it is not so.
fn place_of_difference(one: &Words, other: &Words) -> u64 {
    let mut differ =
        (0u64..).zip(one.iter().zip(other).map(|(one, other)| one ^ other)).filter(|at| at.1 != 0);
    match (differ.next(), differ.next()) {
        (Some((index, bit)), None) if bit.is_power_of_two() => index << 32 | u64::from(bit),
        _ => 0,
    }
}
