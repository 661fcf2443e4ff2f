//! Many runs of one program.

use crate::failure::{Failure, Ran, judge};
use crate::net;
use crate::perfetto;
use crate::random::Random;
use crate::recorder::{Decider, Event, Limits, Recorder};
use crate::schedule::{Point, Replay, Schedule};
use crate::shorten::shorten;
use crate::strategy::{Follow, Pct, RoundRobin, Strategy, Tree, Uniform};
use narrowboat_runtime::{spawn, world};
use std::env;
use std::num::NonZero;
use std::panic::Location;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

type Program = Arc<dyn Fn() + Send + Sync>;

/// Runs `f` under many schedules, each in a world of its own. The same as
/// `Check::new().run(f)`.
///
/// # Panics
/// If a run fails: with a report of how, and of how to see it again.
///
/// ```should_panic
/// use narrowboat::sync::Mutex;
/// use std::sync::Arc;
/// use narrowboat::{go, sim};
///
/// sim::check(|| {
///     let balance = Arc::new(Mutex::new(100));
///     let all: Vec<_> = (0..2)
///         .map(|_| {
///             let balance = balance.clone();
///             go!(move || {
///                 // Between the look and the change, another one may have changed it.
///                 let seen = *balance.lock().unwrap();
///                 *balance.lock().unwrap() = seen - 10;
///             })
///         })
///         .collect();
///     all.into_iter().for_each(|one| one.join().unwrap());
///     assert_eq!(*balance.lock().unwrap(), 80);
/// });
/// ```
#[track_caller]
pub fn check(f: impl Fn() + Send + Sync + 'static) {
    Check::new().run(f);
}

/// What a check has tried, if nothing failed.
#[derive(Clone, Copy, Default, Debug)]
#[non_exhaustive]
pub struct Summary {
    /// How many schedules were run.
    pub schedules: u64,
    /// Whether these are all within the bound: [`Strategy::Exhaustive`] has seen all.
    pub complete: bool,
    /// The most turns, and the most choices between goroutines, that a run had.
    pub turns: u64,
    /// The most choices between goroutines that a run had.
    pub choices: u64,
    /// The most goroutines that a run had.
    pub goroutines: u64,
}

impl Summary {
    /// The least probability with which one schedule of [`Strategy::Pct`] finds a bug of this
    /// depth.
    ///
    /// ```
    /// use narrowboat::sim::{Check, Strategy};
    ///
    /// let summary = Check::new().strategy(Strategy::Pct { depth: 2 }).iterations(10).run(|| {
    ///     narrowboat::spawn(narrowboat::yield_now).join().unwrap();
    /// });
    /// assert!(summary.pct_bound(2) > 0.0);
    /// ```
    pub fn pct_bound(&self, depth: u32) -> f64 {
        let points = (self.turns.max(1) as f64).powi(depth.saturating_sub(1) as i32);
        1.0 / (self.goroutines.max(1) as f64 * points)
    }

    fn add(&mut self, recorder: &Recorder) {
        self.schedules += 1;
        self.turns = self.turns.max(recorder.turns);
        self.choices = self.choices.max(recorder.choices);
        self.goroutines = self.goroutines.max(recorder.goroutines);
    }
}

/// A check, with its settings.
///
/// ```
/// use narrowboat::sim::{Check, Strategy};
/// use narrowboat::sync::Mutex;
/// use std::sync::Arc;
///
/// let summary = Check::new().strategy(Strategy::Exhaustive { preemptions: 2 }).run(|| {
///     let total = Arc::new(Mutex::new(0));
///     let other = narrowboat::spawn({
///         let total = total.clone();
///         move || *total.lock().unwrap() += 1
///     });
///     *total.lock().unwrap() += 1;
///     other.join().unwrap();
///     assert_eq!(*total.lock().unwrap(), 2);
/// });
/// assert!(summary.complete);
/// ```
#[derive(Clone, Debug)]
#[must_use = "a check does nothing until `run` is called"]
pub struct Check {
    iterations: u64,
    budget: Option<Duration>,
    worlds: usize,
    seed: u64,
    strategy: Strategy,
    limits: Limits,
    shortens: bool,
    replays: bool,
    recorded: Option<Replay>,
    /// Where the check was run.
    at: &'static Location<'static>,
}

