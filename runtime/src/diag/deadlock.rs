//! `fatal: all goroutines are asleep - deadlock!`: reported when nothing in the process can ever
//! wake a goroutine again.
//!
//! The monitor suspects a deadlock when every worker has been asleep for some ticks and no deadline
//! is to come: at the moment when it would fall asleep itself. So a program that is merely idle
//! pays for one look each time it becomes idle. The look:
//!
//! 1. Count the plain threads that are parked in a wait of ours without a deadline that has not
//!    been ended; remember which wait each is in.
//! 2. Count the threads of the process. If there is one besides ours and those of step 1, it may
//!    still wake something: no alarm. The threads of the pool for blocking calls that have no work
//!    count as ours: work is submitted by a thread of another kind or by a goroutine, which waits
//!    for it in a way that steps 1 and 4 see.
//! 3. Claim every processor, as a thread that queues it would. If one is not idle, no alarm.
//! 4. With all processors held, look for goroutines that have yet to start, for deadlines, and for
//!    goroutines in a wait that can be ended from outside (a descriptor, a resolver). If there is
//!    any, no alarm.
//! 5. Do step 1 again. If the same threads are in the same waits, there was a moment when all of
//!    them were parked at once, and every processor idle. From then on nothing could happen: the
//!    alarm is right.
//!
//! A thread that computes, or waits for something else, or has been woken and does not run yet,
//! prevents the alarm, since it is missing in step 1 and counted in step 2. A thread that was
//! created and ended between the steps and woke a waiter has changed what step 5 sees. When such a
//! thread no longer prevents the alarm, the look is repeated: a plain thread that parks in a wait
//! of ours, or ends after it has been in one, wakes the monitor, and so does a thread of the pool
//! that has no work any more.

use super::dump::dump;
use super::trace::session;
use crate::park;
use crate::say::say;
use crate::sched::Runtime;
use crate::sched::processor::Carrier;
use crate::{blocking, clock, sys};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Threads that this module's siblings have started.
static HELPERS: AtomicUsize = AtomicUsize::new(0);

/// Counts a thread of the runtime's own, besides workers, lenders and the monitor.
pub(crate) fn note_helper() {
    HELPERS.fetch_add(1, Ordering::Relaxed);
}

/// Ends the process with a dump if it can never go on. Called by the monitor when all workers
/// sleep.
pub(crate) fn check(runtime: &'static Runtime) {
    if is_dead(runtime) {
        say(format_args!("fatal: all goroutines are asleep - deadlock!\n\n{}", dump()));
        session::save_recording_at_failure();
        std::process::exit(2);
    }
}

fn is_dead(runtime: &'static Runtime) -> bool {
    let before = park::parked_threads();
    let processors = runtime.processors.all().count();
    let lenders = if runtime.sizes.carried { processors } else { 0 };
    let idle = blocking::idle_threads();
    let ours = runtime.workers.started() + lenders + 1 + HELPERS.load(Ordering::Relaxed) + idle.count;
    let threads = sys::threads();
    // If a thread of the pool ended meanwhile, another thread that is not ours would be counted in
    // its place.
    if blocking::idle_threads() != idle || threads.is_none_or(|threads| threads > ours + before.count) {
        return false;
    }
    let mut held: Vec<Carrier<'_>> = Vec::with_capacity(processors);
    let mut goroutines = 0;
    let mut dead = runtime.processors.all().all(|processor| {
        let claimed = processor.claim_for_reading();
        let idle = claimed.is_some();
        held.extend(claimed);
        idle
    });
    for carrier in &mut held {
        let processor = carrier.processor();
        dead = dead && processor.deadline.load(Ordering::Relaxed) == clock::NEVER;
        // Those that wait for a stack are in neither: they start only when another goroutine ends.
        dead = dead && processor.unstarted.is_empty() && processor.arrivals.is_empty();
        dead = dead
            && carrier.all_goroutines(|record| {
                goroutines += 1;
                !record.reason.get().is_external()
            });
    }
    dead = dead && goroutines > 0 && park::parked_threads() == before;
    for carrier in held {
        carrier.release_after_reading(runtime);
    }
    dead
}
