//! What comes in: `read`, `readv`, `recv`, `recvfrom`, `recvmsg`, `recvmmsg`.
//!
//! Contracts are libc's, `SO_RCVTIMEO` and `MSG_WAITALL` included. Differences: a signal does not end a
//! wait; `recvmsg` and `recvmmsg` with `MSG_WAITALL`, and a look (`MSG_PEEK`) at all of it, wait in
//! libc; a `recvmmsg` that has received a message also ends when something comes to the socket's queue
//! of errors; and if a goroutine reads from a terminal or a named pipe beside other readers, and one of
//! these takes what was there, the goroutine waits in libc until more comes.

use crate::descriptors::{self, Kind};
use crate::error::{errno, fail, would_block};
use crate::next::next;
use crate::poll::limit;
use crate::time::time;
use crate::wait::{Begun, Wait, has_failed, is_in_error, socket_option};
use crate::{define, may_park, ready};
use libc::{c_int, c_uint, c_void, iovec, mmsghdr, msghdr, sockaddr, socklen_t, ssize_t, timespec};
use narrowboat_net::watch::Direction;
use narrowboat_runtime::as_thread::checkpoint_in_place;
use std::cell::Cell;
use std::ptr;
use std::time::Instant;

define! {
    "read" => read,
    "readv" => readv,
    "recv" => recv,
    "recvfrom" => recvfrom,
    "recvmsg" => recvmsg,
    "recvmmsg" => recvmmsg,
    "__read_chk" => read_checked,
    "__recv_chk" => recv_checked,
    "__recvfrom_chk" => recvfrom_checked,
}
next! {
    fn read(fd: c_int, buffer: *mut c_void, len: usize) -> ssize_t;
    fn readv(fd: c_int, buffers: *const iovec, count: c_int) -> ssize_t;
    fn recv(fd: c_int, buffer: *mut c_void, len: usize, flags: c_int) -> ssize_t;
    fn recvfrom(
        fd: c_int, buffer: *mut c_void, len: usize, flags: c_int, from: *mut sockaddr, size: *mut socklen_t,
    ) -> ssize_t;
    fn recvmsg(fd: c_int, message: *mut msghdr, flags: c_int) -> ssize_t;
    fn recvmmsg(
        fd: c_int, messages: *mut mmsghdr, count: c_uint, flags: c_int, timeout: *mut timespec,
    ) -> c_int;
    fn __read_chk(fd: c_int, buffer: *mut c_void, len: usize, room: usize) -> ssize_t;
    fn __recv_chk(fd: c_int, buffer: *mut c_void, len: usize, room: usize, flags: c_int) -> ssize_t;
    fn __recvfrom_chk(
        fd: c_int, buffer: *mut c_void, len: usize, room: usize, flags: c_int, from: *mut sockaddr,
        size: *mut socklen_t,
    ) -> ssize_t;
}

/// Makes a call that takes what has come in: `attempt`, which does not wait. `None` if it would have to,
/// and must do so natively.
fn take(fd: c_int, timeout: c_int, mut attempt: impl FnMut() -> ssize_t) -> Option<ssize_t> {
    let first = attempt();
    if first >= 0 {
        checkpoint_in_place();
    }
    if !would_block(first) {
        return Some(first);
    }
    match Wait::begin(fd, Direction::Input, timeout) {
        Begun::Refused => Some(fail(libc::EAGAIN)),
        Begun::Natively => None,
        Begun::Wait(wait) => Some(
            wait.until(|| Some(attempt()).filter(|answer| !would_block(*answer)))
                .unwrap_or_else(|ended| ended.answer(libc::EAGAIN)),
        ),
    }
}

/// Takes from a socket. `receive` makes the call with these flags, for what comes behind so many bytes.
fn take_from_socket(
    fd: c_int,
    len: usize,
    flags: c_int,
    receive: impl Fn(c_int, usize) -> ssize_t,
) -> ssize_t {
    let all = flags & libc::MSG_WAITALL != 0;
    // To wait for all of it is to wait for one part after the other. A look at all of it leaves the
    // parts where they are.
    if all && flags & libc::MSG_PEEK != 0 {
        return receive(flags, 0);
    }
    let attempt = (flags & !libc::MSG_WAITALL) | libc::MSG_DONTWAIT;
    let mut taken = 0;
    loop {
        let answer = take(fd, libc::SO_RCVTIMEO, || {
            if taken > 0 && has_failed(fd) { 0 } else { receive(attempt, taken) }
        });
        let answer = answer.unwrap_or_else(|| receive(flags, taken));
        if answer < 0 && taken > 0 {
            // A time-out, say.
            return taken as ssize_t;
        }
        if answer <= 0 || !all {
            return taken as ssize_t + answer;
        }
        taken += answer as usize;
        if taken >= len || !is_stream(fd) {
            return taken as ssize_t;
        }
    }
}

