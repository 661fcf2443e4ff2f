//! Signal handlers: a fault in a goroutine's guard is reported as a stack overflow, every other one
//! goes to the previous handler.

use super::fork;
use super::memory::page_size;
use super::system;
use crate::arch::Bounds;
use libc::{c_int, c_void, siginfo_t};
use std::io::{PipeReader, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, IntoRawFd};
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};

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
/// has started its first thread. `worker` returns the thread pointer of the calling kernel thread,
/// if it is a worker that carries a processor, and so has another one in force.
pub(crate) fn prepare_process(report: Report, worker: fn() -> Option<usize>) {
    handle_faults(report);
    system::prepare_process(worker);
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
    MASK_OF_WORKERS.store(system::signal_mask(), Ordering::Relaxed);
}

/// Whether the calling thread blocks what workers block.
pub(crate) fn has_mask_of_workers() -> bool {
    system::signal_mask() == MASK_OF_WORKERS.load(Ordering::Relaxed)
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

extern "C" fn on_question(_signal: c_int, _info: *mut siginfo_t, context: *mut c_void) {
    if let Some(listener) = LISTENER.get() {
        listener(context);
    }
}

/// The writing end of the pipe that the SIGQUIT handler writes to, or -1.
static BELL: AtomicI32 = AtomicI32::new(-1);

/// The receiving end of [`BELL`].
pub(crate) struct Bell(PipeReader);

impl Bell {
    /// Sleeps until the signal comes.
    pub(crate) fn wait(&mut self) {
        // An error other than an interruption, which is tried again, does not happen: nothing
        // closes the other end.
        let _ = self.0.read_exact(&mut [0]);
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
        let (reader, writer) = std::io::pipe()?;
        // A handler must not wait. If the pipe is full, there are rings enough.
        libc::fcntl(writer.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK);
        BELL.store(writer.into_raw_fd(), Ordering::Release);
        let mut action: libc::sigaction = MaybeUninit::zeroed().assume_init();
        action.sa_sigaction = on_quit as *const () as usize;
        action.sa_flags = libc::SA_ONSTACK | libc::SA_RESTART;
        libc::sigemptyset(&mut action.sa_mask);
        libc::sigaction(libc::SIGQUIT, &action, ptr::null_mut());
        Ok(Some(Bell(reader)))
    }
}

/// What is written.
static RING: u8 = 1;

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
    let errno = system::errno();
    // SAFETY: one readable byte, and the calling thread's own `errno`.
    unsafe {
        let before = *errno;
        libc::write(BELL.load(Ordering::Acquire), (&raw const RING).cast(), 1);
        *errno = before;
    }
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
