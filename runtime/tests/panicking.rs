//! Which goroutine is unwinding, among those that share a processor: each has its own count of panics.

use narrowboat_runtime::{Config, panicking, spawn, yield_now};
use std::panic::{catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Once};

/// All goroutines of this binary live on one processor, and the tests do so one after the other.
/// Panics are quiet.
fn one_processor() -> MutexGuard<'static, ()> {
    static ONE_TEST: Mutex<()> = Mutex::new(());
    static START: Once = Once::new();
    let turn = ONE_TEST.lock().unwrap_or_else(|e| e.into_inner());
    START.call_once(|| {
        let loud = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if info.payload().downcast_ref() != Some(&"on purpose") {
                loud(info);
            }
        }));
        Config::new().workers(1).processors(1).start().unwrap();
    });
    turn
}

/// Something that happens in one goroutine and is waited for in another.
#[derive(Clone, Default)]
struct Event(Arc<AtomicBool>);

impl Event {
    fn happens(&self) {
        self.0.store(true, Ordering::Release);
    }

    fn wait(&self) {
        while !self.0.load(Ordering::Acquire) {
            yield_now();
        }
    }
}

/// Calls the function when dropped.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// How a goroutine comes to unwind.
type Start = fn();
const WITH_HOOK: Start = || panic!("on purpose");
const WITHOUT_HOOK: Start = || resume_unwind(Box::new("on purpose"));

/// A goroutine that is parked half-way through its unwinding.
struct Parked {
    goroutine: narrowboat_runtime::JoinHandle<()>,
    go_on: Event,
}

impl Parked {
    fn new(start: Start) -> Parked {
        let (there, go_on) = (Event::default(), Event::default());
        let (arrived, released) = (there.clone(), go_on.clone());
        let goroutine = spawn(move || {
            assert!(!panicking());
            let _parks = OnDrop(move || {
                assert!(panicking(), "it unwinds");
                arrived.happens();
                released.wait();
                assert!(panicking(), "still");
            });
            start();
        });
        there.wait();
        Parked { goroutine, go_on }
    }

    fn finish(self) {
        self.go_on.happens();
        assert_eq!(*self.goroutine.join().unwrap_err().downcast::<&str>().unwrap(), "on purpose");
    }
}

fn in_a_goroutine(f: impl FnOnce() + Send + 'static) {
    let _turn = one_processor();
    if let Err(payload) = spawn(f).join() {
        resume_unwind(payload);
    }
}

#[test]
fn a_neighbour_of_a_parked_unwinding_does_not_panic() {
    in_a_goroutine(|| {
        for start in [WITH_HOOK, WITHOUT_HOOK] {
            let parked = Parked::new(start);
            for _ in 0..3 {
                assert!(!std::thread::panicking() && !panicking());
                yield_now();
            }
            spawn(|| {
                assert!(!panicking(), "nor does a newcomer");
                yield_now();
                assert!(!panicking());
            })
            .join()
            .unwrap();
            parked.finish();
            assert!(!std::thread::panicking() && !panicking());
        }
    });
}

#[test]
fn a_panic_under_a_parked_unwinding_is_the_panicking_one_s_own() {
    in_a_goroutine(|| {
        for first in [WITH_HOOK, WITHOUT_HOOK] {
            let one = Parked::new(first);
            let two = Parked::new(WITH_HOOK);
            assert!(!panicking());
            one.finish();
            assert!(!panicking(), "the second still unwinds");
            let three = Parked::new(WITH_HOOK);
            three.finish();
            assert!(!panicking());
            two.finish();
            assert!(!panicking());
        }
    });
}

#[test]
fn a_caught_panic_is_over_and_one_caught_inside_a_destructor_leaves_the_outer() {
    in_a_goroutine(|| {
        for start in [WITH_HOOK, WITHOUT_HOOK] {
            assert!(catch_unwind(start).is_err());
            assert!(!panicking());
            let asked = Event::default();
            let answered = asked.clone();
            let outer = catch_unwind(move || {
                let _inside = OnDrop(move || {
                    assert!(panicking());
                    assert!(catch_unwind(start).is_err());
                    assert!(panicking(), "the outer panic goes on");
                    yield_now();
                    assert!(panicking());
                    answered.happens();
                });
                start();
            });
            assert!(outer.is_err());
            asked.wait();
            assert!(!panicking());
            yield_now();
            assert!(!panicking());
        }
    });
}