impl Default for Check {
    fn default() -> Check {
        Check::new()
    }
}

impl Check {
    /// A check of 1,000 schedules, each drawn uniformly from the seeds from 0.
    ///
    /// The environment comes first: `NARROWBOAT_SIM_ITERATIONS`, `NARROWBOAT_SIM_SEED`, and
    /// `NARROWBOAT_SIM_REPLAY` to run nothing but a recorded schedule.
    ///
    /// ```
    /// let summary = narrowboat::sim::Check::new().iterations(5).run(|| ());
    /// assert!(summary.schedules >= 1);
    /// ```
    pub fn new() -> Check {
        let limits = Limits { turns: 1_000_000, time: Duration::MAX, grace: Duration::from_secs(60) };
        Check {
            iterations: 1000,
            budget: None,
            worlds: available_parallelism().map_or(1, NonZero::get).min(8),
            seed: 0,
            strategy: Strategy::Uniform,
            limits,
            shortens: true,
            replays: true,
            recorded: None,
            at: Location::caller(),
        }
    }

    /// How many schedules are tried. `u64::MAX` is for a check that has a [budget](Check::budget),
    /// or that is exhaustive.
    ///
    /// ```
    /// narrowboat::sim::Check::new().iterations(20).run(|| ());
    /// ```
    pub fn iterations(self, iterations: u64) -> Check {
        Check { iterations, ..self }
    }

    /// No further schedule begins when this much real time has passed.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// narrowboat::sim::Check::new().budget(Duration::from_millis(50)).run(|| ());
    /// ```
    pub fn budget(self, budget: Duration) -> Check {
        Check { budget: Some(budget), ..self }
    }

    /// How many worlds run side by side; by default as many as there are cores.
    ///
    /// ```
    /// narrowboat::sim::Check::new().worlds(2).iterations(20).run(|| ());
    /// ```
    pub fn worlds(self, worlds: usize) -> Check {
        Check { worlds: worlds.max(1), ..self }
    }

    /// The first seed. The others follow it.
    ///
    /// ```
    /// narrowboat::sim::Check::new().seed(1_000_000).iterations(20).run(|| ());
    /// ```
    pub fn seed(self, seed: u64) -> Check {
        Check { seed, ..self }
    }

    /// How schedules are chosen.
    ///
    /// ```
    /// use narrowboat::sim::{Check, Strategy};
    ///
    /// Check::new().strategy(Strategy::Pct { depth: 3 }).iterations(20).run(|| ());
    /// ```
    pub fn strategy(self, strategy: Strategy) -> Check {
        Check { strategy, ..self }
    }

    /// How many turns a run may have: a million by default.
    ///
    /// ```
    /// use narrowboat::sim::{Check, Kind};
    ///
    /// let failure = Check::new().max_turns(1000).explore(|| loop { narrowboat::yield_now() });
    /// assert_eq!(*failure.unwrap_err().kind(), Kind::StepLimit);
    /// ```
    pub fn max_turns(mut self, turns: u64) -> Check {
        self.limits.turns = turns;
        self
    }

    /// How much time may pass in a world: without limit by default.
    ///
    /// ```
    /// use narrowboat::sim::{Check, Kind};
    /// use std::time::Duration;
    ///
    /// let hour = Duration::from_secs(3600);
    /// let failure = Check::new().max_time(hour).explore(move || narrowboat::sleep(2 * hour));
    /// assert_eq!(*failure.unwrap_err().kind(), Kind::TimeLimit);
    /// ```
    pub fn max_time(mut self, time: Duration) -> Check {
        self.limits.time = time;
        self
    }

