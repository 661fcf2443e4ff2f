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
//!    [`Loop::run_forked`], which never returns. No other goroutine of the processor gets a
//!    turn: each of them goes on in the parent, so its actions would happen twice.
//! 3. There a yield returns at once, and a wait with a deadline sleeps natively until then. A wait
//!    without a deadline ends the process, and so does the end of the goroutine.

use super::processor::{self, Loop, SwitchReason};
use super::timers::HeapIndex;
use super::trace;
use crate::clock;
use crate::sched::record::{Ready, Record};
use crate::sys::{self, fork, signals};
use crate::wait::{Outcome, Reason};
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
        FORKED.store(record.record().as_ptr(), Ordering::Relaxed);
        // No thread asks in the child, and the lock of the request may be held for ever.
        processor.inspect.take();
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

impl Loop<'_> {
    /// Steps 2 and 3. Called in a forked process, after a turn: the goroutine that has had it is
    /// the one that has forked.
    #[cold]
    pub(super) fn run_forked(mut self) -> ! {
        loop {
            match self.switch_reason() {
                SwitchReason::Park => {
                    // SAFETY: it has not ended, so its record is live.
                    let forked = unsafe { NonNull::new_unchecked(FORKED.load(Ordering::Relaxed)) };
                    // SAFETY: as above.
                    self.wait_alone(unsafe { forked.as_ref() });
                    // SAFETY: its wait has ended, and no other thread runs it.
                    let forked = unsafe { Ready::new(forked) };
                    self.reborrow().resume::<false>(forked);
                }
                // `resume` has put it at the end of the queue.
                SwitchReason::Yield => {
                    let forked = self.parts().ready.pop_back().expect("it gave way");
                    self.reborrow().resume::<false>(forked);
                }
                SwitchReason::Finish => end(format_args!("the goroutine that forked this process has ended")),
            }
        }
    }

    /// Returns when the goroutine's deadline has passed, or if a thread that was started in this
    /// process has woken it already.
    fn wait_alone(&mut self, goroutine: &Record) {
        let processor = self.processor();
        let claim = &goroutine.wait.head.claim;
        let (local, parts) = self.open();
        while claim.is_waiting() {
            if goroutine.timer.get() == HeapIndex::NONE {
                wait_for_ever("goroutine", goroutine.reason.get(), goroutine.waits_at.get());
            }
            let earliest = parts.timers.earliest().unwrap_or(clock::NEVER);
            std::thread::sleep(clock::until(earliest, clock::now()));
            // Other goroutines are not woken: they belong to the parent.
            while let Some(due) = parts.timers.pop_due(clock::now()) {
                if ptr::eq(due.as_ptr(), goroutine) {
                    claim.try_end(Outcome::TIMED_OUT);
                    break;
                }
            }
        }
        local.now.set(clock::now());
        // If it was woken, it may stand in the inbox.
        processor.inbox.drain(|_| ());
    }
}
