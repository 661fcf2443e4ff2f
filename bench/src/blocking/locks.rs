//! Cases of locks that goroutines or threads share: std's API, which all peers of these cases have. The peer's own names
//! come from `super::backend`.

use std::sync::Arc;

use narrowboat_bench::cli::warmed;
use narrowboat_bench::locks::WRITE_EVERY;

use super::backend::{Mutex, RwLock, Seats, bounded};

/// `parties` share `operations` increments under a lock.
pub fn mutex(parties: usize, operations: usize) {
    let add = |count: &Mutex<usize>, each| {
        for _ in 0..each {
            *count.lock().unwrap() += 1;
        }
    };
    contend("mutex", parties, operations, add, |count, each| {
        assert_eq!(*count.lock().unwrap(), parties * each);
    });
}

/// `parties` share `operations` on a counter under a read-write lock: 95% read it, 5% count up.
pub fn rwlock(parties: usize, operations: usize) {
    let mostly_read = |count: &RwLock<usize>, each| {
        let mut last = 0;
        for i in 0..each {
            if i % WRITE_EVERY == 0 {
                *count.write().unwrap() += 1;
            } else {
                let now = *count.read().unwrap();
                assert!(now >= last, "the count goes up");
                last = now;
            }
        }
    };
    contend("rwlock", parties, operations, mostly_read, |count, each| {
        assert_eq!(*count.read().unwrap(), parties * each.div_ceil(WRITE_EVERY));
    });
}

/// `parties` do each their part of the operations on one lock; in the end, it is checked what they left behind. They
/// begin when all are there: a thread takes as long to start as some thousand operations do.
fn contend<L: Default + Send + Sync + 'static>(
    name: &str,
    parties: usize,
    operations: usize,
    party: impl Fn(&L, usize) + Copy + Send + 'static,
    check: impl Fn(&L, usize),
) {
    let seats = Seats::of(parties);
    warmed(name, operations / parties * parties, |operations| {
        let each = operations / parties;
        let lock = Arc::new(L::default());
        let (done, ended) = bounded(parties);
        let mut starts = Vec::with_capacity(parties);
        for number in 0..parties {
            let (lock, done) = (lock.clone(), done.clone());
            let (start, begin) = bounded(1);
            starts.push(start);
            seats.spawn(number, move || {
                done.send(()).unwrap();
                begin.recv().unwrap();
                party(&lock, each);
                done.send(()).unwrap();
            });
        }
        let all = || (0..parties).for_each(|_| ended.recv().unwrap());
        all();
        for start in starts {
            start.send(()).unwrap();
        }
        all();
        check(&lock, each);
    });
}
