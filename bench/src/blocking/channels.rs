//! Cases of channels with one receiver, written once for every peer whose channels block: only the `use` differs.
//! The peer's own names come from `super::backend`. A party of a case has a number, by which it is seated.

use narrowboat_bench::cli::warmed;

use super::backend::{Seats, bounded};

/// Two goroutines, two unbuffered channels, `operations` round trips.
pub fn ping_pong(operations: usize) {
    let seats = Seats::of(2);
    warmed("pingpong", operations, |operations| {
        let (ping, pinged) = bounded::<usize>(0);
        let (pong, ponged) = bounded::<usize>(0);
        let (done, ended) = bounded(1);
        seats.spawn(0, move || {
            for _ in 0..operations {
                pong.send(pinged.recv().unwrap()).unwrap();
            }
        });
        seats.spawn(1, move || {
            for i in 0..operations {
                ping.send(i).unwrap();
                assert_eq!(ponged.recv(), Ok(i));
            }
            done.send(()).unwrap();
        });
        ended.recv().unwrap();
    });
}

/// One sender, one receiver, `operations` messages.
pub fn one_to_one(name: &str, capacity: usize, operations: usize) {
    let seats = Seats::of(2);
    warmed(name, operations, |operations| {
        let (messages, inbox) = bounded::<usize>(capacity);
        let (done, ended) = bounded(1);
        seats.spawn(0, move || {
            for i in 0..operations {
                messages.send(i).unwrap();
            }
        });
        seats.spawn(1, move || {
            for i in 0..operations {
                assert_eq!(inbox.recv(), Ok(i));
            }
            done.send(()).unwrap();
        });
        ended.recv().unwrap();
    });
}

/// `size` goroutines in a ring of unbuffered channels pass one token on for about `hops` hops, in whole rounds. The
/// token counts them.
pub fn ring(size: usize, hops: usize) {
    let seats = Seats::of(size);
    let rounds = (hops / size).max(1);
    warmed("ring", rounds * size, |hops| {
        let rounds = (hops / size).max(1);
        let (senders, inboxes): (Vec<_>, Vec<_>) = (0..size).map(|_| bounded::<usize>(0)).unzip();
        let (done, ended) = bounded(size);
        for (i, inbox) in inboxes.into_iter().enumerate() {
            let (to, done) = (senders[(i + 1) % size].clone(), done.clone());
            seats.spawn(i, move || {
                for round in 0..rounds {
                    let token = inbox.recv().unwrap();
                    assert_eq!(token, round * size + i);
                    // The last hop of all has nobody left to receive it.
                    if token + 1 < rounds * size {
                        to.send(token + 1).unwrap();
                    }
                }
                done.send(()).unwrap();
            });
        }
        senders[0].send(0).unwrap();
        for _ in 0..size {
            ended.recv().unwrap();
        }
    });
}
