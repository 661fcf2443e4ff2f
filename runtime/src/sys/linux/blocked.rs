//! Which system call a thread is blocked in, as the kernel shows it to other threads of the
//! process.

use crate::sys::blocked::{Call, Kind};

/// The system call that the thread is in, if it is in one and the system says so.
pub(crate) fn call_of(thread: libc::pid_t) -> Option<Call> {
    let text = std::fs::read_to_string(format!("/proc/self/task/{thread}/syscall")).ok()?;
    // "running", or "-1 ..." in the kernel for another reason.
    let number: i64 = text.split_whitespace().next()?.parse().ok()?;
    (number >= 0).then(|| call(number))
}

fn call(number: i64) -> Call {
    let known = CALLS.iter().chain(&OLDER_CALLS).find(|known| known.0 == number);
    Call { number, name: known.map(|known| known.1), kind: known.map_or(Kind::Other, |known| known.2) }
}

type Known = (libc::c_long, &'static str, Kind);

const CALLS: [Known; 35] = [
    (libc::SYS_accept, "accept", Kind::Socket),
    (libc::SYS_accept4, "accept4", Kind::Socket),
    (libc::SYS_connect, "connect", Kind::Socket),
    (libc::SYS_recvfrom, "recvfrom", Kind::Socket),
    (libc::SYS_recvmsg, "recvmsg", Kind::Socket),
    (libc::SYS_recvmmsg, "recvmmsg", Kind::Socket),
    (libc::SYS_sendto, "sendto", Kind::Socket),
    (libc::SYS_sendmsg, "sendmsg", Kind::Socket),
    (libc::SYS_sendmmsg, "sendmmsg", Kind::Socket),
    (libc::SYS_futex, "futex", Kind::Lock),
    (libc::SYS_nanosleep, "nanosleep", Kind::Time),
    (libc::SYS_clock_nanosleep, "clock_nanosleep", Kind::Time),
    (libc::SYS_ppoll, "ppoll", Kind::Descriptors),
    (libc::SYS_pselect6, "pselect6", Kind::Descriptors),
    (libc::SYS_epoll_pwait, "epoll_pwait", Kind::Descriptors),
    (libc::SYS_epoll_pwait2, "epoll_pwait2", Kind::Descriptors),
    (libc::SYS_read, "read", Kind::File),
    (libc::SYS_readv, "readv", Kind::File),
    (libc::SYS_pread64, "pread64", Kind::File),
    (libc::SYS_preadv, "preadv", Kind::File),
    (libc::SYS_write, "write", Kind::File),
    (libc::SYS_writev, "writev", Kind::File),
    (libc::SYS_pwrite64, "pwrite64", Kind::File),
    (libc::SYS_pwritev, "pwritev", Kind::File),
    (libc::SYS_openat, "openat", Kind::File),
    (libc::SYS_close, "close", Kind::File),
    (libc::SYS_fsync, "fsync", Kind::File),
    (libc::SYS_fdatasync, "fdatasync", Kind::File),
    (libc::SYS_flock, "flock", Kind::Other),
    (libc::SYS_fcntl, "fcntl", Kind::Other),
    (libc::SYS_ioctl, "ioctl", Kind::Other),
    (libc::SYS_sendfile, "sendfile", Kind::File),
    (libc::SYS_wait4, "wait4", Kind::Other),
    (libc::SYS_waitid, "waitid", Kind::Other),
    (libc::SYS_io_uring_enter, "io_uring_enter", Kind::Other),
];

/// Calls that newer CPUs do without: another one does the same.
#[cfg(target_arch = "x86_64")]
const OLDER_CALLS: [Known; 4] = [
    (libc::SYS_poll, "poll", Kind::Descriptors),
    (libc::SYS_select, "select", Kind::Descriptors),
    (libc::SYS_epoll_wait, "epoll_wait", Kind::Descriptors),
    (libc::SYS_open, "open", Kind::File),
];
#[cfg(not(target_arch = "x86_64"))]
const OLDER_CALLS: [Known; 0] = [];

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::sync::atomic::{AtomicI32, Ordering};
    use std::time::{Duration, Instant};

    #[test]
    fn a_blocked_thread_shows_its_call() {
        static THREAD: AtomicI32 = AtomicI32::new(0);
        let (mut reader, writer) = std::io::pipe().unwrap();
        let blocked = std::thread::spawn(move || {
            THREAD.store(crate::sys::kernel_thread_id(), Ordering::Relaxed);
            reader.read(&mut [0; 1]).unwrap()
        });
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            let found = call_of(THREAD.load(Ordering::Relaxed));
            if found == Some(Call { number: libc::SYS_read, name: Some("read"), kind: Kind::File }) {
                break;
            }
            // A kernel may be built without this.
            if std::fs::read("/proc/self/syscall").is_err() {
                break;
            }
            assert!(Instant::now() < end, "{found:?}");
        }
        drop(writer);
        assert_eq!(blocked.join().unwrap(), 0);
        assert_eq!(call(1 << 20), Call { number: 1 << 20, name: None, kind: Kind::Other });
    }
}
