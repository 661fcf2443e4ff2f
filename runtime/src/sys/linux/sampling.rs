//! The signal of a sampling profiler: SIGPROF, sent to each thread by a timer on its own CPU time.
//!
//! A timer per thread, and not the one of the process (`setitimer`), because the kernel gives the
//! signal of that one to a thread that it chooses, and sends no more of them than one at a time.
//! These timers expire when their thread is about to return to its own code, so no call is
//! interrupted: see [`Question`](super::timers::Question), which is made in the same way.
//!
//! The handler stays installed once a profile has been taken: a signal may still be under way when
//! its timer has been deleted, and the default action of SIGPROF ends the process. A signal that is
//! not from one of our timers goes to the handler that the program had installed before. If the
//! program installs its own later, that one gets all signals.

use super::timers::CpuTimer;
use libc::{c_int, c_void, siginfo_t};
use std::io;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::OnceLock;
use std::time::Duration;

/// What the handler calls: with the kernel's context of the interrupted code, and how many periods
/// have passed. Async-signal-safe.
type Take = fn(*const c_void, u32);

static TAKE: OnceLock<Take> = OnceLock::new();
static PREVIOUS: OnceLock<libc::sigaction> = OnceLock::new();

/// What our timers send along: the address of this.
static OURS: u8 = 0;

/// The beginning of a `siginfo_t` that comes from a timer.
#[repr(C)]
struct FromTimer {
    signal: c_int,
    error: c_int,
    code: c_int,
    _padding: c_int,
    timer: c_int,
    overrun: c_int,
    value: *mut c_void,
}

const _: () = assert!(size_of::<FromTimer>() <= size_of::<siginfo_t>());

/// Installs the handler, unless it is installed.
///
/// # Errors
/// If the system refuses, or the program has put another handler in place of ours.
pub(crate) fn install(take: Take) -> io::Result<()> {
    let _ = TAKE.set(take);
    // SAFETY: the actions are fully written before they are used. The handler is async-signal-safe,
    // and what it uses is set before it is installed.
    unsafe {
        let mut old: MaybeUninit<libc::sigaction> = MaybeUninit::uninit();
        if libc::sigaction(libc::SIGPROF, ptr::null(), old.as_mut_ptr()) != 0 {
            return Err(io::Error::last_os_error());
        }
        let old = old.assume_init();
        if old.sa_sigaction == on_sample as *const () as usize {
            return Ok(());
        }
        if PREVIOUS.set(old).is_err() {
            let text = "the program has installed a handler of its own for SIGPROF after the first profile";
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, text));
        }
        let mut action: libc::sigaction = MaybeUninit::zeroed().assume_init();
        action.sa_sigaction = on_sample as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESTART;
        // What the previous handler does not want to be interrupted by.
        action.sa_mask = old.sa_mask;
        if libc::sigaction(libc::SIGPROF, &action, ptr::null_mut()) != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

extern "C" fn on_sample(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: the calling thread's own. The interrupted code may be about to read it.
    let errno = unsafe { *libc::__errno_location() };
    // SAFETY: the kernel passes a whole `siginfo_t`, and the fields of a timer's are read only if
    // it says that it is one.
    let periods = unsafe {
        let info = info.cast::<FromTimer>();
        let ours = (*info).code == libc::SI_TIMER && ptr::eq((*info).value.cast(), &raw const OURS);
        ours.then(|| 1 + (*info).overrun.max(0) as u32)
    };
    match (periods, TAKE.get()) {
        (Some(periods), Some(take)) => take(context, periods),
        _ => pass_on(signal, info, context),
    }
    // SAFETY: as above.
    unsafe { *libc::__errno_location() = errno };
}

