//! Which calls are failed, and with which errors.

use crate::supervisor::{Answer, Call};
use std::fmt;

macro_rules! kinds {
    ($($kind:ident $name:literal: [$($number:ident),*] [$($error:ident),*];)*) => {
        /// System calls that a program makes for one purpose.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        pub enum Kind {
            $($kind),*
        }

        pub const KINDS: &[Kind] = &[$(Kind::$kind),*];

        /// The numbers of the calls of each kind.
        pub const NUMBERS: &[(i64, Kind)] = &[$($((libc::$number, Kind::$kind)),*),*];

        impl Kind {
            pub fn name(self) -> &'static str {
                match self {
                    $(Kind::$kind => $name),*
                }
            }

            /// The errors that the kernel gives for them.
            pub fn errors(self) -> &'static [i32] {
                match self {
                    $(Kind::$kind => &[$(libc::$error),*]),*
                }
            }
        }
    };
}

// A socket that says EAGAIN for no reason is not among them: the kernel says it of a socket that has
// nothing, or no room, and reports an edge when that ends.
kinds! {
    Mmap "mmap": [SYS_mmap, SYS_mremap] [ENOMEM, EAGAIN];
    Mprotect "mprotect": [SYS_mprotect] [ENOMEM];
    Madvise "madvise": [SYS_madvise] [ENOMEM, EAGAIN, EINVAL];
    Munmap "munmap": [SYS_munmap] [ENOMEM];
    Mincore "mincore": [SYS_mincore] [EAGAIN];
    Clone "clone": [SYS_clone, SYS_clone3] [EAGAIN, ENOMEM];
    EpollCreate "epoll_create": [SYS_epoll_create1] [EMFILE, ENFILE, ENOMEM];
    EpollCtl "epoll_ctl": [SYS_epoll_ctl] [ENOMEM, ENOSPC];
    EpollWait "epoll_wait": [SYS_epoll_wait, SYS_epoll_pwait, SYS_epoll_pwait2] [EINTR];
    Eventfd "eventfd": [SYS_eventfd2] [EMFILE, ENFILE, ENOMEM];
    Timerfd "timerfd": [SYS_timerfd_create, SYS_timerfd_settime] [EMFILE, ENOMEM];
    Socket "socket": [SYS_socket, SYS_socketpair] [EMFILE, ENFILE, ENOBUFS, ENOMEM];
    Bind "bind, listen": [SYS_bind, SYS_listen] [EADDRINUSE];
    Options "setsockopt, getsockopt": [SYS_setsockopt, SYS_getsockopt] [ENOBUFS, ENOMEM];
    Accept "accept4": [SYS_accept4] [EMFILE, ENFILE, ENOBUFS, ENOMEM, EINTR, ECONNABORTED];
    Connect "connect": [SYS_connect] [EINTR, ENOBUFS, ECONNREFUSED];
    Read "read": [SYS_read, SYS_readv, SYS_pread64] [EINTR, EIO, ENOMEM];
    Write "write": [SYS_write, SYS_writev] [EINTR, EIO, ENOBUFS];
    Receive "recv": [SYS_recvfrom, SYS_recvmsg] [EINTR, ENOMEM, ECONNRESET];
    Send "send": [SYS_sendto] [EINTR, ENOBUFS, ECONNRESET];
    Open "open": [SYS_openat] [EMFILE, ENFILE, EACCES];
    Duplicate "dup": [SYS_fcntl] [EMFILE];
    Sigaltstack "sigaltstack": [SYS_sigaltstack] [ENOMEM];
    Sigaction "sigaction": [SYS_rt_sigaction] [EINVAL];
    Getrandom "getrandom": [SYS_getrandom] [EINTR, ENOSYS];
    Futex "futex": [SYS_futex] [EINTR, EAGAIN];
    Sleep "sleep": [SYS_nanosleep, SYS_clock_nanosleep] [EINTR];
    Timer "timer_create": [SYS_timer_create] [EAGAIN];
    Affinity "sched_getaffinity": [SYS_sched_getaffinity] [EPERM];
    Limits "getrlimit": [SYS_prlimit64] [EPERM];
    Prctl "prctl": [SYS_prctl] [EINVAL];
    Poll "poll": [SYS_poll] [EINTR];
}

/// How often a call is to fail.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Times {
    Once,
    /// So many in a row: what retries gets through.
    Burst(usize),
    Always,
}

/// What is to happen to a program.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Fault {
    pub kind: Kind,
    /// `None`: a single byte is read or written.
    pub error: Option<i32>,
    pub times: Times,
    /// How many calls of the kind succeed before.
    pub after: usize,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}:{:?}", self.kind.name(), self.what(), self.after, self.times)
    }
}

