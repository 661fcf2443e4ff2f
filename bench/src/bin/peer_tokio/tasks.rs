//! Cases of tasks alone. A task captures one pointer, so that the memory measured is the runtime's and not the
//! benchmark's.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use narrowboat_bench::cli::{per_operation, report};
use narrowboat_bench::memory::resident_here;
use narrowboat_bench::start::{Laps, Start, StartingLine};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::yield_now;

/// `runners` tasks share `operations` yields. All wait until the last of them is spawned.
pub async fn yields(runners: usize, operations: usize) {
    let laps = Laps::new(runners, operations);
    let line = StartingLine::new(runners, Start::Together);
    let (done, mut result) = mpsc::channel(1);
    let race = Arc::new((line, Semaphore::new(0), done));
    for _ in 0..runners {
        let race = race.clone();
        tokio::spawn(async move {
            let (line, gate, done) = &*race;
            gate.acquire().await.expect("never closed").forget();
            for _ in 0..laps.warm {
                yield_now().await;
            }
            let mut left = laps.each;
            if !line.arrive() {
                left -= 1;
                yield_now().await;
                while !line.is_open() {
                    yield_now().await;
                }
            }
            for _ in 0..left {
                yield_now().await;
            }
            if let Some(elapsed) = line.finish() {
                done.try_send(elapsed).expect("the only message");
            }
        });
    }
    race.1.add_permits(runners);
    let elapsed = result.recv().await.expect("the last runner sends");
    per_operation("yield", elapsed, runners * laps.each);
}

/// `count` tasks that end at once, from the first spawn to the last end.
pub async fn spawns(count: usize) {
    spawn_and_wait((count / 10).max(1)).await;
    per_operation("spawn", spawn_and_wait(count).await, count);
}

async fn spawn_and_wait(count: usize) -> Duration {
    let (finish, mut all) = Finish::of(count);
    let finish = Arc::new(finish);
    let begun = Instant::now();
    for _ in 0..count {
        let finish = finish.clone();
        tokio::spawn(async move { finish.one() });
    }
    all.recv().await.expect("the last task sends");
    begun.elapsed()
}

/// `count` tasks, each waiting: what each costs in memory, and the time to let each go on and see all end. tokio has no
/// channel that many tasks receive from; the nearest wait is for a permit of one shared semaphore.
pub async fn park(count: usize) {
    spawn_and_wait(1000).await;
    let before = resident_here();
    let (finish, mut all) = Finish::of(count);
    let parked = Arc::new((AtomicUsize::new(0), Semaphore::new(0), finish));
    for _ in 0..count {
        let parked = parked.clone();
        tokio::spawn(async move {
            let (arrived, messages, finish) = &*parked;
            arrived.fetch_add(1, SeqCst);
            messages.acquire().await.expect("never closed").forget();
            finish.one();
        });
    }
    while parked.0.load(SeqCst) < count {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    report("park", resident_here().saturating_sub(before) as f64 / count as f64, "bytes");

    let begun = Instant::now();
    for _ in 0..count {
        parked.1.add_permits(1);
    }
    all.recv().await.expect("the last task sends");
    per_operation("wake", begun.elapsed(), count);
}

/// Counts the tasks that ended; the last one sends. Nothing to await in it, so that it adds nothing to the tasks.
struct Finish {
    left: AtomicUsize,
    done: mpsc::Sender<()>,
}

impl Finish {
    fn of(count: usize) -> (Finish, mpsc::Receiver<()>) {
        let (done, all) = mpsc::channel(1);
        (Finish { left: AtomicUsize::new(count), done }, all)
    }

    fn one(&self) {
        if self.left.fetch_sub(1, SeqCst) == 1 {
            self.done.try_send(()).expect("the only message");
        }
    }
}