fn is_stream(fd: c_int) -> bool {
    socket_option::<c_int>(fd, libc::SO_TYPE) == Some(libc::SOCK_STREAM)
}

/// Whether a call with these flags waits, in this caller.
fn may_wait(flags: c_int) -> bool {
    flags & (libc::MSG_DONTWAIT | libc::MSG_ERRQUEUE) == 0 && may_park()
}

/// # Safety
/// As for libc's function.
unsafe extern "C-unwind" fn recv(fd: c_int, buffer: *mut c_void, len: usize, flags: c_int) -> ssize_t {
    if !may_wait(flags) {
        // SAFETY: by contract.
        return unsafe { next::recv(fd, buffer, len, flags) };
    }
    // SAFETY: by contract, and never more than there is room for.
    take_from_socket(fd, len, flags, |flags, taken| unsafe {
        next::recv(fd, buffer.byte_add(taken), len - taken, flags)
    })
}

/// # Safety
/// As for libc's function.
unsafe extern "C-unwind" fn recvfrom(
    fd: c_int,
    buffer: *mut c_void,
    len: usize,
    flags: c_int,
    from: *mut sockaddr,
    size: *mut socklen_t,
) -> ssize_t {
    if !may_wait(flags) {
        // SAFETY: by contract.
        return unsafe { next::recvfrom(fd, buffer, len, flags, from, size) };
    }
    // SAFETY: by contract, and never more than there is room for. A stream, which alone is asked for
    // more, writes no address.
    take_from_socket(fd, len, flags, |flags, taken| unsafe {
        next::recvfrom(fd, buffer.byte_add(taken), len - taken, flags, from, size)
    })
}

/// # Safety
/// As for libc's function.
unsafe extern "C-unwind" fn recvmsg(fd: c_int, message: *mut msghdr, flags: c_int) -> ssize_t {
    // A message that is waited for as a whole may have parts of its control data with each part.
    if !may_wait(flags) || flags & libc::MSG_WAITALL != 0 {
        // SAFETY: by contract.
        return unsafe { next::recvmsg(fd, message, flags) };
    }
    // SAFETY: by contract.
    let receive = |flags| unsafe { next::recvmsg(fd, message, flags) };
    take(fd, libc::SO_RCVTIMEO, || receive(flags | libc::MSG_DONTWAIT)).unwrap_or_else(|| receive(flags))
}

/// The messages that are there come by one call that does not wait; then the goroutine waits for the
/// next one. As in the kernel, a timeout is looked at only when a message has come.
///
/// # Safety
/// As for libc's function.
unsafe extern "C-unwind" fn recvmmsg(
    fd: c_int,
    messages: *mut mmsghdr,
    count: c_uint,
    flags: c_int,
    timeout: *mut timespec,
) -> c_int {
    // A message that is waited for as a whole is libc's, as in `recvmsg`.
    let waits_here = may_wait(flags) && flags & libc::MSG_WAITALL == 0;
    // SAFETY: by contract a timeout that is given can be read. The kernel refuses some.
    let Some(limit) = waits_here.then(|| unsafe { limit(timeout) }).flatten() else {
        // SAFETY: by contract.
        return unsafe { next::recvmmsg(fd, messages, count, flags, timeout) };
    };
    let limit = limit.map(|limit| (Instant::now(), limit));
    // What was left of it when the last message came.
    let left = Cell::new(None);
    let receive = |flags, received: usize| {
        let mut now = limit.map(|(start, limit)| time(limit.saturating_sub(start.elapsed())));
        let timeout = now.as_mut().map_or(ptr::null_mut(), ptr::from_mut);
        // SAFETY: by contract, and never more than there are.
        let answer = unsafe {
            next::recvmmsg(fd, messages.wrapping_add(received), count - received as c_uint, flags, timeout)
        };
        if answer > 0 {
            left.set(now);
        }
        answer as ssize_t
    };
    let mut received = 0;
    loop {
        let answer = take(fd, libc::SO_RCVTIMEO, || {
            // This call would take the error, which is for the caller's next one.
            if received > 0 && is_in_error(fd) { 0 } else { receive(flags | libc::MSG_DONTWAIT, received) }
        });
        let answer = answer.unwrap_or_else(|| receive(flags, received));
        if answer <= 0 && received == 0 {
            return answer as c_int;
        }
        received += answer.max(0) as usize;
        let is_over = left.get().is_some_and(|left| (left.tv_sec, left.tv_nsec) == (0, 0));
        // SAFETY: there is a last message, which the call has written.
        let is_urgent = unsafe { (*messages.add(received - 1)).msg_hdr.msg_flags } & libc::MSG_OOB != 0;
        let is_enough = received == count as usize || flags & libc::MSG_WAITFORONE != 0;
        if answer <= 0 || is_enough || is_over || is_urgent {
            break;
        }
    }
    if let Some(left) = left.get() {
        // SAFETY: by contract a timeout that is given can be written.
        unsafe { *timeout = left };
    }
    received as c_int
}

