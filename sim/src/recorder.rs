//! What stands between a world and what decides in it: limits, the record of all decisions, and the
//! trace.

use crate::random::Random;
use crate::schedule::{Kind, Point, Schedule};
use crate::strategy::{Choice, Decide, Follow, Pct, RoundRobin, Tree, Uniform};
use narrowboat_runtime::park::Reason;
use narrowboat_runtime::world::{Moment, Scheduler, TurnEnd};
use std::any::Any;
use std::collections::HashMap;
use std::panic::Location;
use std::time::Duration;

/// After so many turns in a row in which it could go on, a goroutine that polls lets others go, by
/// default.
const POLLS: u32 = 500;

/// The limits of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) turns: u64,
    pub(crate) time: Duration,
    /// How long goroutines may go on when the first one has returned.
    pub(crate) grace: Duration,
}

/// Why the run was stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stop {
    Panic,
    Turns,
    Time,
    /// The first goroutine has returned, and others go on and on.
    Grace,
}

/// What happened, for the trace.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    Started {
        number: u32,
        at: &'static Location<'static>,
    },
    Turn {
        number: u32,
        now: u64,
        end: TurnEnd,
        at: Option<(Reason, &'static Location<'static>)>,
    },
    /// There was a choice, with these options besides the default.
    Choice {
        point: Point,
        others: Vec<u32>,
    },
    /// When this one could not go on, another one goes on than the next in order.
    Instead {
        after: u32,
        next: u32,
        to: u32,
    },
    /// It could have gone on, and another one goes first.
    Switch {
        from: u32,
        to: u32,
        frames: Vec<usize>,
    },
    Jump {
        to: u64,
    },
    Draw {
        number: u32,
        n: usize,
        got: usize,
    },
}

/// What decides in a run.
pub(crate) enum Decider {
    Uniform(Uniform),
    Pct(Pct),
    RoundRobin(RoundRobin),
    Tree(Tree),
    Follow(Follow),
}

impl Decider {
    fn decide(&mut self) -> &mut dyn Decide {
        match self {
            Decider::Uniform(decide) => decide,
            Decider::Pct(decide) => decide,
            Decider::RoundRobin(decide) => decide,
            Decider::Tree(decide) => decide,
            Decider::Follow(decide) => decide,
        }
    }
}

pub(crate) struct Recorder {
    pub(crate) decider: Decider,
    pub(crate) seed: u64,
    random: Random,
    limits: Limits,
    /// What was not the default.
    pub(crate) schedule: Schedule,
    /// Everything, if it is wanted.
    pub(crate) events: Option<Vec<Event>>,
    quiet: bool,
    pub(crate) hash: u64,
    pub(crate) turns: u64,
    /// Choices between goroutines.
    pub(crate) choices: u64,
    pub(crate) goroutines: u64,
    pub(crate) stop: Option<Stop>,
    panicked: bool,
    ends_by: u64,
    returned: bool,
    /// What runs, and how many turns and draws each has had.
    running: u32,
    // Made before the world: a map that is made by its goroutine would draw keys from this
    // recorder.
    counts: HashMap<u32, (u64, u64)>,
    in_a_row: u32,
}

impl Recorder {
    pub(crate) fn new(seed: u64, decider: Decider, limits: Limits) -> Recorder {
        Recorder {
            decider,
            seed,
            random: Random::stream(seed, 1),
            limits,
            schedule: Schedule::default(),
            events: None,
            quiet: false,
            hash: seed,
            turns: 0,
            choices: 0,
            goroutines: 0,
            stop: None,
            panicked: false,
            ends_by: u64::try_from(limits.time.as_nanos()).unwrap_or(u64::MAX),
            returned: false,
            running: 0,
            counts: HashMap::new(),
            in_a_row: 0,
        }
    }

    /// Without reports of panics.
    pub(crate) fn quiet(self) -> Recorder {
        Recorder { quiet: true, ..self }
    }

    /// With a record of all that happens.
    pub(crate) fn recording(self) -> Recorder {
        Recorder { events: Some(Vec::new()), ..self }
    }

    fn note(&mut self, what: u64) {
        self.hash = (self.hash.rotate_left(5) ^ what).wrapping_mul(0x517c_c1b7_2722_0a95);
    }

    fn note_place(&mut self, at: &Location<'_>) {
        // Files have other paths in other builds.
        self.note(u64::from(at.line()) << 32 | u64::from(at.column()));
    }

    fn log(&mut self, event: impl FnOnce() -> Event) {
        if let Some(events) = &mut self.events {
            events.push(event());
        }
    }

