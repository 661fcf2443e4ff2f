//! Waits for several descriptors: `poll`, `ppoll`, `select`, `pselect`.
//!
//! What the kernel says without waiting is the answer; if it says nothing, the goroutine parks
//! until something has happened to one of the descriptors, and asks again. A call that changes the
//! signal mask for its wait stays libc's, since the mask is the kernel thread's.

use crate::dumps::object;
use crate::next::next;
use crate::pool::pauses_until;
use crate::time::{FOR_EVER, span};
use crate::{define, descriptors, may_park};
use libc::{c_int, c_short, fd_set, nfds_t, pollfd, sigset_t, timespec, timeval};
use narrowboat_net::watch::{self, Direction, Watch};
use narrowboat_runtime::as_thread::{checkpoint_in_place, has_usual_signals, sleep_in_place};
use std::ptr;
use std::sync::Arc;
use std::time::{Duration, Instant};

define! {
    "poll" => poll,
    "ppoll" => ppoll,
    "select" => select,
    "pselect" => pselect,
    "__poll_chk" => poll_checked,
    "__ppoll_chk" => ppoll_checked,
}
next! {
    fn poll(descriptors: *mut pollfd, count: nfds_t, timeout: c_int) -> c_int;
    fn ppoll(
        descriptors: *mut pollfd, count: nfds_t, timeout: *const timespec, mask: *const sigset_t,
    ) -> c_int;
    fn select(
        count: c_int, read: *mut fd_set, write: *mut fd_set, except: *mut fd_set, timeout: *mut timeval,
    ) -> c_int;
    fn pselect(
        count: c_int, read: *mut fd_set, write: *mut fd_set, except: *mut fd_set, timeout: *const timespec,
        mask: *const sigset_t,
    ) -> c_int;
    fn __poll_chk(descriptors: *mut pollfd, count: nfds_t, timeout: c_int, room: usize) -> c_int;
    fn __ppoll_chk(
        descriptors: *mut pollfd, count: nfds_t, timeout: *const timespec, mask: *const sigset_t, room: usize,
    ) -> c_int;
}

const INPUT: c_short = libc::POLLIN | libc::POLLPRI | libc::POLLRDHUP | libc::POLLRDNORM | libc::POLLRDBAND;
const OUTPUT: c_short = libc::POLLOUT | libc::POLLWRNORM | libc::POLLWRBAND;

/// Whether the kernel says that something of `events` can be done without waiting.
pub(crate) fn ready(fd: c_int, events: c_short) -> bool {
    let mut one = pollfd { fd, events, revents: 0 };
    // SAFETY: there is one descriptor.
    unsafe { next::poll(&mut one, 1, 0) != 0 }
}

/// The descriptors of one wait, watched.
struct Several {
    watched: Vec<(Arc<Watch>, Direction)>,
    /// The system has refused to watch one: the kernel is asked in pauses.
    in_pauses: bool,
}

impl Several {
    /// `None` if one cannot be watched.
    fn watch(asked: &[pollfd]) -> Option<Several> {
        let mut several = Several { watched: Vec::with_capacity(asked.len()), in_pauses: false };
        for one in asked.iter().filter(|one| one.fd >= 0) {
            let Some(watch) = descriptors::watch_if_possible(one.fd)? else {
                several.in_pauses = true;
                continue;
            };
            // The end of a stream, and errors, are told in both directions.
            if one.events & INPUT != 0 || one.events & OUTPUT == 0 {
                several.watched.push((Arc::clone(&watch), Direction::Input));
            }
            if one.events & OUTPUT != 0 {
                several.watched.push((watch, Direction::Output));
            }
        }
        Some(several)
    }

    /// Calls `ask` until it says something other than 0, after each event. 0 if the deadline comes
    /// first. `object` is for dumps.
    fn until(&self, object: usize, deadline: Option<Instant>, mut ask: impl FnMut() -> c_int) -> c_int {
        if self.in_pauses {
            let ask = || Some(ask()).filter(|&answer| answer != 0);
            return pauses_until(deadline, ask).unwrap_or(0);
        }
        loop {
            let looks: Vec<_> = self
                .watched
                .iter()
                .map(|(watch, direction)| (&**watch, *direction, watch.look(*direction)))
                .collect();
            let answer = ask();
            if answer != 0 {
                return answer;
            }
            if !watch::wait(&looks, object, deadline) {
                return 0;
            }
        }
    }
}

