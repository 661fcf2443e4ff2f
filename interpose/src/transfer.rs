//! Transfers in the kernel: `sendfile`, `splice`, `tee`, `copy_file_range`. So `std::io::copy` and
//! `std::fs::copy` park.
//!
//! A pipe or a socket may make them wait. So the goroutine waits first, until both ends are ready, and
//! then makes the call itself, which does not wait. A call that waits in the kernel, on another
//! thread, would not do: meanwhile it holds the lock of its pipe, and the goroutine that reads or
//! writes the pipe's other end would wait for the lock. A socket that is ready may have less room
//! than is to be sent, so it gets parts for which there is room.
//!
//! From file to file these calls do not wait for anything else, but a large copy takes long, so it
//! runs on the pool.
//!
//! If another thread is faster at an end that is ready, the call blocks its thread.
//!
//! `vmsplice` stays libc's: it gives away the memory itself, which may be the goroutine's stack.

use crate::descriptors::{self, Kind};
use crate::next::next;
use crate::pool::{give, on_pool, returned, wait_on_pool};
use crate::wait::{Ended, Wait, timeout_of};
use crate::{define, may_park, ready};
use libc::{c_int, c_short, c_uint, loff_t, off_t, size_t, ssize_t};
use narrowboat_net::watch::Direction;
use narrowboat_runtime::as_thread::{checkpoint_in_place, has_usual_signals};
use std::ptr;
use std::time::Instant;

define! {
    "sendfile" => sendfile,
    "sendfile64" => sendfile,
    "splice" => splice,
    "tee" => tee,
    "copy_file_range" => copy_file_range,
}
next! {
    fn sendfile(output: c_int, input: c_int, offset: *mut off_t, count: size_t) -> ssize_t;
    fn splice(
        input: c_int,
        input_offset: *mut loff_t,
        output: c_int,
        output_offset: *mut loff_t,
        count: size_t,
        flags: c_uint,
    ) -> ssize_t;
    fn tee(input: c_int, output: c_int, count: size_t, flags: c_uint) -> ssize_t;
}

/// So many bytes a socket takes that is ready, without waiting.
const SMALL: usize = 4096;
/// A copy from file to file of so many bytes takes longer than the way to the pool and back.
const LARGE: usize = 1 << 20;

/// # Safety
/// As for libc's function.
unsafe extern "C-unwind" fn sendfile(
    output: c_int,
    input: c_int,
    offset: *mut off_t,
    count: size_t,
) -> ssize_t {
    let waits = |input, output| {
        !matches!(input, Kind::Pipe | Kind::Socket) || (input, output) == (Kind::Socket, Kind::Pipe)
    };
    let ends = Ends { input, output, waits, pipes_wait: true };
    let call = move |[offset, _]: [*mut loff_t; 2], count| {
        // SAFETY: by contract, or by that of `transfer`.
        unsafe { next::sendfile(output, input, offset, count) }
    };
    // SAFETY: by contract.
    unsafe { transfer(ends, [offset, ptr::null_mut()], count, true, call) }
}

/// # Safety
/// As for libc's function.
unsafe extern "C-unwind" fn splice(
    input: c_int,
    input_offset: *mut loff_t,
    output: c_int,
    output_offset: *mut loff_t,
    count: size_t,
    flags: c_uint,
) -> ssize_t {
    let waits = |input, output| {
        let refused = |kind, offset: *mut loff_t| kind == Kind::Pipe && !offset.is_null();
        (input == Kind::Pipe || output == Kind::Pipe)
            && !refused(input, input_offset)
            && !refused(output, output_offset)
    };
    let ends = Ends { input, output, waits, pipes_wait: flags & libc::SPLICE_F_NONBLOCK == 0 };
    let call = move |[input_offset, output_offset]: [*mut loff_t; 2], count| {
        // SAFETY: by contract, or by that of `transfer`.
        unsafe { next::splice(input, input_offset, output, output_offset, count, flags) }
    };
    // SAFETY: by contract.
    unsafe { transfer(ends, [input_offset, output_offset], count, false, call) }
}

