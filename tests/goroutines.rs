//! What a program relies on in goroutines and their handles: joins, results, names, `go!`, own stacks, yields and sleeps.

use narrowboat::chan::{self, Receiver};
use narrowboat::go;
use narrowboat_testing::{Census, Dice, eventually, program, sized};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

#[test]
fn join_from_a_goroutine_and_from_a_thread() {
    fn slow(go_on: Receiver<&str>) -> &str {
        narrowboat::sleep(Duration::from_millis(20));
        go_on.recv().unwrap()
    }
    let (tx, rx) = chan::bounded(1);
    let from_thread = narrowboat::spawn(move || slow(rx));
    assert!(!from_thread.is_finished(), "it waits for our message");
    tx.send("done").unwrap();
    assert_eq!(from_thread.join().unwrap(), "done");
    program(|| {
        let (tx, rx) = chan::bounded(1);
        tx.send("done").unwrap();
        assert_eq!(go!(slow(rx)).join().unwrap(), "done");
    });

    let finished = narrowboat::spawn(|| 5);
    eventually("it finishes", || finished.is_finished());
    assert_eq!(finished.join().unwrap(), 5, "a join after the end");

    // The handle crosses from where it was made to a thread.
    let handle = program(|| go!(|| 6));
    assert_eq!(std::thread::spawn(move || handle.join().unwrap()).join().unwrap(), 6);
}

#[test]
fn joiner_sees_what_the_goroutine_wrote() {
    program(|| {
        for n in 0..sized(20_000, 2_000) {
            let cell = Arc::new(AtomicUsize::new(0));
            let theirs = cell.clone();
            go!(move || theirs.store(n, Ordering::Relaxed)).join().unwrap();
            assert_eq!(cell.load(Ordering::Relaxed), n);
        }
    });
}

#[test]
fn results_are_dropped_exactly_once() {
    let census = Census::leaked();
    program(move || {
        for n in 0..sized(3_000, 600) {
            let (value, also) = (census.value(), census.value());
            let handle = go!(move || {
                if n % 5 == 0 {
                    narrowboat::yield_now();
                }
                if n % 3 == 0 {
                    drop(value);
                    std::panic::resume_unwind(Box::new(also));
                }
                drop(also);
                value
            });
            match n % 4 {
                0 => drop(handle.join()),
                1 => drop(handle),
                2 => {
                    eventually("it finishes", || handle.is_finished());
                    drop(handle);
                }
                _ => drop(std::thread::spawn(move || handle.join())),
            }
        }
    });
    eventually("every value is dropped", || census.dropped() == census.made());
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!(census.dropped(), census.made(), "and none twice");
}

#[test]
fn dropped_handle_detaches() {
    program(|| {
        let (tx, rx) = chan::bounded(0);
        drop(go!(move || {
            narrowboat::sleep(Duration::from_millis(10));
            tx.send("still here").unwrap();
        }));
        assert_eq!(rx.recv(), Ok("still here"));
    });
}

#[test]
fn go_evaluates_arguments_in_the_caller_and_calls_elsewhere() {
    program(|| {
        let order = Arc::new(Mutex::new(Vec::new()));
        let argument = |name: &'static str| {
            order.lock().unwrap().push((name, narrowboat::current().unwrap().id()));
            name
        };
        type Log<I> = Arc<Mutex<Vec<(&'static str, I)>>>;
        fn body<I>(first: &str, second: &str, log: Log<I>, id: fn() -> I) -> String {
            log.lock().unwrap().push(("body", id()));
            format!("{first} {second}")
        }
        let me = narrowboat::current().unwrap().id();
        let here = std::thread::current().id();
        let handle =
            go!(body(argument("first"), argument("second"), order.clone(), || narrowboat::current()
                .unwrap()
                .id()));
        let id = handle.id();
        order.lock().unwrap().push(("after go!", me));
        assert_eq!(handle.join().unwrap(), "first second");
        assert_eq!(std::thread::current().id(), here, "a goroutine keeps its thread identity across a join");

        let log = order.lock().unwrap();
        let position = |name| log.iter().position(|entry| entry.0 == name).unwrap();
        assert!(position("first") < position("second"), "in order");
        assert!(position("second") < position("after go!"), "before go! returns");
        assert!(position("second") < position("body"), "before the call");
        assert!(log[position("first")].1 == me && log[position("second")].1 == me, "in the caller");
        assert!(log[position("body")].1 == id && id != me, "the call itself elsewhere");
    });
}

#[test]
fn go_takes_closures_and_calls_of_every_shape() {
    mod inner {
        pub fn double(n: u32) -> u32 {
            2 * n
        }
    }
    fn none() -> u32 {
        7
    }
    program(|| {
        let n = 4;
        assert_eq!(go!(|| 3).join().unwrap(), 3);
        assert_eq!(go!(move || n).join().unwrap(), 4);
        assert_eq!(
            go!(move || {
                let twice = n * 2;
                twice + 1
            })
            .join()
            .unwrap(),
            9
        );
        assert_eq!(go!(none()).join().unwrap(), 7);
        assert_eq!(go!(inner::double(n + 1)).join().unwrap(), 10);
        assert_eq!(go!(inner::double(n,)).join().unwrap(), 8);
    });
}

