//! Once: done by one, seen by all.

use narrowboat_runtime::yield_now;
use narrowboat_sync::Once;
use narrowboat_testing::{On, join_all, send_and_sync, settle, sized, suite_on_each};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

suite_on_each! {
    of_many_that_come_one_does_it, those_that_come_meanwhile_wait_for_its_end, a_panic_poisons_it,
    a_forced_call_heals_it, a_panic_lets_one_that_waits_try, some_only_wait,
}

fn of_many_that_come_one_does_it(on: On) {
    for _ in 0..sized(200, 30) {
        let once = Arc::new(Once::new());
        let calls = Arc::new(AtomicUsize::new(0));
        let parties = on.many(10, {
            let (once, calls) = (once.clone(), calls.clone());
            move |n| {
                if n % 2 == 0 {
                    yield_now();
                }
                once.call_once(|| {
                    calls.fetch_add(1, Ordering::Relaxed);
                    yield_now();
                });
                assert!(once.is_completed());
                assert_eq!(calls.load(Ordering::Relaxed), 1);
            }
        });
        join_all(parties);
    }
}

fn those_that_come_meanwhile_wait_for_its_end(on: On) {
    let once = Arc::new(Once::new());
    let done = Arc::new(AtomicBool::new(false));
    let parties = on.many(10, {
        let (once, done) = (once.clone(), done.clone());
        move |_| {
            once.call_once(|| {
                settle();
                done.store(true, Ordering::Relaxed);
            });
            assert!(done.load(Ordering::Relaxed));
        }
    });
    join_all(parties);
    once.call_once(|| unreachable!("it has been done"));
    once.call_once_force(|_| unreachable!("it has been done"));
}

fn fails(f: impl FnOnce()) -> bool {
    catch_unwind(AssertUnwindSafe(f)).is_err()
}

fn a_panic_poisons_it(on: On) {
    let once = Arc::new(Once::new());
    let parties = on.many(5, {
        let once = once.clone();
        move |_| {
            fails(|| {
                once.call_once(|| {
                    yield_now();
                    resume_unwind(Box::new(()));
                });
            })
        }
    });
    assert_eq!(join_all(parties), [true; 5], "also those that waited");
    assert!(!once.is_completed());
    assert!(fails(|| once.call_once(|| ())));
    assert!(fails(|| once.wait()));
}

fn a_forced_call_heals_it(on: On) {
    let once = Arc::new(Once::new());
    assert!(fails(|| once.call_once(|| resume_unwind(Box::new(())))));
    assert!(fails(|| once.call_once_force(|state| {
        assert!(state.is_poisoned());
        resume_unwind(Box::new(()));
    })));
    let called = Arc::new(AtomicUsize::new(0));
    let parties = on.many(5, {
        let (once, called) = (once.clone(), called.clone());
        move |_| {
            once.call_once_force(|state| {
                assert!(state.is_poisoned());
                yield_now();
                called.fetch_add(1, Ordering::Relaxed);
            });
        }
    });
    join_all(parties);
    assert_eq!(called.load(Ordering::Relaxed), 1);
    once.call_once(|| unreachable!("it has been done"));
    Once::new().call_once_force(|state| assert!(!state.is_poisoned()));
}

fn a_panic_lets_one_that_waits_try(on: On) {
    let once = Arc::new(Once::new());
    let clumsy = {
        let once = once.clone();
        on.go(move || {
            once.call_once_force(|_| {
                settle();
                resume_unwind(Box::new(()));
            });
        })
    };
    let calls = Arc::new(AtomicUsize::new(0));
    let others = on.many(5, {
        let (once, calls) = (once.clone(), calls.clone());
        move |_| {
            yield_now();
            once.call_once_force(|_| {
                calls.fetch_add(1, Ordering::Relaxed);
            });
        }
    });
    let clumsy_came_first = clumsy.try_join().is_err();
    join_all(others);
    assert_eq!(calls.load(Ordering::Relaxed), 1);
    assert!(once.is_completed() || !clumsy_came_first);
}

fn some_only_wait(on: On) {
    let once = Arc::new(Once::new());
    let waiting = on.many(6, {
        let once = once.clone();
        move |n| {
            if n % 2 == 0 {
                fails(|| once.wait())
            } else {
                once.wait_force();
                assert!(once.is_completed());
                false
            }
        }
    });
    settle();
    assert!(fails(|| once.call_once(|| resume_unwind(Box::new(())))));
    settle();
    once.call_once_force(|_| settle());
    let failed = join_all(waiting);
    assert!(!failed[1] && !failed[3] && !failed[5]);
    once.wait();
    once.wait_force();
}

#[test]
fn those_that_only_wait_are_told_of_a_panic() {
    let once = Arc::new(Once::new());
    let waiting = {
        let once = once.clone();
        narrowboat_runtime::spawn(move || fails(|| once.wait()))
    };
    settle();
    assert!(fails(|| once.call_once(|| resume_unwind(Box::new(())))));
    assert!(waiting.join().unwrap());
}

#[test]
fn a_static_once_needs_no_making() {
    static ONCE: Once = Once::new();
    assert!(!ONCE.is_completed());
    ONCE.call_once(|| assert!(!ONCE.is_completed()));
    assert!(ONCE.is_completed());
}

#[test]
fn it_can_be_printed_and_shared() {
    let once = Once::new();
    assert_eq!(format!("{once:?}"), "Once { .. }");
    once.call_once_force(|state| assert_eq!(format!("{state:?}"), "OnceState { poisoned: false }"));
    assert_eq!(send_and_sync!(Once), (true, true));
}
