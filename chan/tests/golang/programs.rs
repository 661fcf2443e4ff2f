//! Small programs of the kind that Go is taught and tested with.

use narrowboat_chan::{Receiver, Sender, bounded, select, unbounded};
use narrowboat_testing::{On, Work, go, on, scaled, suite};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

suite! {
    the_prime_sieve,
    a_closed_done_channel_tells_all,
    a_channel_as_a_semaphore,
    request_and_reply,
    messages_in_line,
    a_relay_of_many_goroutines,
    two_selects_in_a_row,
    polls_of_every_kind_of_message,
    a_barrier,
}

fn the_prime_sieve() {
    fn sieve(rx: Receiver<u32>, primes: Sender<u32>) {
        let Ok(prime) = rx.recv() else { return };
        primes.send(prime).unwrap();
        let (tx, next) = bounded(0);
        let rest = go(move || sieve(next, primes));
        for n in rx {
            if n % prime != 0 && tx.send(n).is_err() {
                break;
            }
        }
        drop(tx);
        rest.join();
    }
    let (tx, rx) = bounded(0);
    let (primes_tx, primes) = unbounded();
    let first = go(move || sieve(rx, primes_tx));
    (2..100).for_each(|n| tx.send(n).unwrap());
    drop(tx);
    first.join();
    assert_eq!(
        primes.iter().collect::<Vec<_>>(),
        [2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97]
    );
}

fn a_closed_done_channel_tells_all() {
    let (done_tx, done) = bounded::<()>(0);
    let (tx, rx) = bounded::<u32>(0);
    let workers: Vec<_> = (0..16)
        .map(|_| {
            let (rx, done) = (rx.clone(), done.clone());
            go(move || {
                let mut sum = 0;
                loop {
                    select! {
                        recv(rx) -> n => sum += n.unwrap(),
                        recv(done) -> _ => return sum,
                    }
                }
            })
        })
        .collect();
    (0..1_000).for_each(|n| tx.send(n).unwrap());
    done_tx.close();
    assert_eq!(workers.into_iter().map(|worker| worker.join()).sum::<u32>(), 499_500);
}

fn a_channel_as_a_semaphore() {
    let (tokens, back) = bounded::<()>(3);
    let inside = Arc::new(AtomicUsize::new(0));
    let workers: Vec<_> = (0..12)
        .map(|_| {
            let (tokens, back, inside) = (tokens.clone(), back.clone(), inside.clone());
            go(move || {
                for _ in 0..100 {
                    tokens.send(()).unwrap();
                    assert!(inside.fetch_add(1, Ordering::SeqCst) < 3);
                    std::thread::yield_now();
                    inside.fetch_sub(1, Ordering::SeqCst);
                    back.recv().unwrap();
                }
            })
        })
        .collect();
    workers.into_iter().for_each(|worker| worker.join());
}

fn request_and_reply() {
    let (requests, inbox) = bounded::<(u64, Sender<u64>)>(0);
    let server = go(move || {
        for (n, reply) in inbox {
            reply.send(n * n).unwrap();
        }
    });
    let clients: Vec<_> = (0..8)
        .map(|client| {
            let requests = requests.clone();
            go(move || {
                for n in 0..200 {
                    let (reply, answer) = bounded(1);
                    requests.send((client * n, reply)).unwrap();
                    assert_eq!(answer.recv(), Ok(client * n * client * n));
                }
            })
        })
        .collect();
    clients.into_iter().for_each(|client| client.join());
    drop(requests);
    server.join();
}

/// Go's fifo: through a buffer, and through a line of parties that pass a message on one after the
/// other.
fn messages_in_line() {
    let (tx, rx) = bounded(10);
    (0..10).for_each(|n| tx.send(n).unwrap());
    assert!(rx.try_iter().eq(0..10));

    let (tx, rx) = bounded(0);
    let (start, mut turn) = bounded::<()>(0);
    let line: Vec<_> = (0..100)
        .map(|n| {
            let (rx, (next, my_turn)) = (rx.clone(), bounded(0));
            let before = std::mem::replace(&mut turn, my_turn);
            go(move || {
                before.recv().unwrap();
                assert_eq!(rx.recv(), Ok(n));
                next.send(()).unwrap();
            })
        })
        .collect();
    start.send(()).unwrap();
    (0..100).for_each(|n| tx.send(n).unwrap());
    turn.recv().unwrap();
    line.into_iter().for_each(Work::join);
}

