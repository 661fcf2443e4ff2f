//! A service in memory: its state, its mailbox, and which goroutine has the turn.
//!
//! All steps are made under one lock, `core`, which is held for some dozens of instructions, and for
//! longer only when a mailbox grows. No code of the program runs under it: messages and states are
//! dropped, and goroutines started, after it has been released.
//!
//! 1. At rest (`Phase::Idle`) the state is in the cell and the mailbox is empty. A message takes the
//!    state out (`Phase::Busy`) and starts a goroutine that has the turn.
//! 2. While it is busy, a message is put into the mailbox.
//! 3. The goroutine that has the turn gives it up at the end of its message, or where it waits. It
//!    takes the next entry from the mailbox. A message: it handles that, or starts another goroutine
//!    for it if it waits itself. A handler that wants to go on: it hands over the state. None: the
//!    state goes back into the cell.
//! 4. A handler whose wait has ended takes the state if the service is at rest, and else puts itself
//!    into the mailbox.
//! 5. The number `life` changes when the state is given up for good: by the end of the service, or
//!    by a new start. A goroutine whose turn is of a former life changes nothing any more: it drops
//!    its state, and ends.
//!
//! So there is never more than one turn of the present life. Each entry of the mailbox is taken out
//! by exactly one goroutine, and as long as there is an entry, some goroutine has the turn, or a new
//! start is under way.

use crate::envelope::{Envelope, Origin};
use crate::info::{Figures, ServiceId, ServiceInfo, WaitingCall};
use crate::service::Service;
use crate::supervisor::Supervision;
use crate::system::Shared;
use narrowboat_chan::{Receiver, Sender};
use std::any::type_name;
use std::collections::VecDeque;
use std::mem;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A mailbox that has had so many messages keeps no memory for them when it is empty.
const KEPT_CAPACITY: usize = 16;

/// A mailbox of this length is reported, and again each time the length has doubled.
const OVERLOAD: u32 = 1024;

pub(crate) struct Cell<S: Service> {
    pub(crate) id: ServiceId,
    pub(crate) name: Option<Arc<str>>,
    pub(crate) system: Arc<Shared>,
    /// The number of the latest call.
    sessions: AtomicU32,
    core: narrowboat_runtime::lock::Mutex<Core<S>>,
}

struct Core<S: Service> {
    phase: Phase<S>,
    life: u32,
    /// The length of the mailbox that is reported next.
    overload: u32,
    mail: VecDeque<Entry<S>>,
    waiting: Vec<Waiting>,
    figures: Figures,
    supervision: Option<Arc<Supervision<S>>>,
}

enum Phase<S> {
    Idle(Box<S>),
    Busy(Current),
    Ended,
}

/// What the goroutine that has the turn does.
#[derive(Clone, Copy)]
struct Current {
    kind: fn() -> &'static str,
    origin: Origin,
    since: Instant,
    reported: bool,
}

/// An entry of a mailbox.
pub(crate) enum Entry<S: Service> {
    Message(Box<dyn Envelope<S>>),
    /// A handler whose wait has ended. It receives the state.
    Resume(Sender<Box<S>>, Job),
}

/// What a turn is about: which message, and its origin.
#[derive(Clone, Copy)]
pub(crate) struct Job {
    pub(crate) kind: fn() -> &'static str,
    pub(crate) origin: Origin,
}

/// A handler that waits without the turn.
pub(crate) struct Waiting {
    session: u32,
    target: Option<ServiceId>,
    since: Instant,
    at: &'static Location<'static>,
    /// Ends the wait early, if that is possible.
    closer: Option<Box<dyn Closer>>,
}

/// Something that ends a wait.
pub(crate) trait Closer: Send {
    fn close(&self);
}

impl<R: Send> Closer for Receiver<R> {
    fn close(&self) {
        Receiver::close(self);
    }
}

/// A handler's wait, as it begins.
pub(crate) struct Wait {
    pub(crate) session: u32,
    pub(crate) target: Option<ServiceId>,
    pub(crate) at: &'static Location<'static>,
    pub(crate) closer: Option<Box<dyn Closer>>,
}

