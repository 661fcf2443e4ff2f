//! The end of child processes: `waitpid`, `waitid`, `wait4`, `wait`, `wait3`. So `wait` of a
//! `std::process::Child` parks, and what is made of it.
//!
//! The end of one child is waited for by a descriptor of the process (`pidfd_open`). Any child, a
//! group of them, stops and continuations have no descriptor: these calls wait on the pool. Either
//! way it is the kernel's call that collects the child, so its answer is the kernel's.
//!
//! # What stays libc's
//! - What does not wait (`WNOHANG`, and a `waitid` on a descriptor in non-blocking mode).
//! - `__WNOTHREAD`: it asks for the children of the calling kernel thread. A goroutine that parks may
//!   go on with another one.
//! - Everything in a process that traces others (`ptrace`). Only the thread that traces may carry
//!   on a tracee, so a tracer must not change its thread. Nothing tells in advance that a child is
//!   traced, and its stops do not show on its descriptor. So a wait looks again now and then, and
//!   the first stop that it finds turns all later waits into libc's.
//!
//! Pointers must be valid: where the kernel would return `EFAULT`, a wait on the pool has a fault.

use crate::next::next;
use crate::pool::{Pauses, Returned, give, returned, wait_on_pool};
use crate::wait::{Wait, is_nonblocking};
use crate::{define, may_park, ready};
use libc::{c_int, c_uint, id_t, idtype_t, pid_t, rusage, siginfo_t};
use narrowboat_net::watch::Direction;
use narrowboat_runtime::as_thread::has_usual_signals;
use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

define! {
    "waitpid" => waitpid,
    "waitid" => waitid,
    "wait4" => wait4,
    "wait3" => wait3,
    "wait" => wait,
}
next! {
    fn wait4(pid: pid_t, status: *mut c_int, options: c_int, usage: *mut rusage) -> pid_t;
    fn waitid(kind: idtype_t, id: id_t, info: *mut siginfo_t, options: c_int) -> c_int;
}

/// Whether a traced child has been seen to stop.
static TRACES: AtomicBool = AtomicBool::new(false);

/// How long a wait for one child may not notice what its descriptor does not show.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Whether a call with these options may park.
fn may_wait(options: c_int) -> bool {
    options & (libc::WNOHANG | libc::__WNOTHREAD) == 0 && !TRACES.load(Ordering::Relaxed) && may_park()
}

/// # Safety
/// As for libc's function.
unsafe extern "C-unwind" fn wait(status: *mut c_int) -> pid_t {
    // SAFETY: by contract.
    unsafe { wait4(-1, status, 0, ptr::null_mut()) }
}

/// # Safety
/// As for libc's function.
unsafe extern "C-unwind" fn waitpid(pid: pid_t, status: *mut c_int, options: c_int) -> pid_t {
    // SAFETY: by contract.
    unsafe { wait4(pid, status, options, ptr::null_mut()) }
}

/// # Safety
/// As for libc's function.
unsafe extern "C-unwind" fn wait3(status: *mut c_int, options: c_int, usage: *mut rusage) -> pid_t {
    // SAFETY: by contract.
    unsafe { wait4(-1, status, options, usage) }
}

/// # Safety
/// As for libc's function.
unsafe extern "C-unwind" fn wait4(
    pid: pid_t,
    status: *mut c_int,
    options: c_int,
    usage: *mut rusage,
) -> pid_t {
    if !may_wait(options) {
        // SAFETY: by contract.
        return unsafe { next::wait4(pid, status, options, usage) };
    }
    let mut own_status = 0;
    let status = if status.is_null() { &raw mut own_status } else { status };
    let look = || {
        // SAFETY: by contract, and the status is ours or the caller's. If there is nothing yet, the
        // kernel writes nothing.
        let found = unsafe { next::wait4(pid, status, options | libc::WNOHANG, usage) };
        (found != 0).then(|| returned(found))
    };
    let found = match look() {
        Some(found) => found,
        // SAFETY: by contract.
        None if !has_usual_signals() => return unsafe { next::wait4(pid, status, options, usage) },
        None => match one(pid, options & (libc::WUNTRACED | libc::WCONTINUED)) {
            Some(pidfd) => wait_by_descriptor(&pidfd, look),
            None => wait_on_pool(
                || look().map(|found| found.map(|pid| (pid, None))),
                move || {
                    let mut status = 0;
                    // SAFETY: plain numbers, for which zero is a value.
                    let mut usage: rusage = unsafe { mem::zeroed() };
                    // SAFETY: there is room for both.
                    let found = unsafe { next::wait4(pid, &mut status, options, &mut usage) };
                    returned(found).map(|pid| (pid, Some((status, usage))))
                },
            )
            .map(|(pid, results)| {
                if let Some((its_status, its_usage)) = results {
                    // SAFETY: by contract; the goroutine has come back.
                    unsafe {
                        *status = its_status;
                        if let Some(usage) = usage.as_mut() {
                            *usage = its_usage;
                        }
                    }
                }
                pid
            }),
        },
    };
    // SAFETY: a status that was found has been written.
    if found.is_ok() && options & libc::WUNTRACED == 0 && libc::WIFSTOPPED(unsafe { *status }) {
        TRACES.store(true, Ordering::Relaxed);
    }
    give(found)
}