    /// How long goroutines may go on, in the time of the world, when the first one has returned: a
    /// minute by default. Those that are left then are a [leak](crate::Kind::Leak).
    ///
    /// ```
    /// use narrowboat::{go, sim::Check};
    /// use std::time::Duration;
    ///
    /// let hour = Duration::from_secs(3600);
    /// Check::new().grace(2 * hour).iterations(5).run(move || drop(go!(move || narrowboat::sleep(hour))));
    /// ```
    pub fn grace(mut self, grace: Duration) -> Check {
        self.limits.grace = grace;
        self
    }

    /// Whether a schedule that fails is shortened, which runs it up to some hundred times: so it is
    /// by default.
    ///
    /// ```
    /// let failure = narrowboat::sim::Check::new().shorten(false).explore(|| panic!("ouch"));
    /// assert_eq!(failure.unwrap_err().found_by(), 1);
    /// ```
    pub fn shorten(self, shortens: bool) -> Check {
        Check { shortens, ..self }
    }

    /// Whether `NARROWBOAT_SIM_REPLAY` and the other variables are heeded: so it is by default. A
    /// test of a program that fails on purpose goes without.
    ///
    /// ```
    /// narrowboat::sim::Check::new().environment(false).iterations(20).run(|| ());
    /// ```
    pub fn environment(self, heeded: bool) -> Check {
        Check { replays: heeded, ..self }
    }

    /// Runs nothing but this recorded schedule, as `NARROWBOAT_SIM_REPLAY` does: a test that keeps a
    /// schedule which has failed once. Decisions that do not fit the program any more are left out.
    ///
    /// ```
    /// use narrowboat::sim::Check;
    ///
    /// let recorded = "1:68:1.6>4:44e7a94dc1ee4eac".parse().unwrap();
    /// let summary = Check::new().replay(recorded).run(|| {
    ///     narrowboat::spawn(|| ()).join().unwrap();
    /// });
    /// assert_eq!(summary.schedules, 1);
    /// ```
    pub fn replay(self, recorded: Replay) -> Check {
        Check { recorded: Some(recorded), ..self }
    }

    /// Runs the check.
    ///
    /// # Panics
    /// If a run fails, with a report. In a world, and if the runtime cannot start.
    ///
    /// ```
    /// narrowboat::sim::Check::new().iterations(20).run(|| {
    ///     narrowboat::spawn(|| ()).join().unwrap();
    /// });
    /// ```
    #[track_caller]
    pub fn run(self, f: impl Fn() + Send + Sync + 'static) -> Summary {
        match self.explore(f) {
            Ok(summary) => summary,
            Err(failure) => panic!("{failure}"),
        }
    }

    /// Runs the check, for code that looks at the failure itself.
    ///
    /// # Errors
    /// The failure, if a run fails.
    ///
    /// # Panics
    /// In a world, and if the runtime cannot start.
    ///
    /// ```
    /// use narrowboat::sim::{Check, Kind};
    ///
    /// let failure = Check::new().explore(|| {
    ///     let (_tx, rx) = narrowboat::chan::bounded::<()>(0);
    ///     let _ = rx.recv();
    /// });
    /// assert_eq!(*failure.unwrap_err().kind(), Kind::Deadlock);
    /// ```
    #[track_caller]
    pub fn explore(mut self, f: impl Fn() + Send + Sync + 'static) -> Result<Summary, Box<Failure>> {
        let program: Program = Arc::new(f);
        self.at = Location::caller();
        if self.replays {
            if let Some(recorded) = env::var_os("NARROWBOAT_SIM_REPLAY") {
                return self.named_by_environment(&program, &recorded.to_string_lossy());
            }
            self.iterations = number("NARROWBOAT_SIM_ITERATIONS").unwrap_or(self.iterations);
            self.seed = number("NARROWBOAT_SIM_SEED").unwrap_or(self.seed);
        }
        if let Some(recorded) = &self.recorded {
            return self.recorded(&program, recorded).map(|(summary, _)| summary);
        }
        let found = match self.strategy {
            Strategy::Exhaustive { preemptions } => self.in_order(&program, Tree::new(preemptions)),
            _ => self.side_by_side(&program),
        };
        found.map_err(|failure| self.finish(&program, failure))
    }

