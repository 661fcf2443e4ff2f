//! Decides over the system calls of another process: each goes on as it is, or fails.
//!
//! The process installs a filter that stops it at the calls which are named, and reports them to a
//! descriptor (seccomp's notifications). So the calls are seen however they are made: by libc, from
//! within libc, or by an instruction in the program.
//!
//! 1. Between fork and exec the child makes a filter and sends its listener through a socket pair.
//! 2. The parent takes the listener when the exec has succeeded, and starts a thread for it.
//! 3. That thread answers each notification, and ends when the last thread of the process has.

use crate::plan::{Injector, Kind, NUMBERS};
use std::io;
use std::mem::{MaybeUninit, offset_of};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::thread::JoinHandle;

/// A system call that waits for an answer.
pub struct Call {
    /// The thread that makes it.
    pub thread: libc::pid_t,
    pub number: i64,
    pub arguments: [u64; 6],
}

/// What becomes of a system call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    GoOn,
    /// It fails with this error.
    Fail(i32),
    /// If it reads or writes something other than a socket: a single byte. Otherwise it goes on.
    Short,
}

/// Starts `command` with all its calls of `kinds` decided by `injector`. The thread ends with the
/// process, and gives the injector back.
pub fn start(
    mut command: Command,
    kinds: &[Kind],
    mut injector: Injector,
) -> io::Result<(Child, JoinHandle<Injector>)> {
    let (ours, theirs) = UnixDatagram::pair()?;
    let program = filter(kinds);
    let socket = theirs.as_raw_fd();
    // SAFETY: the closure makes system calls alone, and reads memory that the fork has copied.
    unsafe { command.pre_exec(move || install(&program, socket)) };
    let child = command.spawn()?;
    drop((command, theirs));
    let listener = receive(&ours)?;
    let process = child.id() as libc::pid_t;
    let thread = std::thread::spawn(move || {
        serve(&listener, process, &mut injector);
        injector
    });
    Ok((child, thread))
}

/// Whether the system allows it at all.
pub fn is_possible() -> bool {
    let process = start(Command::new("true"), &[Kind::Socket], Injector::default());
    process.is_ok_and(|(mut child, thread)| {
        let ended = child.wait().is_ok_and(|status| status.success());
        ended && thread.join().is_ok()
    })
}

const fn statement(code: u32, k: u32) -> libc::sock_filter {
    libc::sock_filter { code: code as u16, jt: 0, jf: 0, k }
}

/// Stops the calls of these kinds and allows all others.
fn filter(kinds: &[Kind]) -> Vec<libc::sock_filter> {
    let number = offset_of!(libc::seccomp_data, nr) as u32;
    let mut program = vec![statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, number)];
    for (call, _) in NUMBERS.iter().filter(|(_, kind)| kinds.contains(kind)) {
        let compare = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
        program.push(libc::sock_filter { code: compare as u16, jt: 0, jf: 1, k: *call as u32 });
        program.push(statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_USER_NOTIF));
    }
    program.push(statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW));
    program
}

/// A message of one byte with room for one descriptor.
struct Message {
    byte: u8,
    // Aligned for the header that it begins with.
    control: [u64; 4],
}

impl Message {
    fn with<T>(&mut self, f: impl FnOnce(&mut libc::msghdr) -> T) -> T {
        let mut part = libc::iovec { iov_base: (&raw mut self.byte).cast(), iov_len: 1 };
        // SAFETY: a header of zeros is valid.
        let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
        header.msg_iov = &raw mut part;
        header.msg_iovlen = 1;
        header.msg_control = self.control.as_mut_ptr().cast();
        // SAFETY: arithmetic alone.
        header.msg_controllen = unsafe { libc::CMSG_SPACE(size_of::<RawFd>() as u32) } as usize;
        f(&mut header)
    }
}

/// In the child: from here on the calls are stopped. Sends the listener through `socket`.
fn install(program: &[libc::sock_filter], socket: RawFd) -> io::Result<()> {
    let program = libc::sock_fprog { len: program.len() as u16, filter: program.as_ptr().cast_mut() };
    let flags = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
    // SAFETY: the filter can be read during the call.
    let listener = unsafe {
        if libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 {
            return Err(io::Error::last_os_error());
        }
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program)
    };
    if listener < 0 {
        return Err(io::Error::last_os_error());
    }
    let mut message = Message { byte: 0, control: [0; 4] };
    message.with(|header| {
        // SAFETY: there is room for a header with one descriptor, and both are live.
        let sent = unsafe {
            let control = libc::CMSG_FIRSTHDR(header);
            (*control).cmsg_level = libc::SOL_SOCKET;
            (*control).cmsg_type = libc::SCM_RIGHTS;
            (*control).cmsg_len = libc::CMSG_LEN(size_of::<RawFd>() as u32) as usize;
            libc::CMSG_DATA(control).cast::<RawFd>().write_unaligned(listener as RawFd);
            libc::sendmsg(socket, header, 0)
        };
        if sent == 1 { Ok(()) } else { Err(io::Error::last_os_error()) }
    })
}

