//! What goes out: `write`, `writev`, `send`, `sendto`, `sendmsg`, `sendmmsg`.
//!
//! Contracts are libc's: a call on a stream or a pipe returns when all is out, unless an error, or
//! `SO_SNDTIMEO`, comes after a part; then it returns the length of that part. Differences: a signal
//! does not end a wait; output to a terminal or a named pipe waits in libc if other writers took the
//! room that was there, and to an eventfd if its counter is at its limit.

use crate::descriptors::{self, Kind};
use crate::error::{errno, fail, would_block};
use crate::next::next;
use crate::wait::{Begun, Wait, has_failed};
use crate::{define, may_park, ready};
use libc::{c_int, c_uint, c_void, iovec, mmsghdr, msghdr, sockaddr, socklen_t, ssize_t};
use narrowboat_net::watch::Direction;
use narrowboat_runtime::as_thread::checkpoint_in_place;
use std::ptr;

define! {
    "write" => write,
    "writev" => writev,
    "send" => send,
    "sendto" => sendto,
    "sendmsg" => sendmsg,
    "sendmmsg" => sendmmsg,
}
next! {
    fn write(fd: c_int, buffer: *const c_void, len: usize) -> ssize_t;
    fn writev(fd: c_int, buffers: *const iovec, count: c_int) -> ssize_t;
    fn send(fd: c_int, buffer: *const c_void, len: usize, flags: c_int) -> ssize_t;
    fn sendto(
        fd: c_int, buffer: *const c_void, len: usize, flags: c_int, to: *const sockaddr, size: socklen_t,
    ) -> ssize_t;
    fn sendmsg(fd: c_int, message: *const msghdr, flags: c_int) -> ssize_t;
    fn sendmmsg(fd: c_int, messages: *mut mmsghdr, count: c_uint, flags: c_int) -> c_int;
}

/// How a call is made.
#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    /// So that it does not wait.
    AtOnce,
    /// As the caller has it.
    Natively,
}

impl How {
    /// The flags of a call on a socket, which has these.
    fn flags(self, flags: c_int) -> c_int {
        if self == How::AtOnce { flags | libc::MSG_DONTWAIT } else { flags }
    }
}

/// Gives `len` bytes out. `call` makes the call for what comes behind so many bytes. `timeout` is the
/// socket option with the timeout of such calls, or 0 for files.
fn give(fd: c_int, len: usize, timeout: c_int, mut call: impl FnMut(How, usize) -> ssize_t) -> ssize_t {
    let mut call = |how, given| {
        if given > 0 && timeout != 0 && has_failed(fd) { 0 } else { call(how, given) }
    };
    let mut given = 0;
    let mut waiting: Option<Wait> = None;
    loop {
        let answer = match &waiting {
            None => call(How::AtOnce, given),
            Some(wait) => wait
                .until(|| Some(call(How::AtOnce, given)).filter(|answer| !would_block(*answer)))
                .unwrap_or_else(|ended| ended.answer(libc::EAGAIN)),
        };
        let answer = if waiting.is_none() && would_block(answer) {
            match Wait::begin(fd, Direction::Output, timeout) {
                Begun::Wait(wait) => {
                    waiting = Some(wait);
                    continue;
                }
                Begun::Refused => fail(libc::EAGAIN),
                Begun::Natively => call(How::Natively, given),
            }
        } else {
            answer
        };
        if answer < 0 {
            // A time-out, say.
            return if given > 0 { given as ssize_t } else { answer };
        }
        given += answer as usize;
        if given >= len || answer == 0 {
            // Not for files: a panic's message and `println!` hold a lock that others want.
            if timeout != 0 {
                checkpoint_in_place();
            }
            return given as ssize_t;
        }
    }
}

/// Whether a call with these flags waits, in this caller.
fn may_wait(flags: c_int) -> bool {
    flags & libc::MSG_DONTWAIT == 0 && may_park()
}

/// # Safety
/// As for libc's function.
unsafe extern "C-unwind" fn send(fd: c_int, buffer: *const c_void, len: usize, flags: c_int) -> ssize_t {
    if !may_wait(flags) {
        // SAFETY: by contract.
        return unsafe { next::send(fd, buffer, len, flags) };
    }
    // SAFETY: by contract, and never more than there is.
    let send = |flags, given| unsafe { next::send(fd, buffer.byte_add(given), len - given, flags) };
    give(fd, len, libc::SO_SNDTIMEO, |how, given| send(how.flags(flags), given))
}

