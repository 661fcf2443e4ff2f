//! Cases of channels with one receiver, written once for every peer whose channels block: only the `use` differs.
//! The peer's own names come from `super::backend`.

use narrowboat_bench::cli::warmed;

use super::backend::{bounded, spawn};

/// Two goroutines, two unbuffered channels, `operations` round trips. `place` starts the two.
pub fn ping_pong_placed(operations: usize, place: impl Fn(Body, Body)) {
    warmed("pingpong", operations, |operations| {
        let (ping, pinged) = bounded::<usize>(0);
        let (pong, ponged) = bounded::<usize>(0);
        let (done, ended) = bounded(1);
        let answer = move || {
            for _ in 0..operations {
                pong.send(pinged.recv().unwrap()).unwrap();
            }
        };
        let ask = move || {
            for i in 0..operations {
                ping.send(i).unwrap();
                assert_eq!(ponged.recv(), Ok(i));
            }
            done.send(()).unwrap();
        };
        place(Box::new(answer), Box::new(ask));
        ended.recv().unwrap();
    });
}

/// What one side of a ping-pong does.
pub type Body = Box<dyn FnOnce() + Send>;

/// Ping-pong wherever the runtime puts the two.
pub fn ping_pong(operations: usize) {
    ping_pong_placed(operations, |answer, ask| {
        spawn(answer);
        spawn(ask);
    });
}

/// One sender, one receiver, `operations` messages.
pub fn one_to_one(name: &str, capacity: usize, operations: usize) {
    warmed(name, operations, |operations| {
        let (messages, inbox) = bounded::<usize>(capacity);
        let (done, ended) = bounded(1);
        spawn(move || {
            for i in 0..operations {
                messages.send(i).unwrap();
            }
        });
        spawn(move || {
            for _ in 0..operations {
                inbox.recv().unwrap();
            }
            done.send(()).unwrap();
        });
        ended.recv().unwrap();
    });
}

/// `size` goroutines in a ring of unbuffered channels pass one token on for about `hops` hops, in whole rounds.
pub fn ring(size: usize, hops: usize) {
    let rounds = (hops / size).max(1);
    warmed("ring", rounds * size, |hops| {
        let rounds = (hops / size).max(1);
        let (senders, inboxes): (Vec<_>, Vec<_>) = (0..size).map(|_| bounded::<usize>(0)).unzip();
        let (done, ended) = bounded(size);
        for (i, inbox) in inboxes.into_iter().enumerate() {
            let (to, done) = (senders[(i + 1) % size].clone(), done.clone());
            spawn(move || {
                for round in 1..=rounds {
                    let token = inbox.recv().unwrap();
                    // The last hop of all has nobody left to receive it.
                    if round < rounds || i + 1 < size {
                        to.send(token).unwrap();
                    }
                }
                done.send(()).unwrap();
            });
        }
        senders[0].send(1).unwrap();
        for _ in 0..size {
            ended.recv().unwrap();
        }
    });
}
