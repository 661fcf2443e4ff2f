//! The case of goroutines that select over a channel of their own and one of all. The peer's own
//! names come from `super::backend`.

use narrowboat_bench::cli::warmed;

use super::backend::{bounded, close, select, spawn};

/// `count` goroutines, each with an unbuffered channel of its own, select over that and over one
/// that they all share. One goroutine sends to each in turn. In the end the shared channel closes,
/// and all must go.
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
        close(stop);
        for _ in 0..count {
            assert_eq!(ended.recv(), Ok(each));
        }
    });
}
