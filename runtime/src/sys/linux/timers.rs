//! Timers on the CPU time of a thread, which interrupt it when it computes.

use libc::{c_int, c_void};
use std::mem::MaybeUninit;
use std::ptr;
use std::time::Duration;

/// A question to a thread of this process: a signal that comes when that thread next computes, and
/// not while it is in a system call, which the signal would interrupt.
///
/// A timer on the thread's own CPU time sends it, so a blocked thread never gets it. Since Linux
/// 5.9 (the first that lets a worker carry processors) such timers expire when the thread is about
/// to return to its own code: no call is under way then, even if the thread was in the kernel when
/// its time came. An older kernel sends the signal out of the timer interrupt. If that comes while
/// the thread is in a call, and the call then has to wait, it may fail with `EINTR` in spite of
/// `SA_RESTART`.
pub(crate) struct Question {
    _timer: CpuTimer,
}

impl Question {
    /// `None` if the system refuses, or the thread has ended.
    pub(crate) fn to(thread: libc::pid_t) -> Option<Question> {
        let timer = CpuTimer::of(thread, libc::SIGURG, ptr::null_mut())?;
        timer.set(Duration::from_nanos(1), Duration::ZERO).then_some(Question { _timer: timer })
    }
}

/// A timer on the CPU time of a thread of this process, which sends that thread a signal.
pub(crate) struct CpuTimer(libc::timer_t);

// SAFETY: a timer belongs to the process.
unsafe impl Send for CpuTimer {}

impl CpuTimer {
    /// `None` if the system refuses, or the thread has ended. The signal brings `value` along.
    pub(crate) fn of(thread: libc::pid_t, signal: c_int, value: *mut c_void) -> Option<CpuTimer> {
        /// How the kernel encodes a thread's number and "CPU time" (`MAKE_THREAD_CPUCLOCK`).
        const TIME_ON_PROCESSOR: libc::clockid_t = 2;
        const OF_THREAD: libc::clockid_t = 4;
        let clock = (!thread << 3) | OF_THREAD | TIME_ON_PROCESSOR;
        // SAFETY: all zero is a valid value of this type, and the fields that are used are written.
        // The timer is used only if it was made.
        unsafe {
            let mut event: libc::sigevent = MaybeUninit::zeroed().assume_init();
            event.sigev_notify = libc::SIGEV_THREAD_ID;
            event.sigev_signo = signal;
            event.sigev_notify_thread_id = thread;
            event.sigev_value = libc::sigval { sival_ptr: value };
            let mut timer = MaybeUninit::uninit();
            (libc::timer_create(clock, &mut event, timer.as_mut_ptr()) == 0)
                .then(|| CpuTimer(timer.assume_init()))
        }
    }

    /// Lets it expire after `first`, and then each `period` if that is not zero. False if the
    /// system refuses.
    pub(crate) fn set(&self, first: Duration, period: Duration) -> bool {
        let of = |time: Duration| libc::timespec {
            tv_sec: time.as_secs() as _,
            tv_nsec: time.subsec_nanos().into(),
        };
        let times = libc::itimerspec { it_interval: of(period), it_value: of(first) };
        // SAFETY: the timer is ours, and the times are whole.
        unsafe { libc::timer_settime(self.0, 0, &times, ptr::null_mut()) == 0 }
    }
}

impl Drop for CpuTimer {
    fn drop(&mut self) {
        // SAFETY: made in `of`, and deleted once.
        unsafe { libc::timer_delete(self.0) };
    }
}
