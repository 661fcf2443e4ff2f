//! Random programs do on goroutines what they do on threads.
//!
//! A program is a few actors with a list of steps each: thread-locals, std's locks, panics and
//! hooks, destructors, `park`, hash maps, generators. It runs on threads, on goroutines, and on
//! both at once. Each actor writes a log of its own; what several share is changed in a fixed
//! order, or in a way in which the order does not show. So the logs and totals must be the same.
//! `NARROWBOAT_TEST_SEED` runs one program alone.

use narrowboat_testing::{Dice, number_from_env, sized, within};
use rand::Rng;
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any, resume_unwind};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Condvar, Mutex, OnceLock, PoisonError, RwLock};
use std::thread::{self, ThreadId};
use std::time::Duration;

#[derive(Clone, Debug)]
enum Step {
    Pause(usize),
    /// Uses one of the thread-locals, in one of several ways.
    Local(usize, usize),
    /// A critical section that adds to a total.
    Lock(usize, usize),
    Write(usize),
    Read,
    /// Panics and catches it, after a number of frames that pause when they are unwound.
    Panic(usize, usize),
    Poison,
    /// Waits for its turn among all actors.
    Turn(usize),
    /// Waits for all actors.
    Meet,
    Once(usize),
    Map(usize),
    Draw(usize),
    ParkForChild,
    Child(Vec<Step>),
    Identity,
}

/// How an actor ends.
#[derive(Clone, Copy, Debug)]
enum End {
    Returns,
    Panics,
    PanicsQuietly,
}

type Actor = (Vec<Step>, End);

fn generate(seed: u64) -> Vec<Actor> {
    let mut dice = Dice::new(seed + 1);
    let count = 2 + dice.roll(4);
    let mut actors: Vec<Actor> = (0..count).map(|_| (Vec::new(), End::Returns)).collect();
    let mut turns = 0;
    for _ in 0..10 + dice.roll(30) {
        let number = dice.roll(count);
        match dice.roll(12) {
            0 => actors.iter_mut().for_each(|actor| actor.0.push(Step::Meet)),
            1 | 2 => {
                actors[number].0.push(Step::Turn(turns));
                turns += 1;
            }
            _ => {
                let step = own_step(&mut dice, 2);
                actors[number].0.push(step);
            }
        }
    }
    for actor in &mut actors {
        actor.1 = [End::Returns, End::Returns, End::Panics, End::PanicsQuietly][dice.roll(4)];
    }
    actors
}

/// One that no other actor has to take part in.
fn own_step(dice: &mut Dice, depth: usize) -> Step {
    match dice.roll(if depth > 0 { 17 } else { 15 }) {
        0 => Step::Pause(dice.roll(4)),
        1..=4 => Step::Local(dice.roll(LOCALS), dice.roll(4)),
        5 => Step::Lock(dice.roll(3), dice.roll(100)),
        6 => Step::Write(dice.roll(100)),
        7 => Step::Read,
        8 | 9 => Step::Panic(dice.roll(3), dice.roll(3)),
        10 => Step::Poison,
        11 => Step::Once(dice.roll(3)),
        12 => Step::Map(dice.roll(20)),
        13 => Step::Draw(dice.roll(100)),
        14 => Step::Identity,
        15 => Step::ParkForChild,
        _ => Step::Child((0..1 + dice.roll(5)).map(|_| own_step(dice, depth - 1)).collect()),
    }
}

/// What the actors of a program share.
#[derive(Default)]
struct World {
    totals: [Mutex<usize>; 3],
    /// Two numbers that are the same whenever nothing writes.
    pair: RwLock<(usize, usize)>,
    turn: Mutex<Vec<String>>,
    turned: Condvar,
    cells: [OnceLock<usize>; 3],
    once: OnceLock<()>,
    made: AtomicUsize,
    barrier: Option<Barrier>,
}

/// Whether an actor is a goroutine; so are its children.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Kind {
    Thread,
    Goroutine,
}

enum Handle<T> {
    Thread(thread::JoinHandle<T>),
    Goroutine(narrowboat::JoinHandle<T>),
}

