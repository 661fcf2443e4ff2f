//! Channels with a buffer of fixed size.

use crate::ends::bounded;
use narrowboat_chan::{Select, TryRecvError, TrySendError, select};
use narrowboat_testing::{eventually, go, settle, suite, waits};

suite! {
    blocked_senders_move_up_at_once,
    the_buffer_never_overflows,
    a_selected_send_keeps_its_place,
    a_receive_may_overtake_a_reserved_place,
    a_selected_send_that_gives_up_frees_its_place_for_the_next,
    a_reserved_place_in_a_closed_channel_is_an_error,
    #[should_panic(expected = "capacity overflow")]
    more_than_memory_is_refused,
}

fn blocked_senders_move_up_at_once() {
    let (tx, rx) = bounded(2);
    let senders: Vec<_> = (0..6)
        .map(|n| {
            let tx = tx.clone();
            go(move || tx.send(n).unwrap())
        })
        .collect();
    let mut got = Vec::new();
    for left in (0..6).rev() {
        // Those that have not come yet are no reason to fail.
        eventually("the buffer is full, or has all that is left", || rx.len() == (left + 1).min(2));
        got.push(rx.recv().unwrap());
    }
    got.sort();
    assert_eq!(got, [0, 1, 2, 3, 4, 5]);
    senders.into_iter().for_each(|sender| sender.join());

    let sender = {
        (0..2).for_each(|n| tx.send(n).unwrap());
        let tx = tx.clone();
        waits(move || tx.send(2).unwrap())
    };
    settle();
    assert_eq!(rx.recv(), Ok(0));
    assert_eq!(rx.len(), 2, "the place that a receive leaves is taken before the receive returns");
    sender.join();
}

fn the_buffer_never_overflows() {
    let (tx, rx) = bounded(3);
    let senders: Vec<_> = (0..4)
        .map(|i| {
            let tx = tx.clone();
            go(move || {
                for n in 0..2_000 {
                    if (n + i) % 2 == 0 {
                        tx.send(n).unwrap();
                    } else {
                        select! { send(tx, n) -> res => res.unwrap() }
                    }
                    assert!(tx.len() <= 3);
                }
            })
        })
        .collect();
    drop(tx);
    let mut got = 0;
    while rx.recv().is_ok() {
        got += 1;
        assert!(rx.len() <= 3);
    }
    assert_eq!(got, 8_000);
    senders.into_iter().for_each(|sender| sender.join());
}

fn a_selected_send_keeps_its_place() {
    let (tx, rx) = bounded(1);
    let mut select = Select::new();
    select.send(&tx);
    let chosen = select.select();
    assert!(tx.is_full(), "the place is reserved");
    assert_eq!(tx.try_send(9), Err(TrySendError::Full(9)));
    assert_eq!(rx.try_recv(), Err(TryRecvError::Empty), "but nothing is in it yet");
    chosen.send(&tx, 1).unwrap();
    assert_eq!(rx.recv(), Ok(1));
    assert_eq!(tx.try_send(2), Ok(()));
}

fn a_receive_may_overtake_a_reserved_place() {
    // The only place is reserved; a blocked sender's message goes to a receiver all the same.
    let (tx, rx) = bounded(1);
    let mut select = Select::new();
    select.send(&tx);
    let chosen = select.select();
    let sender = {
        let tx = tx.clone();
        go(move || tx.send(2))
    };
    assert_eq!(rx.recv(), Ok(2));
    sender.join().unwrap();
    chosen.send(&tx, 1).unwrap();
    assert_eq!(rx.recv(), Ok(1));
}

fn a_selected_send_that_gives_up_frees_its_place_for_the_next() {
    let (tx, rx) = bounded(1);
    let give_up = || -> Option<()> {
        select! { send(tx, None::<i32>?) -> _ => Some(()) }
    };
    assert_eq!(give_up(), None);
    assert!(!tx.is_full());

    let mut select = Select::new();
    select.send(&tx);
    let chosen = select.select();
    let sender = {
        let tx = tx.clone();
        go(move || tx.send(5))
    };
    settle();
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(chosen))).is_err());
    assert_eq!(sender.join(), Ok(()));
    assert_eq!(rx.recv(), Ok(5));
}

fn a_reserved_place_in_a_closed_channel_is_an_error() {
    let (tx, rx) = bounded(1);
    for dropped in [false, true] {
        let (tx, rx) = if dropped { bounded(1) } else { (tx.clone(), rx.clone()) };
        let mut select = Select::new();
        select.send(&tx);
        let chosen = select.select();
        rx.close();
        drop(rx);
        assert_eq!(chosen.send(&tx, 3).unwrap_err().into_inner(), 3);
        assert_eq!(tx.len(), 0);
    }
}

fn more_than_memory_is_refused() {
    let _ = bounded::<u64>(usize::MAX / 2);
}
