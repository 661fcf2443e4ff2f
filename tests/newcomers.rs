//! How goroutines that have not started, and those that have, share one processor.

use narrowboat::{chan, spawn, yield_now};
use narrowboat_testing::program_on_one_processor as alone;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

fn long_turn() {
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(2) {
        std::hint::spin_loop();
    }
    yield_now();
}

/// With one newcomer after each round of the queue that would be half the square of their number.
#[test]
fn newcomers_are_not_kept_waiting_by_long_turns() {
    const MANY: usize = 60;
    alone(|| {
        let (turns, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let polls = |_| {
            let (turns, stop) = (turns.clone(), stop.clone());
            spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    turns.fetch_add(1, Ordering::Relaxed);
                    long_turn();
                }
            })
        };
        let polling: Vec<_> = (0..MANY).map(polls).collect();
        spawn(move || stop.store(true, Ordering::Relaxed)).join().unwrap();
        let turns = turns.load(Ordering::Relaxed);
        polling.into_iter().for_each(|goroutine| goroutine.join().unwrap());
        assert!(turns <= 4 * MANY, "{turns} turns before the last of {MANY} started");
    });
}

/// Each newcomer spawns the next two, so that there are always some.
#[test]
fn newcomers_with_long_turns_do_not_starve_the_others() {
    fn generation(left: usize, started: Arc<AtomicUsize>) {
        started.fetch_add(1, Ordering::Relaxed);
        if left > 0 {
            for _ in 0..2 {
                let started = started.clone();
                spawn(move || generation(left - 1, started));
            }
        }
        long_turn();
    }
    alone(|| {
        let started = Arc::new(AtomicUsize::new(0));
        let all = started.clone();
        spawn(move || generation(7, all));
        let mut longest = 0;
        while started.load(Ordering::Relaxed) < 255 {
            let before = started.load(Ordering::Relaxed);
            yield_now();
            // As many as waited, with those that they have spawned meanwhile at the most.
            longest = longest.max(started.load(Ordering::Relaxed) - before);
        }
        assert!(longest <= 128, "{longest} newcomers in a row");
    });
}

/// Goroutines that wake each other go before the queue, but not for many long turns.
#[test]
fn a_pair_with_long_turns_does_not_keep_the_queue_waiting() {
    alone(|| {
        let (there, forth) = chan::bounded::<()>(0);
        let (back, home) = chan::bounded::<()>(0);
        let compute = || {
            let start = Instant::now();
            while start.elapsed() < Duration::from_millis(2) {
                std::hint::spin_loop();
            }
        };
        spawn(move || {
            for () in forth.iter() {
                compute();
                back.send(()).unwrap();
            }
        });
        let strokes = Arc::new(AtomicUsize::new(0));
        let all = strokes.clone();
        let pair = spawn(move || {
            for _ in 0..50 {
                compute();
                there.send(()).unwrap();
                home.recv().unwrap();
                all.fetch_add(2, Ordering::Relaxed);
            }
        });
        let mut longest = 0;
        while !pair.is_finished() {
            let before = strokes.load(Ordering::Relaxed);
            yield_now();
            longest = longest.max(strokes.load(Ordering::Relaxed) - before);
        }
        assert!(longest <= 8, "{longest} strokes in a row");
    });
}

#[test]
fn what_is_spawned_in_one_go_starts_before_the_spawner_goes_on() {
    alone(|| {
        let started = Arc::new(AtomicUsize::new(0));
        let mut most_waiting = 0;
        for n in 0..20 * 1024 {
            let started = started.clone();
            most_waiting = most_waiting.max(n - started.load(Ordering::Relaxed));
            spawn(move || started.fetch_add(1, Ordering::Relaxed));
        }
        assert!(most_waiting <= 2 * 1024, "{most_waiting} waited");
    });
}