impl Kind {
    fn spawn<T: Send + 'static>(self, f: impl FnOnce() -> T + Send + 'static) -> Handle<T> {
        match self {
            Kind::Thread => Handle::Thread(thread::spawn(f)),
            Kind::Goroutine => Handle::Goroutine(narrowboat::spawn(f)),
        }
    }
}

impl<T> Handle<T> {
    fn join(self) -> thread::Result<T> {
        match self {
            Handle::Thread(handle) => handle.join(),
            Handle::Goroutine(handle) => handle.join(),
        }
    }
}

/// What an actor is to its thread-locals, which may ask for it to the very end.
struct Self_ {
    kind: Kind,
    number: usize,
    world: Arc<World>,
    log: Mutex<Vec<String>>,
}

const LOCALS: usize = 5;

thread_local! {
    /// Without a destructor.
    static ME: Cell<Option<&'static Self_>> = const { Cell::new(None) };
    static DEPTH: Cell<usize> = const { Cell::new(0) };

    static LAZY: Kept = Kept::new("lazy");
    static PARKS: Kept = {
        pause(0);
        let kept = Kept::new("parks");
        pause(1);
        kept
    };
    static USES: Kept = {
        PARKS.with(|kept| kept.count.set(kept.count.get() + 100));
        Kept::new("uses")
    };
    static SET: RefCell<Option<Kept>> = const { RefCell::new(None) };
    static LIST: RefCell<Vec<Rc<Kept>>> = const { RefCell::new(Vec::new()) };
    static GENERATOR: RefCell<Dice> = RefCell::new(Dice::new(me().number as u64));
    static IDENTITY: OnceCell<ThreadId> = const { OnceCell::new() };
}

fn me() -> &'static Self_ {
    ME.get().expect("an actor knows itself")
}

fn say(line: String) {
    me().log.lock().unwrap_or_else(PoisonError::into_inner).push(line);
}

fn pause(how: usize) {
    match how % 4 {
        0 => narrowboat::yield_now(),
        1 => narrowboat::sleep(Duration::from_micros(20)),
        2 => {
            let (tx, rx) = narrowboat::chan::bounded(0);
            narrowboat::spawn(move || tx.send(()));
            rx.recv().unwrap();
        }
        _ => thread::yield_now(),
    }
}

/// The value of a thread-local.
struct Kept {
    name: &'static str,
    count: Cell<usize>,
}

impl Kept {
    fn new(name: &'static str) -> Kept {
        say(format!("make {name}"));
        Kept { name, count: Cell::new(0) }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let there = |is: Result<usize, _>| is.map_err(|_: thread::AccessError| "gone");
        say(format!("drop {} at {} panicking {}", self.name, self.count.get(), thread::panicking()));
        pause(self.count.get());
        say(format!("lazy {:?}", there(LAZY.try_with(|kept| kept.count.replace(7)))));
        if self.name == "lazy" {
            let _ = SET.try_with(|cell| {
                cell.try_borrow_mut().map(|mut set| set.get_or_insert_with(|| Kept::new("late")).count.set(9))
            });
        }
        *me().world.totals[0].lock().unwrap_or_else(PoisonError::into_inner) += self.count.get();
        let quiet = catch_unwind(|| resume_unwind(Box::new(3_u8)));
        say(format!("{:?}", quiet.unwrap_err().downcast_ref::<u8>()));
    }
}

fn use_local(which: usize, how: usize) {
    let kept = |kept: &Kept| {
        let before = kept.count.get();
        pause(how);
        say(format!("{} {}", kept.name, before));
        kept.count.set(before + 1);
    };
    match which {
        0 => LAZY.with(kept),
        1 => PARKS.with(kept),
        2 => USES.with(kept),
        3 if how == 0 => drop(SET.take()),
        3 => SET.with_borrow_mut(|set| kept(set.get_or_insert_with(|| Kept::new("set")))),
        _ if how == 0 => {
            let list = LIST.with_borrow_mut(std::mem::take);
            pause(1);
            say(format!("{} taken", list.len()));
        }
        _ => LIST.with_borrow_mut(|list| {
            let value = list.first().cloned().unwrap_or_else(|| Rc::new(Kept::new("shared")));
            pause(how);
            list.push(value);
            say(format!("{} of {}", list.len(), Rc::strong_count(&list[0])));
        }),
    }
}

