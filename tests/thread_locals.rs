//! A goroutine's thread-locals are made, kept and dropped as a thread's are.
//!
//! Most tests are scenarios: each writes a log, once on a plain thread and then on every kind of
//! goroutine with neighbours that do the same, and all logs must be the thread's.

use narrowboat::chan::bounded;
use narrowboat::{Builder, go};
use narrowboat_testing::{assert_passed, eventually, in_child_with, memory, program, sized};
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, LocalKey};
use std::time::{Duration, Instant};

/// What an actor says, and how many of its values live.
#[derive(Default)]
struct Log {
    lines: Mutex<Vec<String>>,
    alive: AtomicUsize,
}

thread_local! {
    /// Without a destructor: it can be used to the very end.
    static LOG: Cell<Option<&'static Log>> = const { Cell::new(None) };
}

fn log() -> &'static Log {
    LOG.get().expect("this thread's log is where it was put")
}

fn say(line: impl Into<String>) {
    log().lines.lock().unwrap().push(line.into());
}

/// Lets neighbours run.
fn pause() {
    narrowboat::sleep(Duration::from_micros(50));
    narrowboat::yield_now();
}

/// A value that says when it is made and dropped.
struct Noted(&'static str, fn());

impl Noted {
    fn new(name: &'static str, in_drop: fn()) -> Noted {
        say(format!("make {name}"));
        log().alive.fetch_add(1, Ordering::Relaxed);
        Noted(name, in_drop)
    }
}

impl Drop for Noted {
    fn drop(&mut self) {
        say(format!("drop {}", self.0));
        (self.1)();
        say(format!("dropped {}", self.0));
        log().alive.fetch_sub(1, Ordering::Release);
    }
}

fn nothing() {}

/// The ways to be a goroutine, and a thread to compare with.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Way {
    Thread,
    Goroutine,
    OwnStack,
    Scoped,
    Main,
    DetachedThread,
    Detached,
}

impl Way {
    /// The log of a scenario that runs this way.
    fn run(self, scenario: fn()) -> Vec<String> {
        let log: &'static Log = Box::leak(Box::default());
        let body = move || {
            LOG.set(Some(log));
            say("begin");
            scenario();
            say("end");
        };
        // The outcome is as much a part of the scenario as the rest.
        let ended = match self {
            Way::Thread => thread::spawn(body).join().is_ok(),
            Way::Goroutine => go!(body).join().is_ok(),
            Way::OwnStack => Builder::new().own_stack(64 << 10).spawn(body).unwrap().join().is_ok(),
            Way::Scoped => {
                let owner = Builder::new().own_stack(64 << 10);
                owner
                    .spawn(move || narrowboat::scope(|s| s.spawn(body).join().is_ok()))
                    .unwrap()
                    .join()
                    .unwrap()
            }
            Way::Main => narrowboat::blocking(move || catch_unwind(|| narrowboat::run(body)).is_ok()),
            Way::DetachedThread | Way::Detached => {
                if self == Way::Detached {
                    drop(go!(body));
                } else {
                    drop(thread::spawn(body));
                }
                eventually("the values of a detached one are dropped", || {
                    let lines = log.lines.lock().unwrap();
                    lines.len() > 1 && log.alive.load(Ordering::Acquire) == 0
                });
                true
            }
        };
        assert_eq!(log.alive.load(Ordering::Acquire), 0, "{self:?}: dropped before the join");
        let mut lines = std::mem::take(&mut *log.lines.lock().unwrap());
        lines.push(format!("ended {ended}"));
        lines
    }
}

/// The log of a thread, which is that of every kind of goroutine too.
#[track_caller]
fn as_on_a_thread(scenario: fn()) -> Vec<String> {
    compare(scenario, Way::Thread, &[Way::Goroutine, Way::OwnStack, Way::Scoped, Way::Main])
}

#[track_caller]
fn compare(scenario: fn(), model: Way, ways: &'static [Way]) -> Vec<String> {
    let expected = model.run(scenario);
    let logs = program(move || {
        // As many that they are neighbours on every processor.
        let runs: Vec<_> =
            (0..8).flat_map(|_| ways).map(|&way| go!(move || (way, way.run(scenario)))).collect();
        runs.into_iter()
            .map(|run| run.join().unwrap_or_else(|failure| resume_unwind(failure)))
            .collect::<Vec<_>>()
    });
    for (way, log) in logs {
        assert_eq!(log, expected, "{way:?}, and what a thread says");
    }
    expected
}