/// # Safety
/// As for libc's function.
unsafe extern "C-unwind" fn waitid(kind: idtype_t, id: id_t, info: *mut siginfo_t, options: c_int) -> c_int {
    if !may_wait(options) {
        // SAFETY: by contract.
        return unsafe { next::waitid(kind, id, info, options) };
    }
    // SAFETY: plain data, for which zero is a value.
    let mut own_info: siginfo_t = unsafe { mem::zeroed() };
    let info = if info.is_null() { &raw mut own_info } else { info };
    let look_at = |id| {
        // SAFETY: by contract, and the information is ours or the caller's. The kernel writes it, with
        // zeros if there is nothing yet.
        let answered = unsafe { next::waitid(kind, id, info, options | libc::WNOHANG) };
        // SAFETY: written by the kernel.
        (answered != 0 || unsafe { (*info).si_signo } != 0).then(|| returned(answered))
    };
    let others = options & (libc::WSTOPPED | libc::WCONTINUED);
    let found = match look_at(id) {
        Some(found) => found,
        // SAFETY: by contract.
        None if (kind == libc::P_PIDFD && is_nonblocking(id as c_int)) || !has_usual_signals() => unsafe {
            return next::waitid(kind, id, info, options);
        },
        None => {
            let descriptor = match kind {
                libc::P_PID => pid_t::try_from(id).ok().and_then(|pid| one(pid, others)),
                libc::P_PIDFD if others == 0 => duplicate(id),
                _ => None,
            };
            match descriptor {
                Some(pidfd) => {
                    // A descriptor's number may be closed, and serve for another, during the wait.
                    let id = if kind == libc::P_PIDFD { pidfd.as_raw_fd() as id_t } else { id };
                    wait_by_descriptor(&pidfd, || look_at(id))
                }
                None => wait_on_pool(
                    || look_at(id).map(|found| found.map(|_| None)),
                    move || {
                        // SAFETY: plain data, for which zero is a value.
                        let mut info: siginfo_t = unsafe { mem::zeroed() };
                        // SAFETY: there is room for it.
                        let answered = unsafe { next::waitid(kind, id, &mut info, options) };
                        returned(answered).map(|_| Some(Information(info)))
                    },
                )
                .map(|found| {
                    if let Some(Information(its_info)) = found {
                        // SAFETY: by contract; the goroutine has come back.
                        unsafe { *info = its_info };
                    }
                    0
                }),
            }
        }
    };
    // SAFETY: information that was found has been written.
    if found.is_ok() && unsafe { (*info).si_code } == libc::CLD_TRAPPED {
        TRACES.store(true, Ordering::Relaxed);
    }
    give(found)
}

/// What a thread of the pool has found.
struct Information(siginfo_t);

// SAFETY: of a child it holds numbers. Its type has room for pointers, which nothing follows.
unsafe impl Send for Information {}

/// A descriptor of the process, if it is one process whose end alone is asked for. None also if the
/// kernel has none to give: it is too old, the table is full, the process is gone, or it is a thread.
fn one(pid: pid_t, other_than_ends: c_int) -> Option<OwnedFd> {
    if pid <= 0 || other_than_ends != 0 {
        return None;
    }
    // SAFETY: no pointers.
    let descriptor = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0 as c_uint) };
    owned(descriptor as c_int)
}

/// Another descriptor of the same process.
fn duplicate(descriptor: id_t) -> Option<OwnedFd> {
    // SAFETY: no pointers.
    owned(unsafe { libc::fcntl(descriptor as c_int, libc::F_DUPFD_CLOEXEC, 0) })
}

fn owned(descriptor: c_int) -> Option<OwnedFd> {
    // SAFETY: new, and nothing else has it.
    (descriptor >= 0).then(|| unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// Waits until `look` finds something. The first look after the descriptor was opened tells whether
/// the process is still the child that was meant.
#[track_caller]
fn wait_by_descriptor<T>(pidfd: &OwnedFd, look: impl Fn() -> Option<Returned<T>>) -> Returned<T> {
    let mut pauses = Pauses::begin();
    let mut ended = false;
    loop {
        if let Some(found) = look() {
            return found;
        }
        if ended {
            // Another process traces it, and has it first.
            pauses.sleep();
        }
        ended = wait_for_pidfd(pidfd, &mut pauses);
    }
}

/// Parks until the process has ended, and for [`LOOK_AGAIN`] at most. Whether it has ended.
#[track_caller]
fn wait_for_pidfd(pidfd: &OwnedFd, pauses: &mut Pauses) -> bool {
    let pidfd = pidfd.as_raw_fd();
    match Wait::begin_until(pidfd, Direction::Input, Some(Instant::now() + LOOK_AGAIN)) {
        Some(wait) => wait.until(|| ready(pidfd, libc::POLLIN).then_some(())).is_ok(),
        // The kernel has no room to watch one more.
        None => {
            pauses.sleep();
            false
        }
    }
}
