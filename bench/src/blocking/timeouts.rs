//! The case of receives that give up after a time. The peer's own names come from `super::backend`.

use narrowboat_bench::cli::warmed;
use narrowboat_bench::timing::HOUR;

use super::backend::{Seats, bounded};

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
