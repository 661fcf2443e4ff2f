//! What a process uses, limits on it, and the threads below goroutines.

use std::time::Duration;

/// Processor time that all threads of the process have used.
pub fn cpu_time() -> Duration {
    clock(libc::CLOCK_PROCESS_CPUTIME_ID)
}

/// Processor time that the calling thread has used. For a goroutine, that is the thread it runs on.
pub fn cpu_time_of_thread() -> Duration {
    clock(libc::CLOCK_THREAD_CPUTIME_ID)
}

fn clock(id: libc::clockid_t) -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call fills in a live structure.
    assert_eq!(unsafe { libc::clock_gettime(id, &mut time) }, 0);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// The figure of `/proc/self/status` that has this name, such as `VmRSS`, in bytes.
#[track_caller]
pub fn memory(name: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux has /proc");
    let figure = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).expect(name);
    let kibibytes = figure.trim().strip_suffix(" kB").expect("a figure of memory");
    kibibytes.parse::<usize>().expect("a number") << 10
}

/// Sets what the process may use of `resource`, one of libc's `RLIMIT_*`. Returns what it was before.
#[track_caller]
pub fn limit_resource(resource: u32, value: u64) -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the calls write and read a live structure.
    let result = unsafe { libc::getrlimit(resource, &mut limit) };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
    let before = std::mem::replace(&mut limit.rlim_cur, value);
    // SAFETY: as above.
    let result = unsafe { libc::setrlimit(resource, &limit) };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
    before
}

/// Tells processors apart: goroutines of one have the same. It is the C library's name for the thread
/// that the processor has its thread-local block from.
pub fn processor() -> u64 {
    // SAFETY: no arguments, and no thread is needed for it.
    unsafe { libc::pthread_self() }
}

/// Blocks the calling thread, in a goroutine too: by a system call that is not made by libc's
/// function.
pub fn block_natively(time: Duration) {
    let time = libc::timespec { tv_sec: time.as_secs() as i64, tv_nsec: i64::from(time.subsec_nanos()) };
    // SAFETY: the time can be read, and the rest is not asked for.
    unsafe { libc::syscall(libc::SYS_nanosleep, &time, std::ptr::null_mut::<libc::timespec>()) };
}
