//! What `narrowboat-debug` shows of a running program, as values that it can format: a dump in
//! groups, with names and places of their frames. And how it comes to run when the runtime starts.

use super::dump::{self, Dump};
use super::frames;
use super::group::{self, Text};
use super::trace::session;
use crate::park::{Identity, Reason};
use crate::say::say;
use crate::sched::processor::Processor;
use crate::telemetry::waits;
use crate::{GoroutineInfo, Labels};
use crate::{sched, sys};
use std::collections::HashMap;
use std::fmt;
use std::io;
use std::panic::Location;
use std::sync::Arc;
use std::sync::OnceLock;
use std::time::Duration;

pub use super::frames::{Frame, Names, up_to_the_root};
pub use super::profile::{CpuSample, Goroutine, Sampler, registers};
pub use super::proto::Message;
pub use super::stuck::reports as stuck_reports;
pub use super::trace::session::Looking;
pub use super::trace::turns::Turns;
pub use crate::sys::modules::Module;
pub use crate::telemetry::waits::{WaitPlace, WaitProfile};

/// Whether a frame is one of Narrowboat's or of std's.
pub fn is_internal(frame: &Frame) -> bool {
    frame.is_internal()
}

/// Sets how often a profile of waits counts one: of blocking, one for so many nanoseconds of waiting,
/// on average; of locks, one of so many waits. 0 switches it off. Returns what was set before.
pub fn set_wait_profile(profile: WaitProfile, rate: u64) -> u64 {
    let before = waits::set_rate(profile, rate);
    // A processor looks once per batch: end the batches that are under way.
    if let Some(runtime) = sched::started() {
        runtime.processors.all().for_each(Processor::end_batch);
    }
    before
}

/// All that a profile of waits has counted: places, each with the number of waits and the
/// nanoseconds.
pub fn waits(profile: WaitProfile) -> Vec<(WaitPlace, (u64, u64))> {
    waits::totals(profile)
}

/// The unwind tables of all modules that are loaded now.
pub fn modules() -> Vec<Module> {
    sys::modules::all()
}

/// Goroutines that wait for the same kind of thing in the same line, and were spawned in the same
/// line.
#[derive(Clone, Debug)]
pub struct Group {
    /// What they wait for, as one word, such as `Receive`.
    pub reason: Reason,
    /// Whether something outside of the program's threads can end the wait.
    pub external: bool,
    /// The same in words, to follow "waiting for".
    pub waits_for: &'static str,
    /// The line of the call that blocks, if that is the program's and they wait.
    pub waits_at: Option<&'static Location<'static>>,
    /// The line that spawned them.
    pub spawned_at: &'static Location<'static>,
    /// How many there are.
    pub count: usize,
    /// Numbers and names of the oldest.
    pub some: Vec<(u64, Option<Arc<str>>)>,
    /// The most frequent sets of labels, and how many have each. Those without labels are not among
    /// them.
    pub labels: Vec<(Labels, usize)>,
    /// How long the one that has waited longest has done so.
    pub longest: Duration,
    /// How many have been woken, and do not run yet.
    pub woken: usize,
    /// Bytes of stack that are in use, of the one that uses most.
    pub stack: usize,
    /// How many have their stack where they run.
    pub resident: usize,
    /// What they wait for: channels, locks, sockets.
    pub things: Vec<String>,
    /// The program's own frames of one of them, innermost first. Empty if there are too many groups
    /// to look at each.
    pub frames: Vec<Frame>,
}