    /// What happens if nothing else is decided: the goroutine goes on, or the next one has its
    /// turn.
    fn default(&self, moment: &Moment<'_>) -> usize {
        let Some(last) = moment.last else { return 0 };
        let goes_on = last.end == TurnEnd::Passed && self.in_a_row < POLLS;
        let same = moment.ready.binary_search(&last.number).ok().filter(|_| goes_on);
        let next = || moment.ready.iter().position(|&number| number > last.number);
        same.or_else(next).unwrap_or(0)
    }

    fn note_turn(&mut self, moment: &Moment<'_>) {
        let Some(last) = moment.last else { return };
        self.note(u64::from(last.number) << 8 | last.end as u64);
        self.note(moment.now);
        if let Some((_, at)) = moment.last_at {
            self.note_place(at);
        }
        self.log(|| Event::Turn { number: last.number, now: moment.now, end: last.end, at: moment.last_at });
    }
}

impl Scheduler for Recorder {
    fn next(&mut self, moment: &Moment<'_>) -> Option<usize> {
        self.note_turn(moment);
        self.stop = match () {
            () if self.panicked => Some(Stop::Panic),
            () if self.turns >= self.limits.turns => Some(Stop::Turns),
            () => self.stop,
        };
        if self.stop.is_some() {
            return None;
        }
        self.turns += 1;
        let ready = moment.ready;
        let default = self.default(moment);
        let mut chosen = default;
        if ready.len() > 1 {
            self.choices += 1;
            let goroutine = moment.last.map_or(0, |last| last.number);
            let count = self.counts.get(&goroutine).map_or(0, |counts| counts.0);
            let point = Point { goroutine, count, kind: Kind::Turn };
            let choice = Choice { moment, default, point };
            chosen = self.decider.decide().turn(&choice).min(ready.len() - 1);
            self.log(|| {
                let others = ready.iter().copied().filter(|&number| number != ready[default]);
                Event::Choice { point, others: others.collect() }
            });
            if chosen != default {
                self.schedule.entries.push((point, ready[chosen]));
                let (next, to) = (ready[default], ready[chosen]);
                if goroutine == next {
                    let frames = moment.last_frames.to_vec();
                    self.log(|| Event::Switch { from: next, to, frames });
                } else {
                    self.log(|| Event::Instead { after: goroutine, next, to });
                }
            }
        }
        let number = ready[chosen];
        let same = moment.last.is_some_and(|last| last.number == number && last.end == TurnEnd::Passed);
        self.in_a_row = if same { self.in_a_row + 1 } else { 0 };
        self.counts.entry(number).or_default().0 += 1;
        self.running = number;
        Some(chosen)
    }

    fn draw(&mut self, n: usize) -> usize {
        if n < 2 {
            return 0;
        }
        let goroutine = self.running;
        let counts = self.counts.entry(goroutine).or_default();
        let point = Point { goroutine, count: counts.1, kind: Kind::Draw };
        counts.1 += 1;
        let got = self.decider.decide().draw(point, n).min(n - 1);
        if got != 0 {
            self.schedule.entries.push((point, got as u32));
        }
        self.note(1 << 40 | got as u64);
        self.log(|| Event::Choice { point, others: (1..n as u32).collect() });
        self.log(|| Event::Draw { number: goroutine, n, got });
        got
    }

    fn jump(&mut self, to: u64) -> bool {
        if to > self.ends_by {
            self.stop = Some(if self.returned { Stop::Grace } else { Stop::Time });
            return false;
        }
        self.note(to);
        self.log(|| Event::Jump { to });
        true
    }

    fn started(&mut self, number: u32, at: &'static Location<'static>) {
        self.goroutines += 1;
        // The first one was spawned outside.
        if number != 1 {
            self.note_place(at);
        }
        self.log(|| Event::Started { number, at });
    }

    fn returned(&mut self, now: u64) {
        self.returned = true;
        let grace = u64::try_from(self.limits.grace.as_nanos()).unwrap_or(u64::MAX);
        self.ends_by = self.ends_by.min(now.saturating_add(grace));
    }

    fn panicked(&mut self, number: u32) {
        self.note(2 << 40 | u64::from(number));
        self.panicked = true;
    }

    fn random(&mut self) -> u64 {
        let random = self.random.next();
        self.note(random);
        random
    }

    fn is_quiet(&self) -> bool {
        self.quiet
    }

    fn wants_frames(&self) -> bool {
        self.events.is_some()
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any + Send> {
        self
    }
}