fn receive(socket: &UnixDatagram) -> io::Result<OwnedFd> {
    let mut message = Message { byte: 0, control: [0; 4] };
    message.with(|header| {
        // SAFETY: the header says how much room there is. The descriptor in it is new, and ours.
        unsafe {
            if libc::recvmsg(socket.as_raw_fd(), header, libc::MSG_CMSG_CLOEXEC) != 1 {
                return Err(io::Error::last_os_error());
            }
            let control = libc::CMSG_FIRSTHDR(header);
            if control.is_null() {
                return Err(io::Error::other("no descriptor came"));
            }
            Ok(OwnedFd::from_raw_fd(libc::CMSG_DATA(control).cast::<RawFd>().read_unaligned()))
        }
    })
}

fn serve(listener: &OwnedFd, process: libc::pid_t, injector: &mut Injector) {
    loop {
        let mut ready = libc::pollfd { fd: listener.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one live entry.
        let polled = unsafe { libc::poll(&raw mut ready, 1, -1) };
        if polled < 0 && io::Error::last_os_error().kind() == io::ErrorKind::Interrupted {
            continue;
        }
        if ready.revents & libc::POLLIN == 0 {
            // No thread has the filter any more.
            return;
        }
        // The kernel wants zeros.
        // SAFETY: a notification of zeros is valid, and the kernel fills it in.
        let mut notice: libc::seccomp_notif = unsafe { std::mem::zeroed() };
        // SAFETY: as above.
        if unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_RECV, &raw mut notice) } != 0
        {
            // The thread has been killed meanwhile.
            continue;
        }
        let call = Call {
            thread: notice.pid as libc::pid_t,
            number: notice.data.nr.into(),
            arguments: notice.data.args,
        };
        let mut reply = libc::seccomp_notif_resp { id: notice.id, val: 0, error: 0, flags: 0 };
        match injector.decide(&call) {
            Answer::Fail(error) => reply.error = -error,
            Answer::Short if one_byte(&call, process) => reply.val = 1,
            Answer::GoOn | Answer::Short => reply.flags = libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32,
        }
        // It fails if the thread has been killed meanwhile.
        // SAFETY: the reply can be read.
        unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND, &raw const reply) };
    }
}

/// Reads or writes one byte in place of a `read` or `write` of the process that asks for more.
/// False if it does not, because it may not, or because the call would wait.
///
/// A socket is left alone: there the kernel gives less than what was asked for only when there is no
/// more, which those who wait for edges rely on.
fn one_byte(call: &Call, process: libc::pid_t) -> bool {
    let reads = call.number == libc::SYS_read;
    if (!reads && call.number != libc::SYS_write) || call.arguments[2] < 2 {
        return false;
    }
    let Some(file) = descriptor_of(process, call.arguments[0] as RawFd) else { return false };
    let mut status = MaybeUninit::<libc::stat>::uninit();
    let wanted = if reads { libc::POLLIN } else { libc::POLLOUT };
    let mut ready = libc::pollfd { fd: file.as_raw_fd(), events: wanted, revents: 0 };
    // SAFETY: both fill in live structures, the first one completely if it succeeds.
    let possible = unsafe {
        libc::fstat(file.as_raw_fd(), status.as_mut_ptr()) == 0
            && status.assume_init().st_mode & libc::S_IFMT != libc::S_IFSOCK
            && libc::poll(&raw mut ready, 1, 0) == 1
            && ready.revents & wanted != 0
    };
    let mut byte = 0u8;
    let here = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
    let there = libc::iovec { iov_base: call.arguments[1] as usize as *mut libc::c_void, iov_len: 1 };
    // SAFETY: one byte of ours is read or written; what the other process has at its address is
    // copied by the kernel, which looks whether it may.
    possible
        && unsafe {
            if reads {
                libc::read(file.as_raw_fd(), (&raw mut byte).cast(), 1) == 1
                    && libc::process_vm_writev(call.thread, &raw const here, 1, &raw const there, 1, 0) == 1
            } else {
                libc::process_vm_readv(call.thread, &raw const here, 1, &raw const there, 1, 0) == 1
                    && libc::write(file.as_raw_fd(), (&raw const byte).cast(), 1) == 1
            }
        }
}

/// A duplicate of a descriptor of that process.
fn descriptor_of(process: libc::pid_t, number: RawFd) -> Option<OwnedFd> {
    let own = |descriptor: libc::c_long| {
        // SAFETY: a call of the kernel's has just made it.
        (descriptor >= 0).then(|| unsafe { OwnedFd::from_raw_fd(descriptor as RawFd) })
    };
    // SAFETY: no memory is involved.
    let process = own(unsafe { libc::syscall(libc::SYS_pidfd_open, process, 0) })?;
    // SAFETY: as above.
    own(unsafe { libc::syscall(libc::SYS_pidfd_getfd, process.as_raw_fd(), number, 0) })
}