#[test]
fn an_unwinding_that_no_hook_has_seen_is_told_from_one_that_was_caught() {
    in_a_goroutine(|| {
        let parked = Parked::new(WITH_HOOK);
        let (said, heard) = (Event::default(), Event::default());
        let (saying, hearing) = (said.clone(), heard.clone());
        let silent = spawn(move || {
            let _asks = OnDrop(move || {
                saying.happens();
                hearing.wait();
                assert!(panicking(), "it began without the hook");
            });
            WITHOUT_HOOK();
        });
        said.wait();
        assert!(catch_unwind(WITH_HOOK).is_err());
        assert!(!panicking(), "that one was caught");
        heard.happens();
        assert!(silent.join().is_err());
        parked.finish();
        assert!(!panicking());
    });
}

#[test]
fn ten_thousand_unwindings_on_one_processor_keep_to_themselves() {
    in_a_goroutine(|| {
        let all: Vec<_> = (0..if cfg!(debug_assertions) { 200 } else { 10_000 })
            .map(|n| {
                spawn(move || {
                    let _parks = OnDrop(|| {
                        for _ in 0..3 {
                            assert!(panicking());
                            yield_now();
                        }
                    });
                    // The first can begin without the hook.
                    if n == 0 { WITHOUT_HOOK() } else { WITH_HOOK() }
                })
            })
            .collect();
        for one in all {
            assert!(!panicking());
            assert!(one.join().is_err());
        }
        assert!(!std::thread::panicking() && !panicking());
    });
}

#[test]
fn on_a_plain_thread_it_is_what_std_says() {
    let _turn = one_processor();
    let said = std::thread::spawn(|| {
        let caught = catch_unwind(|| {
            let _asks = OnDrop(|| assert!(panicking() && std::thread::panicking()));
            panic!("on purpose");
        });
        caught.is_err() && !panicking()
    });
    assert!(said.join().unwrap());
}

#[test]
fn a_joined_panic_has_the_goroutines_own_trace() {
    let name = "a_joined_panic_has_the_goroutines_own_trace";
    let Some(output) = narrowboat_testing::in_child_with(name, &[("RUST_BACKTRACE", "1")]) else {
        #[inline(never)]
        fn goes_wrong(n: i32) -> i32 {
            panic!("{n} is too much");
        }
        let line = line!() - 2;
        let handle = narrowboat_runtime::Builder::new().name("parser").spawn(|| goes_wrong(7)).unwrap();
        let id = handle.id();
        let panic = handle.join_with_trace().unwrap_err();
        assert_eq!((panic.goroutine_id(), panic.goroutine_name()), (id, Some("parser")));
        assert_eq!(panic.message(), Some("7 is too much"));
        let place = format!("runtime/tests/panicking.rs:{line}:");
        assert!(panic.location().unwrap().contains(&place), "{:?}", panic.location());
        let backtrace = panic.backtrace().expect("asked for").to_string();
        assert!(backtrace.contains("goes_wrong"), "{backtrace}");
        assert!(format!("{panic:?}").contains("goes_wrong"));
        eprintln!("joined {panic}");
        assert_eq!(*panic.into_payload().downcast::<String>().unwrap(), "7 is too much");
        return;
    };
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("'parser', spawned at runtime/tests/panicking.rs:"), "{text}");
}

#[test]
fn a_trace_is_that_of_the_panic_that_ended_the_goroutine() {
    // The first panic is caught; the second says nothing to the hook.
    let panic = narrowboat_runtime::spawn(|| {
        let _ = std::panic::catch_unwind(|| panic!("caught"));
        std::panic::resume_unwind(Box::new("passed on"));
    });
    let panic = panic.join_with_trace().unwrap_err();
    assert_eq!((panic.message(), panic.location()), (Some("passed on"), None));
    // And one that is no text.
    let panic = narrowboat_runtime::spawn(|| std::panic::panic_any(7)).join_with_trace().unwrap_err();
    assert!(panic.message().is_none() && panic.location().is_some());
    assert_eq!(*panic.into_payload().downcast::<i32>().unwrap(), 7);
}
