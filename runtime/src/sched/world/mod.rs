//! A world: goroutines whose time and whose order something else decides, for tests that repeat.
//!
//! [`crate::world`] runs one.
//!
//! A world is a processor of its own beyond the ordinary ones (`stage`). Goroutines never leave
//! their processor, and what a goroutine of a world spawns stays there too, so a world contains all
//! that its first goroutine starts. Its loop (`turns`) asks a [`Scheduler`] which of the ready
//! goroutines has the next turn. Its clock stands still while a goroutine can run, and jumps to the
//! next deadline when none can.
//!
//! - *Switches.* The yield flag of such a processor stays set, so each call of Narrowboat gives way
//!   at its check ([`crate::park::checkpoint`]), and the scheduler decides whether the caller goes
//!   on.
//! - *Numbers.* The goroutines of a world have numbers in the order in which they were spawned,
//!   from 1, which is the first one. The same decisions give the same numbers.
//! - *Stacks.* Each goroutine has a stack of its own. Shared ones would make the order depend on
//!   what ran on the processor before.
//! - *The end.* A world ends when all of its goroutines have, when none of them can go on, or when
//!   the scheduler stops it. Those that are left never run again: their stacks may hold anything, so
//!   they are not freed. They are strangers to the next world on that processor.
//!
//! Nothing here costs an ordinary processor anything: it runs another loop (`batch`), and
//! the operations themselves are the same.

mod forsaken;
mod stage;
mod turns;

use super::Runtime;
use super::processor::{self, Here, Processor};
use super::record::Record;
use super::record::failure::Panic;
use super::record::labels::Labels;
use crate::lock::{Mutex, Native, OnceLock};
use crate::wait::Reason;
pub(super) use stage::MOST as MOST_WORLDS;
pub(crate) use stage::Stage;
use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::panic::Location;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
pub(super) use turns::world_loop;

/// How many numbers are reserved for the goroutines of one world.
const NUMBERS: u64 = 1 << 32;
/// What the clocks of a world show when it begins, in seconds: 34 years after the machine's start,
/// and the beginning of the year 2026.
const MONOTONIC_ZERO: u64 = 1 << 30;
const REAL_ZERO: u64 = 1_767_225_600;

/// How a goroutine's turn ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TurnEnd {
    /// It waits.
    Parked,
    /// It has ended.
    Ended,
    /// It gave way by itself: `yield_now`.
    GaveWay,
    /// It has come to a call at which the scheduler may let another one go first.
    Passed,
}

/// A turn that is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Turn {
    /// The goroutine's number.
    pub number: u32,
    /// How it ended.
    pub end: TurnEnd,
}

/// What a scheduler knows when it chooses.
#[derive(Debug)]
pub struct Moment<'a> {
    /// Nanoseconds since the world began.
    pub now: u64,
    /// The numbers of the goroutines that can run, ascending. Never empty.
    pub ready: &'a [u32],
    /// The last turn.
    pub last: Option<Turn>,
    /// What it waits for and where, if it has parked.
    pub last_at: Option<(Reason, &'static Location<'static>)>,
    /// The addresses of its frames, if it can go on, and the scheduler
    /// [wants them](Scheduler::wants_frames).
    pub last_frames: &'a [usize],
}

/// What decides in a world. Its functions are called on the processor of the world, where nothing
/// may park; they must not panic.
pub trait Scheduler: Send {
    /// Which of the ready goroutines has the next turn, as an index into [`Moment::ready`]. `None`
    /// stops the world.
    fn next(&mut self, moment: &Moment<'_>) -> Option<usize>;

    /// One of `0..n`, for code that draws lots: a select that tries its arms.
    fn draw(&mut self, n: usize) -> usize;

    /// No goroutine can run before this time. `false` stops the world.
    fn jump(&mut self, to: u64) -> bool;

    /// The goroutine with this number has been spawned at this place.
    fn started(&mut self, number: u32, at: &'static Location<'static>) {
        let _ = (number, at);
    }

    /// The first goroutine has returned, while others go on.
    fn returned(&mut self, now: u64) {
        let _ = now;
    }

    /// A panic has ended a goroutine that nothing joins, or the first one.
    fn panicked(&mut self, number: u32) {
        let _ = number;
    }

    /// A random number, for what the program draws from the system's generator.
    fn random(&mut self) -> u64;

    /// Whether panics are not reported where they happen.
    fn is_quiet(&self) -> bool {
        false
    }

    /// Whether the frames of goroutines shall be found: of those that are left, and of each that
    /// gives way.
    fn wants_frames(&self) -> bool {
        false
    }

    /// The scheduler itself, when the world is over.
    fn into_any(self: Box<Self>) -> Box<dyn Any + Send>;
}

/// Why a world is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// All its goroutines have ended.
    Complete,
    /// The first goroutine has returned, and others are left that wait for ever.
    Left,
    /// All wait for ever, the first goroutine too.
    Deadlock,
    /// The scheduler has stopped it.
    Stopped,
}

