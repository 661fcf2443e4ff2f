//! Channels without a limit.

use crate::ends::unbounded;
use narrowboat_testing::{go, suite};

suite! {
    sends_never_wait,
    bursts_come_and_go,
}

fn sends_never_wait() {
    let (tx, rx) = unbounded();
    for n in 0..200_000 {
        tx.send(n).unwrap();
    }
    assert_eq!(rx.len(), 200_000);
    assert!(!tx.is_full());
    drop(tx);
    assert!(rx.iter().eq(0..200_000));
}

fn bursts_come_and_go() {
    let (tx, rx) = unbounded();
    let receiver = go(move || {
        let mut next = 0;
        for n in rx {
            assert_eq!(n, next);
            next += 1;
        }
        next
    });
    let mut n = 0;
    for burst in [1, 1_000, 10, 20_000, 3, 50_000, 1] {
        for _ in 0..burst {
            tx.send(n).unwrap();
            n += 1;
        }
        std::thread::yield_now();
    }
    drop(tx);
    assert_eq!(receiver.join(), n);
}