    /// One run.
    fn run_once(&self, program: &Program, recorder: Recorder) -> Ran<()> {
        let program = Arc::clone(program);
        let seed = recorder.seed;
        match world::run_at(Box::new(recorder), self.at, net::around(seed, move || program())) {
            Ok(world) => judge(world),
            Err(e) => panic!("cannot make a world: {e}"),
        }
    }

    fn recorder(&self, seed: u64, decider: Decider) -> Recorder {
        Recorder::new(seed, decider, self.limits).quiet()
    }

    /// The run with this number, from 0. `choices` is how many a run has at most, about.
    fn iteration(&self, program: &Program, iteration: u64, choices: u64) -> Ran<()> {
        let seed = self.seed.wrapping_add(iteration);
        let random = Random::stream(seed, 0);
        let decider = match self.strategy {
            Strategy::Pct { depth } => Decider::Pct(Pct::new(random, depth, choices)),
            Strategy::RoundRobin => Decider::RoundRobin(RoundRobin::new(iteration)),
            _ => Decider::Uniform(Uniform(random)),
        };
        let mut ran = self.run_once(program, self.recorder(seed, decider));
        if let Err(failure) = &mut ran.outcome {
            failure.number = iteration + 1;
        }
        ran
    }

    fn in_order(&self, program: &Program, mut tree: Tree) -> Result<Summary, Box<Failure>> {
        let (mut summary, begun) = (Summary::default(), Instant::now());
        while summary.schedules < self.iterations && self.budget.is_none_or(|most| begun.elapsed() < most) {
            let ran = self.run_once(program, self.recorder(self.seed, Decider::Tree(tree)));
            summary.add(&ran.recorder);
            ran.outcome.map_err(|mut failure| {
                failure.number = summary.schedules;
                failure
            })?;
            let Decider::Tree(advanced) = ran.recorder.decider else { unreachable!("as it began") };
            tree = advanced;
            if !tree.advance() {
                summary.complete = true;
                break;
            }
        }
        Ok(summary)
    }

    fn side_by_side(&self, program: &Program) -> Result<Summary, Box<Failure>> {
        if self.iterations == 0 {
            return Ok(Summary::default());
        }
        // The first one alone: it tells how long the others will be.
        let first = self.iteration(program, 0, 100);
        let mut summary = Summary::default();
        summary.add(&first.recorder);
        first.outcome?;
        let next = AtomicU64::new(1);
        let shared = Arc::new((Mutex::new((summary, None::<Box<Failure>>)), next, Instant::now()));
        // A run with other switches may have more choices than this one, but hardly more than
        // turns.
        let choices = summary.turns;
        let worlds = self.worlds.min(usize::try_from(self.iterations).unwrap_or(usize::MAX));
        let runners: Vec<_> = (0..worlds)
            .map(|_| {
                let (this, program, shared) = (self.clone(), Arc::clone(program), Arc::clone(&shared));
                spawn(move || {
                    let (found, next, begun) = &*shared;
                    let lock = || found.lock().unwrap_or_else(PoisonError::into_inner);
                    while this.budget.is_none_or(|most| begun.elapsed() < most) && lock().1.is_none() {
                        let iteration = next.fetch_add(1, Ordering::Relaxed);
                        if iteration >= this.iterations {
                            return;
                        }
                        let ran = this.iteration(&program, iteration, choices);
                        let mut found = lock();
                        found.0.add(&ran.recorder);
                        // Of several, the first one: all before it have been tried.
                        if let Err(failure) = ran.outcome
                            && found.1.as_ref().is_none_or(|other| failure.number < other.number)
                        {
                            found.1 = Some(failure);
                        }
                    }
                })
            })
            .collect();
        for runner in runners {
            if let Err(panic) = runner.join() {
                std::panic::resume_unwind(panic);
            }
        }
        let mut found = shared.0.lock().unwrap_or_else(PoisonError::into_inner);
        found.1.take().map_or(Ok(found.0), Err)
    }