/// Position of a line, which there must be once.
#[track_caller]
fn at(log: &[String], line: &str) -> usize {
    let found: Vec<_> = log.iter().enumerate().filter(|(_, said)| *said == line).map(|(at, _)| at).collect();
    assert_eq!(found.len(), 1, "{line:?} is there once: {log:?}");
    found[0]
}

#[test]
fn a_value_is_made_at_its_first_use_and_is_one_actors_own() {
    thread_local! {
        static LAZY: Cell<u32> = { say("made"); Cell::new(1) };
        static CONST: Cell<u32> = const { Cell::new(1) };
        static UNUSED: Noted = Noted::new("unused", nothing);
    }
    let log = as_on_a_thread(|| {
        for key in [&LAZY, &CONST] {
            for _ in 0..5 {
                key.with(|value| {
                    let before = value.get();
                    pause();
                    assert_eq!(value.get(), before, "nothing else writes to it");
                    value.set(before + 1);
                });
                pause();
            }
            say(format!("{}", key.get()));
        }
    });
    assert_eq!(log, ["begin", "made", "6", "6", "end", "ended true"]);
}

#[test]
fn cells_have_their_helpers() {
    thread_local! {
        static NEVER: Cell<u32> = panic!("set before it is asked for");
        static LIST: RefCell<Vec<u32>> = panic!("set before it is asked for");
        static CONST: RefCell<String> = const { RefCell::new(String::new()) };
        static ONCE: OnceCell<Rc<u32>> = const { OnceCell::new() };
    }
    as_on_a_thread(|| {
        NEVER.set(1);
        pause();
        say(format!("{} {} {}", NEVER.get(), NEVER.replace(7), NEVER.take()));
        LIST.set(vec![1]);
        LIST.with_borrow_mut(|list| {
            pause();
            list.push(2);
            assert!(LIST.with(|cell| cell.try_borrow().is_err()), "borrowed across a park");
        });
        say(format!("{:?} {:?} {:?}", LIST.with_borrow(Vec::clone), LIST.replace(vec![9]), LIST.take()));
        CONST.with_borrow_mut(|text| text.push('x'));
        pause();
        say(format!("{:?}", CONST.take()));
        ONCE.with(|cell| {
            cell.get_or_init(|| {
                pause();
                Rc::new(5)
            });
        });
        pause();
        say(format!("{:?}", ONCE.with(|cell| cell.get().cloned())));
    });
}

#[test]
fn a_value_cannot_be_had_while_and_after_it_is_dropped() {
    thread_local! {
        static FIRST: Noted = Noted::new("first", look);
        static SECOND: Noted = const { Noted("second", look) };
        static PLAIN: Cell<u32> = const { Cell::new(3) };
    }
    fn look() {
        pause();
        let there = |key: &'static LocalKey<Noted>| key.try_with(|noted| noted.0).map_err(|e| e.to_string());
        say(format!("{:?} {:?} {:?}", there(&FIRST), there(&SECOND), PLAIN.try_with(Cell::get)));
    }
    as_on_a_thread(|| {
        log().alive.fetch_add(1, Ordering::Relaxed);
        FIRST.with(|_| ());
        SECOND.with(|_| ());
        look();
    });
}

#[test]
fn values_are_dropped_in_the_order_of_a_thread() {
    thread_local! {
        static A: Noted = Noted::new("a", nothing);
        static B: Noted = Noted::new("b", pause);
        static C: Noted = Noted::new("c", nothing);
        static D: RefCell<Option<Noted>> = const { RefCell::new(None) };
    }
    let log = as_on_a_thread(|| {
        B.with(|_| ());
        D.set(Some(Noted::new("d", pause)));
        pause();
        A.with(|_| ());
        D.with_borrow(|_| ());
        C.with(|_| ());
    });
    let order = ["drop c", "drop a", "drop d", "drop b"].map(|line| at(&log, line));
    assert!(order.is_sorted(), "the last one first: {log:?}");
}