/// Waits for the descriptors that `asked` names: `ask` asks the kernel without waiting. `None` if
/// the caller must wait natively. Nothing is allocated before it is known that no signal handler
/// calls.
fn wait(
    timeout: Option<Duration>,
    mut ask: impl FnMut() -> c_int,
    asked: impl FnOnce() -> Vec<pollfd>,
) -> Option<c_int> {
    let answer = ask();
    if answer > 0 {
        checkpoint_in_place();
    }
    if answer != 0 {
        return Some(answer);
    }
    if timeout.is_some_and(|timeout| timeout.is_zero()) {
        return Some(0);
    }
    if !has_usual_signals() {
        return None;
    }
    let deadline = timeout.map(|timeout| Instant::now() + timeout.min(FOR_EVER));
    let asked = asked();
    let several = Several::watch(&asked)?;
    if several.watched.is_empty() && !several.in_pauses {
        // A sleep. One without an end is libc's.
        sleep_in_place(deadline?);
        return Some(ask());
    }
    let object = match asked[..] {
        [one] => object(one.fd),
        _ => 0,
    };
    Some(several.until(object, deadline, ask))
}

/// # Safety
/// As for libc's function.
unsafe extern "C-unwind" fn poll(descriptors: *mut pollfd, count: nfds_t, timeout: c_int) -> c_int {
    if timeout != 0 && may_park() {
        let limit = u64::try_from(timeout).ok().map(Duration::from_millis);
        // SAFETY: by contract.
        if let Some(answer) = unsafe { poll_parked(descriptors, count, limit) } {
            return answer;
        }
    }
    // SAFETY: by contract.
    unsafe { next::poll(descriptors, count, timeout) }
}

/// # Safety
/// As for libc's function.
unsafe extern "C-unwind" fn ppoll(
    descriptors: *mut pollfd,
    count: nfds_t,
    timeout: *const timespec,
    mask: *const sigset_t,
) -> c_int {
    // SAFETY: by contract a timeout that is given can be read.
    if let Some(limit) = unsafe { limit(timeout) }
        && mask.is_null()
        && may_park()
        // SAFETY: by contract.
        && let Some(answer) = unsafe { poll_parked(descriptors, count, limit) }
    {
        return answer;
    }
    // SAFETY: by contract.
    unsafe { next::ppoll(descriptors, count, timeout, mask) }
}

/// # Safety
/// As for `poll`.
unsafe fn poll_parked(descriptors: *mut pollfd, count: nfds_t, limit: Option<Duration>) -> Option<c_int> {
    // The kernel refuses so many.
    if count > (1 << 20) {
        return None;
    }
    // SAFETY: by contract.
    let ask = || unsafe { next::poll(descriptors, count, 0) };
    wait(limit, ask, || match count {
        0 => Vec::new(),
        // SAFETY: by contract there are so many, and the kernel has just read them.
        _ => unsafe { std::slice::from_raw_parts(descriptors, count as usize).to_vec() },
    })
}

/// The time that a structure says: without limit where there is none. `None` for what the kernel
/// refuses.
///
/// # Safety
/// A structure that is given can be read.
pub(crate) unsafe fn limit(time: *const timespec) -> Option<Option<Duration>> {
    // SAFETY: by contract.
    let Some(time) = (unsafe { time.as_ref() }) else { return Some(None) };
    span(time).map(Some)
}

/// As the kernel has it, the timeout says afterwards what was left of it.
///
/// # Safety
/// As for libc's function.
unsafe extern "C-unwind" fn select(
    count: c_int,
    read: *mut fd_set,
    write: *mut fd_set,
    except: *mut fd_set,
    timeout: *mut timeval,
) -> c_int {
    // SAFETY: by contract a timeout that is given can be read.
    let time = unsafe { timeout.as_ref() }
        .map(|time| timespec { tv_sec: time.tv_sec, tv_nsec: time.tv_usec.saturating_mul(1000) });
    // SAFETY: the time can be read.
    let limit = unsafe { limit(time.as_ref().map_or(ptr::null(), ptr::from_ref)) };
    if let Some(limit) = limit
        && may_park()
    {
        let start = Instant::now();
        // SAFETY: by contract.
        let answer = unsafe { select_parked(count, [read, write, except], limit) };
        if let Some(answer) = answer {
            if let Some(limit) = limit {
                let left = limit.saturating_sub(start.elapsed());
                // SAFETY: a timeout was given, and select may write it.
                unsafe {
                    (*timeout).tv_sec = left.as_secs() as libc::time_t;
                    (*timeout).tv_usec = left.subsec_micros().into();
                }
            }
            return answer;
        }
    }
    // SAFETY: by contract.
    unsafe { next::select(count, read, write, except, timeout) }
}