extern "C-unwind" fn tee(input: c_int, output: c_int, count: size_t, flags: c_uint) -> ssize_t {
    let waits = |input, output| (input, output) == (Kind::Pipe, Kind::Pipe);
    let ends = Ends { input, output, waits, pipes_wait: flags & libc::SPLICE_F_NONBLOCK == 0 };
    // SAFETY: no pointers.
    let call = move |_: [*mut loff_t; 2], count| unsafe { next::tee(input, output, count, flags) };
    // SAFETY: there are no offsets.
    unsafe { transfer(ends, [ptr::null_mut(); 2], count, false, call) }
}

/// Older C libraries do not have it, so it asks the kernel itself.
///
/// # Safety
/// As for libc's function.
unsafe extern "C-unwind" fn copy_file_range(
    input: c_int,
    input_offset: *mut loff_t,
    output: c_int,
    output_offset: *mut loff_t,
    count: size_t,
    flags: c_uint,
) -> ssize_t {
    let ends = Ends { input, output, waits: |_, _| false, pipes_wait: true };
    let call = move |[input_offset, output_offset]: [*mut loff_t; 2], count: size_t| {
        // SAFETY: by contract, or by that of `transfer`.
        unsafe {
            libc::syscall(libc::SYS_copy_file_range, input, input_offset, output, output_offset, count, flags)
                as ssize_t
        }
    };
    // SAFETY: by contract.
    unsafe { transfer(ends, [input_offset, output_offset], count, false, call) }
}

/// Makes the call where it should be made. It gets offsets that it may read and write, or null, and
/// a count. `of_all`: whether it goes on until a socket has taken all.
///
/// # Safety
/// The offsets are null, or can be read and written.
#[track_caller]
unsafe fn transfer(
    ends: Ends<impl FnOnce(Kind, Kind) -> bool>,
    offsets: [*mut loff_t; 2],
    count: usize,
    of_all: bool,
    call: impl Fn([*mut loff_t; 2], usize) -> ssize_t + Copy + Send + 'static,
) -> ssize_t {
    if count == 0 || !may_park() {
        return call(offsets, count);
    }
    let (Some(input), Some(output)) = (End::of(ends.input, false), End::of(ends.output, true)) else {
        return call(offsets, count);
    };
    match (input.size, output.size) {
        (Some(size), Some(_)) if size.min(count) >= LARGE && has_usual_signals() => {
            // SAFETY: by contract.
            let mut values = offsets.map(|offset| unsafe { offset.as_ref() }.copied());
            let (answered, values) = on_pool(move || {
                let offsets =
                    values.each_mut().map(|value| value.as_mut().map_or(ptr::null_mut(), ptr::from_mut));
                (returned(call(offsets, count)), values)
            });
            for (offset, value) in offsets.into_iter().zip(values) {
                if let Some(value) = value {
                    // SAFETY: by contract; the goroutine has come back.
                    unsafe { *offset = value };
                }
            }
            give(answered)
        }
        _ if !(ends.waits)(input.kind, output.kind) => call(offsets, count),
        _ => {
            let waits = |end: &End| {
                end.blocks && (end.kind == Kind::Socket || end.kind == Kind::Pipe && ends.pipes_wait)
            };
            let waits = [
                waits(&input).then_some((input, Direction::Input)),
                waits(&output).then_some((output, Direction::Output)),
            ];
            if output.kind == Kind::Socket && output.blocks {
                return send(&waits, output.descriptor, count, of_all, |count| call(offsets, count));
            }
            match become_ready(&waits) {
                Became::Ready | Became::Natively => call(offsets, count),
                Became::Over(ended) => ended.answer(libc::EAGAIN),
            }
        }
    }
}

/// Sends in parts for which the socket has room.
#[track_caller]
fn send(
    waits: &[Option<(End, Direction)>; 2],
    socket: c_int,
    count: usize,
    all: bool,
    call: impl Fn(usize) -> ssize_t,
) -> ssize_t {
    let mut sent = 0;
    loop {
        let rest = count - sent;
        let done = match become_ready(waits) {
            Became::Ready => call(rest.min(room(socket))),
            Became::Natively => call(rest),
            Became::Over(_) if sent > 0 => -1,
            Became::Over(ended) => ended.answer(libc::EAGAIN),
        };
        if done <= 0 {
            // As the kernel has it, an error after a part is not told.
            return if sent > 0 { sent as ssize_t } else { done };
        }
        sent += done as usize;
        checkpoint_in_place();
        if !all || sent >= count {
            return sent as ssize_t;
        }
    }
}

