//! Checks: what they find, how they report it, and that a report repeats.

use narrowboat::sim::{Check, Kind, Strategy};
use narrowboat::sync::Mutex;
use narrowboat::{chan, go};
use std::sync::Arc;
use std::time::Duration;

/// Two goroutines add to a number, with a look and a change that are apart.
fn lost_update() {
    let number = Arc::new(Mutex::new(0));
    let all: Vec<_> = (0..2)
        .map(|_| {
            let number = number.clone();
            go!(move || {
                let seen = *number.lock().unwrap();
                *number.lock().unwrap() = seen + 1;
            })
        })
        .collect();
    all.into_iter().for_each(|one| one.join().unwrap());
    assert_eq!(*number.lock().unwrap(), 2, "an update is lost");
}

fn corrected() {
    let number = Arc::new(Mutex::new(0));
    let all: Vec<_> = (0..2)
        .map(|_| {
            let number = number.clone();
            go!(move || *number.lock().unwrap() += 1)
        })
        .collect();
    all.into_iter().for_each(|one| one.join().unwrap());
    assert_eq!(*number.lock().unwrap(), 2);
}

fn strategies() -> [Strategy; 4] {
    [
        Strategy::Uniform,
        Strategy::Pct { depth: 2 },
        Strategy::RoundRobin,
        Strategy::Exhaustive { preemptions: 1 },
    ]
}

fn check(strategy: Strategy) -> Check {
    Check::new().environment(false).strategy(strategy)
}

#[test]
fn each_strategy_finds_a_lost_update_and_passes_the_corrected_program() {
    for strategy in strategies() {
        let failure = check(strategy).explore(lost_update).unwrap_err();
        assert!(
            matches!(failure.kind(), Kind::Panic(text) if text.contains("an update is lost")),
            "{failure}"
        );
        // One preemption, between the look and the change.
        assert_eq!(failure.schedule().len(), 1, "{strategy:?}: {failure}");
        let summary = check(strategy).iterations(500).run(corrected);
        assert!(summary.schedules > 1);
    }
}

#[test]
fn an_exhaustive_check_says_when_it_has_seen_all() {
    let counts: Vec<_> = (0..3)
        .map(|preemptions| {
            let summary = check(Strategy::Exhaustive { preemptions }).iterations(100_000).run(corrected);
            assert!(summary.complete, "{summary:?}");
            summary.schedules
        })
        .collect();
    assert!(counts.is_sorted_by(|a, b| a < b), "{counts:?}");
    let summary = check(Strategy::Exhaustive { preemptions: 9 }).iterations(10).run(corrected);
    assert!(!summary.complete);
    assert_eq!(summary.schedules, 10);
}

#[test]
fn the_first_seed_that_fails_is_the_same_with_any_number_of_worlds() {
    for strategy in [Strategy::Uniform, Strategy::Pct { depth: 2 }] {
        let found = |worlds| {
            let failure = check(strategy).worlds(worlds).explore(lost_update).unwrap_err();
            (failure.found_by(), failure.seed(), failure.replay())
        };
        let one = found(1);
        assert_eq!(one, found(3));
        assert_eq!(one, found(8));
    }
}

#[test]
fn each_way_to_fail_is_told() {
    let failure = |f: fn()| {
        check(Strategy::Uniform).max_turns(5000).max_time(Duration::from_secs(1000)).explore(f).unwrap_err()
    };
    let deadlock = failure(|| {
        let (tx, rx) = chan::bounded::<u32>(0);
        let _ = rx.recv();
        drop(tx);
    });
    assert_eq!(*deadlock.kind(), Kind::Deadlock);
    assert_eq!(deadlock.goroutines_left(), 1);
    let text = deadlock.to_string();
    assert!(text.contains("waits for a message (receive), at sim/tests/checks.rs:"), "{text}");
    let leak = failure(|| {
        let (tx, rx) = chan::bounded::<u32>(0);
        go!(move || rx.recv().is_ok());
        std::mem::forget(tx);
    });
    assert_eq!(*leak.kind(), Kind::Leak);
    // It goes on and on, when the first goroutine has returned.
    let ticks = failure(|| {
        go!(|| loop {
            narrowboat::sleep(Duration::from_secs(1));
        });
    });
    assert_eq!(*ticks.kind(), Kind::Leak, "{ticks}");
    assert_eq!(*failure(|| narrowboat::sleep(Duration::from_secs(2000))).kind(), Kind::TimeLimit);
    assert_eq!(
        *failure(|| loop {
            narrowboat::yield_now()
        })
        .kind(),
        Kind::StepLimit
    );
    let panic = failure(|| {
        go!(|| panic!("alone"));
        narrowboat::sleep(Duration::from_secs(1));
    });
    assert!(matches!(panic.kind(), Kind::Panic(text) if text.contains("alone")), "{panic}");
}