/// # Safety
/// As for libc's function.
unsafe extern "C-unwind" fn pselect(
    count: c_int,
    read: *mut fd_set,
    write: *mut fd_set,
    except: *mut fd_set,
    timeout: *const timespec,
    mask: *const sigset_t,
) -> c_int {
    // SAFETY: by contract a timeout that is given can be read.
    if let Some(limit) = unsafe { limit(timeout) }
        && mask.is_null()
        && may_park()
        // SAFETY: by contract.
        && let Some(answer) = unsafe { select_parked(count, [read, write, except], limit) }
    {
        return answer;
    }
    // SAFETY: by contract.
    unsafe { next::pselect(count, read, write, except, timeout, mask) }
}

/// # Safety
/// As for `select`: a set that is given can be read and written, for `count` descriptors.
unsafe fn select_parked(count: c_int, sets: [*mut fd_set; 3], limit: Option<Duration>) -> Option<c_int> {
    // The kernel refuses other counts, and takes larger sets than libc has a type for.
    if !(0..=libc::FD_SETSIZE as c_int).contains(&count) {
        return None;
    }
    // What is asked; the sets themselves say the answer.
    // SAFETY: by contract.
    let asked = sets.map(|set| unsafe { Set::copy(set, count) });
    let descriptors = || {
        let events_of = |fd| {
            let events = [libc::POLLIN, libc::POLLOUT, libc::POLLPRI];
            asked.iter().zip(events).filter(|(set, _)| set.has(fd)).fold(0, |all, (_, one)| all | one)
        };
        let all = (0..count).map(|fd| pollfd { fd, events: events_of(fd), revents: 0 });
        all.filter(|one| one.events != 0).collect()
    };
    let ask = || {
        for (set, asked) in sets.iter().zip(&asked) {
            // SAFETY: by contract.
            unsafe { asked.write(*set) };
        }
        let [read, write, except] = sets;
        let mut now = timeval { tv_sec: 0, tv_usec: 0 };
        // SAFETY: by contract.
        unsafe { next::select(count, read, write, except, &mut now) }
    };
    let answer = wait(limit, ask, descriptors);
    if answer.is_none() {
        // The caller asks natively.
        for (set, asked) in sets.iter().zip(&asked) {
            // SAFETY: by contract.
            unsafe { asked.write(*set) };
        }
    }
    answer
}

/// The words of a set that the kernel reads and writes: so many.
struct Set([u64; libc::FD_SETSIZE / 64], usize);

impl Set {
    /// # Safety
    /// Null, or a set that can be read for so many descriptors, which are no more than the largest
    /// set has.
    unsafe fn copy(set: *const fd_set, count: c_int) -> Set {
        let words = if set.is_null() { 0 } else { (count as usize).div_ceil(64) };
        let mut copy = Set([0; libc::FD_SETSIZE / 64], words);
        for (at, word) in copy.0[..words].iter_mut().enumerate() {
            // SAFETY: by contract; sets are words of 64 bits.
            *word = unsafe { *set.cast::<u64>().add(at) };
        }
        copy
    }

    fn has(&self, fd: c_int) -> bool {
        self.0[fd as usize / 64] >> (fd % 64) & 1 != 0
    }

    /// # Safety
    /// The set that this is a copy of, which can be written.
    unsafe fn write(&self, set: *mut fd_set) {
        for (at, word) in self.0[..self.1].iter().enumerate() {
            // SAFETY: by contract.
            unsafe { *set.cast::<u64>().add(at) = *word };
        }
    }
}

/// # Safety
/// As for libc's function, which a caller that was compiled with checks calls instead of `poll`.
unsafe extern "C-unwind" fn poll_checked(
    descriptors: *mut pollfd,
    count: nfds_t,
    timeout: c_int,
    room: usize,
) -> c_int {
    // SAFETY: by contract. Libc's ends the process where there is not enough room.
    unsafe {
        if room / size_of::<pollfd>() < count as usize {
            next::__poll_chk(descriptors, count, timeout, room)
        } else {
            poll(descriptors, count, timeout)
        }
    }
}

/// # Safety
/// As for libc's function, the checked `ppoll`.
unsafe extern "C-unwind" fn ppoll_checked(
    descriptors: *mut pollfd,
    count: nfds_t,
    timeout: *const timespec,
    mask: *const sigset_t,
    room: usize,
) -> c_int {
    // SAFETY: as in `poll_checked`.
    unsafe {
        if room / size_of::<pollfd>() < count as usize {
            next::__ppoll_chk(descriptors, count, timeout, mask, room)
        } else {
            ppoll(descriptors, count, timeout, mask)
        }
    }
}