/// # Safety
/// As for libc's function.
unsafe extern "C-unwind" fn read(fd: c_int, buffer: *mut c_void, len: usize) -> ssize_t {
    if len != 0 && may_park() {
        match descriptors::kind(fd) {
            Some(Kind::Socket) => {
                // SAFETY: by contract.
                let answer = unsafe { recv(fd, buffer, len, 0) };
                if answer >= 0 || errno() != libc::ENOTSOCK {
                    return answer;
                }
                // The number stands for another file than it did.
                descriptors::learn(fd);
                // SAFETY: by contract.
                return unsafe { read(fd, buffer, len) };
            }
            Some(Kind::Pipe | Kind::Device | Kind::Other) => {
                let buffers = iovec { iov_base: buffer, iov_len: len };
                // SAFETY: by contract.
                return unsafe { take_from_file(fd, &buffers, 1) };
            }
            Some(Kind::Regular) | None => {}
        }
    }
    // SAFETY: by contract.
    unsafe { next::read(fd, buffer, len) }
}

/// # Safety
/// As for libc's function.
unsafe extern "C-unwind" fn readv(fd: c_int, buffers: *const iovec, count: c_int) -> ssize_t {
    if count > 0 && may_park() {
        match descriptors::kind(fd) {
            Some(Kind::Socket) => {
                // SAFETY: a structure of numbers and pointers, for which zeroes are values.
                let mut message: msghdr = unsafe { std::mem::zeroed() };
                message.msg_iov = buffers.cast_mut();
                message.msg_iovlen = count as usize;
                // SAFETY: by contract the buffers can be written; nothing else is asked for.
                let answer = unsafe { recvmsg(fd, &mut message, 0) };
                if answer >= 0 || errno() != libc::ENOTSOCK {
                    return answer;
                }
                descriptors::learn(fd);
                // SAFETY: by contract.
                return unsafe { readv(fd, buffers, count) };
            }
            Some(Kind::Pipe | Kind::Device | Kind::Other) => {
                // SAFETY: by contract.
                return unsafe { take_from_file(fd, buffers, count) };
            }
            Some(Kind::Regular) | None => {}
        }
    }
    // SAFETY: by contract.
    unsafe { next::readv(fd, buffers, count) }
}

/// Reads from what is neither a socket nor always ready. The kernel knows a flag for that, which not
/// every kind of file does: those are asked first.
///
/// # Safety
/// As for `readv`.
unsafe fn take_from_file(fd: c_int, buffers: *const iovec, count: c_int) -> ssize_t {
    // SAFETY: by contract.
    let natively = || unsafe { next::readv(fd, buffers, count) };
    let mut flag = true;
    let attempt = || {
        if flag {
            // At the present position, as `readv` reads.
            let here = -1i64;
            // SAFETY: by contract.
            let answer =
                unsafe { libc::syscall(libc::SYS_preadv2, fd, buffers, count, here, here, libc::RWF_NOWAIT) };
            flag = answer >= 0 || !matches!(errno(), libc::EOPNOTSUPP | libc::ENOSYS | libc::EPERM);
            if flag {
                return answer as ssize_t;
            }
        }
        if ready(fd, libc::POLLIN) { natively() } else { fail(libc::EAGAIN) }
    };
    take(fd, 0, attempt).unwrap_or_else(natively)
}

/// # Safety
/// As for libc's function, which a caller that was compiled with checks calls instead of `read`.
unsafe extern "C-unwind" fn read_checked(fd: c_int, buffer: *mut c_void, len: usize, room: usize) -> ssize_t {
    // SAFETY: by contract. Libc's ends the process where there is not enough room.
    unsafe { if len > room { next::__read_chk(fd, buffer, len, room) } else { read(fd, buffer, len) } }
}

/// # Safety
/// As for libc's function, the checked `recv`.
unsafe extern "C-unwind" fn recv_checked(
    fd: c_int,
    buffer: *mut c_void,
    len: usize,
    room: usize,
    flags: c_int,
) -> ssize_t {
    // SAFETY: as in `read_checked`.
    unsafe {
        if len > room { next::__recv_chk(fd, buffer, len, room, flags) } else { recv(fd, buffer, len, flags) }
    }
}

/// # Safety
/// As for libc's function, the checked `recvfrom`.
unsafe extern "C-unwind" fn recvfrom_checked(
    fd: c_int,
    buffer: *mut c_void,
    len: usize,
    room: usize,
    flags: c_int,
    from: *mut sockaddr,
    size: *mut socklen_t,
) -> ssize_t {
    // SAFETY: as in `read_checked`.
    unsafe {
        if len > room {
            next::__recvfrom_chk(fd, buffer, len, room, flags, from, size)
        } else {
            recvfrom(fd, buffer, len, flags, from, size)
        }
    }
}