    /// Follows a schedule, with a record of what happens if `records`.
    fn follow(&self, program: &Program, seed: u64, schedule: &Schedule, records: bool) -> Ran<()> {
        let recorder = self.recorder(seed, Decider::Follow(Follow::new(schedule.to_map())));
        self.run_once(program, if records { recorder.recording() } else { recorder })
    }

    /// The choices that a run without any decision comes to, and their other options.
    fn choices(&self, program: &Program, seed: u64) -> Vec<(Point, Vec<u32>)> {
        let mut ran = self.follow(program, seed, &Schedule::default(), true);
        let failed = ran.outcome.err().map(|failure| failure.events);
        let events = failed.or_else(|| ran.recorder.events.take()).unwrap_or_default();
        let choices = events.into_iter().filter_map(|event| match event {
            Event::Choice { point, others } => Some((point, others)),
            _ => None,
        });
        choices.collect()
    }

    /// Makes the report of a failure: shortens its schedule, and runs it once more to see what
    /// happens.
    fn finish(&self, program: &Program, failure: Box<Failure>) -> Box<Failure> {
        let (number, seed, before) = (failure.number, failure.seed(), failure.schedule().len());
        let mut shortest = failure;
        if self.shortens {
            shortest = shorten(
                shortest,
                |schedule| self.follow(program, seed, schedule, false).outcome.err(),
                || self.choices(program, seed),
            );
        }
        let shown = self.follow(program, seed, shortest.schedule(), true).outcome.err();
        // What does not repeat is reported as it was seen.
        let mut failure = shown.filter(|shown| shown.kind().is_like(shortest.kind())).unwrap_or(shortest);
        (failure.number, failure.before) = (number, before);
        if !failure.events.is_empty() {
            failure.trace = perfetto::write(&failure.events).ok();
        }
        failure
    }

    /// Runs the schedule of `NARROWBOAT_SIM_REPLAY`.
    fn named_by_environment(&self, program: &Program, recorded: &str) -> Result<Summary, Box<Failure>> {
        let replay = recorded.parse().unwrap_or_else(|e| panic!("NARROWBOAT_SIM_REPLAY: {e}"));
        let (summary, differs) = self.recorded(program, &replay)?;
        let differs = differs.map_or_else(String::new, |differs| format!(": {differs}"));
        eprintln!("narrowboat: the recorded schedule does not fail any more{differs}");
        Ok(summary)
    }

    /// Runs a recorded schedule. Also returns where it does not fit any more.
    fn recorded(
        &self,
        program: &Program,
        replay: &Replay,
    ) -> Result<(Summary, Option<String>), Box<Failure>> {
        let Ran { outcome, recorder } = self.follow(program, replay.seed, &replay.schedule, true);
        let Decider::Follow(follow) = &recorder.decider else { unreachable!("as it began") };
        let differs = match follow.divergence() {
            Some((point, value)) => Some(format!(
                "goroutine {} cannot go on with {value} after its turn {}",
                point.goroutine, point.count
            )),
            None if recorder.hash != replay.hash => {
                Some("all decisions could be followed, but what happened is not the same".into())
            }
            None => None,
        };
        let mut summary = Summary::default();
        summary.add(&recorder);
        match outcome {
            Ok(()) => Ok((summary, differs)),
            Err(mut failure) => {
                failure.divergence = differs;
                failure.trace = perfetto::write(&failure.events).ok();
                Err(failure)
            }
        }
    }
}

fn number(variable: &str) -> Option<u64> {
    let value = env::var(variable).ok().filter(|value| !value.is_empty())?;
    match value.parse() {
        Ok(number) => Some(number),
        Err(_) => panic!("{variable} is '{value}': set it to a whole number, or unset it"),
    }
}
