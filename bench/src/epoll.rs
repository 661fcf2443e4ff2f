//! epoll behind a safe face, for the bare loop and the load generator: level-triggered, read interest only, one token
//! per descriptor.

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::ptr;
use std::time::Duration;

/// Most events taken per wait.
const BATCH: usize = 256;

/// An epoll instance.
#[derive(Debug)]
pub struct Epoll(OwnedFd);

/// Room for the events of one wait.
#[derive(Debug)]
pub struct Events {
    room: Vec<libc::epoll_event>,
}

impl Epoll {
    /// A new instance.
    ///
    /// # Errors
    ///
    /// Those of `epoll_create1`.
    pub fn new() -> io::Result<Epoll> {
        // SAFETY: the call takes no pointer.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has just made this descriptor, and nothing else owns it.
        Ok(Epoll(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Watches `source` for input under `token`. Closing the descriptor ends it.
    ///
    /// # Errors
    ///
    /// Those of `epoll_ctl`.
    pub fn watch(&self, source: impl AsFd, token: u64) -> io::Result<()> {
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: token };
        let source = source.as_fd().as_raw_fd();
        // SAFETY: both descriptors are open while they are borrowed, and the call only reads `event`.
        let done = unsafe { libc::epoll_ctl(self.0.as_raw_fd(), libc::EPOLL_CTL_ADD, source, &mut event) };
        if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// Waits for events, at most `timeout` (for ever if `None`), and returns the tokens of those that came. The timeout
    /// is kept to the nanosecond, which takes Linux 5.11: the open loop sends by it.
    ///
    /// # Errors
    ///
    /// Those of `epoll_pwait2`, but for an interruption, which counts as no event.
    pub fn wait<'a>(
        &self,
        events: &'a mut Events,
        timeout: Option<Duration>,
    ) -> io::Result<impl Iterator<Item = u64> + 'a> {
        let limit = timeout.map(|limit| libc::timespec {
            tv_sec: libc::time_t::try_from(limit.as_secs()).unwrap_or(libc::time_t::MAX),
            tv_nsec: limit.subsec_nanos().into(),
        });
        let limit = limit.as_ref().map_or(ptr::null(), ptr::from_ref);
        let room = &mut events.room;
        // SAFETY: `room` has BATCH events, and the kernel writes at most that many; `limit` is null or points at a time
        // that outlives the call; there is no signal mask, whose size is therefore not looked at.
        let came = unsafe {
            libc::syscall(
                libc::SYS_epoll_pwait2,
                self.0.as_raw_fd(),
                room.as_mut_ptr(),
                BATCH,
                limit,
                ptr::null::<libc::sigset_t>(),
                0usize,
            )
        };
        let came = match usize::try_from(came) {
            Ok(came) => came,
            Err(_) => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => 0,
                error => return Err(error),
            },
        };
        Ok(events.room[..came].iter().map(|event| event.u64))
    }
}

impl Events {
    /// Room for one batch.
    pub fn new() -> Events {
        Events { room: vec![libc::epoll_event { events: 0, u64: 0 }; BATCH] }
    }
}

impl Default for Events {
    fn default() -> Events {
        Events::new()
    }
}
