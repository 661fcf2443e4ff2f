//! What Go programs rely on.

mod common;

use common::{LONG, go, ms, settle};
use narrowboat_chan::{Receiver, RecvError, Sender, bounded, never, select, unbounded};

#[derive(Clone, Copy, PartialEq, Debug)]
enum Is {
    Blocked,
    Done,
    Failed,
}

/// Does one operation, alone or in a select beside an arm that never moves; blocked is what takes longer than a while.
fn receive(rx: Receiver<i32>, in_select: bool) -> Is {
    let result = if in_select {
        select! { recv(rx) -> msg => msg, recv(never::<()>()) -> _ => unreachable!(), default(ms(15)) => return Is::Blocked }
    } else {
        match rx.recv_timeout(ms(15)) {
            Err(error) if error.is_timeout() => return Is::Blocked,
            result => result.map_err(|_| RecvError),
        }
    };
    if result.is_ok() { Is::Done } else { Is::Failed }
}

fn send(tx: Sender<i32>, in_select: bool) -> Is {
    let sent = if in_select {
        select! { send(tx, 1) -> res => res.is_ok(), recv(never::<()>()) -> _ => unreachable!(), default(ms(15)) => return Is::Blocked }
    } else {
        match tx.send_timeout(1, ms(15)) {
            Err(error) if error.is_timeout() => return Is::Blocked,
            result => result.is_ok(),
        }
    };
    if sent { Is::Done } else { Is::Failed }
}

/// Go's table of what blocks: nil (never), open and empty, open and full, open and neither, closed.
#[test]
fn the_blocking_matrix() {
    for in_select in [false, true] {
        assert_eq!(receive(never(), in_select), Is::Blocked);
        for capacity in [0, 1, 2] {
            let (tx, rx) = bounded(capacity);
            assert_eq!(receive(rx.clone(), in_select), Is::Blocked, "empty");
            for _ in 0..capacity {
                assert_eq!(send(tx.clone(), in_select), Is::Done);
            }
            assert_eq!(send(tx.clone(), in_select), Is::Blocked, "full");
            tx.close();
            assert_eq!(send(tx.clone(), in_select), Is::Failed, "closed");
            for _ in 0..capacity {
                assert_eq!(receive(rx.clone(), in_select), Is::Done, "what is left");
            }
            assert_eq!(receive(rx.clone(), in_select), Is::Failed);
            assert_eq!(receive(rx, in_select), Is::Failed, "for ever");
        }
    }
}

#[test]
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

#[test]
fn a_closed_done_channel_tells_everybody() {
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

#[test]
fn a_channel_as_a_semaphore() {
    let (tokens, back) = bounded::<()>(3);
    let inside = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let workers: Vec<_> = (0..12)
        .map(|_| {
            let (tokens, back, inside) = (tokens.clone(), back.clone(), inside.clone());
            go(move || {
                for _ in 0..100 {
                    tokens.send(()).unwrap();
                    assert!(inside.fetch_add(1, std::sync::atomic::Ordering::SeqCst) < 3);
                    std::thread::yield_now();
                    inside.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                    back.recv().unwrap();
                }
            })
        })
        .collect();
    workers.into_iter().for_each(|worker| worker.join());
}

#[test]
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

#[test]
fn waiting_parties_take_turns() {
    // Two that receive in a loop from one channel share it evenly, because the one that waits longest is served.
    let (tx, rx) = bounded(0);
    let receivers: Vec<_> = (0..2)
        .map(|_| {
            let rx = rx.clone();
            go(move || rx.iter().count())
        })
        .collect();
    drop(rx);
    settle();
    for _ in 0..2_000 {
        tx.send_timeout((), LONG).unwrap();
    }
    drop(tx);
    let counts: Vec<_> = receivers.into_iter().map(|receiver| receiver.join()).collect();
    assert_eq!(counts.iter().sum::<usize>(), 2_000);
    assert!(counts.iter().all(|n| *n > 200), "{counts:?}");
}
