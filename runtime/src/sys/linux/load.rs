//! What the kernel says of the load: which threads wait for a core, and whether cores are idle.

use std::io::{self, BufRead};
use std::sync::OnceLock;

/// How long a thread of this process has been runnable without a core to run on, in nanoseconds.
/// `None` if the kernel does not count that.
pub(crate) fn waited_for_core(thread: libc::pid_t) -> Option<u64> {
    let counts = std::fs::read_to_string(format!("/proc/self/task/{thread}/schedstat")).ok()?;
    counts.split(' ').nth(1)?.parse().ok()
}

/// How long the cores of the machine have been idle since it started, in nanoseconds, all together,
/// to some 10 ms. `None` if the system does not say.
pub(crate) fn idle_time() -> Option<u64> {
    let stat = std::fs::File::open("/proc/stat").ok()?;
    // The rest of the file is long on a large machine, and the kernel makes what is read.
    let mut line = String::new();
    io::BufReader::with_capacity(256, stat).read_line(&mut line).ok()?;
    // "cpu", then user, nice, system and idle time.
    let ticks: u64 = line.split_ascii_whitespace().nth(4)?.parse().ok()?;
    Some(ticks * nanoseconds_per_tick()?)
}

fn nanoseconds_per_tick() -> Option<u64> {
    static TICK: OnceLock<Option<u64>> = OnceLock::new();
    *TICK.get_or_init(|| {
        // SAFETY: a plain query.
        let per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
        1_000_000_000_u64.checked_div(per_second.try_into().ok()?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_counts_how_long_threads_wait_and_cores_are_idle() {
        assert!(waited_for_core(crate::sys::kernel_thread_id()).is_some());
        assert!(waited_for_core(-1).is_none());
        let idle = idle_time().unwrap();
        assert!(idle_time().unwrap() >= idle);
    }
}
