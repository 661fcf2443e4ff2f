//! The case of a wait group: a handle for each that is waited for, as crossbeam's. The peer's own
//! names come from `super::backend`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use narrowboat_bench::cli::warmed;

use super::backend::{WaitGroup, spawn};

/// Rounds of `size` goroutines that write down a number and end, and one that waits for all of them.
pub fn fan_out(size: usize, operations: usize) {
    let numbers: Arc<[AtomicUsize]> = (0..size).map(|_| AtomicUsize::new(0)).collect();
    warmed("waitgroup", operations / size * size, |operations| {
        for round in 0..(operations / size).max(1) {
            let group = WaitGroup::new();
            for i in 0..size {
                let (numbers, group) = (numbers.clone(), group.clone());
                spawn(move || {
                    // The group is what makes the number visible.
                    numbers[i].store(round + i, Relaxed);
                    drop(group);
                });
            }
            group.wait();
            let sum: usize = numbers.iter().map(|number| number.load(Relaxed)).sum();
            assert_eq!(sum, size * round + size * (size - 1) / 2);
        }
    });
}