/// # Safety
/// As for libc's function.
unsafe extern "C-unwind" fn sendto(
    fd: c_int,
    buffer: *const c_void,
    len: usize,
    flags: c_int,
    to: *const sockaddr,
    size: socklen_t,
) -> ssize_t {
    if !may_wait(flags) {
        // SAFETY: by contract.
        return unsafe { next::sendto(fd, buffer, len, flags, to, size) };
    }
    // SAFETY: by contract, and never more than there is.
    let send =
        |flags, given| unsafe { next::sendto(fd, buffer.byte_add(given), len - given, flags, to, size) };
    give(fd, len, libc::SO_SNDTIMEO, |how, given| send(how.flags(flags), given))
}

/// # Safety
/// As for libc's function.
unsafe extern "C-unwind" fn sendmsg(fd: c_int, message: *const msghdr, flags: c_int) -> ssize_t {
    // SAFETY: by contract a message can be read. Null is for the kernel to refuse.
    let Some(whole) = unsafe { message.as_ref() }.filter(|_| may_wait(flags)) else {
        // SAFETY: by contract.
        return unsafe { next::sendmsg(fd, message, flags) };
    };
    // SAFETY: by contract.
    unsafe { send_behind(fd, whole, 0, flags) }
}

/// Sends what comes in a message behind so many bytes, which are out.
///
/// # Safety
/// As for `sendmsg`.
unsafe fn send_behind(fd: c_int, whole: &msghdr, out: usize, flags: c_int) -> ssize_t {
    // SAFETY: by contract the buffers are so many.
    let mut rest = unsafe { Rest::of(whole.msg_iov, whole.msg_iovlen) };
    // SAFETY: as above.
    let len = unsafe { length(whole.msg_iov, whole.msg_iovlen) };
    give(fd, len - out, libc::SO_SNDTIMEO, |how, given| {
        let given = out + given;
        let buffers = rest.behind(given);
        let mut part = *whole;
        (part.msg_iov, part.msg_iovlen) = (buffers.0.cast_mut(), buffers.1);
        if given > 0 {
            // It has gone out with the first part.
            (part.msg_control, part.msg_controllen) = (ptr::null_mut(), 0);
        }
        // SAFETY: by contract, and never more than there is.
        unsafe { next::sendmsg(fd, &part, how.flags(flags)) }
    })
}

/// Messages for which there is room go by one call that does not wait; then the goroutine waits until
/// there is room for the next one.
///
/// # Safety
/// As for libc's function.
unsafe extern "C-unwind" fn sendmmsg(
    fd: c_int,
    messages: *mut mmsghdr,
    count: c_uint,
    flags: c_int,
) -> c_int {
    if count == 0 || !may_wait(flags) {
        // SAFETY: by contract.
        return unsafe { next::sendmmsg(fd, messages, count, flags) };
    }
    // The kernel takes no more from one call.
    let count = count.min(libc::UIO_MAXIOV as c_uint);
    let mut sent = 0;
    loop {
        // One message is enough, and each wait is for one.
        let answer = give(fd, 1, libc::SO_SNDTIMEO, |how, _| {
            let (rest, flags) = (messages.wrapping_add(sent), how.flags(flags));
            // SAFETY: by contract, and never more than there are.
            unsafe { next::sendmmsg(fd, rest, count - sent as c_uint, flags) as ssize_t }
        });
        if answer <= 0 {
            // As in the kernel, an error that comes after a message is not told.
            return if sent > 0 { sent as c_int } else { answer as c_int };
        }
        sent += answer as usize;
        // SAFETY: there is a last message, whose length the call has written.
        let last = unsafe { &mut *messages.add(sent - 1) };
        // SAFETY: by contract the buffers are so many.
        let len = unsafe { length(last.msg_hdr.msg_iov, last.msg_hdr.msg_iovlen) };
        if (last.msg_len as usize) < len {
            // A stream had room for a part of it.
            // SAFETY: by contract.
            let more = unsafe { send_behind(fd, &last.msg_hdr, last.msg_len as usize, flags) };
            last.msg_len += more.max(0) as c_uint;
        }
        if (last.msg_len as usize) < len || sent == count as usize {
            return sent as c_int;
        }
    }
}

/// # Safety
/// As for libc's function.
unsafe extern "C-unwind" fn write(fd: c_int, buffer: *const c_void, len: usize) -> ssize_t {
    if len != 0 && may_park() {
        match descriptors::kind(fd) {
            Some(Kind::Socket) => {
                // SAFETY: by contract.
                let answer = unsafe { send(fd, buffer, len, 0) };
                if answer >= 0 || errno() != libc::ENOTSOCK {
                    return answer;
                }
                // The number stands for another file than it did.
                descriptors::learn(fd);
                // SAFETY: by contract.
                return unsafe { write(fd, buffer, len) };
            }
            Some(kind @ (Kind::Pipe | Kind::Device)) => {
                let buffers = iovec { iov_base: buffer.cast_mut(), iov_len: len };
                // SAFETY: by contract.
                return unsafe { give_to_file(fd, kind, &buffers, 1) };
            }
            Some(Kind::Regular | Kind::Other) | None => {}
        }
    }
    // SAFETY: by contract.
    unsafe { next::write(fd, buffer, len) }
}

