//! The goroutines that handle messages.

use crate::cell::{AfterFailure, Cell, Job, Work};
use crate::report::Report;
use crate::service::Service;
use crate::supervisor::Supervision;
use crate::turn::{Turn, is_end_of_life};
use narrowboat_runtime::park::checkpoint;
use narrowboat_runtime::spawn;
use std::any::{Any, type_name};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Starts a goroutine for a message. It has the turn.
pub(crate) fn start<S: Service>(cell: &Arc<Cell<S>>, work: Work<S>) {
    let cell = cell.clone();
    spawn(move || run(&cell, work));
}

/// Starts a goroutine that makes a new state.
pub(crate) fn start_anew<S: Service>(cell: &Arc<Cell<S>>, supervision: Arc<Supervision<S>>, life: u32) {
    let cell = cell.clone();
    spawn(move || {
        if let Some(work) = make_state(&cell, &supervision, life) {
            run(&cell, work);
        }
    });
}

/// Handles a message, and those after it.
fn run<S: Service>(cell: &Arc<Cell<S>>, work: Work<S>) {
    let mut next = Some(work);
    while let Some(work) = next {
        next = handle(cell, work);
        checkpoint();
    }
}

/// Handles one message. Returns the next one, if it is for the caller.
fn handle<S: Service>(cell: &Arc<Cell<S>>, work: Work<S>) -> Option<Work<S>> {
    let Work { state, life, envelope } = work;
    let job = Job { kind: envelope.kind(), origin: envelope.origin() };
    let mut turn = Turn { cell: cell.clone(), life, job, state: Some(state), stops: false };
    // What the panic leaves behind in the state is dropped with it; see `failed`.
    let outcome = catch_unwind(AssertUnwindSafe(|| envelope.open(&mut turn)));
    match outcome {
        Ok(()) => {
            if turn.stops && cell.is_current(life) {
                cell.end();
            }
            // `None` if the handler has caught the unwinding that ends it.
            turn.state.take().and_then(|state| cell.finish(life, state))
        }
        Err(payload) if is_end_of_life(&*payload) => None,
        Err(payload) => failed(cell, turn, &*payload),
    }
}

/// What follows a panic.
fn failed<S: Service>(cell: &Arc<Cell<S>>, turn: Turn<S>, payload: &(dyn Any + Send)) -> Option<Work<S>> {
    let (life, job) = (turn.life, turn.job);
    report_panic(cell, (job.kind)(), payload);
    let after = cell.fail(life);
    drop_safely(cell, turn);
    match after {
        AfterFailure::Nothing => None,
        AfterFailure::Restart(supervision, life) => make_state(cell, &supervision, life),
    }
}

/// Drops the state of a failed handler, whose destructor may panic as well.
fn drop_safely<S: Service>(cell: &Cell<S>, turn: Turn<S>) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(turn))) {
        report_panic(cell, "the destructor of the state", &*payload);
    }
}

/// Makes the state of a new life, unless there have been too many. Returns the message that comes
/// first, if there is one.
fn make_state<S: Service>(
    cell: &Arc<Cell<S>>,
    supervision: &Arc<Supervision<S>>,
    life: u32,
) -> Option<Work<S>> {
    while supervision.permits_restart(cell.id) {
        if !cell.is_current(life) {
            return None;
        }
        match catch_unwind(AssertUnwindSafe(|| supervision.make())) {
            Ok(state) => return cell.restarted(life, Box::new(state)),
            Err(payload) => report_panic(cell, "a new start", &*payload),
        }
    }
    // The supervisor has ended it, or was dropped and is about to.
    cell.end();
    None
}

fn report_panic<S: Service>(cell: &Cell<S>, message: &'static str, payload: &(dyn Any + Send)) {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| payload.downcast_ref::<&'static str>().copied());
    cell.system.report(&Report::Panicked {
        id: cell.id,
        name: cell.name.as_deref().map(str::to_owned),
        kind: type_name::<S>(),
        message,
        panic: text.map(str::to_owned),
    });
}
