//! Memory of a churn of spawns and allocations: on goroutines, or on as many threads as there are
//! processors, which step through the same work by hand.
//!
//! An allocator keeps something for each thread. Goroutines share what it keeps for their
//! processor, so the fair measure is not a thread for each goroutine, with caches of its own, but a
//! thread for each processor. With one processor that is exact; with many, the C library's arenas
//! keep what each has held at most, and how many goroutines fall on a processor changes from round
//! to round, the more so on a busy machine. In each round a thousand pieces of work are full at the
//! same time. What is measured then is resident memory beyond that of the same goroutines, or
//! threads, before they have allocated anything: stacks and records are not the allocator's.

#[path = "../allocator.rs"]
mod allocator;

use narrowboat::{Config, sync::Barrier};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const ALIVE: usize = 1000;
const ROUNDS: usize = 60;
const STEPS: usize = 20;

/// Some memory, of sizes that differ from one to the next.
#[derive(Default)]
struct Work(HashMap<usize, Vec<u8>>);

impl Work {
    fn step(&mut self, number: usize, step: usize) {
        self.0.insert(step, vec![1; (number * 37 + step * 113) % 3000]);
        // And something that goes at once.
        drop(std::hint::black_box(vec![2_u8; (number * 71 + step * 29) % 5000]));
    }
}

/// Resident memory in kB.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4
}

/// Meets the others and lets one of them measure.
fn measure(barrier: &Barrier, to: &AtomicUsize) {
    if barrier.wait().is_leader() {
        to.store(resident(), Ordering::Relaxed);
    }
    barrier.wait();
}

fn on_goroutines(processors: usize, measured: Arc<[AtomicUsize]>) {
    Config::new().processors(processors).start().unwrap();
    narrowboat::run(move || {
        for round in 0..measured.len() {
            let barrier = Arc::new(Barrier::new(ALIVE));
            let goroutines: Vec<_> = (0..ALIVE)
                .map(|i| {
                    let (barrier, measured) = (barrier.clone(), measured.clone());
                    narrowboat::spawn(move || {
                        let mut work = Work::default();
                        // The first round is without work.
                        for step in 0..if round == 0 { 0 } else { STEPS } {
                            work.step(round * ALIVE + i, step);
                            narrowboat::yield_now();
                        }
                        measure(&barrier, &measured[round]);
                    })
                })
                .collect();
            goroutines.into_iter().for_each(|goroutine| goroutine.join().unwrap());
        }
    });
}

fn on_threads(processors: usize, measured: Arc<[AtomicUsize]>) {
    let barrier = Arc::new(Barrier::new(processors));
    let threads: Vec<_> = (0..processors)
        .map(|thread| {
            let (barrier, measured) = (barrier.clone(), measured.clone());
            std::thread::spawn(move || {
                for round in 0..measured.len() {
                    let numbers = (thread..ALIVE).step_by(processors);
                    let mut works: Vec<_> = numbers.map(|i| (i, Work::default())).collect();
                    for step in 0..if round == 0 { 0 } else { STEPS } {
                        works.iter_mut().for_each(|(i, work)| work.step(round * ALIVE + *i, step));
                    }
                    measure(&barrier, &measured[round]);
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

fn main() {
    let measured: Arc<[AtomicUsize]> = (0..=ROUNDS).map(|_| AtomicUsize::new(0)).collect();
    let usage = "churn goroutines|threads PROCESSORS";
    let processors = std::env::args().nth(2).expect(usage).parse().expect(usage);
    match std::env::args().nth(1).as_deref() {
        Some("goroutines") => on_goroutines(processors, measured.clone()),
        Some("threads") => on_threads(processors, measured.clone()),
        _ => panic!("{usage}"),
    }
    let beyond = |rounds: std::ops::Range<usize>| {
        let most = measured[rounds].iter().map(|kb| kb.load(Ordering::Relaxed)).max().unwrap();
        most.saturating_sub(measured[0].load(Ordering::Relaxed))
    };
    // kB in the first third, and in all.
    println!("{} {}", beyond(1..ROUNDS / 3), beyond(1..ROUNDS + 1));
}