/// The state, and what to do with it.
pub(crate) struct Work<S: Service> {
    pub(crate) state: Box<S>,
    pub(crate) life: u32,
    pub(crate) envelope: Box<dyn Envelope<S>>,
}

/// What [`Cell::resume`] has for a handler.
pub(crate) enum Resumed<S> {
    Now(Box<S>),
    Later(Receiver<Box<S>>),
    /// The life of its turn is over.
    Never,
}

/// What follows a failure.
pub(crate) enum AfterFailure<S: Service> {
    /// Nothing: the service has ended, or another goroutine goes on with it.
    Nothing,
    /// A new start, by the caller, in this life.
    Restart(Arc<Supervision<S>>, u32),
}

/// What was in a service that has ended or starts anew. It is dropped without the lock.
struct Remains<S: Service> {
    phase: Phase<S>,
    mail: VecDeque<Entry<S>>,
    waiting: Vec<Waiting>,
}

impl<S: Service> Remains<S> {
    /// Wakes the handlers that wait in calls, and drops the rest.
    fn drop_and_wake(self) {
        for waiting in &self.waiting {
            if let Some(closer) = &waiting.closer {
                closer.close();
            }
        }
        // Destructors of the program may panic. The panic hook has reported that, and what the
        // caller does next for the service matters more.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(self.phase)));
        for entry in self.mail {
            let _ = catch_unwind(AssertUnwindSafe(|| drop(entry)));
        }
    }
}

impl<S: Service> Cell<S> {
    pub(crate) fn new(
        id: ServiceId,
        name: Option<Arc<str>>,
        system: Arc<Shared>,
        state: S,
        supervision: Option<Arc<Supervision<S>>>,
    ) -> Cell<S> {
        Cell {
            id,
            name,
            system,
            sessions: AtomicU32::new(0),
            core: narrowboat_runtime::lock::Mutex::new(Core {
                phase: Phase::Idle(Box::new(state)),
                life: 0,
                overload: OVERLOAD,
                mail: VecDeque::new(),
                waiting: Vec::new(),
                figures: Figures::default(),
                supervision,
            }),
        }
    }

    fn core(&self) -> MutexGuard<'_, Core<S>> {
        // No code of the program runs under the lock, so a panic in it is one of the allocator.
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of a new call of this service's.
    pub(crate) fn next_session(&self) -> u32 {
        // Relaxed: the numbers only have to differ. 0 means that there is no call.
        self.sessions.fetch_add(1, Ordering::Relaxed).wrapping_add(1).max(1)
    }

    /// Steps 1 and 2. Returns the work that the caller has to start a goroutine for.
    pub(crate) fn deliver(
        &self,
        envelope: Box<dyn Envelope<S>>,
    ) -> Result<Option<Work<S>>, Box<dyn Envelope<S>>> {
        let mut core = self.core();
        match &core.phase {
            Phase::Ended => return Err(envelope),
            Phase::Idle(_) => {
                let Phase::Idle(state) = core.begin(&*envelope) else { unreachable!("it was idle") };
                return Ok(Some(Work { state, life: core.life, envelope }));
            }
            Phase::Busy(_) => core.mail.push_back(Entry::Message(envelope)),
        }
        let length = core.mail.len();
        core.figures.longest_mailbox = core.figures.longest_mailbox.max(length);
        if length >= core.overload as usize {
            core.overload = core.overload.saturating_mul(2);
            drop(core);
            self.system.overloaded(self.id, self.name.clone(), type_name::<S>(), length);
        }
        Ok(None)
    }

    /// Step 3, at the end of a message. Returns the next one, which the caller handles.
    pub(crate) fn finish(&self, life: u32, state: Box<S>) -> Option<Work<S>> {
        let mut core = self.core();
        if core.life != life {
            drop(core);
            drop(state);
            return None;
        }
        core.account(true);
        self.pass_on(core, life, state)
    }

