//! [`dump`]: every goroutine, as a value that can be iterated over and printed.

use super::group::Text;
use super::inspect::{self, Findings, Key};
use crate::park::{Identity, Reason, WaitingThread};
use crate::sched;
use crate::sched::look::StackUse;
use crate::{GoroutineId, Labels, park};
use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

/// How long processors have to answer before they are reported as busy.
const LIMIT: Duration = Duration::from_millis(500);

/// What is known of one goroutine: part of a [`Dump`].
#[derive(Clone, Debug)]
pub struct GoroutineInfo {
    pub(super) id: u64,
    pub(super) name: Option<Arc<str>>,
    pub(super) labels: Labels,
    pub(super) reason: Reason,
    pub(super) object: Identity,
    pub(super) woken: bool,
    pub(super) waiting_for: Duration,
    pub(super) waits_at: &'static Location<'static>,
    pub(super) spawned_at: &'static Location<'static>,
    pub(super) processor: u16,
    pub(super) stack: StackUse,
    pub(super) path: u64,
}

impl GoroutineInfo {
    pub(super) fn key(&self) -> Key {
        // A goroutine that does not wait has left the line of its last wait.
        let waits_at = if self.reason == Reason::None { self.spawned_at } else { self.waits_at };
        Key { reason: self.reason, waits_at, spawned_at: self.spawned_at, path: self.path }
    }

    /// Its number.
    pub fn id(&self) -> GoroutineId {
        GoroutineId(self.id)
    }

    /// Its name, if it was given one.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Its labels: see [`labels!`](crate::labels!).
    pub fn labels(&self) -> &Labels {
        &self.labels
    }

    /// What it waits for. [`Reason::None`] if it is ready to run.
    pub fn reason(&self) -> park::Reason {
        self.reason
    }

    /// Whether its wait is over, and only its turn has not come.
    pub fn is_woken(&self) -> bool {
        self.woken || self.reason == Reason::None
    }

    /// The address of what it waits for (a channel, a lock), if that has one: two goroutines that
    /// wait for the same thing have the same address. A select waits for several, and has none.
    ///
    /// Two that wait for different things have different addresses, unless these things are on
    /// stacks that are copied.
    pub fn object(&self) -> Option<usize> {
        Some(self.identity()?.address)
    }

    /// The identity of what it waits for.
    pub(super) fn identity(&self) -> Option<Identity> {
        (self.object.address != 0 && self.reason != Reason::Select).then_some(self.object)
    }

    /// The source line of the call that blocks; of the spawn, if it has not waited yet.
    pub fn waits_at(&self) -> &'static Location<'static> {
        self.waits_at
    }

    /// The source line that spawned it.
    pub fn spawned_at(&self) -> &'static Location<'static> {
        self.spawned_at
    }

    /// How long it had been waiting when it was looked at, to about 17 ms.
    pub fn waiting_for(&self) -> Duration {
        self.waiting_for
    }

    /// The number of the processor that it lives on.
    pub fn processor(&self) -> usize {
        self.processor.into()
    }

    /// Bytes of its stack that are in use. All of it, if it waits on the stack of another library's
    /// coroutine: how much of its own is in use is not known then.
    pub fn stack_bytes(&self) -> usize {
        self.stack.live
    }

    /// Whether its stack is where it runs; if not it has been copied out, because another goroutine
    /// needed the place.
    pub fn is_resident(&self) -> bool {
        self.stack.resident
    }
}

/// All goroutines at one moment, approximately: processors are inspected one by one.
///
/// `Display` shows goroutines that wait for the same thing in the same line, spawned in the same
/// line, as one group with a count and one backtrace; the largest group first, and no more than a
/// hundred groups. What they wait for has a number, so that it can be found elsewhere in the same
/// text. At the end come the plain threads that are blocked in a call of Narrowboat's.
#[derive(Default)]
pub struct Dump {
    pub(super) findings: Findings,
    pub(super) threads: Vec<WaitingThread>,
    unstarted: usize,
}

impl fmt::Debug for Dump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dump")
            .field("goroutines", &self.findings.goroutines)
            .field("unstarted", &self.unstarted)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} at {}", self.reason, self.waits_at)
    }
}