impl Dump {
    /// The goroutines that `matching` accepts, in groups, the largest first. No more than `most`
    /// groups, with `some` members named. The second value is how many groups there are.
    ///
    /// `names` are those of earlier calls. To read others takes long: call it in
    /// [`blocking`](crate::blocking()).
    #[doc(hidden)]
    pub fn groups(
        &self,
        matching: impl Fn(&GoroutineInfo) -> bool,
        most: usize,
        some: usize,
        names: &mut Names,
    ) -> (Vec<Group>, usize) {
        let text = Text::of(self);
        let groups = group::groups(self.goroutines().iter().filter(|goroutine| matching(goroutine)));
        let all = groups.len();
        let shown = groups.into_iter().take(most).map(|(key, members)| {
            let sample = self.findings.samples.get(&key);
            let mut frames = sample
                .and_then(|sample| sample.backtrace.as_ref())
                .map(|backtrace| {
                    let frames = backtrace.named_by(names);
                    frames::up_to_the_root(&frames[group::first_of_program(&frames, &key)..]).to_vec()
                })
                .unwrap_or_default();
            frames.truncate(MAX_FRAMES);
            let waits = key.reason != Reason::None;
            let mut labels = group::labels(&members);
            labels.truncate(MAX_LABELS);
            Group {
                labels,
                reason: key.reason,
                external: key.reason.is_external(),
                waits_for: key.reason.waits_for(),
                waits_at: (waits && !key.reason.is_below_foreign_code()).then_some(key.waits_at),
                spawned_at: key.spawned_at,
                count: members.len(),
                some: members.iter().take(some).map(|member| (member.id, member.name.clone())).collect(),
                longest: match waits {
                    true => members.iter().map(|member| member.waiting_for).max().unwrap_or_default(),
                    false => Duration::ZERO,
                },
                woken: members.iter().filter(|member| waits && member.woken).count(),
                stack: members.iter().map(|member| member.stack.live).max().unwrap_or_default(),
                resident: members.iter().filter(|member| member.stack.resident).count(),
                things: text.things(&members, sample),
                frames,
            }
        });
        let shown = shown.collect();
        names.forget_symbols();
        (shown, all)
    }
}

/// A channel, a lock or another thing that goroutines wait for.
#[derive(Clone, Debug)]
pub struct WaitedFor {
    /// What it is, and what holds it if that is known.
    pub text: String,
    /// How many goroutines wait for it.
    pub waiters: usize,
    /// How long the one that has waited longest has done so.
    pub longest: Duration,
}

impl Dump {
    /// What the goroutines that `matching` accepts wait for, the thing with most waiters first: what
    /// the program itself has, no sockets. Those that wait for several things at once do not count.
    #[doc(hidden)]
    pub fn waited_for(&self, matching: impl Fn(&GoroutineInfo) -> bool, most: usize) -> Vec<WaitedFor> {
        let text = Text::of(self);
        let mut found: HashMap<Identity, (usize, Duration)> = HashMap::new();
        for goroutine in self.goroutines().iter().filter(|goroutine| matching(goroutine)) {
            if let Some(identity) = goroutine.identity()
                && !goroutine.reason.is_external()
                && self.findings.things.contains_key(&identity)
            {
                let (waiters, longest) = found.entry(identity).or_default();
                (*waiters, *longest) = (*waiters + 1, (*longest).max(goroutine.waiting_for));
            }
        }
        let mut found: Vec<_> = found.into_iter().collect();
        found.sort_unstable_by_key(|&(identity, (waiters, _))| (usize::MAX - waiters, identity));
        let shown = found.into_iter().take(most).map(|(identity, (waiters, longest))| {
            let text = text.thing(&self.findings.things[&identity], identity.stack_of, None);
            WaitedFor { text, waiters, longest }
        });
        shown.collect()
    }
}

/// A dump of the one goroutine with this number, if it is there.
pub fn dump_one(id: u64) -> Dump {
    dump::dump_one(id)
}

/// Whether the flight recorder is on.
pub fn recorder_is_on() -> bool {
    session::recorder_is_on()
}

/// The turns of the last moments, as far as events have been recorded: by the flight recorder, or
/// while there is a [`Looking`]. To be called in [`blocking`](crate::blocking()).
pub fn latest_turns(length: Duration) -> Vec<Turns> {
    session::latest_turns(length)
}

/// How many sets of labels a group has at most.
const MAX_LABELS: usize = 100;

/// How many frames of a backtrace a group has at most.
const MAX_FRAMES: usize = 128;

/// What runs when the runtime starts.
#[derive(Debug)]
pub struct AtStart {
    /// Comes first, before anything has been started: an error is that of the start.
    pub check: fn() -> io::Result<()>,
    /// Comes last, when goroutines run. The thread that started the runtime waits for it.
    pub begin: fn(),
}

static AT_START: OnceLock<AtStart> = OnceLock::new();

/// Leaves what runs when the runtime starts. The first call counts; a call after the start has no
/// effect.
pub fn at_start(what: AtStart) {
    let _ = AT_START.set(what);
}

/// Called before the runtime starts.
pub(crate) fn check() -> io::Result<()> {
    AT_START.get().map_or(Ok(()), |at_start| (at_start.check)())
}

/// Called when the runtime has started.
pub(crate) fn begin() {
    if let Some(at_start) = AT_START.get() {
        (at_start.begin)();
    }
}

/// Writes a line to the standard error stream as the runtime does: without std's lock, and without
/// a panic.
pub fn report(words: fmt::Arguments<'_>) {
    say(words);
}