/// A goroutine that is left when a world is over.
#[derive(Clone, Debug)]
pub struct Leftover {
    /// Its number.
    pub number: u32,
    /// Its name, if it has one.
    pub name: Option<Arc<str>>,
    /// Where it was spawned.
    pub spawned_at: &'static Location<'static>,
    /// What it waits for; [`Reason::None`] if it could run.
    pub reason: Reason,
    /// The line of the call that waits.
    pub waits_at: &'static Location<'static>,
    /// The addresses of its frames, if the scheduler [wants them](Scheduler::wants_frames).
    pub frames: Vec<usize>,
}

/// How a world has ended.
pub(crate) struct Over {
    pub(crate) end: End,
    /// The goroutines that are left, by number.
    pub(crate) left: Vec<Leftover>,
    pub(crate) first_has_ended: bool,
}

/// Tells the caller that has begun a world its end. It is called where nothing may park.
type Tell = Box<dyn FnOnce(Over) + Send>;

/// What happens at a time, by the time and the order in which it was asked for.
type Events = BTreeMap<(u64, u64), Box<dyn FnOnce() + Send>>;

/// Whether a goroutine with these labels never runs again.
type Abandon = Box<dyn Fn(&Labels) -> bool + Send>;

/// How far the date of a goroutine with these labels is ahead, in nanoseconds.
type Skew = Box<dyn Fn(&Labels) -> i64 + Send>;

/// A world that runs.
pub struct World {
    id: u64,
    /// The goroutine with the number `n` has the id `first + n`.
    first: u64,
    now: AtomicU64,
    /// The instant at which the world began, as its goroutines read the clock.
    began: OnceLock<Instant>,
    /// The sockets of its goroutines are simulated, so nothing outside ends a wait for one.
    network: AtomicBool,
    extension: Mutex<Option<Arc<dyn Any + Send + Sync>>>,
    events: Mutex<Events>,
    /// Which goroutines never run again: see [`World::abandon`].
    abandons: Mutex<Vec<Abandon>>,
    /// How far the dates of goroutines are off: see [`World::skew_dates`].
    skews: Mutex<Option<Skew>>,
    scheduler: Mutex<Option<Box<dyn Scheduler>>>,
    quiet: bool,
    shows: bool,
    panics: Mutex<Vec<(u32, Panic)>>,
    progress: Mutex<Progress>,
    /// What the caller that has begun the world is told its end by.
    tell: Mutex<Option<Tell>>,
}

/// What the loop remembers of a world from turn to turn.
#[derive(Default)]
struct Progress {
    begun: bool,
    /// The first goroutine has started.
    has_come: bool,
    /// Goroutines that have started and not ended.
    live: usize,
    first_has_ended: bool,
    last: Option<Turn>,
    last_at: Option<(Reason, &'static Location<'static>)>,
    last_frames: Vec<usize>,
    ready: Vec<u32>,
    /// How many milliseconds the world was watched since the last turn, with all waiting.
    patience: u32,
    /// The goroutines that were abandoned.
    abandoned: BTreeSet<u32>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World").field("id", &self.id).field("now", &self.now()).finish_non_exhaustive()
    }
}

impl World {
    /// A world that has not begun. `tell` is called at its end.
    pub(crate) fn new(
        runtime: &Runtime,
        scheduler: Box<dyn Scheduler>,
        tell: impl FnOnce(Over) + Send + 'static,
    ) -> World {
        static IDS: AtomicU64 = AtomicU64::new(1);
        World {
            id: IDS.fetch_add(1, Ordering::Relaxed),
            first: runtime.take_id_range(NUMBERS),
            now: AtomicU64::new(0),
            began: OnceLock::new(),
            network: AtomicBool::new(false),
            extension: Mutex::default(),
            events: Mutex::new(Events::new()),
            quiet: scheduler.is_quiet(),
            shows: scheduler.wants_frames(),
            panics: Mutex::default(),
            abandons: Mutex::default(),
            skews: Mutex::default(),
            scheduler: Mutex::new(Some(scheduler)),
            progress: Mutex::default(),
            tell: Mutex::new(Some(Box::new(tell))),
        }
    }