/// Lists all goroutines: what each waits for, since when, where, and where it was spawned.
///
/// Each processor stops while it is inspected, for some milliseconds per hundred thousand
/// goroutines, and one may wait for others that are inspected before it. If a processor does not
/// answer within half a second, because its goroutine computes, it is listed as silent, and its
/// goroutines are missing. A goroutine that calls this is itself listed as waiting for the answer.
/// Before the runtime starts the dump is empty.
///
/// ```
/// use narrowboat::{Builder, dump, sleep};
/// use std::time::Duration;
///
/// let sleeper = Builder::new().name("sleeper").spawn(|| sleep(Duration::from_millis(100)))?;
/// sleep(Duration::from_millis(20));
/// let dump = dump();
/// assert!(dump.goroutines().iter().any(|goroutine| goroutine.name() == Some("sleeper")));
/// println!("{dump}");
/// # sleeper.join().unwrap();
/// # Ok::<(), std::io::Error>(())
/// ```
#[track_caller]
pub fn dump() -> Dump {
    park::checkpoint();
    match sched::started() {
        Some(runtime) => Dump::new(inspect::inspect(runtime, LIMIT, None, Location::caller())),
        None => Dump::default(),
    }
}

/// The one goroutine with this number, if it is there.
#[track_caller]
pub(super) fn dump_one(id: u64) -> Dump {
    park::checkpoint();
    match sched::started() {
        Some(runtime) => Dump::new(inspect::inspect(runtime, LIMIT, Some(id), Location::caller())),
        None => Dump::default(),
    }
}

impl Dump {
    fn new(findings: Findings) -> Dump {
        let unstarted = super::stats::stats().processors.iter().map(|p| p.unstarted).sum();
        Dump { findings, threads: park::waiting_threads(), unstarted }
    }

    /// Every goroutine that was seen, in no particular order.
    ///
    /// ```
    /// assert!(narrowboat::dump().goroutines().is_empty());
    /// ```
    pub fn goroutines(&self) -> &[GoroutineInfo] {
        &self.findings.goroutines
    }

    /// What a goroutine waits for, in words: "channel, unbuffered, 1 sender, 1 receiver, made at
    /// src/main.rs:4:20". Only the first thousand or so of different things are described.
    ///
    /// ```
    /// let dump = narrowboat::dump();
    /// assert!(dump.goroutines().iter().all(|goroutine| dump.waits_for(goroutine).is_none()));
    /// ```
    pub fn waits_for(&self, goroutine: &GoroutineInfo) -> Option<String> {
        let identity = goroutine.identity()?;
        let thing = self.findings.things.get(&identity)?;
        Some(Text::of(self).thing(thing, identity.stack_of, None))
    }

    /// Leaves the goroutines for which `wanted` is true, and takes away all others, those that had not
    /// started, and the plain threads.
    ///
    /// ```
    /// use narrowboat::{dump, sleep, spawn};
    /// use std::time::Duration;
    ///
    /// let sleeper = spawn(|| sleep(Duration::from_millis(100)));
    /// sleep(Duration::from_millis(20));
    /// let mut dump = dump();
    /// dump.retain(|goroutine| goroutine.waiting_for() >= Duration::from_secs(60));
    /// assert!(dump.goroutines().is_empty());
    /// # sleeper.join().unwrap();
    /// ```
    pub fn retain(&mut self, wanted: impl FnMut(&GoroutineInfo) -> bool) {
        self.findings.goroutines.retain(wanted);
        self.threads.clear();
        self.unstarted = 0;
    }

    /// How many goroutines had not started, and therefore are not among the others.
    ///
    /// ```
    /// assert_eq!(narrowboat::dump().unstarted(), 0);
    /// ```
    pub fn unstarted(&self) -> usize {
        self.unstarted
    }

    /// The numbers of processors that did not answer, because their goroutines compute or block
    /// their thread.
    ///
    /// ```
    /// assert!(narrowboat::dump().silent_processors().is_empty());
    /// ```
    pub fn silent_processors(&self) -> &[usize] {
        &self.findings.silent
    }
}

impl fmt::Display for Dump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Text::of(self).write(f)?;
        if self.unstarted > 0 {
            writeln!(f, "{} goroutines have not started", self.unstarted)?;
        }
        for processor in &self.findings.silent {
            writeln!(
                f,
                "processor {processor} did not answer: its goroutine computes or blocks its thread, and the others there \
                 wait for it"
            )?;
        }
        Ok(())
    }
}
