//! Signal handlers: a fault in a goroutine's guard is reported as what it is, every other goes to who had it before.

use super::memory::page_size;
use super::setxid;
use crate::stack::own::OwnStack;
use libc::{c_int, c_void, siginfo_t};
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::OnceLock;

/// Looks at a faulting address; does not return if it was a stack overflow. Must be async-signal-safe.
type Report = fn(usize);

/// Bytes of stack for signal handlers on workers.
const ALTERNATE_STACK: usize = 64 << 10;

const FAULTS: [c_int; 2] = [libc::SIGSEGV, libc::SIGBUS];

static REPORT: OnceLock<Report> = OnceLock::new();
static PREVIOUS: [OnceLock<libc::sigaction>; 2] = [OnceLock::new(), OnceLock::new()];

/// Installs the handlers. Called once, when the runtime starts, after its first thread has.
pub(crate) fn prepare_process(report: Report) {
    if REPORT.set(report).is_err() {
        return;
    }
    for (signal, previous) in FAULTS.into_iter().zip(&PREVIOUS) {
        // SAFETY: the action is fully written before it is used; the handler is async-signal-safe. The old action is
        // stored before the new one can run: a fault in between finds the old one still installed.
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
    setxid::guard();
}

/// Memory for a worker's signal handlers: a goroutine that has run out of stack has none left to handle that on.
pub(crate) fn alternate_stack() -> std::io::Result<OwnStack> {
    OwnStack::new(ALTERNATE_STACK)
}

/// Gives the calling worker its alternate stack, which must live as long as the thread.
pub(crate) fn prepare_worker(stack: &'static OwnStack) {
    let bounds = stack.bounds();
    debug_assert_eq!(bounds.limit % page_size(), 0);
    let stack = libc::stack_t { ss_sp: bounds.limit as *mut c_void, ss_flags: 0, ss_size: bounds.size() };
    // SAFETY: the memory is open, unused by anything else, and never freed.
    unsafe { libc::sigaltstack(&stack, ptr::null_mut()) };
}

extern "C" fn on_fault(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    if let Some(report) = REPORT.get() {
        // SAFETY: the kernel passes the fault's information to a SA_SIGINFO handler.
        report(unsafe { (*info).si_addr() } as usize);
    }
    let index = FAULTS.iter().position(|&fault| fault == signal);
    let previous = index.and_then(|index| PREVIOUS[index].get());
    // SAFETY: the previous action is called as it asked to be called. Without one, the default is put back, and the
    // faulting instruction, tried again when we return, ends the process.
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
