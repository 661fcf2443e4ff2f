//! Signal handlers: a fault in a goroutine's guard is reported as a stack overflow, every other one
//! goes to the previous handler.

use super::memory::page_size;
use super::{fork, setxid};
use crate::arch::Bounds;
use libc::{c_int, c_void, siginfo_t};
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::time::Duration;

/// Looks at a faulting address, and at the kernel's context of the interrupted code. Does not
/// return if it was a stack overflow. Must be async-signal-safe.
type Report = fn(usize, *const c_void);

/// Bytes of stack for signal handlers on workers.
pub(crate) const ALTERNATE_STACK: usize = 64 << 10;

const FAULTS: [c_int; 2] = [libc::SIGSEGV, libc::SIGBUS];

/// The signals that workers block, as the kernel writes them: those that the thread blocked which
/// started the runtime, because a thread begins with the mask of the one that has made it.
static MASK_OF_WORKERS: AtomicU64 = AtomicU64::new(0);

static REPORT: OnceLock<Report> = OnceLock::new();
static PREVIOUS: [OnceLock<libc::sigaction>; 2] = [OnceLock::new(), OnceLock::new()];

/// Installs every handler that the runtime needs. Called once, when the runtime starts, after it
/// has started its first thread.
pub(crate) fn prepare_process(report: Report, worker: setxid::OfWorker) {
    handle_faults(report);
    setxid::guard(worker);
}

/// Installs the fault handlers, unless they are installed.
pub(crate) fn handle_faults(report: Report) {
    if REPORT.set(report).is_err() {
        return;
    }
    for (signal, previous) in FAULTS.into_iter().zip(&PREVIOUS) {
        // SAFETY: the action is fully written before it is used; the handler is async-signal-safe.
        // The old action is stored before the new one can run: a fault in between finds the old one
        // still installed.
        unsafe {
            let mut old = MaybeUninit::uninit();
            if libc::sigaction(signal, ptr::null(), old.as_mut_ptr()) != 0 {
                continue;
            }
            let _ = previous.set(old.assume_init());
            let mut action: libc::sigaction = MaybeUninit::zeroed().assume_init();
            action.sa_sigaction = on_fault as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
            libc::sigemptyset(&mut action.sa_mask);
            libc::sigaction(signal, &action, ptr::null_mut());
        }
    }
}

/// Gives the calling worker its alternate stack: a goroutine that has run out of stack has no stack
/// left for a handler.
///
/// # Safety
/// The memory lives as long as the thread, and nothing else uses it.
pub(crate) unsafe fn prepare_worker(bounds: Bounds) {
    debug_assert_eq!(bounds.limit % page_size(), 0);
    let stack = libc::stack_t { ss_sp: bounds.limit as *mut c_void, ss_flags: 0, ss_size: bounds.size() };
    // SAFETY: by contract.
    unsafe { libc::sigaltstack(&stack, ptr::null_mut()) };
    MASK_OF_WORKERS.store(signal_mask(), Ordering::Relaxed);
}

/// Whether the calling thread blocks what workers block.
pub(crate) fn has_mask_of_workers() -> bool {
    signal_mask() == MASK_OF_WORKERS.load(Ordering::Relaxed)
}

/// The signals that the calling thread blocks.
fn signal_mask() -> u64 {
    let mut mask = 0u64;
    let none = ptr::null::<u64>();
    // SAFETY: nothing is set, and there is room for the kernel's mask of 64 signals.
    unsafe {
        libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_BLOCK, none, &raw mut mask, size_of::<u64>())
    };
    mask
}

extern "C" fn on_fault(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    if let Some(report) = REPORT.get() {
        // SAFETY: the kernel passes the fault's information to a SA_SIGINFO handler.
        report(unsafe { (*info).si_addr() } as usize, context);
    }
    let index = FAULTS.iter().position(|&fault| fault == signal);
    let previous = index.and_then(|index| PREVIOUS[index].get());
    // SAFETY: the previous action is called in the way that it requires. Without one, the default
    // is restored. When we return, the faulting instruction runs again, and ends the process.
    unsafe {
        match previous {
            Some(action) if action.sa_sigaction > libc::SIG_IGN => {
                if action.sa_flags & libc::SA_SIGINFO != 0 {
                    let handler: extern "C" fn(c_int, *mut siginfo_t, *mut c_void) =
                        std::mem::transmute(action.sa_sigaction);
                    handler(signal, info, context);
                } else {
                    let handler: extern "C" fn(c_int) = std::mem::transmute(action.sa_sigaction);
                    handler(signal);
                }
            }
            _ => {
                libc::signal(signal, libc::SIG_DFL);
            }
        }
    }
}

/// Makes any fault of the calling thread call `handler`, and calls it after `seconds` seconds in
/// any case. It must end the process.
pub(crate) fn last_resort(handler: extern "C" fn(c_int), seconds: u32) {
    // SAFETY: the action and the set are fully written before they are used.
    unsafe {
        let mut action: libc::sigaction = MaybeUninit::zeroed().assume_init();
        action.sa_sigaction = handler as *const () as usize;
        // On the alternate stack, from its top: nothing returns to what is on it.
        action.sa_flags = libc::SA_ONSTACK | libc::SA_NODEFER;
        libc::sigemptyset(&mut action.sa_mask);
        let mut signals = MaybeUninit::uninit();
        libc::sigemptyset(signals.as_mut_ptr());
        for signal in FAULTS.into_iter().chain([libc::SIGALRM]) {
            libc::sigaction(signal, &action, ptr::null_mut());
            libc::sigaddset(signals.as_mut_ptr(), signal);
        }
        libc::pthread_sigmask(libc::SIG_UNBLOCK, signals.as_ptr(), ptr::null_mut());
        libc::alarm(seconds);
    }
}

