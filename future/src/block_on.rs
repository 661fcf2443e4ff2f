//! Waits for a future in the calling goroutine or thread.
//!
//! # Where the future lies, and why that is sound
//!
//! A future that has been polled may be pointed into: its nodes are in the lists of timers, of
//! semaphores, of channels, and other threads write there. `Pin` promises them that it stays where
//! it is. A goroutine's copied stack does not stay, so:
//!
//! - *The future itself* is pinned on the stack only where the stack never moves: on a thread, and
//!   in a goroutine with a stack of its own. On a copied stack it is boxed. So it may be pointed
//!   into at any time, also while a poll of it parks in a call of Narrowboat.
//! - *What it borrows* may lie on the stack of the goroutine, pinned or lent to others
//!   (`pin!(notify.notified())` passed by reference, a scope of threads around the call). So the
//!   stack stays in place during the park: as in a wait for one of std's locks, the goroutine keeps
//!   its slot until it goes on.
//!
//! What remains is the rule for all code: while something on a copied stack is lent out, no *other*
//! call of Narrowboat parks.

use crate::context::in_context;
use crate::error::TimeoutError;
use crate::signal::Signal;
use narrowboat_chan::__outside::park_beside;
use narrowboat_chan::context::{self, Context};
use narrowboat_runtime::as_thread::{
    checkpoint_in_place, is_on_copied_stack, may_park, park_in_place_or_block, yield_in_place,
};
use narrowboat_runtime::park::{Outcome, Waiter};
use narrowboat_runtime::world;
use std::panic::Location;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

type At = &'static Location<'static>;

/// Waits until the future is ready, and returns its output.
///
/// A goroutine parks meanwhile, and a thread blocks. The future is polled by the caller, so it need
/// not be `Send`, and it may borrow. A panic in it passes on to the caller.
///
/// With the feature `tokio` each poll happens in the context of a tokio runtime.
///
/// On a thread that drives an executor, such as a worker of tokio, this blocks the executor, as any
/// blocking call does: use `.await` there.
///
/// # Panics
/// If the caller cannot wait: on the system stack of a goroutine, for example.
///
/// # Examples
/// ```
/// use narrowboat::future::block_on;
///
/// let (tx, rx) = tokio::sync::oneshot::channel();
/// narrowboat::go!(move || tx.send(6 * 7).unwrap());
/// assert_eq!(block_on(rx), Ok(42));
/// assert_eq!(block_on(async { 1 + 1 }), 2);
/// ```
#[track_caller]
pub fn block_on<F: IntoFuture>(future: F) -> F::Output {
    match run(future.into_future(), None, None, Location::caller()) {
        Ok(output) => output,
        Err(_) => unreachable!("a wait without a limit ends with the future's output"),
    }
}

/// As [`block_on`], until an instant.
#[track_caller]
pub(crate) fn until<F: Future>(future: F, deadline: Option<Instant>) -> Result<F::Output, TimeoutError> {
    run(future, deadline, None, Location::caller()).map_err(|_| TimeoutError)
}

/// As [`block_on`], for a time.
#[track_caller]
pub(crate) fn within<F: Future>(future: F, timeout: Duration) -> Result<F::Output, TimeoutError> {
    // A deadline past the range of the clock is no deadline.
    run(future, world::now().checked_add(timeout), None, Location::caller()).map_err(|_| TimeoutError)
}

/// As [`block_on`], until a context ends.
#[track_caller]
pub(crate) fn with_context<F: Future>(future: F, ctx: &Context) -> Result<F::Output, context::Error> {
    run(future, None, Some(ctx), Location::caller()).map_err(|_| ctx.err().expect("the context has ended"))
}

/// The limit came before the output.
struct LimitReached;

/// Waits for a future, and drops it before it returns.
fn run<F: Future>(
    future: F,
    deadline: Option<Instant>,
    ctx: Option<&Context>,
    at: At,
) -> Result<F::Output, LimitReached> {
    if is_on_copied_stack() {
        drive(Box::pin(Some(future)).as_mut(), deadline, ctx, at)
    } else {
        drive(pin!(Some(future)), deadline, ctx, at)
    }
}

/// A pinned future, which is dropped where it is polled: in the context. What it holds may need
/// that as well.
struct Driven<'a, F>(Pin<&'a mut Option<F>>);

impl<F: Future> Driven<'_, F> {
    fn poll(&mut self, task: &mut std::task::Context<'_>) -> Poll<F::Output> {
        let future = self.0.as_mut().as_pin_mut().expect("it is there until it is dropped");
        in_context(|| future.poll(task))
    }
}

impl<F> Drop for Driven<'_, F> {
    fn drop(&mut self) {
        in_context(|| self.0.set(None));
    }
}

fn drive<F: Future>(
    future: Pin<&mut Option<F>>,
    deadline: Option<Instant>,
    ctx: Option<&Context>,
    at: At,
) -> Result<F::Output, LimitReached> {
    let mut future = Driven(future);
    let signal = Arc::new(Signal::new());
    let waker = Waker::from(signal.clone());
    let mut task = std::task::Context::from_waker(&waker);
    loop {
        if let Poll::Ready(output) = future.poll(&mut task) {
            if may_park() {
                checkpoint_in_place();
            }
            return Ok(output);
        }
        if signal.take_due() {
            // It was woken during its own poll, to let others run. It may go on to do so for ever.
            if is_over(deadline, ctx) {
                return Err(LimitReached);
            }
            yield_in_place();
        } else if is_over(deadline, ctx) || !signal.wait(at, |me| park(me, deadline, ctx)) {
            return Err(LimitReached);
        }
    }
}

fn is_over(deadline: Option<Instant>, ctx: Option<&Context>) -> bool {
    deadline.is_some_and(|deadline| deadline <= world::now()) || ctx.is_some_and(Context::is_done)
}

/// Parks until a wake, the deadline, or the end of the context.
fn park(me: Waiter, deadline: Option<Instant>, ctx: Option<&Context>) {
    fn in_place(me: Waiter, deadline: Option<Instant>) -> Outcome {
        // SAFETY: `Signal::wait` has just begun this wait of ours, and published the waiter.
        unsafe { park_in_place_or_block(me, deadline) }
    }
    match ctx {
        // SAFETY: as above; the signal uses no node. A wake ends the wait with the first outcome
        // that is free.
        Some(ctx) => unsafe { park_beside(ctx.done(), me, deadline, in_place) },
        None => {
            in_place(me, deadline);
        }
    }
}
