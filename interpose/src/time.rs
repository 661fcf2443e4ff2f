//! Sleeps: `clock_nanosleep`, `nanosleep`, `usleep`, `sleep`.
//!
//! In a goroutine a signal does not end a sleep early, since it goes to some thread of the process
//! and not to a goroutine. A sleep on a clock that is neither the monotonic nor the real one stays
//! libc's.

use crate::error::fail;
use crate::next::next;
use crate::{define, may_park};
use libc::{c_int, c_uint, clockid_t, timespec};
use narrowboat_runtime::as_thread::{has_usual_signals, sleep_in_place};
use std::ptr;
use std::time::{Duration, Instant};

define! {
    "clock_nanosleep" => clock_nanosleep,
    "nanosleep" => nanosleep,
    "usleep" => usleep,
    "sleep" => sleep,
}
next! {
    fn clock_nanosleep(clock: clockid_t, flags: c_int, request: *const timespec, rest: *mut timespec) -> c_int;
}

/// How long a sleep until a time of the real clock may not notice that this has been set.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Longer than any program runs, and short enough to be added to any instant.
pub(crate) const FOR_EVER: Duration = Duration::from_secs(1 << 32);

/// # Safety
/// As for libc's function.
unsafe extern "C-unwind" fn clock_nanosleep(
    clock: clockid_t,
    flags: c_int,
    request: *const timespec,
    rest: *mut timespec,
) -> c_int {
    // SAFETY: a request that is given can be read.
    let asked = match unsafe { request.as_ref() } {
        Some(asked) if may_park() && has_usual_signals() => asked,
        // SAFETY: by contract.
        _ => return unsafe { next::clock_nanosleep(clock, flags, request, rest) },
    };
    let Some(asked) = span(asked) else { return libc::EINVAL };
    match (clock, flags) {
        (libc::CLOCK_MONOTONIC | libc::CLOCK_REALTIME, 0) => {
            sleep_in_place(Instant::now() + asked.min(FOR_EVER));
        }
        (libc::CLOCK_MONOTONIC, libc::TIMER_ABSTIME) => {
            sleep_in_place(Instant::now() + asked.saturating_sub(now(clock)).min(FOR_EVER));
        }
        (libc::CLOCK_REALTIME, libc::TIMER_ABSTIME) => loop {
            let left = asked.saturating_sub(now(clock));
            if left.is_zero() {
                break;
            }
            sleep_in_place(Instant::now() + left.min(LOOK_AGAIN));
        },
        // SAFETY: by contract.
        _ => return unsafe { next::clock_nanosleep(clock, flags, request, rest) },
    }
    0
}

/// # Safety
/// As for libc's function.
unsafe extern "C-unwind" fn nanosleep(request: *const timespec, rest: *mut timespec) -> c_int {
    // As the kernel has it: relative to the real clock, but not moved when that is set.
    // SAFETY: by contract.
    match unsafe { clock_nanosleep(libc::CLOCK_REALTIME, 0, request, rest) } {
        0 => 0,
        error => fail(error),
    }
}

extern "C-unwind" fn usleep(micros: c_uint) -> c_int {
    let request =
        timespec { tv_sec: i64::from(micros / 1_000_000), tv_nsec: i64::from(micros % 1_000_000) * 1000 };
    // SAFETY: the request can be read.
    unsafe { nanosleep(&request, ptr::null_mut()) }
}

/// How many whole seconds are left, if a signal has ended the sleep.
extern "C-unwind" fn sleep(seconds: c_uint) -> c_uint {
    let request = timespec { tv_sec: seconds.into(), tv_nsec: 0 };
    let mut rest = timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the request can be read, and the rest be written.
    match unsafe { nanosleep(&request, &mut rest) } {
        0 => 0,
        _ => rest.tv_sec as c_uint,
    }
}

/// None if the kernel would refuse it.
pub(crate) fn span(time: &timespec) -> Option<Duration> {
    let nanos = u32::try_from(time.tv_nsec).ok().filter(|nanos| *nanos < 1_000_000_000)?;
    Some(Duration::new(u64::try_from(time.tv_sec).ok()?, nanos))
}

/// The other way round.
pub(crate) fn time(span: Duration) -> timespec {
    timespec {
        tv_sec: i64::try_from(span.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: span.subsec_nanos().into(),
    }
}

/// The time of a clock.
fn now(clock: clockid_t) -> Duration {
    let mut now = timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: there is room for the time.
    unsafe { libc::clock_gettime(clock, &mut now) };
    span(&now).unwrap_or_default()
}
