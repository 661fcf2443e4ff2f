//! Clocks and random bytes: in a goroutine of a simulated world, those of the world.
//!
//! Anywhere else, a call goes to libc's own function. A clock that is neither the monotonic nor the
//! real one, in a version of either, stays libc's, in a world too.

use crate::define;
use crate::error::fail;
use crate::next::next;
use crate::time::time as as_timespec;
use libc::{c_int, c_uint, c_void, clockid_t, size_t, ssize_t, time_t, timespec, timeval};
use narrowboat_runtime::world;

define! {
    "clock_gettime" => clock_gettime,
    "gettimeofday" => gettimeofday,
    "time" => time,
    "getrandom" => getrandom,
    "getentropy" => getentropy,
}
next! {
    fn clock_gettime(clock: clockid_t, to: *mut timespec) -> c_int;
    fn gettimeofday(to: *mut timeval, zone: *mut c_void) -> c_int;
    fn time(to: *mut time_t) -> time_t;
    fn getrandom(to: *mut c_void, length: size_t, flags: c_uint) -> ssize_t;
    fn getentropy(to: *mut c_void, length: size_t) -> c_int;
}

/// # Safety
/// As for libc's function.
unsafe extern "C" fn clock_gettime(clock: clockid_t, to: *mut timespec) -> c_int {
    let now = match clock {
        libc::CLOCK_MONOTONIC
        | libc::CLOCK_MONOTONIC_RAW
        | libc::CLOCK_MONOTONIC_COARSE
        | libc::CLOCK_BOOTTIME => world::clock(true),
        libc::CLOCK_REALTIME | libc::CLOCK_REALTIME_COARSE | libc::CLOCK_TAI => world::clock(false),
        _ => None,
    };
    match now {
        Some(now) if !to.is_null() => {
            // SAFETY: by contract, there is room for the time.
            unsafe { to.write(as_timespec(now)) };
            0
        }
        // SAFETY: by contract.
        _ => unsafe { next::clock_gettime(clock, to) },
    }
}

/// # Safety
/// As for libc's function.
unsafe extern "C" fn gettimeofday(to: *mut timeval, zone: *mut c_void) -> c_int {
    match world::clock(false) {
        Some(now) if !to.is_null() => {
            let time = timeval { tv_sec: now.as_secs() as time_t, tv_usec: now.subsec_micros().into() };
            // SAFETY: by contract, there is room for the time.
            unsafe { to.write(time) };
            0
        }
        // SAFETY: by contract.
        _ => unsafe { next::gettimeofday(to, zone) },
    }
}

/// # Safety
/// As for libc's function.
unsafe extern "C" fn time(to: *mut time_t) -> time_t {
    match world::clock(false) {
        Some(now) => {
            let now = now.as_secs() as time_t;
            if !to.is_null() {
                // SAFETY: by contract, there is room for the time.
                unsafe { to.write(now) };
            }
            now
        }
        // SAFETY: by contract.
        None => unsafe { next::time(to) },
    }
}

/// # Safety
/// As for libc's function.
unsafe extern "C" fn getrandom(to: *mut c_void, length: size_t, flags: c_uint) -> ssize_t {
    // SAFETY: by contract, the bytes may be written.
    if unsafe { fill(to, length) } {
        return length as ssize_t;
    }
    // SAFETY: by contract.
    unsafe { next::getrandom(to, length, flags) }
}

/// # Safety
/// As for libc's function.
unsafe extern "C" fn getentropy(to: *mut c_void, length: size_t) -> c_int {
    const MOST: size_t = 256;
    if length > MOST {
        return fail(libc::EIO);
    }
    // SAFETY: by contract, the bytes may be written.
    if unsafe { fill(to, length) } {
        return 0;
    }
    // SAFETY: by contract.
    unsafe { next::getentropy(to, length) }
}

/// # Safety
/// The bytes may be written.
unsafe fn fill(to: *mut c_void, length: size_t) -> bool {
    if to.is_null() || length > isize::MAX as usize {
        return false;
    }
    // They may not have been written yet.
    // SAFETY: by contract.
    let bytes = unsafe {
        to.write_bytes(0, length);
        std::slice::from_raw_parts_mut(to.cast::<u8>(), length)
    };
    world::fill_random(bytes)
}