/// How much a socket that is ready takes without waiting. What is sent needs more memory than its
/// bytes, so half of what is free.
fn room(socket: c_int) -> usize {
    let (mut most, mut used): (c_int, c_int) = (0, 0);
    let mut length = size_of::<c_int>() as libc::socklen_t;
    // SAFETY: there is room for both answers.
    let known = unsafe {
        libc::getsockopt(socket, libc::SOL_SOCKET, libc::SO_SNDBUF, (&raw mut most).cast(), &raw mut length)
            == 0
            && libc::ioctl(socket, libc::TIOCOUTQ, &raw mut used) == 0
    };
    if known { usize::try_from((most - used) / 2).unwrap_or(0).max(SMALL) } else { SMALL }
}

/// The two descriptors of a transfer.
#[derive(Clone, Copy)]
struct Ends<W> {
    input: c_int,
    output: c_int,
    /// Whether the call may wait for descriptors of these kinds. It refuses the others, or ends.
    waits: W,
    /// Whether the call waits for pipes.
    pipes_wait: bool,
}

#[derive(Clone, Copy)]
struct End {
    descriptor: c_int,
    kind: Kind,
    /// Whether it is not in non-blocking mode.
    blocks: bool,
    /// Of a file.
    size: Option<usize>,
}

impl End {
    /// None if the call refuses it.
    fn of(descriptor: c_int, is_output: bool) -> Option<End> {
        // Not what is known of the number: a wrong kind would let the call wait in the kernel, and nothing
        // would notice it.
        let (kind, size) = descriptors::look(descriptor)?;
        if kind == Kind::Regular {
            return Some(End { descriptor, kind, blocks: false, size: Some(size) });
        }
        // SAFETY: no pointers.
        let flags = unsafe { libc::fcntl(descriptor, libc::F_GETFL) };
        let refused = if is_output { libc::O_RDONLY } else { libc::O_WRONLY };
        (flags & libc::O_ACCMODE != refused).then_some(End {
            descriptor,
            kind,
            blocks: flags & libc::O_NONBLOCK == 0,
            size: None,
        })
    }
}

enum Became {
    /// The ends that make the call wait are ready, or in a state in which it fails or ends.
    Ready,
    /// The goroutine must not park.
    Natively,
    Over(Ended),
}

#[track_caller]
fn become_ready(waits: &[Option<(End, Direction)>; 2]) -> Became {
    let not_yet = |(end, direction): &&(End, Direction)| !ready(end.descriptor, events(*direction));
    while let Some((end, direction)) = waits.iter().flatten().find(not_yet) {
        if !has_usual_signals() {
            return Became::Natively;
        }
        if let Err(ended) = wait_for(end, *direction) {
            return Became::Over(ended);
        }
    }
    Became::Ready
}

fn events(direction: Direction) -> c_short {
    match direction {
        Direction::Input => libc::POLLIN,
        Direction::Output => libc::POLLOUT,
    }
}

/// Parks until it is ready.
#[track_caller]
fn wait_for(end: &End, direction: Direction) -> Result<(), Ended> {
    let option = match direction {
        Direction::Input => libc::SO_RCVTIMEO,
        Direction::Output => libc::SO_SNDTIMEO,
    };
    // Of a pipe there is none.
    let deadline = timeout_of(end.descriptor, option).map(|timeout| Instant::now() + timeout);
    let (descriptor, events) = (end.descriptor, events(direction));
    let is_ready = move || ready(descriptor, events).then_some(());
    match Wait::begin_until(descriptor, direction, deadline) {
        Some(wait) => wait.until(is_ready),
        // The kernel has no room to watch one more.
        None => {
            wait_on_pool(is_ready, move || {
                let mut asked = libc::pollfd { fd: descriptor, events, revents: 0 };
                // SAFETY: there is one entry.
                unsafe { libc::poll(&mut asked, 1, -1) };
            });
            Ok(())
        }
    }
}