    /// The number that its first goroutine has in the process.
    pub(crate) fn first_goroutine(&self) -> u64 {
        self.first + 1
    }

    /// A number that no other world of the process has.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// How long the world has lasted, by its own clock.
    pub fn now(&self) -> Duration {
        Duration::from_nanos(self.now.load(Ordering::Relaxed))
    }

    /// The instant at which it began, and that of now.
    pub fn began(&self) -> Instant {
        *self.began.get_or_init(Instant::now)
    }

    /// The time as an instant.
    pub fn instant(&self) -> Instant {
        self.began() + self.now()
    }

    /// An instant as nanoseconds since the world began; 0 if it is before that.
    pub fn nanos(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.began()).as_nanos()).unwrap_or(u64::MAX - 1)
    }

    /// What another crate has hung into this world. The first call makes it, for all that come
    /// later.
    pub fn extension(&self, make: impl FnOnce() -> Arc<dyn Any + Send + Sync>) -> Arc<dyn Any + Send + Sync> {
        let _native = Native::begin();
        Arc::clone(lock(&self.extension).get_or_insert_with(make))
    }

    /// The same, if it is there.
    pub fn existing_extension(&self) -> Option<Arc<dyn Any + Send + Sync>> {
        lock(&self.extension).clone()
    }

    /// Says that sockets are simulated: a goroutine that waits for one, with nothing else to come,
    /// waits for ever.
    pub fn simulates_network(&self) {
        self.network.store(true, Ordering::Relaxed);
    }

    /// Has `event` called when the world's clock reaches `at`, in nanoseconds since it began. It
    /// runs between two turns, where nothing may park, and may wake goroutines. Events of one time
    /// happen in the order of these calls.
    pub fn at(&self, at: u64, event: impl FnOnce() + Send + 'static) {
        static ORDER: AtomicU64 = AtomicU64::new(0);
        let _native = Native::begin();
        lock(&self.events).insert((at, ORDER.fetch_add(1, Ordering::Relaxed)), Box::new(event));
    }

    /// Has the goroutines whose labels fulfil `is_gone` never run again, as a process that is
    /// killed: those that there are now. Nothing of theirs is dropped, and they do not count as
    /// left. The caller may be one of them, until it next waits or gives way.
    pub fn abandon(&self, is_gone: impl Fn(&Labels) -> bool + Send + 'static) {
        let _native = Native::begin();
        lock(&self.abandons).push(Box::new(is_gone));
    }

    /// Has the date be off for some goroutines: `by` says how far it is ahead, in nanoseconds, for
    /// those with these labels. It is asked before each turn.
    pub fn skew_dates(&self, by: impl Fn(&Labels) -> i64 + Send + 'static) {
        let _native = Native::begin();
        *lock(&self.skews) = Some(Box::new(by));
    }

    /// One of `0..n`, as the scheduler decides.
    pub fn draw(&self, n: usize) -> usize {
        self.scheduler(|scheduler| scheduler.draw(n).min(n.saturating_sub(1))).unwrap_or(0)
    }

    /// A random number, as the scheduler decides.
    pub fn random(&self) -> u64 {
        self.scheduler(|scheduler| scheduler.random()).unwrap_or(0)
    }

    /// Whether panics are not reported where they happen.
    pub(crate) fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// The number of the goroutine with this id, if it is one of this world's.
    fn number(&self, id: u64) -> Option<u32> {
        id.checked_sub(self.first).filter(|number| *number < NUMBERS).map(|number| number as u32)
    }

    /// The number of a goroutine of this world that was not abandoned.
    fn member(&self, id: u64, progress: &Progress) -> Option<u32> {
        self.number(id).filter(|number| !progress.abandoned.contains(number))
    }

    /// Calls `f` with what decides, if the world is not over.
    pub(crate) fn scheduler<R>(&self, f: impl FnOnce(&mut dyn Scheduler) -> R) -> Option<R> {
        // The loop waits for this lock. So a goroutine must not park while it has it, not even at a
        // lock of the allocator's.
        let _native = Native::begin();
        lock(&self.scheduler).as_mut().map(|scheduler| f(&mut **scheduler))
    }

    /// The world is over: tells that to the caller that has begun it.
    fn finish(&self, over: Over) {
        let tell = lock(&self.tell).take();
        if let Some(tell) = tell {
            tell(over);
        }
    }

    /// Takes out what has decided in a world that is over.
    pub(crate) fn take_scheduler(&self) -> Box<dyn Any + Send> {
        lock(&self.scheduler).take().expect("taken once").into_any()
    }

    /// Drops what the program has hung into a world that is over. The loop may be the last to let go
    /// of the world, and no code of the program may run there. Returns the panics that have ended
    /// goroutines which nothing joined.
    pub(crate) fn empty(&self) -> Vec<(u32, Panic)> {
        let abandons = std::mem::take(&mut *lock(&self.abandons));
        let (skews, extension) = (lock(&self.skews).take(), lock(&self.extension).take());
        drop((abandons, skews, extension));
        std::mem::take(&mut *lock(&self.panics))
    }
}

