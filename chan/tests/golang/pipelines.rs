//! Pipelines that are left before their end: with a channel that says so, every stage ends, and nothing leaks.

use narrowboat_chan::{Receiver, bounded, select, unbounded};
use narrowboat_testing::{Work, eventually, go, ms, scaled, suite};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

suite! {
    stages_end_when_they_are_told_to,
    stages_end_when_none_listens,
    the_sieve_can_be_cancelled,
    a_fan_out_joins_again,
    the_first_answer_wins_and_the_others_end,
    a_stage_that_panics_ends_its_neighbours,
}

/// Counts the stages that live.
#[derive(Default)]
struct Stages {
    alive: Arc<AtomicUsize>,
    works: Vec<Work<()>>,
}

struct Alive(Arc<AtomicUsize>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Stages {
    fn start(&mut self, stage: impl FnOnce() + Send + 'static) {
        self.alive.fetch_add(1, Ordering::SeqCst);
        let alive = Alive(self.alive.clone());
        self.works.push(go(move || {
            let _alive = alive;
            stage();
        }));
    }

    /// Numbers without end.
    fn numbers(&mut self, done: Receiver<()>) -> Receiver<u64> {
        let (tx, rx) = bounded(0);
        self.start(move || {
            for n in 2.. {
                select! {
                    send(tx, n) -> sent => if sent.is_err() { return },
                    recv(done) -> _ => return,
                }
            }
        });
        rx
    }

    fn filter_map(
        &mut self,
        rx: Receiver<u64>,
        done: Receiver<()>,
        f: impl Fn(u64) -> Option<u64> + Send + 'static,
    ) -> Receiver<u64> {
        let (tx, out) = bounded(0);
        self.start(move || {
            for n in rx {
                let Some(n) = f(n) else { continue };
                select! {
                    send(tx, n) -> sent => if sent.is_err() { return },
                    recv(done) -> _ => return,
                }
            }
        });
        out
    }

    fn all_end(self) {
        self.works.into_iter().for_each(Work::join);
        assert_eq!(self.alive.load(Ordering::SeqCst), 0);
    }
}

fn stages_end_when_they_are_told_to() {
    let (done_tx, done) = bounded(0);
    let mut stages = Stages::default();
    let mut rx = stages.numbers(done.clone());
    for _ in 0..20 {
        rx = stages.filter_map(rx, done.clone(), |n| Some(n + 1));
    }
    assert!(rx.iter().take(30).eq(22..52));
    assert_eq!(stages.alive.load(Ordering::SeqCst), 21, "they wait for a listener");
    done_tx.close();
    // The end of the pipe is still held; it is the word that ends them.
    stages.all_end();
    drop(rx);
}

fn stages_end_when_none_listens() {
    let (_never_said, done) = bounded(0);
    let mut stages = Stages::default();
    let mut rx = stages.numbers(done.clone());
    for _ in 0..20 {
        rx = stages.filter_map(rx, done.clone(), |n| (n % 2 == 0).then_some(n / 2).or(Some(n)));
    }
    assert_eq!(rx.iter().take(30).count(), 30);
    drop(rx);
    stages.all_end();
}

fn the_sieve_can_be_cancelled() {
    let (done_tx, done) = bounded(0);
    let mut stages = Stages::default();
    let mut rx = stages.numbers(done.clone());
    let mut primes = Vec::new();
    for _ in 0..scaled(60) {
        let prime = rx.recv().unwrap();
        primes.push(prime);
        rx = stages.filter_map(rx, done.clone(), move |n| (n % prime != 0).then_some(n));
    }
    assert!(primes.iter().all(|n| (2..*n).all(|m| n % m != 0)), "{primes:?}");
    assert!(primes.windows(2).all(|pair| (pair[0] + 1..pair[1]).all(|n| primes.iter().any(|p| n % p == 0))));
    done_tx.close();
    stages.all_end();
}

fn a_fan_out_joins_again() {
    let (tx, rx) = bounded(0);
    let (merged_tx, merged) = bounded(4);
    let count = scaled(4_000) as u64;
    let mut stages = Stages::default();
    stages.start(move || (0..count).for_each(|n| tx.send(n).unwrap()));
    for _ in 0..6 {
        let (rx, merged) = (rx.clone(), merged_tx.clone());
        stages.start(move || rx.iter().for_each(|n| merged.send(n * n).unwrap()));
    }
    drop((rx, merged_tx));
    let mut squares: Vec<_> = merged.iter().collect();
    squares.sort();
    assert!(squares.into_iter().eq((0..count).map(|n| n * n)));
    stages.all_end();
}

/// Each asks several servers and takes the first answer; those that come too late find no receiver, and end.
fn the_first_answer_wins_and_the_others_end() {
    let mut stages = Stages::default();
    for question in 0..scaled(100) {
        let (tx, rx) = bounded(0);
        let (done_tx, done) = bounded::<()>(0);
        for server in 0..5 {
            let (tx, done) = (tx.clone(), done.clone());
            stages.start(move || {
                select! { send(tx, (question, server)) -> _ => {}, recv(done) -> _ => {} }
            });
        }
        let (same, server) = rx.recv().unwrap();
        assert!(same == question && server < 5);
        done_tx.close();
    }
    stages.all_end();
}

fn a_stage_that_panics_ends_its_neighbours() {
    let (tx, rx) = unbounded();
    let (out_tx, out) = bounded(0);
    let producer = go(move || (0_u32..).take_while(|n| tx.send(*n).is_ok()).take(5_000_000).count());
    let stage = go(move || {
        for n in rx {
            assert!(n < 10, "enough");
            out_tx.send(n).unwrap();
        }
    });
    assert!(out.iter().eq(0..10), "and then the channel is closed");
    assert!(stage.try_join().is_err());
    assert!(producer.join() > 10);
    let (tx, rx) = bounded::<()>(0);
    let holder = go(move || {
        let _tx = tx;
        panic!("enough");
    });
    eventually("the panic drops the sender", || {
        rx.recv_timeout(ms(1)).is_err_and(|error| error.is_disconnected())
    });
    assert!(holder.try_join().is_err());
}