/// Pauses when a panic unwinds it, and panics inside as well.
struct Frame(usize);

impl Drop for Frame {
    fn drop(&mut self) {
        say(format!("unwound {} panicking {}", self.0, thread::panicking()));
        pause(self.0);
        let inner = catch_unwind(|| panic_any(self.0));
        say(format!("{:?} panicking {}", inner.unwrap_err().downcast_ref::<usize>(), thread::panicking()));
        use_local(self.0, 1);
    }
}

fn panic_in_frames(frames: usize, how: usize) {
    let _frame = Frame(frames);
    pause(how);
    match frames {
        0 if how == 0 => resume_unwind(Box::new(String::from("quiet"))),
        0 => panic!("as number {}", me().number),
        _ => panic_in_frames(frames - 1, how),
    }
}

fn text(payload: &(dyn std::any::Any + Send)) -> String {
    match payload.downcast_ref::<String>() {
        Some(text) => text.clone(),
        None => format!("{:?}", payload.downcast_ref::<&str>()),
    }
}

fn run_step(step: &Step) {
    let world = &*me().world;
    match step {
        Step::Pause(how) => pause(*how),
        Step::Local(which, how) => use_local(*which, *how),
        Step::Lock(which, add) => {
            let mut total = world.totals[*which].lock().unwrap_or_else(PoisonError::into_inner);
            let before = *total;
            pause(*add);
            assert_eq!(*total, before);
            *total += add;
        }
        Step::Write(add) => {
            let mut pair = world.pair.write().unwrap();
            pair.0 += add;
            pause(*add);
            pair.1 += add;
        }
        Step::Read => {
            let pair = world.pair.read().unwrap();
            pause(1);
            assert_eq!(pair.0, pair.1);
        }
        Step::Panic(frames, how) => {
            let caught = catch_unwind(|| panic_in_frames(*frames, *how)).unwrap_err();
            say(format!("caught {} panicking {}", text(&*caught), thread::panicking()));
        }
        Step::Poison => {
            let mine = Mutex::new(1);
            let caught = catch_unwind(AssertUnwindSafe(|| {
                let _guard = mine.lock();
                let _frame = Frame(0);
                resume_unwind(Box::new(()));
            }));
            say(format!("{} poisoned {}", caught.is_err(), mine.is_poisoned()));
        }
        Step::Turn(turn) => {
            let turns = world.turn.lock().unwrap();
            let mut turns = world.turned.wait_while(turns, |turns| turns.len() != *turn).unwrap();
            pause(*turn);
            say(format!("after {:?}", turns.last()));
            turns.push(format!("{turn} by {}", me().number));
            world.turned.notify_all();
        }
        Step::Meet => {
            world.barrier.as_ref().unwrap().wait();
        }
        Step::Once(which) => {
            let make = || {
                pause(*which);
                world.made.fetch_add(1, Ordering::Relaxed);
                which * 10
            };
            world.once.get_or_init(|| assert_eq!(make(), which * 10));
            say(format!("{}", world.cells[*which].get_or_init(make)));
        }
        Step::Map(keys) => {
            let mut map: HashMap<_, _> = (0..*keys).map(|key| (key, key * key)).collect();
            pause(2);
            map.remove(&3);
            say(format!("{}", map.values().sum::<usize>()));
        }
        Step::Draw(limit) => {
            let mut std = rand::rng();
            let two: [u64; 2] = [std.random(), std.random()];
            pause(*limit);
            say(format!("{}", two[0] != two[1] && two[1] != std.random::<u64>()));
            say(format!("{}", GENERATOR.with_borrow_mut(|dice| dice.roll(limit + 1))));
        }
        Step::ParkForChild => {
            let set = Arc::new(AtomicBool::new(false));
            let (parent, other) = (thread::current(), set.clone());
            let child = me().kind.spawn(move || {
                pause(1);
                other.store(true, Ordering::Release);
                parent.unpark();
            });
            while !set.load(Ordering::Acquire) {
                thread::park();
            }
            say(format!("woken, and its child {:?}", child.join().is_ok()));
        }
        Step::Child(steps) => {
            let (kind, number, world) = (me().kind, me().number + 100, me().world.clone());
            let log = run_actor(kind, number, world, (steps.clone(), End::Returns))();
            say(format!("a child: {log:?}"));
        }
        Step::Identity => {
            let id = thread::current().id();
            say(format!("{}", IDENTITY.with(|first| *first.get_or_init(|| id) == id)));
        }
    }
}

