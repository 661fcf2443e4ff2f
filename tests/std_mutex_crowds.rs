//! Many goroutines that hold one of std's mutexes across parks all come through, whatever their
//! spawn site has done before.

use narrowboat::chan::unbounded;
use narrowboat::{JoinHandle, blocking, go, sleep, yield_now};
use narrowboat_testing::{again, program, sized};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const BRIEF: Duration = Duration::from_micros(50);
/// Longer than any wait that ends in time, on a machine that does much else.
const FOR_EVER: Duration = Duration::from_secs(100);

type Job = Box<dyn FnOnce() + Send>;

/// Each spawns from a line of source of its own: what is known of one is not known of the next.
const SITES: [fn(Job) -> JoinHandle<()>; 6] =
    [|job| go!(job), |job| go!(job), |job| go!(job), |job| go!(job), |job| go!(job), |job| go!(job)];

/// Many that hold one lock across parks, with other work on the side. First they do `before`.
fn crowded(
    spawn: fn(Job) -> JoinHandle<()>,
    count: usize,
    on_the_pool: bool,
    before: impl Fn() + Clone + Send + 'static,
) {
    // There all share from the first on, and nothing is learned about a spawn site: docs/rules.md
    // says what that means.
    if std::env::var_os("NARROWBOAT_STRESS").is_some() {
        eprintln!("SKIPPED: the stress modes have goroutines share stacks that otherwise would not");
        return;
    }
    let shared = Arc::new((Mutex::new(0), AtomicBool::new(false)));
    let held = shared.clone();
    program(move || {
        let visit = move |n: usize| {
            let mut count = held.0.lock().unwrap();
            assert!(!held.1.swap(true, Ordering::Relaxed), "two at once");
            if n.is_multiple_of(16) {
                sleep(BRIEF)
            } else {
                yield_now()
            }
            *count += 1;
            held.1.store(false, Ordering::Relaxed);
        };
        let (tx, rx) = unbounded();
        for n in 0..count {
            let (visit, tx, before) = (visit.clone(), tx.clone(), before.clone());
            drop(spawn(Box::new(move || {
                before();
                visit(n);
                if on_the_pool && n.is_multiple_of(10) {
                    let visit = visit.clone();
                    blocking(move || visit(n));
                } else {
                    visit(n + 1);
                }
                tx.send(()).unwrap();
            })));
        }
        for done in 0..count {
            assert!(rx.recv_timeout(FOR_EVER).is_ok(), "{done} of {count} have come through");
        }
    });
    assert_eq!(*shared.0.lock().unwrap(), 2 * count);
}

#[test]
fn a_thousand_hold_one_mutex_across_parks() {
    for spawn in SITES {
        crowded(spawn, sized(1000, 600), false, || ());
    }
}

#[test]
fn a_thousand_hold_one_mutex_with_the_pools_threads() {
    for spawn in SITES {
        crowded(spawn, sized(1000, 600), true, || ());
    }
}

#[test]
fn a_thousand_hold_one_mutex_after_they_have_parked() {
    let started = Arc::new(AtomicUsize::new(0));
    crowded(
        |job| go!(job),
        1000,
        false,
        move || {
            started.fetch_add(1, Ordering::Relaxed);
            while started.load(Ordering::Relaxed) < 1000 {
                sleep(BRIEF);
            }
        },
    );
}

#[test]
fn they_come_through_on_one_processor() {
    for test in ["a_thousand_hold_one_mutex_across_parks", "a_thousand_hold_one_mutex_with_the_pools_threads"]
    {
        again(test, &[("NARROWBOAT_PROCESSORS", "1")]);
    }
}