/// # Safety
/// As for libc's function.
unsafe extern "C-unwind" fn writev(fd: c_int, buffers: *const iovec, count: c_int) -> ssize_t {
    if count > 0 && may_park() {
        match descriptors::kind(fd) {
            Some(Kind::Socket) => {
                // SAFETY: a structure of numbers and pointers, for which zeroes are values.
                let mut message: msghdr = unsafe { std::mem::zeroed() };
                message.msg_iov = buffers.cast_mut();
                message.msg_iovlen = count as usize;
                // SAFETY: by contract the buffers can be read.
                let answer = unsafe { sendmsg(fd, &message, 0) };
                if answer >= 0 || errno() != libc::ENOTSOCK {
                    return answer;
                }
                descriptors::learn(fd);
                // SAFETY: by contract.
                return unsafe { writev(fd, buffers, count) };
            }
            Some(kind @ (Kind::Pipe | Kind::Device)) => {
                // SAFETY: by contract.
                return unsafe { give_to_file(fd, kind, buffers, count) };
            }
            Some(Kind::Regular | Kind::Other) | None => {}
        }
    }
    // SAFETY: by contract.
    unsafe { next::writev(fd, buffers, count) }
}

/// Writes to what is neither a socket nor always ready. The kernel knows a flag for that, which not
/// every kind of file does: those are asked first. A pipe that has room takes [`libc::PIPE_BUF`] bytes
/// at once; what is more may be mixed with others' output in any case.
///
/// # Safety
/// As for `writev`.
unsafe fn give_to_file(fd: c_int, kind: Kind, buffers: *const iovec, count: c_int) -> ssize_t {
    // SAFETY: by contract the buffers are so many.
    let (mut rest, len) = unsafe { (Rest::of(buffers, count as usize), length(buffers, count as usize)) };
    let mut flag = true;
    let call = |how, given| {
        let (buffers, count) = rest.behind(given);
        if how == How::Natively {
            // SAFETY: by contract.
            return unsafe { next::writev(fd, buffers, count as c_int) };
        }
        if flag {
            // At the present position, as `writev` writes.
            let here = -1i64;
            // SAFETY: by contract.
            let answer = unsafe {
                libc::syscall(libc::SYS_pwritev2, fd, buffers, count, here, here, libc::RWF_NOWAIT)
            };
            flag = answer >= 0 || !matches!(errno(), libc::EOPNOTSUPP | libc::ENOSYS | libc::EPERM);
            if flag {
                return answer as ssize_t;
            }
        }
        if !ready(fd, libc::POLLOUT) {
            return fail(libc::EAGAIN);
        }
        if kind == Kind::Pipe && len - given > libc::PIPE_BUF {
            // SAFETY: there is a buffer that is not empty, since something is left.
            let first = unsafe { (0..count).map(|at| *buffers.add(at)).find(|buffer| buffer.iov_len > 0) };
            return first.map_or(0, |first| {
                // SAFETY: by contract.
                unsafe { next::write(fd, first.iov_base, first.iov_len.min(libc::PIPE_BUF)) }
            });
        }
        // SAFETY: by contract.
        unsafe { next::writev(fd, buffers, count as c_int) }
    };
    give(fd, len, 0, call)
}

/// Buffers, and those that are left of them behind some bytes.
struct Rest {
    whole: (*const iovec, usize),
    left: Vec<iovec>,
}

impl Rest {
    /// # Safety
    /// The buffers are so many, and stay as they are while this lives.
    unsafe fn of(buffers: *const iovec, count: usize) -> Rest {
        Rest { whole: (buffers, count), left: Vec::new() }
    }

    /// The buffers without their first bytes, valid until the next call.
    fn behind(&mut self, mut bytes: usize) -> (*const iovec, usize) {
        if bytes == 0 {
            return self.whole;
        }
        self.left.clear();
        for at in 0..self.whole.1 {
            // SAFETY: by the contract of `of`.
            let buffer = unsafe { *self.whole.0.add(at) };
            let skipped = bytes.min(buffer.iov_len);
            bytes -= skipped;
            if skipped < buffer.iov_len {
                let iov_base = buffer.iov_base.wrapping_byte_add(skipped);
                self.left.push(iovec { iov_base, iov_len: buffer.iov_len - skipped });
            }
        }
        (self.left.as_ptr(), self.left.len())
    }
}

/// The bytes in buffers.
///
/// # Safety
/// They are so many.
unsafe fn length(buffers: *const iovec, count: usize) -> usize {
    // SAFETY: by contract.
    (0..count).map(|at| unsafe { (*buffers.add(at)).iov_len }).sum()
}
