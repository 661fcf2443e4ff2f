//! The same seed gives the same run: in debug and release builds, under load, beside other worlds.

use narrowboat::sync::Mutex;
use narrowboat::{chan, context, go, select, sim, time};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// A program with a little of everything.
fn program() -> u64 {
    let (tx, rx) = chan::bounded(2);
    let (done_tx, done) = chan::bounded::<()>(0);
    let total = Arc::new(Mutex::new(0));
    let (ctx, cancel) = context::with_timeout(&context::background(), Duration::from_secs(30));
    let workers: Vec<_> = (0..4u64)
        .map(|n| {
            let (tx, done, ctx, total) = (tx.clone(), done.clone(), ctx.clone(), total.clone());
            go!(move || {
                for k in 0..10 {
                    select! {
                        send(tx, n * k) -> sent => sent.unwrap(),
                        recv(done) -> _ => return,
                        recv(ctx.done()) -> _ => return,
                    }
                    *total.lock().unwrap() += n;
                    time::sleep(Duration::from_millis(n * 7 + 1));
                }
            })
        })
        .collect();
    drop(tx);
    let sum = rx.iter().sum::<u64>();
    drop((done_tx, cancel));
    workers.into_iter().for_each(|worker| worker.join().unwrap());
    // The order of a map, which std draws from the system's generator.
    let order = (0..50u64).map(|n| (n, n)).collect::<HashMap<_, _>>();
    let order = order.keys().fold(0u64, |hash, key| hash.wrapping_mul(31).wrapping_add(*key));
    let total = *total.lock().unwrap();
    sum.wrapping_mul(1_000_003).wrapping_add(total).wrapping_mul(1_000_003).wrapping_add(order)
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    const SEEDS: u64 = 20;
    let expected: Arc<Vec<_>> = Arc::new((0..SEEDS).map(|seed| sim::run_hashed(seed, program)).collect());
    assert_eq!(expected.iter().map(|run| run.1).collect::<HashSet<_>>().len(), SEEDS as usize);
    // Goroutines that have nothing to do with it keep all processors busy meanwhile.
    let (stop_tx, stop) = chan::bounded::<()>(0);
    let load: Vec<_> = (0..4)
        .map(|_| {
            let stop = stop.clone();
            go!(move || while stop.try_recv() == Err(chan::TryRecvError::Empty) {
                narrowboat::yield_now();
            })
        })
        .collect();
    let threads: Vec<_> = (0..4u64)
        .map(|thread| {
            let expected = expected.clone();
            std::thread::spawn(move || {
                for run in 0..50 {
                    let seed = (run * 7 + thread) % SEEDS;
                    assert_eq!(sim::run_hashed(seed, program), expected[seed as usize], "seed {seed}");
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    drop(stop_tx);
    load.into_iter().for_each(|one| one.join().unwrap());
}

/// The figures are those of one build: any other build must see the same. Whoever changes the
/// program above, or what a world records, writes down what it prints.
#[test]
fn every_build_sees_the_same_trace() {
    let seen: Vec<_> = (0..3).map(|seed| sim::run_hashed(seed, program)).collect();
    println!("{seen:?}");
    assert_eq!(seen, EXPECTED);
}

const EXPECTED: [(u64, u64); 3] = [
    (17249077371092797871, 18111391117699718143),
    (10357858708763494453, 14276851879394457725),
    (1595132779540445127, 9171414797781222906),
];

#[test]
fn std_sees_the_time_of_the_world() {
    let (monotonic, real, slept) = sim::run(1, || {
        let (monotonic, real) = (Instant::now(), SystemTime::now());
        std::thread::sleep(Duration::from_secs(86_400));
        let begun = Instant::now();
        let mutex = std::sync::Mutex::new(());
        let woken = std::sync::Condvar::new();
        let _ = woken.wait_timeout(mutex.lock().unwrap(), Duration::from_secs(10)).unwrap();
        std::thread::park_timeout(Duration::from_secs(5));
        (monotonic.elapsed(), real.elapsed().unwrap(), begun.elapsed())
    });
    assert_eq!(slept, Duration::from_secs(15));
    assert_eq!(monotonic, Duration::from_secs(86_415));
    assert_eq!(monotonic, real);
    // Outside, nothing has changed.
    assert!(
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap()
            > Duration::from_secs(1_767_000_000)
    );
}

#[test]
fn random_bytes_come_from_the_seed() {
    let bytes = |seed| {
        sim::run(seed, || {
            let mut bytes = [0u8; 24];
            // SAFETY: there is room for as many.
            let got = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
            assert_eq!(got, 24);
            // SAFETY: as above.
            assert_eq!(unsafe { libc::getentropy(bytes.as_mut_ptr().cast(), 12) }, 0);
            let keys: Vec<_> = (0..20).map(|n| (n, ())).collect::<HashMap<_, _>>().into_keys().collect();
            (bytes, keys)
        })
    };
    assert_eq!(bytes(1), bytes(1));
    assert_ne!(bytes(1), bytes(2));
}

#[test]
fn blocking_runs_in_place() {
    let order = |seed| {
        sim::run_hashed(seed, || {
            let all: Vec<_> = (0..4).map(|n| go!(move || narrowboat::blocking(move || n + 1))).collect();
            all.into_iter().map(|one| one.join().unwrap()).sum::<i32>()
        })
    };
    assert_eq!(order(3), order(3));
    assert_eq!(order(3).0, 10);
}