/// Those of a wait for a goroutine's end, too, which begins in the file that goroutines are run by.
#[test]
fn the_frames_of_a_goroutine_that_is_left_are_told() {
    fn waits_for_one_that_waits() {
        let (tx, rx) = chan::bounded::<u32>(0);
        let other = go!(move || rx.recv().is_ok());
        let _ = std::hint::black_box(other.join());
        drop(tx);
    }
    let failure = check(Strategy::Uniform).explore(waits_for_one_that_waits).unwrap_err();
    assert_eq!((failure.kind(), failure.goroutines_left()), (&Kind::Deadlock, 2));
    let text = failure.to_string();
    let _ = failure.trace_file().map(std::fs::remove_file);
    let frames =
        text.matches("  at ./tests/checks.rs:").count() + text.matches("  at sim/tests/checks.rs:").count();
    assert!(frames >= 2, "{text}");
}

/// A panic that the program handles is none of ours.
#[test]
fn a_panic_that_is_joined_is_no_failure() {
    check(Strategy::Uniform).iterations(20).run(|| assert!(go!(|| panic!("expected")).join().is_err()));
}

#[test]
fn a_report_names_the_place_of_the_switch() {
    let failure = check(Strategy::Uniform).explore(lost_update).unwrap_err();
    let text = failure.to_string();
    assert!(text.contains("stops at") && text.contains("tests/checks.rs:"), "{text}");
    let trace = std::fs::read_to_string(failure.trace_file().unwrap()).unwrap();
    assert!(trace.starts_with("{\"traceEvents\":[") && trace.contains("switched to"), "{trace}");
    std::fs::remove_file(failure.trace_file().unwrap()).unwrap();
}

/// In a process of its own, which has the variable.
#[test]
fn a_recorded_schedule_repeats() {
    const NAME: &str = "a_recorded_schedule_repeats";
    if std::env::var_os("NARROWBOAT_SIM_REPLAY").is_some() {
        let failure = Check::new().explore(lost_update).unwrap_err();
        println!("divergence: {:?}", failure.divergence());
        println!("replay: {}", failure.replay());
        return;
    }
    let failure = check(Strategy::Uniform).explore(lost_update).unwrap_err();
    let run = |replay: &str| {
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", NAME, "--nocapture"])
            .env("NARROWBOAT_SIM_REPLAY", replay)
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let again = run(&failure.replay());
    assert!(again.contains("divergence: None"), "{again}");
    assert!(again.contains(&format!("replay: {}", failure.replay())), "{again}");
    let kept = |replay: &str| {
        let check = Check::new().environment(false).replay(replay.parse().unwrap());
        check
            .explore(lost_update)
            .map_err(|failure| (failure.divergence().map(str::to_owned), failure.replay()))
    };
    assert_eq!(kept(&failure.replay()).unwrap_err(), (None, failure.replay()));
    assert_eq!(kept("1:0::0").unwrap().schedules, 1);
    // The same schedule of a program that did something else.
    let (head, _) = failure.replay().rsplit_once(':').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    let other = run(&format!("{head}:0000000000000001"));
    assert!(other.contains("what happened is not the same"), "{other}");
    let impossible = run(&format!("{head},1.1>77:0000000000000001"));
    assert!(impossible.contains("goroutine 1 cannot go on with 77"), "{impossible}");
}
