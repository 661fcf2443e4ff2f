//! Cases of selects over many channels: the API that Narrowboat shares with crossbeam-channel, so
//! that the same lines run on both. The peer's own names come from `super::backend`.

use narrowboat_bench::cli::warmed;
use narrowboat_bench::messages::sum_below;

use super::backend::{Seats, Select, bounded, select};

/// Eight senders, each with an unbuffered channel of its own, and one receiver that selects over
/// all of them.
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

/// Ping-pong in which the answering side selects over `arms` unbuffered channels, and the asking
/// side takes them in turn. Nothing is ever ready, so each select waits on all of its arms and
/// takes them all back.
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
