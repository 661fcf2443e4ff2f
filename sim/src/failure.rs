//! What went wrong in a world, and how to see it again.

use crate::recorder::{Event, Recorder, Stop};
use crate::schedule::{Replay, Schedule};
use narrowboat_runtime::Panic;
use narrowboat_runtime::park::Reason;
use narrowboat_runtime::window::{Frame, Names, is_internal, up_to_the_root};
use narrowboat_runtime::world::{End, Finished, Leftover};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// How a run failed.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Kind {
    /// The first goroutine has panicked, or another one that nothing joins; with the message.
    Panic(String),
    /// All goroutines wait for ever.
    Deadlock,
    /// The first goroutine has returned, and others are left.
    Leak,
    /// More time has passed in the world than it may have.
    TimeLimit,
    /// There were more turns than there may be.
    StepLimit,
}

impl Kind {
    /// Whether a run that fails like this shows the same bug.
    pub(crate) fn is_like(&self, other: &Kind) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kind::Panic(message) => f.write_str(message),
            Kind::Deadlock => f.write_str("deadlock: all goroutines wait for ever"),
            Kind::Leak => f.write_str("leak: goroutines are left when the first one has returned"),
            Kind::TimeLimit => f.write_str("the time of the world has exceeded its limit"),
            Kind::StepLimit => f.write_str("the turns of the world have exceeded their limit"),
        }
    }
}

/// A run that has failed: how, and the schedule that led there. `Display` is the report.
pub struct Failure {
    kind: Kind,
    /// Which schedule of the check it was, from 1, and how that one was chosen.
    pub(crate) number: u64,
    pub(crate) replay: Replay,
    /// How many switches the run had before it was shortened.
    pub(crate) before: usize,
    pub(crate) turns: u64,
    pub(crate) now: Duration,
    left: Vec<Leftover>,
    pub(crate) events: Vec<Event>,
    pub(crate) trace: Option<PathBuf>,
    pub(crate) divergence: Option<String>,
    /// Whether the run was one of a check, which the environment can have repeat it.
    pub(crate) of_check: bool,
}

/// What a run came to.
pub(crate) struct Ran<T> {
    pub(crate) outcome: Result<T, Box<Failure>>,
    pub(crate) recorder: Recorder,
}

/// Sorts out how a world has ended.
pub(crate) fn judge<T>(world: Finished<T>) -> Ran<T> {
    let Finished { end, outcome, now, left, panics, scheduler } = world;
    let mut recorder = *scheduler.downcast::<Recorder>().expect("the scheduler that it began with");
    let panic = match &outcome {
        Some(Err(panic)) => Some((1, panic)),
        _ => panics.first().map(|(number, panic)| (*number, panic)),
    };
    let kind = match (end, panic, recorder.stop) {
        (_, Some((number, panic)), _) => Kind::Panic(text_of(number, panic)),
        (End::Deadlock, ..) => Kind::Deadlock,
        (End::Left, ..) | (_, _, Some(Stop::Grace)) => Kind::Leak,
        (_, _, Some(Stop::Time)) => Kind::TimeLimit,
        (_, _, Some(Stop::Turns)) => Kind::StepLimit,
        (_, _, Some(Stop::Panic)) => Kind::Panic("a goroutine has panicked".into()),
        _ => match outcome {
            Some(Ok(value)) => return Ran { outcome: Ok(value), recorder },
            _ => Kind::Deadlock,
        },
    };
    let schedule = recorder.schedule.clone();
    let failure = Failure {
        kind,
        number: 1,
        before: schedule.len(),
        replay: Replay { seed: recorder.seed, schedule, hash: recorder.hash },
        turns: recorder.turns,
        now: Duration::from_nanos(now),
        left,
        events: recorder.events.take().unwrap_or_default(),
        trace: None,
        divergence: None,
        of_check: true,
    };
    Ran { outcome: Err(Box::new(failure)), recorder }
}

fn text_of(number: u32, panic: &Panic) -> String {
    let mut text = format!("panic in goroutine {number}");
    if let Some(at) = panic.location() {
        text += &format!(", at {at}");
    }
    text + ": " + panic.message().unwrap_or("the payload is no text")
}