/// Does with a signal that is not ours what would have been done without us.
fn pass_on(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    let Some(previous) = PREVIOUS.get() else { return };
    // SAFETY: the previous action is called in the way that it requires. The default one ends the
    // process when this handler returns, because the signal is blocked until then.
    unsafe {
        match previous.sa_sigaction {
            libc::SIG_IGN => {}
            libc::SIG_DFL => {
                libc::signal(signal, libc::SIG_DFL);
                libc::raise(signal);
            }
            handler if previous.sa_flags & libc::SA_SIGINFO != 0 => {
                let handler: extern "C" fn(c_int, *mut siginfo_t, *mut c_void) = std::mem::transmute(handler);
                handler(signal, info, context);
            }
            handler => {
                let handler: extern "C" fn(c_int) = std::mem::transmute(handler);
                handler(signal);
            }
        }
    }
}

/// Makes a thread of this process take a sample each time it has computed for so long, until this
/// is dropped.
pub(crate) struct Sampled {
    _timer: CpuTimer,
}

impl Sampled {
    /// `None` if the system refuses, or the thread has ended.
    pub(crate) fn every(period: Duration, thread: libc::pid_t) -> Option<Sampled> {
        let value = ptr::from_ref(&OURS).cast_mut().cast();
        let timer = CpuTimer::of(thread, libc::SIGPROF, value)?;
        timer.set(period, period).then_some(Sampled { _timer: timer })
    }
}

/// The threads of this process.
pub(crate) fn all_threads() -> Vec<libc::pid_t> {
    let Ok(folder) = std::fs::read_dir("/proc/self/task") else { return Vec::new() };
    folder.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// The name of a thread of this process.
pub(crate) fn name_of_thread(thread: libc::pid_t) -> Option<String> {
    let name = std::fs::read_to_string(format!("/proc/self/task/{thread}/comm")).ok()?;
    Some(name.trim_end().into())
}

/// The size of the pieces in which memory is copied: no page is smaller.
const PIECE: usize = 4096;
const MAX_PIECES: usize = 16;

/// Copies memory of this process from `from` to `until` into `to`, as far as it is mapped and `to`
/// has room. Returns how many bytes have been copied. Async-signal-safe, and does not fault.
pub(crate) fn copy_mapped(from: usize, until: usize, to: &mut [u8]) -> usize {
    let until = until.min(from.saturating_add(to.len()));
    let mut pieces = [libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 }; MAX_PIECES];
    let (mut at, mut count) = (from, 0);
    // The kernel copies a piece wholly or not at all, so none goes beyond the end of a page.
    while at < until && count < MAX_PIECES {
        let end = ((at | (PIECE - 1)) + 1).min(until);
        pieces[count] = libc::iovec { iov_base: at as *mut c_void, iov_len: end - at };
        (at, count) = (end, count + 1);
    }
    let local = libc::iovec { iov_base: to.as_mut_ptr().cast(), iov_len: to.len() };
    // SAFETY: the kernel writes into `to` alone, and checks the addresses that it reads.
    let copied = unsafe {
        libc::process_vm_readv(libc::getpid(), &local, 1, pieces.as_ptr(), count as libc::c_ulong, 0)
    };
    usize::try_from(copied).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_mapped_is_not_copied() {
        let mut to = [0; 3 * PIECE];
        let from: Vec<u8> = (0..=255).cycle().take(2 * PIECE).collect();
        let at = from.as_ptr().addr();
        assert_eq!(copy_mapped(at, at + 5000, &mut to), 5000);
        assert_eq!(to[..5000], from[..5000]);
        assert_eq!(copy_mapped(16, 4000, &mut to), 0);
        // SAFETY: the last page is unmapped, and nothing else uses the other.
        unsafe {
            let pages = libc::mmap(
                ptr::null_mut(),
                2 * PIECE,
                libc::PROT_READ,
                libc::MAP_PRIVATE | libc::MAP_ANON,
                -1,
                0,
            );
            assert_ne!(pages, libc::MAP_FAILED);
            libc::munmap(pages.byte_add(PIECE), PIECE);
            assert_eq!(copy_mapped(pages.addr() + 10, usize::MAX, &mut to), PIECE - 10);
            libc::munmap(pages, PIECE);
        }
    }
}