#[test]
fn destructors_make_further_values() {
    thread_local! {
        static ONE: Noted = Noted::new("one", || TWO.with(|_| pause()));
        static TWO: Noted = Noted::new("two", || { pause(); THREE.set(Some(Noted::new("three", || FOUR.with(|_| ())))) });
        static THREE: RefCell<Option<Noted>> = const { RefCell::new(None) };
        static FOUR: Noted = Noted::new("four", || say(format!("{}", ONE.try_with(|_| ()).is_err())));
    }
    let log = as_on_a_thread(|| ONE.with(|_| ()));
    let order = ["end", "drop one", "drop two", "drop three", "drop four"].map(|line| at(&log, line));
    assert!(order.is_sorted(), "{log:?}");
}

#[test]
fn values_that_make_each_other_come_to_an_end() {
    thread_local! {
        static LEFT: RefCell<Option<Noted>> = const { RefCell::new(None) };
        static RIGHT: RefCell<Option<Noted>> = { nothing(); RefCell::new(None) };
        static SELF: RefCell<Option<Noted>> = { nothing(); RefCell::new(None) };
    }
    fn refill(key: &'static LocalKey<RefCell<Option<Noted>>>, name: &'static str, again: fn()) {
        pause();
        let there = key.try_with(|cell| cell.try_borrow().map(|value| value.is_some()).ok());
        say(format!("{name} is {there:?}"));
        if there == Ok(Some(false)) {
            key.set(Some(Noted::new(name, again)));
        }
    }
    fn left() {
        refill(&LEFT, "left", right);
    }
    fn right() {
        refill(&RIGHT, "right", left);
    }
    as_on_a_thread(|| drop(Noted::new("start", left)));
    as_on_a_thread(|| SELF.set(Some(Noted::new("self", || refill(&SELF, "self", nothing)))));
}

#[test]
fn an_initialiser_may_park_panic_and_come_back() {
    thread_local! {
        static PARKS: Noted = {
            let (tx, rx) = bounded(0);
            let other = go!(move || tx.send("arrived").is_ok());
            pause();
            say(rx.recv().unwrap());
            assert!(other.join().unwrap());
            Noted::new("parks", nothing)
        };
        static FAILS: Noted = {
            pause();
            if TRIES.replace(TRIES.get() + 1) < 2 {
                resume_unwind(Box::new("no"));
            }
            Noted::new("fails", nothing)
        };
        static TRIES: Cell<u32> = const { Cell::new(0) };
        static USES_OTHERS: Noted = { PARKS.with(|_| pause()); Noted::new("uses others", || PARKS.with(|_| pause())) };
    }
    let log = as_on_a_thread(|| {
        for _ in 0..4 {
            say(format!("{}", catch_unwind(|| FAILS.with(|_| pause())).is_ok()));
        }
        say(format!("{}", TRIES.get()));
        USES_OTHERS.with(|_| ());
    });
    assert_eq!(log.iter().filter(|line| *line == "false").count(), 2, "{log:?}");
}

#[test]
fn destructors_may_do_what_a_thread_does() {
    thread_local! {
        static IDENTITY: Cell<Option<thread::ThreadId>> = const { Cell::new(None) };
        static CHANNELS: Noted = Noted::new("channels", || {
            let (tx, rx) = bounded(0);
            let other = go!(move || tx.send(String::from("sent")).is_ok());
            say(rx.recv().unwrap());
            say(format!("{:?}", other.join().ok()));
        });
        static JOINS: Noted = Noted::new("joins", || {
            say(format!("{:?}", thread::spawn(|| 1).join().ok()));
            say(format!("{:?}", go!(|| -> u32 { resume_unwind(Box::new(1)) }).join().is_err()));
        });
        static LOCKS: Noted = Noted::new("locks", || {
            static SHARED: Mutex<u32> = Mutex::new(0);
            let mut shared = SHARED.lock().unwrap();
            *shared += 1;
            pause();
        });
        static MISCELLANY: Noted = Noted::new("miscellany", || {
            say(format!("{}", IDENTITY.get() == Some(thread::current().id())));
            thread::park_timeout(Duration::from_millis(1));
            thread::current().unpark();
            thread::park();
            say(format!("{:?}", HashSet::from([1, 1])));
            say(format!("{} {}", thread::panicking(), catch_unwind(|| resume_unwind(Box::new(1))).is_err()));
        });
    }
    as_on_a_thread(|| {
        IDENTITY.set(Some(thread::current().id()));
        for key in [&CHANNELS, &JOINS, &LOCKS, &MISCELLANY] {
            key.with(|_| ());
        }
    });
}