impl Failure {
    /// How the run failed.
    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    /// The number of the schedule that failed, from 1.
    pub fn found_by(&self) -> u64 {
        self.number
    }

    /// The seed of the run.
    pub fn seed(&self) -> u64 {
        self.replay.seed
    }

    /// The schedule, shortened.
    pub fn schedule(&self) -> &Schedule {
        &self.replay.schedule
    }

    /// What `NARROWBOAT_SIM_REPLAY` takes to repeat the run.
    pub fn replay(&self) -> String {
        self.replay.to_string()
    }

    /// How many goroutines were left.
    pub fn goroutines_left(&self) -> usize {
        self.left.len()
    }

    /// Where the trace for Perfetto is.
    pub fn trace_file(&self) -> Option<&std::path::Path> {
        self.trace.as_deref()
    }

    /// If it is the run of a recorded schedule: where the program no longer does what it did then.
    pub fn divergence(&self) -> Option<&str> {
        self.divergence.as_deref()
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Failure {}

/// The program's own frames among these, from the innermost one.
fn frames_of_program(names: &mut Names, frames: &[usize]) -> Vec<Frame> {
    let named: Vec<Frame> = frames.iter().flat_map(|&frame| names.of(frame).to_vec()).collect();
    // What is before the first is the runtime's, and may be of the file that the root is in.
    let first = named.iter().position(|frame| !is_internal(frame)).unwrap_or(named.len());
    up_to_the_root(&named[first..]).iter().filter(|frame| !is_internal(frame)).cloned().collect()
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut names = Names::default();
        let Failure { kind, turns, now, .. } = self;
        writeln!(f, "{kind}")?;
        let number = if self.of_check { format!("schedule {}, ", self.number) } else { String::new() };
        writeln!(f, "  {number}after {turns} turns and {now:?} in the world")?;
        for goroutine in &self.left {
            let Leftover { number, name, spawned_at, reason, waits_at, frames } = goroutine;
            write!(f, "\ngoroutine {number}")?;
            if let Some(name) = name {
                write!(f, " '{name}'")?;
            }
            writeln!(f, ", spawned at {spawned_at}")?;
            match reason {
                Reason::None => writeln!(f, "  can run")?,
                reason => writeln!(f, "  waits for {}, at {waits_at}", reason.waits_for())?,
            }
            for frame in frames_of_program(&mut names, frames).iter().take(8) {
                writeln!(f, "    {}  at {}", frame.name, frame.at())?;
            }
        }
        if self.of_check {
            self.switches(f, &mut names)?;
        }
        names.forget_symbols();
        if let Some(divergence) = &self.divergence {
            writeln!(f, "\nthis run differs from the recorded one: {divergence}")?;
        }
        if let Some(trace) = &self.trace {
            writeln!(f, "\ntrace, for ui.perfetto.dev: {}", trace.display())?;
        }
        if self.of_check {
            writeln!(f, "\nagain: NARROWBOAT_SIM_REPLAY='{}'", self.replay)?;
        }
        Ok(())
    }
}

impl Failure {
    /// Lists the switches of the schedule.
    fn switches(&self, f: &mut fmt::Formatter<'_>, names: &mut Names) -> fmt::Result {
        const MOST: usize = 20;
        let left = self.replay.schedule.len();
        let lead = if left == 1 { "decision leads" } else { "decisions lead" };
        writeln!(f, "\n{left} {lead} there, of {} before the schedule was shortened", self.before)?;
        let mut shown = 0;
        for event in &self.events {
            let line = match event {
                Event::Switch { from, to, frames } => {
                    let place = frames_of_program(names, frames).first().map(Frame::at);
                    let at = place.map_or_else(String::new, |place| format!(" at {place}"));
                    format!("goroutine {from} stops{at}, and goroutine {to} goes on")
                }
                Event::Instead { after, next, to } => {
                    format!("after goroutine {after}, goroutine {to} goes on, and not goroutine {next}")
                }
                Event::Draw { number, n, got } if *got > 0 => {
                    format!("goroutine {number} draws {got} of 0..{n}")
                }
                _ => continue,
            };
            shown += 1;
            if shown > MOST {
                return writeln!(f, "  ..");
            }
            writeln!(f, "  {shown}. {line}")?;
        }
        Ok(())
    }
}
