//! Channels with one place: the smallest buffer has the most contention.

use crate::ends::bounded;
use narrowboat_chan::{TryRecvError, TrySendError};
use narrowboat_testing::{go, settle, suite, waits};

suite! {
    the_place_goes_to_the_longest_waiter,
    it_is_a_lock_of_goroutines,
}

fn the_place_goes_to_the_longest_waiter() {
    let (tx, rx) = bounded(1);
    tx.send(0).unwrap();
    let senders: Vec<_> = (1..4)
        .map(|n| {
            let tx = tx.clone();
            let sender = waits(move || tx.send(n).unwrap());
            settle();
            sender
        })
        .collect();
    for n in 0..3 {
        assert_eq!(rx.try_recv(), Ok(n));
        assert_eq!(tx.try_send(9), Err(TrySendError::Full(9)), "the place is not free for a moment");
    }
    assert_eq!(rx.try_recv(), Ok(3));
    assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
    senders.into_iter().for_each(|sender| sender.join());
}

/// Go programs use such a channel as a mutex.
fn it_is_a_lock_of_goroutines() {
    let (tx, rx) = bounded(1);
    let work: Vec<_> = (0..4)
        .map(|_| {
            let (tx, rx) = (tx.clone(), rx.clone());
            go(move || {
                for _ in 0..500 {
                    let n: u64 = rx.recv().unwrap();
                    narrowboat_runtime::yield_now();
                    tx.send(n + 1).unwrap();
                }
            })
        })
        .collect();
    tx.send(0).unwrap();
    work.into_iter().for_each(|work| work.join());
    assert_eq!(rx.recv(), Ok(2_000));
}