#[test]
fn builder_names_and_sizes() {
    program(|| {
        let named = narrowboat::Builder::new()
            .name("lock-keeper")
            .spawn(|| narrowboat::current().unwrap().name().map(str::to_owned))
            .unwrap();
        assert_eq!(named.join().unwrap().as_deref(), Some("lock-keeper"));
        let unnamed = go!(|| narrowboat::current().unwrap().name().map(str::to_owned));
        assert_eq!(unnamed.join().unwrap(), None);
        let own = narrowboat::Builder::new().own_stack(1 << 20).spawn(|| {
            let large = std::hint::black_box([7_u8; 100 * 1024]);
            narrowboat::yield_now();
            large.iter().map(|&byte| byte as usize).sum::<usize>()
        });
        assert_eq!(own.unwrap().join().unwrap(), 7 * 100 * 1024);
    });
}

#[test]
fn handles_are_what_std_s_are() {
    use std::panic::{RefUnwindSafe, UnwindSafe};
    fn check<T: Send + Sync + Unpin + UnwindSafe + RefUnwindSafe + std::fmt::Debug>() {}
    check::<narrowboat::JoinHandle<std::cell::Cell<u8>>>();
    check::<narrowboat::ScopedJoinHandle<'static, std::cell::Cell<u8>>>();
}

#[test]
fn ids_are_unique() {
    program(|| {
        let goroutines: Vec<_> = (0..1_000).map(|_| go!(|| narrowboat::current().unwrap().id())).collect();
        let mut seen = Vec::new();
        for goroutine in goroutines {
            let from_handle = goroutine.id();
            let from_inside = goroutine.join().unwrap();
            assert!(from_handle == from_inside);
            seen.push(format!("{from_inside:?}"));
        }
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), 1_000);
    });
}

#[test]
fn own_stack_goroutine_lends_its_locals_to_scoped_threads() {
    program(|| {
        let own = narrowboat::Builder::new().own_stack(1 << 20).spawn(|| {
            let mut numbers = [0_u64; 64];
            let (tx, rx) = chan::bounded(0);
            let sum = std::thread::scope(|scope| {
                for (i, number) in numbers.iter_mut().enumerate() {
                    let tx = tx.clone();
                    scope.spawn(move || {
                        *number = i as u64;
                        tx.send(i as u64).unwrap();
                    });
                }
                // Parks, with threads writing to this stack meanwhile.
                (0..64).map(|_| rx.recv().unwrap()).sum::<u64>()
            });
            assert!(numbers.iter().copied().eq(0..64));
            sum
        });
        assert_eq!(own.unwrap().join().unwrap(), 2016);
    });
}

#[test]
fn yielding_goroutine_lets_others_run() {
    program(|| {
        let stop = Arc::new(AtomicBool::new(false));
        let ticks = Arc::new(AtomicU64::new(0));
        let spinning: Vec<_> = (0..4)
            .map(|_| {
                let (stop, ticks) = (stop.clone(), ticks.clone());
                go!(move || {
                    while !stop.load(Ordering::Relaxed) {
                        ticks.fetch_add(1, Ordering::Relaxed);
                        narrowboat::yield_now();
                    }
                })
            })
            .collect();
        narrowboat::sleep(Duration::from_millis(20));
        assert_eq!(go!(|| 1).join().unwrap(), 1, "new goroutines run beside those that yield");
        stop.store(true, Ordering::Relaxed);
        spinning.into_iter().for_each(|goroutine| goroutine.join().unwrap());
        assert!(ticks.load(Ordering::Relaxed) > 4);
    });
}

#[test]
fn sleep_is_never_early_and_orders_by_length() {
    let sleeper = |duration: Duration| {
        let start = Instant::now();
        narrowboat::sleep(duration);
        assert!(start.elapsed() >= duration, "{:?} instead of {duration:?}", start.elapsed());
    };
    sleeper(Duration::from_millis(5));
    program(move || {
        let mut dice = Dice::new(9);
        let sleeping: Vec<_> = (0..sized(5_000, 1_000))
            .map(|_| {
                let duration = Duration::from_micros(dice.bits() % 50_000);
                go!(move || sleeper(duration))
            })
            .collect();
        sleeping.into_iter().for_each(|goroutine| goroutine.join().unwrap());
        sleeper(Duration::ZERO);

        // Far apart, so that a busy machine does not turn them round.
        let (tx, rx) = chan::unbounded();
        for millis in [400, 0, 800, 200] {
            let tx = tx.clone();
            go!(move || {
                narrowboat::time::sleep(Duration::from_millis(millis));
                tx.send(millis).unwrap();
            });
        }
        drop(tx);
        assert_eq!(rx.iter().collect::<Vec<_>>(), [0, 200, 400, 800]);
    });
}

#[test]
fn sleeping_goroutines_do_not_hold_a_thread() {
    let start = Instant::now();
    let count = sized(2_000, 2_000);
    program(move || {
        let sleeping: Vec<_> =
            (0..count).map(|_| go!(narrowboat::sleep(Duration::from_millis(100)))).collect();
        sleeping.into_iter().for_each(|goroutine| goroutine.join().unwrap());
    });
    // One after another on any number of threads that this machine has, they would take most of a minute or more.
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}

/// Deadlines that pass while their processor is busy, about to rest, or at rest: each is noticed.
#[test]
fn sleepers_wake_however_busy_their_processors_are() {
    let rounds = sized(2_000, 400);
    program(move || {
        let sleepers: Vec<_> = (1..=12_u64)
            .map(|n| {
                go!(move || {
                    let mut random = n * 0x9e37_79b9;
                    for _ in 0..rounds {
                        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(n);
                        let (busy, asleep) = (random >> 40 & 127, random >> 50 & 255);
                        let start = Instant::now();
                        while start.elapsed() < Duration::from_micros(busy) {
                            std::hint::spin_loop();
                        }
                        narrowboat::sleep(Duration::from_micros(asleep));
                    }
                })
            })
            .collect();
        sleepers.into_iter().for_each(|sleeper| sleeper.join().unwrap());
    });
}