/// What the handler of questions calls, with the kernel's context of the interrupted code.
/// Async-signal-safe.
type Listener = fn(*const c_void);

static LISTENER: OnceLock<Listener> = OnceLock::new();

/// Installs the handler of questions: a thread that gets one calls `listener`. False if the program
/// uses the signal itself.
pub(crate) fn listen_for_questions(listener: Listener) -> bool {
    let _ = LISTENER.set(listener);
    // SAFETY: the actions are fully written before they are used; the handler is async-signal-safe,
    // and what it uses is set.
    unsafe {
        let mut old: MaybeUninit<libc::sigaction> = MaybeUninit::uninit();
        if libc::sigaction(libc::SIGURG, ptr::null(), old.as_mut_ptr()) != 0
            || old.assume_init().sa_sigaction > libc::SIG_IGN
        {
            return false;
        }
        let mut action: libc::sigaction = MaybeUninit::zeroed().assume_init();
        action.sa_sigaction = on_question as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESTART;
        libc::sigemptyset(&mut action.sa_mask);
        libc::sigaction(libc::SIGURG, &action, ptr::null_mut()) == 0
    }
}

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

    /// Lets it expire after `first`, and then each `period` if that is not zero. False if the system
    /// refuses.
    pub(crate) fn set(&self, first: Duration, period: Duration) -> bool {
        let of = |time: Duration| libc::timespec {
            tv_sec: time.as_secs() as libc::time_t,
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

extern "C" fn on_question(_signal: c_int, _info: *mut siginfo_t, context: *mut c_void) {
    if let Some(listener) = LISTENER.get() {
        listener(context);
    }
}

/// The event descriptor that the SIGQUIT handler writes to, or -1.
static BELL: AtomicI32 = AtomicI32::new(-1);

/// The receiving end of [`BELL`].
pub(crate) struct Bell(c_int);

impl Bell {
    /// Sleeps until the signal comes.
    pub(crate) fn wait(&self) {
        let mut count = 0u64;
        // SAFETY: eight bytes, of which the kernel writes all or none. An interrupted wait is tried
        // again.
        while unsafe { libc::read(self.0, (&raw mut count).cast(), size_of::<u64>()) } < 0 {}
    }
}

/// Makes SIGQUIT ring the bell. `None` if the program handles or ignores it.
pub(crate) fn ring_at_quit() -> std::io::Result<Option<Bell>> {
    // SAFETY: the actions and sets are fully written before they are used; the handler is
    // async-signal-safe, and what it uses is stored before.
    unsafe {
        let mut old: MaybeUninit<libc::sigaction> = MaybeUninit::uninit();
        if libc::sigaction(libc::SIGQUIT, ptr::null(), old.as_mut_ptr()) != 0
            || old.assume_init().sa_sigaction != libc::SIG_DFL
        {
            return Ok(None);
        }
        let bell = libc::eventfd(0, libc::EFD_CLOEXEC);
        if bell < 0 {
            return Err(std::io::Error::last_os_error());
        }
        BELL.store(bell, Ordering::Release);
        let mut action: libc::sigaction = MaybeUninit::zeroed().assume_init();
        action.sa_sigaction = on_quit as *const () as usize;
        action.sa_flags = libc::SA_ONSTACK | libc::SA_RESTART;
        libc::sigemptyset(&mut action.sa_mask);
        libc::sigaction(libc::SIGQUIT, &action, ptr::null_mut());
        Ok(Some(Bell(bell)))
    }
}

extern "C" fn on_quit(_signal: c_int) {
    if fork::in_child() {
        // The bell, and the thread that waits for it, are the parent's. In the child the signal has
        // its default effect, when this returns.
        // SAFETY: async-signal-safe calls without pointers.
        unsafe {
            libc::signal(libc::SIGQUIT, libc::SIG_DFL);
            libc::raise(libc::SIGQUIT);
        }
        return;
    }
    let one = 1u64;
    // SAFETY: eight readable bytes. The write only fails if 2^64 - 1 rings have not been read, so
    // `errno` stays.
    unsafe { libc::write(BELL.load(Ordering::Acquire), (&raw const one).cast(), size_of::<u64>()) };
}

/// Writes to the standard error stream as a signal handler may.
pub(crate) fn write_to_stderr(mut bytes: &[u8]) {
    while !bytes.is_empty() {
        // SAFETY: the bytes are readable.
        let n = unsafe { libc::write(libc::STDERR_FILENO, bytes.as_ptr().cast(), bytes.len()) };
        match usize::try_from(n) {
            Ok(n) => bytes = &bytes[n..],
            // The error cannot be reported.
            Err(_) => return,
        }
    }
}

/// Sleeps until another thread has ended the process.
pub(crate) fn wait_for_the_end() -> ! {
    loop {
        // SAFETY: no arguments.
        unsafe { libc::pause() };
    }
}
