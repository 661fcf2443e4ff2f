//! Holding a process to some cores. It is what a number of workers means for plain threads.

use std::io;
use std::mem::size_of;

/// Holds this thread, and those that it starts from now on, to the first `count` of the cores it may run on.
///
/// # Errors
///
/// Those of `sched_getaffinity` and `sched_setaffinity`.
pub fn hold_to(count: usize) -> io::Result<()> {
    // SAFETY: an all-zero set is a value of that type: it consists of bits.
    let mut allowed: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: the call writes a set of at most that size.
    if unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut allowed) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: as above.
    let mut held: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    let cores = 0..libc::CPU_SETSIZE as usize;
    // SAFETY: every number is below the size of the set.
    for core in cores.filter(|&core| unsafe { libc::CPU_ISSET(core, &allowed) }).take(count) {
        // SAFETY: as above.
        unsafe { libc::CPU_SET(core, &mut held) };
    }
    // SAFETY: the call reads a set of that size.
    match unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &held) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_is_held_sees_no_more_cores() {
        let seen = || std::thread::available_parallelism().unwrap().get();
        let held = std::thread::spawn(move || hold_to(1).map(|()| seen()));
        assert_eq!(held.join().unwrap().unwrap(), 1);
    }
}
