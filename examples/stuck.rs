//! Four programs that get stuck. `docs/diagnostics/stuck.md` shows what they print.
//!
//! ```sh
//! cargo run --example stuck pipeline       # or: wakeup, receiver, mutexes
//! ```

use narrowboat::chan::{Receiver, Sender, bounded};
use narrowboat::sync::{Condvar, Mutex};
use narrowboat::{Builder, JoinHandle};
use std::sync::Arc;
use std::time::Duration;

fn main() {
    let case = std::env::args().nth(1).unwrap_or_default();
    narrowboat::run(move || match case.as_str() {
        "pipeline" => pipeline(),
        "wakeup" => lost_wakeup(),
        "receiver" => forgotten_receiver(),
        "mutexes" => mutex_cycle(),
        _ => println!("which one? pipeline, wakeup, receiver or mutexes"),
    });
}

#[track_caller]
fn go<T: Send + 'static>(name: &str, f: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    Builder::new().name(name).spawn(f).expect("a shared stack")
}

/// The main goroutine sends all numbers before it takes the first answer. But the squarer takes no
/// further number before there is room for its last answer.
fn pipeline() {
    let (numbers, to_square) = bounded::<u64>(2);
    let (squares, answers) = bounded::<u64>(2);
    go("squarer", move || square(to_square, squares));
    for n in 0..100 {
        numbers.send(n).unwrap();
    }
    drop(numbers);
    println!("{}", answers.iter().sum::<u64>());
}

fn square(numbers: Receiver<u64>, squares: Sender<u64>) {
    for n in numbers {
        squares.send(n * n).unwrap();
    }
}

/// The waiter decides to wait before it takes the lock. The notification comes in between.
fn lost_wakeup() {
    let ready = Arc::new((Mutex::new(false), Condvar::new()));
    let waiter = go("waiter", {
        let ready = ready.clone();
        move || {
            let must_wait = !*ready.0.lock().unwrap();
            narrowboat::sleep(Duration::from_millis(50));
            if must_wait {
                let guard = ready.0.lock().unwrap();
                drop(ready.1.wait(guard).unwrap());
            }
        }
    });
    narrowboat::sleep(Duration::from_millis(10));
    *ready.0.lock().unwrap() = true;
    ready.1.notify_all();
    waiter.join().unwrap();
}

/// No goroutine takes the errors, but the receiver is kept: the workers with errors wait for ever.
fn forgotten_receiver() {
    let (errors, error_log) = bounded::<String>(0);
    let workers: Vec<_> = (0..8)
        .map(|n| {
            let errors = errors.clone();
            go(&format!("worker {n}"), move || work(n, errors))
        })
        .collect();
    for worker in workers {
        worker.join().unwrap();
    }
    drop(error_log);
}

fn work(n: u64, errors: Sender<String>) {
    if n % 2 == 1 {
        errors.send(format!("{n} is odd")).unwrap();
    }
}

/// Each goroutine holds the lock of one account and waits for the other.
fn mutex_cycle() {
    let (mine, yours) = (Arc::new(Mutex::new(100)), Arc::new(Mutex::new(100)));
    let pay = go("pay", {
        let (mine, yours) = (mine.clone(), yours.clone());
        move || transfer(&mine, &yours)
    });
    let be_paid = go("be paid", move || transfer(&yours, &mine));
    pay.join().unwrap();
    be_paid.join().unwrap();
}

fn transfer(from: &Mutex<i64>, to: &Mutex<i64>) {
    let mut from = from.lock().unwrap();
    look_up_the_fee();
    let mut to = to.lock().unwrap();
    *from -= 10;
    *to += 10;
}

fn look_up_the_fee() {
    narrowboat::sleep(Duration::from_millis(50));
}