/// A number goes through a long line of goroutines, each of which adds one.
fn a_relay_of_many_goroutines() {
    let length = scaled(if matches!(on(), On::Threads | On::Mixed) { 200 } else { 5_000 }) as u64;
    let (last_tx, mut rx) = bounded(0);
    let mut tx = last_tx;
    let result = rx.clone();
    for _ in 0..length {
        let (next_tx, next_rx) = bounded(0);
        let left = std::mem::replace(&mut tx, next_tx);
        rx = next_rx;
        drop(go(move || left.send(1 + rx.recv().unwrap()).unwrap()));
    }
    tx.send(0).unwrap();
    assert_eq!(result.recv(), Ok(length));
}

/// Go's doubleselect: the sender goes through two selects in a row, so every message comes twice,
/// and a receiver of each sees all of them once and in order.
fn two_selects_in_a_row() {
    let (txs, rxs): (Vec<Sender<usize>>, Vec<Receiver<usize>>) = (0..4).map(|_| bounded(0)).unzip();
    let rounds = scaled(5_000);
    let sender = go(move || {
        for n in 0..rounds {
            select! { send(txs[0], n) -> sent => sent.unwrap(), send(txs[1], n) -> sent => sent.unwrap() }
            select! { send(txs[2], n) -> sent => sent.unwrap(), send(txs[3], n) -> sent => sent.unwrap() }
        }
    });
    let (merged_tx, merged) = bounded(0);
    let copies: Vec<_> = rxs
        .into_iter()
        .enumerate()
        .map(|(source, rx)| {
            let merged = merged_tx.clone();
            go(move || rx.iter().for_each(|n| merged.send((source / 2, n)).unwrap()))
        })
        .collect();
    drop(merged_tx);
    let mut seen = [vec![false; rounds], vec![false; rounds]];
    for (half, n) in merged {
        assert!(!std::mem::replace(&mut seen[half][n], true), "{n} came twice");
    }
    assert!(seen.iter().flatten().all(|seen| *seen));
    sender.join();
    copies.into_iter().for_each(Work::join);
}

/// Go's nonblock: polls find nothing, then a partner that waits.
fn polls_of_every_kind_of_message() {
    fn poll<T: Clone + PartialEq + std::fmt::Debug + Send + 'static>(value: T) {
        for capacity in [0, 1] {
            let (tx, rx) = bounded(capacity);
            assert!(select! { recv(rx) -> _ => false, default => true }, "empty");
            let receiver = {
                let rx = rx.clone();
                go(move || rx.recv().unwrap())
            };
            loop {
                select! { send(tx, value.clone()) -> sent => break sent.unwrap(), default => narrowboat_runtime::yield_now() }
            }
            assert_eq!(receiver.join(), value);
            let sender = {
                let (tx, value) = (tx.clone(), value.clone());
                go(move || tx.send(value).unwrap())
            };
            let got = loop {
                select! { recv(rx) -> msg => break msg.unwrap(), default => narrowboat_runtime::yield_now() }
            };
            assert_eq!(got, value);
            sender.join();
            if capacity == 1 {
                tx.send(value.clone()).unwrap();
            }
            assert!(select! { send(tx, value.clone()) -> _ => false, default => true }, "full");
        }
    }
    poll(true);
    poll(7_i32);
    poll(7_i64);
    poll(String::from("hi"));
    poll([1_u8; 300]);
}

/// Parties that count themselves in through one channel, and all go on when it is closed.
fn a_barrier() {
    const PARTIES: usize = 8;
    let mut gates = Vec::new();
    let mut arrivals = Vec::new();
    for _ in 0..20 {
        gates.push(bounded::<()>(0));
        arrivals.push(bounded::<usize>(0));
    }
    let parties: Vec<_> = (0..PARTIES)
        .map(|me| {
            let gates: Vec<_> = gates.iter().map(|(_, gate)| gate.clone()).collect();
            let arrivals: Vec<_> = arrivals.iter().map(|(arrive, _)| arrive.clone()).collect();
            go(move || {
                for (gate, arrive) in gates.iter().zip(&arrivals) {
                    arrive.send(me).unwrap();
                    assert!(gate.recv().is_err());
                }
            })
        })
        .collect();
    for ((open, _), (_, arrived)) in gates.iter().zip(&arrivals) {
        let mut here: Vec<_> = arrived.iter().take(PARTIES).collect();
        here.sort();
        assert!(here.into_iter().eq(0..PARTIES), "each of them once before the gate opens");
        assert!(arrived.try_recv().is_err());
        open.close();
    }
    parties.into_iter().for_each(Work::join);
}