    /// As [`finish`](Cell::finish), in the middle of a message. Returns false if the life of the
    /// turn is over, and else the message that the caller starts a goroutine for, if there is one.
    pub(crate) fn give_up(&self, life: u32, state: Box<S>, wait: Wait) -> Result<Option<Work<S>>, ()> {
        let mut core = self.core();
        if core.life != life {
            drop(core);
            drop((state, wait));
            return Err(());
        }
        core.account(false);
        let Wait { session, target, at, closer } = wait;
        core.waiting.push(Waiting { session, target, since: Instant::now(), at, closer });
        Ok(self.pass_on(core, life, state))
    }

    fn pass_on(&self, mut core: MutexGuard<'_, Core<S>>, life: u32, state: Box<S>) -> Option<Work<S>> {
        match core.mail.pop_front() {
            Some(Entry::Message(envelope)) => {
                core.begin(&*envelope);
                Some(Work { state, life, envelope })
            }
            Some(Entry::Resume(handler, job)) => {
                core.phase = Phase::Busy(Current::new(job));
                drop(core);
                // It waits for this without a limit, or it has ended with an earlier life.
                let _ = handler.try_send(state);
                None
            }
            None => {
                core.phase = Phase::Idle(state);
                let unused = core.shrink();
                drop(core);
                drop(unused);
                None
            }
        }
    }

    /// Step 4, after the wait of this number.
    pub(crate) fn resume(&self, life: u32, session: u32, job: Job) -> Resumed<S> {
        let mut core = self.core();
        if core.life != life {
            return Resumed::Never;
        }
        let position = core.waiting.iter().position(|waiting| waiting.session == session);
        let waited = position.map(|position| core.waiting.swap_remove(position));
        let resumed = match mem::replace(&mut core.phase, Phase::Busy(Current::new(job))) {
            Phase::Idle(state) => Resumed::Now(state),
            phase => {
                core.phase = phase;
                let (handler, state) = narrowboat_chan::bounded(1);
                core.mail.push_back(Entry::Resume(handler, job));
                Resumed::Later(state)
            }
        };
        drop(core);
        drop(waited);
        resumed
    }

    /// Step 5, after the panic of a handler of this life.
    pub(crate) fn fail(&self, life: u32) -> AfterFailure<S> {
        let mut core = self.core();
        if core.life != life {
            return AfterFailure::Nothing;
        }
        core.account(true);
        core.figures.failures += 1;
        match core.supervision.clone() {
            Some(supervision) => {
                let remains = core.begin_restart();
                let life = core.life;
                drop(core);
                remains.drop_and_wake();
                AfterFailure::Restart(supervision, life)
            }
            None => {
                drop(core);
                self.end();
                AfterFailure::Nothing
            }
        }
    }

    /// Step 5: begins a new start from outside, if the service has a supervisor and has not ended.
    /// Returns false otherwise.
    pub(crate) fn begin_restart(&self) -> Option<(Arc<Supervision<S>>, u32)> {
        let mut core = self.core();
        if matches!(core.phase, Phase::Ended) {
            return None;
        }
        let supervision = core.supervision.clone()?;
        core.account(false);
        let remains = core.begin_restart();
        let life = core.life;
        drop(core);
        remains.drop_and_wake();
        Some((supervision, life))
    }

    /// The end of a new start: the state that it has made.
    pub(crate) fn restarted(&self, life: u32, state: Box<S>) -> Option<Work<S>> {
        let mut core = self.core();
        if core.life != life {
            drop(core);
            drop(state);
            return None;
        }
        core.figures.restarts += 1;
        self.pass_on(core, life, state)
    }

    /// Whether this is the present life.
    pub(crate) fn is_current(&self, life: u32) -> bool {
        self.core().life == life
    }

    /// Step 5: ends the service. Messages that were not begun are dropped.
    pub(crate) fn end(&self) {
        let mut core = self.core();
        if matches!(core.phase, Phase::Ended) {
            return;
        }
        core.life += 1;
        let phase = mem::replace(&mut core.phase, Phase::Ended);
        let remains =
            Remains { phase, mail: mem::take(&mut core.mail), waiting: mem::take(&mut core.waiting) };
        let supervision = core.supervision.take();
        drop(core);
        if let Some(name) = &self.name {
            self.system.forget_name(name, self.id);
        }
        if let Some(supervision) = &supervision {
            supervision.forget(self.id);
        }
        remains.drop_and_wake();
    }

