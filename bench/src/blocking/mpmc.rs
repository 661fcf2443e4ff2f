//! Cases of channels that need many receivers or a select: the API that Narrowboat shares with crossbeam-channel, so
//! that the same lines run on both. The peer's own names come from `super::backend`.

use narrowboat_bench::cli::warmed;

use super::backend::{bounded, select, spawn};

/// Four senders and four receivers on one channel of 128.
pub fn four_to_four(operations: usize) {
    warmed("fourfour128", operations / 4 * 4, |operations| {
        let each = operations / 4;
        let (messages, inbox) = bounded::<usize>(128);
        let (done, ended) = bounded(4);
        for _ in 0..4 {
            let messages = messages.clone();
            spawn(move || {
                for i in 0..each {
                    messages.send(i).unwrap();
                }
            });
            let (inbox, done) = (inbox.clone(), done.clone());
            spawn(move || {
                for _ in 0..each {
                    inbox.recv().unwrap();
                }
                done.send(()).unwrap();
            });
        }
        for _ in 0..4 {
            ended.recv().unwrap();
        }
    });
}

/// Eight senders, each with an unbuffered channel of its own, and one receiver that selects over all of them.
pub fn select_eight(operations: usize) {
    warmed("select8", operations / 8 * 8, |operations| {
        let each = operations / 8;
        let (senders, inboxes): (Vec<_>, Vec<_>) = (0..8).map(|_| bounded::<usize>(0)).unzip();
        for messages in &senders {
            // A clone: once every sender had hung up, a receive would be ready for ever.
            let messages = messages.clone();
            spawn(move || {
                for i in 0..each {
                    messages.send(i).unwrap();
                }
            });
        }
        let (done, ended) = bounded(1);
        spawn(move || {
            let [a, b, c, d, e, f, g, h] = &inboxes[..] else { unreachable!("there are eight") };
            for _ in 0..each * 8 {
                select! {
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
            done.send(()).unwrap();
        });
        ended.recv().unwrap();
        drop(senders);
    });
}
