//! Time that a process has kept CPUs busy. Where goroutines mostly wait, this is what they cost.

use std::time::Duration;

/// User and system time of all threads of this process so far.
pub fn busy() -> Duration {
    // SAFETY: an all-zero `rusage` is a value of that type: it consists of integers.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: the call writes one `rusage`, and `usage` is one.
    let result = unsafe { libc::getrusage(libc::RUSAGE_SELF, &mut usage) };
    assert_eq!(result, 0, "the process may ask about itself");
    duration(usage.ru_utime) + duration(usage.ru_stime)
}

/// The same of another process, threads that have ended included; `None` if there is no such process.
pub fn busy_of(pid: u32) -> Option<Duration> {
    let mut clock = 0;
    // SAFETY: the call writes one clock id, and `clock` is one.
    if unsafe { libc::clock_getcpuclockid(pid.try_into().ok()?, &mut clock) } != 0 {
        return None;
    }
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes one `timespec`, and `time` is one.
    let read = unsafe { libc::clock_gettime(clock, &mut time) } == 0;
    read.then(|| Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
}

fn duration(time: libc::timeval) -> Duration {
    Duration::from_secs(time.tv_sec as u64) + Duration::from_micros(time.tv_usec as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_shows_and_does_not_run_backwards() {
        let before = busy();
        let mut after = before;
        while after == before {
            after = busy();
        }
        assert!(after > before);
    }

    #[test]
    fn a_process_that_is_asked_about_from_outside_says_the_same() {
        let before = busy();
        let asked = busy_of(std::process::id()).unwrap();
        assert!(asked >= before.saturating_sub(Duration::from_millis(20)), "{asked:?} after {before:?}");
        assert_eq!(busy_of(u32::MAX), None);
    }
}
