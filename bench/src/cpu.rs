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
}