#[test]
fn a_panic_drops_the_values_after_it() {
    thread_local!(static VALUE: Noted = Noted::new("value", || {
        pause();
        say(format!("panicking {}", thread::panicking()));
    }));
    let log = as_on_a_thread(|| {
        VALUE.with(|_| {
            let _unwound = Noted::new("unwound", || {
                pause();
                say(format!("{} {}", VALUE.with(|value| value.0), thread::panicking()));
            });
            pause();
            resume_unwind(Box::new("on purpose"));
        });
    });
    assert_eq!(log.last().unwrap(), "ended false");
    assert!(at(&log, "dropped unwound") < at(&log, "drop value") && at(&log, "value true") > 0);
}

#[test]
fn detached_ones_drop_theirs_too() {
    thread_local! {
        static VALUE: Noted = Noted::new("value", || OTHER.with(|_| pause()));
        static OTHER: Noted = Noted::new("other", pause);
    }
    compare(|| VALUE.with(|_| pause()), Way::DetachedThread, &[Way::Detached]);
}

/// Uses a thread-local when it is dropped, as the outcome of a goroutine.
struct Late(&'static Log, &'static LocalKey<Noted>);

impl Drop for Late {
    fn drop(&mut self) {
        LOG.set(Some(self.0));
        say(format!("{:?}", self.1.try_with(|noted| noted.0).ok()));
        self.0.alive.fetch_sub(1, Ordering::Release);
    }
}

#[test]
fn what_an_outcomes_destructor_makes_is_dropped() {
    thread_local! {
        static EARLY: Noted = Noted::new("early", || GATE.with(|gate| gate.borrow().as_ref().map_or((), |gate| { let _ = gate.recv(); })));
        static LATE: Noted = Noted::new("late", pause);
        static GATE: RefCell<Option<narrowboat::chan::Receiver<()>>> = const { RefCell::new(None) };
    }
    let begin = |log: &'static Log, panics: bool| {
        move || {
            LOG.set(Some(log));
            log.alive.fetch_add(1, Ordering::Relaxed);
            let late = Late(log, &LATE);
            pause();
            if panics {
                resume_unwind(Box::new(late));
            }
            late
        }
    };
    program(move || {
        for round in 0..40 {
            let (panics, log) = (round % 2 == 0, &*Box::leak(Box::<Log>::default()));
            let gone = || {
                let lines = log.lines.lock().unwrap();
                lines.iter().any(|line| line == "dropped late") && log.alive.load(Ordering::Acquire) == 0
            };
            match round / 2 % 4 {
                0 => drop(narrowboat::spawn(begin(log, panics))),
                1 => drop(thread::spawn(begin(log, panics))),
                // On the joiner, which is a thread or a goroutine and ends.
                2 => drop(go!(move || drop(narrowboat::spawn(begin(log, panics)).join()))),
                // The handle goes between the destructors and the outcome.
                _ => {
                    let (go_on, gate) = bounded(0);
                    let goroutine = go!(move || {
                        // Its own destructor comes last.
                        GATE.set(Some(gate));
                        LOG.set(Some(log));
                        EARLY.with(|_| ());
                        begin(log, panics)()
                    });
                    narrowboat::sleep(Duration::from_millis(2));
                    drop(goroutine);
                    drop(go_on);
                }
            }
            let start = Instant::now();
            while !gone() {
                let lines = || log.lines.lock().unwrap();
                assert!(start.elapsed() < Duration::from_secs(30), "round {round}: {:?}", lines());
                narrowboat::sleep(Duration::from_millis(1));
            }
            let lines = log.lines.lock().unwrap();
            assert!(at(&lines, "dropped late") > at(&lines, "Some(\"late\")"), "round {round}");
        }
    });
}