/// Spawns it. What is returned waits for its end and has its log.
fn run_actor(
    kind: Kind,
    number: usize,
    world: Arc<World>,
    (steps, end): Actor,
) -> impl FnOnce() -> Vec<String> + use<> {
    let this: &'static Self_ = Box::leak(Box::new(Self_ { kind, number, world, log: Mutex::default() }));
    let handle = kind.spawn(move || {
        // Nothing is left of another.
        assert!(ME.replace(Some(this)).is_none() && DEPTH.replace(1) == 0);
        assert!(!thread::panicking());
        steps.iter().for_each(run_step);
        match end {
            End::Returns => steps.len(),
            End::Panics => panic!("at the end of {number}"),
            End::PanicsQuietly => resume_unwind(Box::new(String::from("a quiet end"))),
        }
    });
    move || {
        let outcome = handle.join().map_err(|payload| text(&*payload));
        let mut log = std::mem::take(&mut *this.log.lock().unwrap_or_else(PoisonError::into_inner));
        log.push(format!("outcome {outcome:?}"));
        log
    }
}

/// The logs of all actors, the turns, and the totals.
fn run_program(actors: Vec<Actor>, kind: impl Fn(usize) -> Kind) -> Vec<Vec<String>> {
    let world = Arc::new(World { barrier: Some(Barrier::new(actors.len())), ..World::default() });
    let running: Vec<_> = actors
        .into_iter()
        .enumerate()
        .map(|(number, actor)| run_actor(kind(number), number, world.clone(), actor))
        .collect();
    let mut logs: Vec<_> = running.into_iter().map(|wait| wait()).collect();
    logs.push(world.turn.lock().unwrap().clone());
    let totals: Vec<_> =
        world.totals.iter().map(|t| *t.lock().unwrap_or_else(PoisonError::into_inner)).collect();
    let pair = *world.pair.read().unwrap();
    logs.push(vec![format!("{totals:?} {pair:?} {}", world.made.load(Ordering::Relaxed))]);
    logs
}

/// Names the program that fails.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("it was program {0}: NARROWBOAT_TEST_SEED={0}", self.0);
        }
    }
}

/// What the actor of a number is.
type KindOf = fn(usize) -> Kind;

fn compare(seed: u64) {
    let _seed = Seed(seed);
    let actors = generate(seed);
    let limit = Duration::from_secs(60);
    let run = |kind: KindOf| {
        let actors = actors.clone();
        within(limit, move || run_program(actors, kind))
    };
    let expected = run(|_| Kind::Thread);
    let kinds: [(&str, KindOf); 3] = [
        ("goroutines", |_| Kind::Goroutine),
        ("every other one a goroutine", |n| [Kind::Thread, Kind::Goroutine][n % 2]),
        ("every other one a thread", |n| [Kind::Goroutine, Kind::Thread][n % 2]),
    ];
    for (name, kind) in kinds {
        for (index, (log, expected)) in run(kind).iter().zip(&expected).enumerate() {
            assert_eq!(log, expected, "log {index} on {name}, of {actors:?}");
        }
    }
}

/// The panic hook belongs to the process. It is called in the actor that panics, and may do what
/// that may.
fn install_hook() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| match ME.get() {
        None => before(info),
        Some(_) => {
            pause(1);
            let message = text(info.payload());
            say(format!("hook {message} panicking {}", thread::panicking()));
            pause(0);
        }
    }));
}

#[test]
fn random_programs_do_what_they_do_on_threads() {
    install_hook();
    match number_from_env("NARROWBOAT_TEST_SEED") {
        Some(seed) => compare(seed as u64),
        None => (0..sized(100, 20)).for_each(|seed| compare(seed as u64)),
    }
}
