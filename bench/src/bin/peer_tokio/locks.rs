//! Locks that tasks share, and joining many of them.

use std::sync::Arc;

use narrowboat_bench::locks::WRITE_EVERY;
use tokio::sync::{Mutex, RwLock, mpsc};
use tokio::task::JoinSet;

use super::channels::warmed;

/// `parties` tasks share `operations` increments under a lock.
pub async fn mutex(parties: usize, operations: usize) {
    warmed("mutex", operations / parties * parties, |operations| async move {
        let each = operations / parties;
        let count = Arc::new(Mutex::new(0usize));
        let add = || {
            let count = count.clone();
            async move {
                for _ in 0..each {
                    *count.lock().await += 1;
                }
            }
        };
        contend(parties, add).await;
        assert_eq!(*count.lock().await, parties * each);
    })
    .await;
}

/// `parties` tasks share `operations` on a counter under a read-write lock: 95% read it, 5% count up.
pub async fn rwlock(parties: usize, operations: usize) {
    warmed("rwlock", operations / parties * parties, |operations| async move {
        let each = operations / parties;
        let count = Arc::new(RwLock::new(0usize));
        let mostly_read = || {
            let count = count.clone();
            async move {
                let mut last = 0;
                for i in 0..each {
                    if i % WRITE_EVERY == 0 {
                        *count.write().await += 1;
                    } else {
                        let now = *count.read().await;
                        assert!(now >= last, "the count goes up");
                        last = now;
                    }
                }
            }
        };
        contend(parties, mostly_read).await;
        assert_eq!(*count.read().await, parties * each.div_ceil(WRITE_EVERY));
    })
    .await;
}

/// Runs the parties, who begin when all are there.
async fn contend<F: Future<Output = ()> + Send + 'static>(parties: usize, party: impl Fn() -> F) {
    let (done, mut ended) = mpsc::channel(parties);
    let mut starts = Vec::with_capacity(parties);
    for _ in 0..parties {
        let (work, done) = (party(), done.clone());
        let (start, mut begin) = mpsc::channel::<()>(1);
        starts.push(start);
        tokio::spawn(async move {
            done.send(()).await.unwrap();
            begin.recv().await.unwrap();
            work.await;
            done.send(()).await.unwrap();
        });
    }
    drop(done);
    for _ in 0..parties {
        ended.recv().await.unwrap();
    }
    for start in starts {
        start.send(()).await.unwrap();
    }
    for _ in 0..parties {
        ended.recv().await.unwrap();
    }
}

/// Rounds of `size` tasks that end at once and are all joined. tokio has no wait group; a `JoinSet` is the nearest.
pub async fn join_all(size: usize, operations: usize) {
    warmed("waitgroup", operations / size * size, |operations| async move {
        for _ in 0..(operations / size).max(1) {
            let tasks: JoinSet<usize> = (0..size).map(|number| async move { number }).collect();
            let sum: usize = tasks.join_all().await.into_iter().sum();
            assert_eq!(sum, size * (size - 1) / 2);
        }
    })
    .await;
}