#[test]
fn each_goroutine_is_a_thread_of_its_own() {
    let count = sized(5_000, 1_000);
    let ids = program(move || {
        let one = move || {
            let me = thread::current();
            for _ in 0..3 {
                pause();
                assert_eq!(thread::current().id(), me.id(), "the same across parks");
            }
            assert!(!thread::panicking());
            me.id()
        };
        let all: Vec<_> = (0..count).map(|_| go!(one)).collect();
        let others: Vec<_> = (0..8).map(|_| thread::spawn(one)).collect();
        let mut ids: Vec<_> = all.into_iter().map(|one| one.join().unwrap()).collect();
        ids.extend(others.into_iter().map(|one| one.join().unwrap()));
        ids.push(thread::current().id());
        ids
    });
    assert_eq!(ids.iter().collect::<HashSet<_>>().len(), count + 9);
}

#[test]
fn a_handle_outlives_its_goroutine() {
    program(|| {
        let handles: Vec<_> = (0..100).map(|_| go!(thread::current).join().unwrap()).collect();
        let ids: HashSet<_> = handles.iter().map(|handle| handle.id()).collect();
        assert_eq!(ids.len(), 100);
        // To no other thread.
        handles.iter().for_each(|handle| handle.unpark());
        go!(|| {
            let start = Instant::now();
            thread::park_timeout(Duration::from_millis(20));
            assert!(start.elapsed() >= Duration::from_millis(20), "the token of another");
        })
        .join()
        .unwrap();
    });
}

/// Everything that std and others keep for each thread.
fn uses_all(n: usize) -> usize {
    use rand::Rng;
    thread_local! {
        static LIST: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
        static TEXT: String = String::from("longer than nothing at all");
    }
    let me = thread::current();
    let mut map = std::collections::HashMap::from([(n, me.id())]);
    map.insert(n + 1, me.id());
    if n.is_multiple_of(8) {
        narrowboat::yield_now();
    }
    LIST.with_borrow_mut(|list| list.push(n));
    let text = format!("{map:?} {}", TEXT.with(String::len));
    print!("");
    if n % 64 == 63 {
        panic!("on purpose, and quietly");
    }
    let random: u64 = rand::rng().random();
    text.len() + (random >> 63) as usize
}

#[test]
fn nothing_is_left_of_those_that_have_ended() {
    let name = "nothing_is_left_of_those_that_have_ended";
    if let Some(output) = in_child_with(name, &[("NARROWBOAT_STUCK", "0")]) {
        return assert_passed(&output, 1);
    }
    std::panic::set_hook(Box::new(|_| ()));
    let count = sized(50_000, 20_000);
    let grown = program(move || {
        let round = |goroutines: usize| {
            for first in (0..goroutines).step_by(500) {
                let some: Vec<_> =
                    (first..(first + 500).min(goroutines)).map(|n| go!(move || uses_all(n))).collect();
                let panicked = some.into_iter().filter_map(|one| one.join().err()).count();
                assert!((7..=8).contains(&panicked), "{panicked} of 500");
            }
            // What is not of a file.
            memory("RssAnon")
        };
        round(count);
        // A leak shows each time; what is read in once, such as the names of functions, shows once.
        let sizes = [(); 4].map(|()| round(count));
        sizes.windows(2).map(|two| two[1].saturating_sub(two[0])).min().unwrap()
    });
    let _ = std::panic::take_hook();
    assert!(grown < 32 * count, "{grown} bytes more after {count} goroutines, each time");
}

#[test]
fn a_borrow_by_one_is_no_borrow_by_another() {
    thread_local!(static CELL: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) });
    let total = Arc::new(AtomicUsize::new(0));
    let seen = total.clone();
    program(move || {
        let all: Vec<_> = (0..200)
            .map(|n| {
                let total = total.clone();
                go!(move || {
                    let result = catch_unwind(AssertUnwindSafe(|| {
                        CELL.with_borrow_mut(|list| {
                            list.push(n);
                            pause();
                            list.push(n);
                            pause();
                            assert_eq!(list[..], [n, n]);
                        });
                    }));
                    assert!(result.is_ok());
                    total.fetch_add(CELL.take().len(), Ordering::Relaxed);
                })
            })
            .collect();
        all.into_iter().for_each(|one| one.join().unwrap());
    });
    assert_eq!(seen.load(Ordering::Relaxed), 400);
}