impl Fault {
    pub fn what(&self) -> String {
        match self.error {
            Some(error) => name_of_error(error).into(),
            None => "short".into(),
        }
    }

    /// Every fault of a kind, first after no call.
    pub fn all_of(kind: Kind) -> Vec<Fault> {
        let mut faults = Vec::new();
        for &error in kind.errors() {
            // Code that retries what was interrupted would do so for ever.
            let endless = matches!(error, libc::EINTR) || matches!(kind, Kind::Futex);
            let more = if endless { Times::Burst(20) } else { Times::Always };
            for times in [Times::Once, more] {
                faults.push(Fault { kind, error: Some(error), times, after: 0 });
            }
        }
        if matches!(kind, Kind::Read | Kind::Write) {
            for times in [Times::Once, Times::Always] {
                faults.push(Fault { kind, error: None, times, after: 0 });
            }
        }
        faults
    }
}

fn name_of_error(error: i32) -> &'static str {
    match error {
        libc::ENOMEM => "ENOMEM",
        libc::EAGAIN => "EAGAIN",
        libc::EINVAL => "EINVAL",
        libc::EMFILE => "EMFILE",
        libc::ENFILE => "ENFILE",
        libc::ENOSPC => "ENOSPC",
        libc::EINTR => "EINTR",
        libc::ENOBUFS => "ENOBUFS",
        libc::EADDRINUSE => "EADDRINUSE",
        libc::ECONNABORTED => "ECONNABORTED",
        libc::ECONNREFUSED => "ECONNREFUSED",
        libc::ECONNRESET => "ECONNRESET",
        libc::EIO => "EIO",
        libc::EACCES => "EACCES",
        libc::ENOSYS => "ENOSYS",
        libc::EPERM => "EPERM",
        _ => "another error",
    }
}

/// Counts the calls of each kind from `main` on, and fails those that a fault says. What comes before
/// is the loader's, and std's.
#[derive(Default)]
pub struct Injector {
    fault: Option<Fault>,
    in_main: bool,
    pub counts: std::collections::BTreeMap<Kind, usize>,
    pub injected: usize,
}

impl Injector {
    pub fn new(fault: Option<Fault>) -> Injector {
        Injector { fault, ..Injector::default() }
    }

    pub fn decide(&mut self, call: &Call) -> Answer {
        let Some((_, kind)) = NUMBERS.iter().find(|(number, _)| *number == call.number) else {
            return Answer::GoOn;
        };
        if !self.in_main {
            // The last that std does before: it sets the main thread's alternate signal stack.
            self.in_main = *kind == Kind::Sigaltstack && call.arguments[0] != 0;
            return Answer::GoOn;
        }
        let counts = match kind {
            // Another operation could fail for no reason of this kind.
            Kind::Futex => {
                matches!(call.arguments[1] as i32 & 0x7f, libc::FUTEX_WAIT | libc::FUTEX_WAIT_BITSET)
            }
            Kind::Duplicate => call.arguments[1] as i32 == libc::F_DUPFD_CLOEXEC,
            // A deletion needs no memory, and so on.
            Kind::EpollCtl => call.arguments[1] as i32 == libc::EPOLL_CTL_ADD,
            Kind::Timerfd => call.number == libc::SYS_timerfd_create,
            // The word of an event descriptor is always there.
            Kind::Read | Kind::Write => !self.is_event_descriptor(call, *kind),
            _ => true,
        };
        if !counts {
            return Answer::GoOn;
        }
        let count = self.counts.entry(*kind).or_default();
        let before = std::mem::replace(count, *count + 1);
        let Some(fault) = self.fault.filter(|fault| fault.kind == *kind && before >= fault.after) else {
            return Answer::GoOn;
        };
        let most = match fault.times {
            Times::Once => 1,
            Times::Burst(most) => most,
            Times::Always => usize::MAX,
        };
        if before - fault.after >= most {
            return Answer::GoOn;
        }
        self.injected += 1;
        fault.error.map_or(Answer::Short, Answer::Fail)
    }

    /// Looks only if it matters.
    fn is_event_descriptor(&self, call: &Call, kind: Kind) -> bool {
        self.fault.is_some_and(|fault| fault.kind == kind)
            && std::fs::read_link(format!("/proc/{}/fd/{}", call.thread, call.arguments[0]))
                .is_ok_and(|link| link.as_os_str() == "anon_inode:[eventfd]")
    }
}
