//! What remains in a process that was forked after the runtime, or the pool for blocking calls, had
//! started.
//!
//! The child has none of the threads: no worker, no lender, no monitor, and nothing polls. Locks
//! may be held for ever by threads that do not exist. So in such a process
//!
//! - what needs a thread of the runtime fails at once with a message: a spawn, a socket that would
//!   wait, a wait that has no end;
//! - what needs none goes on working: operations that do not wait, waits with a deadline, and calls
//!   that block natively. Work for [`blocking`](crate::blocking()) runs in place;
//! - nothing reaches the parent through what both share, for example the netpoller's descriptor.
//!
//! The thread that forked may have been carrying a goroutine. Then that goroutine is all that
//! remains, and it stays a goroutine:
//!
//! 1. The handler, before `fork` returns, stores its record and makes its processor end the batch
//!    after the present turn.
//! 2. When the goroutine first switches to the loop, the batch ends, and the loop calls
//!    [`Processor::run_forked`], which never returns. No other goroutine of the processor gets a
//!    turn: each of them goes on in the parent, so its actions would happen twice.
//! 3. There a yield returns at once, and a wait with a deadline sleeps natively until then. A wait
//!    without a deadline ends the process, and so does the end of the goroutine.

use super::processor::{self, Processor, SwitchReason};
use super::timers::HeapIndex;
use crate::clock;
use crate::goroutine::record::Record;
use crate::hooks::trace;
use crate::park::{Outcome, Reason};
use crate::sys::{self, fork, signals};
use std::fmt;
use std::io;
use std::panic::Location;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicPtr, Ordering};

const SENTENCE: &str = "this process was forked from one in which Narrowboat had started its threads, and has none of \
                        them: fork before the first use of Narrowboat, or exec after the fork";

/// The code with which the process ends if it can never go on; the same as at a deadlock.
const CODE: i32 = 2;

/// The goroutine that has forked, in the child.
static FORKED: AtomicPtr<Record> = AtomicPtr::new(ptr::null_mut());

pub(crate) use fork::in_child;

/// Called before the first thread is started.
pub(crate) fn watch() -> io::Result<()> {
    fork::watch(on_fork)
}

/// Fails in such a process.
///
/// # Errors
/// In such a process, with a sentence that says so.
#[inline]
pub(crate) fn check() -> io::Result<()> {
    if in_child() { Err(error()) } else { Ok(()) }
}

#[cold]
fn error() -> io::Error {
    io::Error::other(SENTENCE)
}

/// Step 1. Async-signal-safe.
fn on_fork() {
    trace::set_on(false);
    if let (Some(processor), Some(record)) = (processor::current_processor(), processor::calling_goroutine())
    {
        FORKED.store(record.as_ptr(), Ordering::Relaxed);
        // No thread asks in the child, and the lock of the request may be held for ever.
        processor.inspect.store(false, Ordering::Relaxed);
        processor.end_batch();
    }
}

/// A plain thread begins a wait that only another thread can end. In such a process that may be a
/// thread that was started here, so there must be one; and no goroutine ever ends here.
pub(crate) fn look_at_endless_wait(reason: Reason, at: &'static Location<'static>) {
    if in_child() && (matches!(reason, Reason::Join | Reason::Scope) || sys::threads() == Some(1)) {
        wait_for_ever("thread", reason, at);
    }
}

#[cold]
fn wait_for_ever(waiter: &str, reason: Reason, at: &'static Location<'static>) -> ! {
    end(format_args!("a {waiter} would wait for ever for {}, at {at}", reason.waits_for()))
}

fn end(what: fmt::Arguments<'_>) -> ! {
    signals::write_to_stderr(format!("\nfatal: {what}: {SENTENCE}\n").as_bytes());
    fork::leave(CODE)
}

impl Processor {
    /// Steps 2 and 3.
    ///
    /// # Safety
    /// Called by the loop of this processor, between goroutines, in a forked process: so the
    /// goroutine that has had the last turn is the one that has forked.
    #[cold]
    pub(super) unsafe fn run_forked(&'static self) -> ! {
        let local = self.local.get();
        // SAFETY: the loop owns the local part and the records. The goroutine that has forked is
        // live unless its `SwitchReason` is `Finish`, and then the record is not touched. No
        // reference is held across the switch in `resume`.
        unsafe {
            let record = NonNull::new_unchecked(FORKED.load(Ordering::Relaxed));
            loop {
                match (*local).switch_reason {
                    SwitchReason::Park => self.wait_alone(record),
                    // `resume` has put it at the end of the queue.
                    SwitchReason::Yield => drop((*local).ready.pop_back()),
                    SwitchReason::Finish => {
                        end(format_args!("the goroutine that forked this process has ended"))
                    }
                }
                self.resume::<false>(record);
            }
        }
    }

    /// Returns when the goroutine's deadline has passed, or if a thread that was started in this
    /// process has woken it already.
    ///
    /// # Safety
    /// As for `run_forked`; the goroutine is parked.
    unsafe fn wait_alone(&self, record: NonNull<Record>) {
        let r = record.as_ptr();
        // SAFETY: by contract; as in `run_forked`.
        unsafe {
            let local = &mut *self.local.get();
            while (*r).head.claim.is_waiting() {
                if (*r).timer == HeapIndex::NONE {
                    wait_for_ever("goroutine", (*r).reason, (*r).waits_at);
                }
                let earliest = local.timers.earliest().unwrap_or(clock::NEVER);
                std::thread::sleep(clock::until(earliest, clock::now()));
                // Other goroutines are not woken: they belong to the parent.
                while let Some(due) = local.timers.pop_due(clock::now()) {
                    if due == record {
                        (*r).head.claim.try_end(Outcome::TIMED_OUT);
                        break;
                    }
                }
            }
            local.now = clock::now();
            // If it was woken, it may stand in the inbox.
            self.inbox.drain(|_| ());
        }
    }
}
