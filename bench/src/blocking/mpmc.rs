//! The case of a channel that many goroutines receive from. The peer's own names come from
//! `super::backend`.

use narrowboat_bench::cli::warmed;
use narrowboat_bench::messages::sum_below;

use super::backend::{Seats, bounded};

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