    pub(crate) fn snapshot(&self) -> ServiceInfo {
        let core = self.core();
        let now = Instant::now();
        let mut figures = core.figures;
        let busy_with = match &core.phase {
            Phase::Busy(current) => {
                figures.busy += now.saturating_duration_since(current.since);
                Some(((current.kind)(), now.saturating_duration_since(current.since)))
            }
            _ => None,
        };
        let of_state = size_of::<S>() + size_of::<Cell<S>>();
        let of_mail = core.mail.capacity() * size_of::<Entry<S>>();
        ServiceInfo {
            id: self.id,
            name: self.name.as_deref().map(str::to_owned),
            kind: type_name::<S>(),
            ended: matches!(core.phase, Phase::Ended),
            mailbox: core.mail.len(),
            longest_mailbox: figures.longest_mailbox,
            handled: figures.handled,
            busy: figures.busy,
            longest: figures.longest,
            failures: figures.failures,
            restarts: figures.restarts,
            busy_with,
            memory: of_state + of_mail + core.waiting.capacity() * size_of::<Waiting>(),
            waiting: core.waiting.iter().map(|waiting| waiting.describe(now)).collect(),
        }
    }

    /// What has the turn, since when, and from where, if that has been so for `limit` and this has
    /// not said so before.
    pub(crate) fn stuck(&self, limit: Duration) -> Option<(Job, Duration)> {
        let mut core = self.core();
        let Phase::Busy(current) = &mut core.phase else { return None };
        let lasted = current.since.elapsed();
        if current.reported || lasted < limit {
            return None;
        }
        current.reported = true;
        Some((Job { kind: current.kind, origin: current.origin }, lasted))
    }
}

impl<S: Service> Core<S> {
    /// Marks the service as busy with a message. Returns the phase that it was in.
    fn begin(&mut self, envelope: &dyn Envelope<S>) -> Phase<S> {
        let job = Job { kind: envelope.kind(), origin: envelope.origin() };
        mem::replace(&mut self.phase, Phase::Busy(Current::new(job)))
    }

    /// Counts the time of a turn, and the message if it has come to its end.
    fn account(&mut self, done: bool) {
        if let Phase::Busy(current) = &self.phase {
            let lasted = current.since.elapsed();
            self.figures.busy += lasted;
            self.figures.longest = self.figures.longest.max(lasted);
        }
        self.figures.handled += u64::from(done);
    }

    /// Begins a new life whose state is still to be made. Messages stay in the mailbox, and the
    /// handlers that wait are told to end.
    fn begin_restart(&mut self) -> Remains<S> {
        self.life += 1;
        let starts = Current::new(Job { kind: || "a new start", origin: Origin::default() });
        let phase = mem::replace(&mut self.phase, Phase::Busy(starts));
        let mail = mem::take(&mut self.mail);
        let (kept, ended) = mail.into_iter().partition(|entry| matches!(entry, Entry::Message(_)));
        self.mail = kept;
        Remains { phase, mail: ended, waiting: mem::take(&mut self.waiting) }
    }

    /// Takes the memory out of mailbox and list if it was needed for a burst.
    fn shrink(&mut self) -> (VecDeque<Entry<S>>, Vec<Waiting>) {
        let mut unused = (VecDeque::new(), Vec::new());
        if self.mail.capacity() > KEPT_CAPACITY {
            unused.0 = mem::take(&mut self.mail);
            self.overload = OVERLOAD;
        }
        if self.waiting.is_empty() && self.waiting.capacity() > KEPT_CAPACITY {
            unused.1 = mem::take(&mut self.waiting);
        }
        unused
    }
}

impl Current {
    fn new(job: Job) -> Current {
        Current { kind: job.kind, origin: job.origin, since: Instant::now(), reported: false }
    }
}

impl Waiting {
    fn describe(&self, now: Instant) -> WaitingCall {
        WaitingCall {
            session: self.session,
            target: self.target,
            since: now.saturating_duration_since(self.since),
            at: self.at,
        }
    }
}

impl<S: Service> Drop for Cell<S> {
    fn drop(&mut self) {
        self.system.forget(self.id);
    }
}
