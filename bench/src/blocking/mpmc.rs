//! Cases of channels that need many receivers, a select or a timeout: the API that Narrowboat shares with
//! crossbeam-channel, so that the same lines run on both. The peer's own names come from `super::backend`.

use narrowboat_bench::cli::warmed;
use narrowboat_bench::timing::HOUR;

use super::backend::{Seats, Select, bounded, select, spawn};

/// Four senders and four receivers on one channel of 128.
pub fn four_to_four(operations: usize) {
    let seats = Seats::of(8);
    warmed("fourfour128", operations / 4 * 4, |operations| {
        let each = operations / 4;
        let (messages, inbox) = bounded::<usize>(128);
        let (done, ended) = bounded(4);
        for pair in 0..4 {
            let messages = messages.clone();
            seats.spawn(2 * pair, move || {
                for i in 0..each {
                    messages.send(i).unwrap();
                }
            });
            let (inbox, done) = (inbox.clone(), done.clone());
            seats.spawn(2 * pair + 1, move || {
                let sum: usize = (0..each).map(|_| inbox.recv().unwrap()).sum();
                done.send(sum).unwrap();
            });
        }
        let sum: usize = (0..4).map(|_| ended.recv().unwrap()).sum();
        assert_eq!(sum, 4 * sum_below(each));
    });
}

/// Eight senders, each with an unbuffered channel of its own, and one receiver that selects over all of them.
pub fn select_eight(operations: usize) {
    let seats = Seats::of(9);
    warmed("select8", operations / 8 * 8, |operations| {
        let each = operations / 8;
        let (senders, inboxes): (Vec<_>, Vec<_>) = (0..8).map(|_| bounded::<usize>(0)).unzip();
        for (sender, messages) in senders.iter().enumerate() {
            // A clone: once every sender had hung up, a receive would be ready for ever.
            let messages = messages.clone();
            seats.spawn(sender + 1, move || {
                for i in 0..each {
                    messages.send(i).unwrap();
                }
            });
        }
        let (done, ended) = bounded(1);
        seats.spawn(0, move || {
            let [a, b, c, d, e, f, g, h] = &inboxes[..] else { unreachable!("there are eight") };
            let mut sum = 0;
            for _ in 0..each * 8 {
                sum += select! {
                    recv(a) -> message => message.unwrap(),
                    recv(b) -> message => message.unwrap(),
                    recv(c) -> message => message.unwrap(),
                    recv(d) -> message => message.unwrap(),
                    recv(e) -> message => message.unwrap(),
                    recv(f) -> message => message.unwrap(),
                    recv(g) -> message => message.unwrap(),
                    recv(h) -> message => message.unwrap(),
                };
            }
            done.send(sum).unwrap();
        });
        assert_eq!(ended.recv(), Ok(8 * sum_below(each)));
        drop(senders);
    });
}

/// Ping-pong in which the answering side selects over `arms` unbuffered channels, and the asking side takes them in turn.
/// Nothing is ever ready, so each select waits on all of its arms and takes them all back.
pub fn select_arms(arms: usize, operations: usize) {
    let seats = Seats::of(2);
    warmed("arms", operations, |operations| {
        let (senders, inboxes): (Vec<_>, Vec<_>) = (0..arms).map(|_| bounded::<usize>(0)).unzip();
        let (pong, ponged) = bounded::<usize>(0);
        let (done, ended) = bounded(1);
        seats.spawn(0, move || {
            let mut select = Select::new();
            for inbox in &inboxes {
                select.recv(inbox);
            }
            for _ in 0..operations {
                let chosen = select.select();
                let inbox = &inboxes[chosen.index()];
                pong.send(chosen.recv(inbox).unwrap()).unwrap();
            }
        });
        seats.spawn(1, move || {
            for i in 0..operations {
                senders[i % arms].send(i).unwrap();
                assert_eq!(ponged.recv(), Ok(i));
            }
            done.send(()).unwrap();
        });
        ended.recv().unwrap();
    });
}

/// `count` goroutines, each with an unbuffered channel of its own, select over that and over one that they all share.
/// One goroutine sends to each in turn. In the end the shared channel closes, and all must go.
pub fn select_shared(count: usize, operations: usize) {
    warmed("shared", operations / count * count, |operations| {
        let each = (operations / count).max(1);
        let (stop, stopped) = bounded::<()>(0);
        let (done, ended) = bounded(count);
        let mut senders = Vec::with_capacity(count);
        for _ in 0..count {
            let (messages, inbox) = bounded::<usize>(0);
            let (stopped, done) = (stopped.clone(), done.clone());
            senders.push(messages);
            spawn(move || {
                let mut received = 0;
                loop {
                    select! {
                        recv(inbox) -> message => assert_eq!(message, Ok(received)),
                        recv(stopped) -> _ => break,
                    }
                    received += 1;
                }
                done.send(received).unwrap();
            });
        }
        for i in 0..each {
            for messages in &senders {
                messages.send(i).unwrap();
            }
        }
        drop(stop);
        for _ in 0..count {
            assert_eq!(ended.recv(), Ok(each));
        }
    });
}

/// Ping-pong in which each receive gives up after an hour.
pub fn timeouts(operations: usize) {
    let seats = Seats::of(2);
    warmed("timeouts", operations, |operations| {
        let (ping, pinged) = bounded::<usize>(0);
        let (pong, ponged) = bounded::<usize>(0);
        let (done, ended) = bounded(1);
        seats.spawn(0, move || {
            for _ in 0..operations {
                pong.send(pinged.recv_timeout(HOUR).unwrap()).unwrap();
            }
        });
        seats.spawn(1, move || {
            for i in 0..operations {
                ping.send(i).unwrap();
                assert_eq!(ponged.recv_timeout(HOUR), Ok(i));
            }
            done.send(()).unwrap();
        });
        ended.recv().unwrap();
    });
}

/// 0 + 1 + ... up to but without `n`: what the messages of one sender add up to.
fn sum_below(n: usize) -> usize {
    n * n.saturating_sub(1) / 2
}