/// Which goroutines of a processor exist for those who look: not what a world has left that is
/// over.
pub(super) enum Shown {
    All,
    OfWorld(Option<Arc<World>>),
}

pub(super) fn shown_on(processor: &Processor) -> Shown {
    processor.stage().map_or(Shown::All, |stage| Shown::OfWorld(stage.world()))
}

impl Shown {
    pub(super) fn contain(&self, record: &Record) -> bool {
        match self {
            Shown::All => true,
            Shown::OfWorld(world) => world.as_ref().is_some_and(|world| world.number(record.id).is_some()),
        }
    }
}

/// The world that the calling code is in: a goroutine of it, or an [event](World::at).
#[inline]
pub fn current() -> Option<Arc<World>> {
    Here::now()?.processor().stage()?.world()
}

/// One of `0..n`, if the caller is in a world.
#[inline]
pub fn draw(n: usize) -> Option<usize> {
    current().map(|world| world.draw(n))
}

/// The time: that of the world if the caller is in one.
#[inline]
pub fn now() -> Instant {
    match Here::now().and_then(|here| here.processor().stage()) {
        Some(stage) => stage.world().map_or_else(Instant::now, |world| world.instant()),
        None => Instant::now(),
    }
}

/// The instant from which the runtime counts. It is never one of a world.
pub fn epoch() -> Instant {
    crate::clock::epoch()
}

/// What a clock shows that goroutines of a world read, since its zero: if the calling code is such
/// a goroutine. The clocks begin at fixed times, so that the same run sees the same times: the
/// monotonic one later than any that was read outside, the other one with a date that this version
/// knows. Async-signal-safe.
pub fn clock(monotonic: bool) -> Option<Duration> {
    let stage = Here::now()?.processor().stage()?;
    processor::calling_goroutine()?;
    let now = Duration::from_nanos(stage.clock()?);
    if monotonic {
        return Some(Duration::from_secs(MONOTONIC_ZERO) + now);
    }
    let (date, skew) = (Duration::from_secs(REAL_ZERO) + now, stage.skew());
    let by = Duration::from_nanos(skew.unsigned_abs());
    Some(if skew < 0 { date.saturating_sub(by) } else { date + by })
}

/// Fills memory with random bytes, if the caller is a goroutine of a world.
pub fn fill_random(bytes: &mut [u8]) -> bool {
    if processor::calling_goroutine().is_none() {
        return false;
    }
    let Some(world) = current() else { return false };
    for chunk in bytes.chunks_mut(8) {
        chunk.copy_from_slice(&world.random().to_le_bytes()[..chunk.len()]);
    }
    true
}

/// An instant as a deadline in the heap of this processor's timers.
pub(super) fn timer_at(here: &Processor, at: Instant) -> u64 {
    match here.stage().and_then(Stage::world) {
        Some(world) => world.nanos(at),
        None => crate::clock::at(at),
    }
}

/// Notes the panic that has ended the calling goroutine, which nothing joins.
#[cold]
pub(crate) fn panicked(payload: Box<dyn Any + Send>) {
    let goroutine = processor::calling_goroutine();
    if let Some((world, goroutine)) = current().zip(goroutine)
        && let Some(number) = world.number(goroutine.id)
    {
        let panic = Panic::of_caller(payload);
        let _native = Native::begin();
        lock(&world.panics).push((number, panic));
        world.scheduler(|scheduler| scheduler.panicked(number));
    }
}
