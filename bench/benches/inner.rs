//! The inner loops of Narrowboat alone, for those who change them: `cargo bench --manifest-path bench/Cargo.toml`. One
//! worker, one processor. criterion keeps what it measured, and says next time what has changed; `-- --save-baseline NAME`
//! and `-- --baseline NAME` hold two states of the code against each other. How many instructions each takes is what the driver's
//! `--instructions` counts.

#[path = "../src/bin/narrowboat_cases/copies.rs"]
mod copies;

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use narrowboat::chan::{Select, bounded};
use narrowboat::sync::Mutex;
use narrowboat::{Config, spawn, yield_now};

/// Longest receive: it never passes.
const HOUR: Duration = Duration::from_secs(3600);

/// Runs a loop on a goroutine, and says how long it took.
fn on_a_goroutine(work: impl FnOnce() + Send + 'static) -> Duration {
    let timed = move || {
        let begun = Instant::now();
        work();
        begun.elapsed()
    };
    spawn(timed).join().expect("it does not panic")
}

/// A goroutine that yields to itself: to the scheduler and back, without another stack.
fn yields(operations: u64) -> Duration {
    on_a_goroutine(move || (0..operations).for_each(|_| yield_now()))
}

fn spawns(operations: u64) -> Duration {
    on_a_goroutine(move || {
        let (done, all) = bounded::<()>(0);
        for number in 0..operations {
            let done = done.clone();
            spawn(move || drop((black_box(number), done)));
            if number % 64 == 63 {
                yield_now();
            }
        }
        drop(done);
        assert!(all.recv().is_err(), "nobody sends, and all end");
    })
}

fn messages(capacity: usize, operations: u64) -> Duration {
    let (messages, inbox) = bounded(capacity);
    drop(spawn(move || (0..operations).for_each(|number| messages.send(number).unwrap())));
    on_a_goroutine(move || (0..operations).for_each(|number| assert_eq!(inbox.recv(), Ok(number))))
}

/// Round trips of two goroutines; the answering one gets its messages as `answer` does.
fn round_trips(operations: u64, arms: usize, timeouts: bool) -> Duration {
    let (asks, inboxes): (Vec<_>, Vec<_>) = (0..arms).map(|_| bounded::<u64>(0)).unzip();
    let (pong, ponged) = bounded(0);
    drop(spawn(move || {
        let mut select = Select::new();
        for inbox in &inboxes {
            select.recv(inbox);
        }
        for _ in 0..operations {
            let message = match &inboxes[..] {
                [inbox] if timeouts => inbox.recv_timeout(HOUR).unwrap(),
                [inbox] => inbox.recv().unwrap(),
                inboxes => {
                    let chosen = select.select();
                    let inbox = &inboxes[chosen.index()];
                    chosen.recv(inbox).unwrap()
                }
            };
            pong.send(message).unwrap();
        }
    }));
    on_a_goroutine(move || {
        for number in 0..operations {
            asks[number as usize % arms].send(number).unwrap();
            assert_eq!(ponged.recv(), Ok(number));
        }
    })
}

fn locks(operations: u64) -> Duration {
    on_a_goroutine(move || {
        let count = Mutex::new(0);
        (0..operations).for_each(|_| *count.lock().unwrap() += 1);
        assert_eq!(count.into_inner().unwrap(), operations);
    })
}

fn inner_loops(criterion: &mut Criterion) {
    let config = Config::new().workers(1).processors(1);
    config.start().expect("nothing has started the runtime before");
    let mut bench = |name: &str, run: &dyn Fn(u64) -> Duration| {
        criterion.bench_function(name, |bencher| bencher.iter_custom(run));
    };
    bench("yield of one", &yields);
    bench("switch of two", &|operations| copies::switches(2, 0, operations as usize));
    bench("switch with a copy", &|operations| copies::switches(64, 0, operations as usize));
    bench("switch with a copy of 512 bytes more", &|operations| {
        copies::switches(64, 512, operations as usize)
    });
    bench("spawn, run and end", &spawns);
    bench("message, channel of 128", &|operations| messages(128, operations));
    bench("message, unbuffered", &|operations| messages(0, operations));
    bench("round trip", &|operations| round_trips(operations, 1, false));
    bench("round trip with a timeout", &|operations| round_trips(operations, 1, true));
    for arms in [2, 8, 64] {
        bench(&format!("round trip, select of {arms}"), &|operations| round_trips(operations, arms, false));
    }
    bench("lock and unlock", &locks);
}

criterion_group! {
    name = inner;
    config = Criterion::default().warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    targets = inner_loops
}
criterion_main!(inner);
