//! Channels that can be full.

use crate::ends::{Receiver, Sender, bounded};
use crate::flavour::Flavour;
use narrowboat_chan::{SendError, SendTimeoutError, TryRecvError, TrySendError, select};
use narrowboat_testing::{LONG, go, ms, settle};
use std::time::{Duration, Instant};

catalogue! {
    on Flavour: [zero, one, array];
    {
        closing_wakes_senders_with_their_messages,
        the_last_receiver_wakes_senders,
        timed_out_send_returns_the_message,
    }
}

/// A channel that has no room left, and the number of messages in it.
fn full(flavour: Flavour) -> (Sender<u32>, Receiver<u32>, u32) {
    let (tx, rx) = flavour.make();
    let capacity = flavour.capacity().expect("these channels can be full") as u32;
    for n in 0..capacity {
        tx.send(n).unwrap();
    }
    (tx, rx, capacity)
}

fn wakes_senders(flavour: Flavour, end: impl Fn(&Sender<u32>, Receiver<u32>)) {
    let (tx, rx, _) = full(flavour);
    let other = bounded::<i32>(0);
    let blocked: Vec<_> = (100..106)
        .map(|n| {
            let (tx, other) = (tx.clone(), other.1.clone());
            go(move || match n % 3 {
                0 => tx.send(n) == Err(SendError(n)),
                1 => tx.send_timeout(n, LONG) == Err(SendTimeoutError::Disconnected(n)),
                _ => select! {
                    send(tx, n) -> res => res == Err(SendError(n)),
                    recv(other) -> _ => false,
                },
            })
        })
        .collect();
    settle();
    end(&tx, rx);
    assert!(blocked.into_iter().all(|sender| sender.join()));
}

fn closing_wakes_senders_with_their_messages(flavour: Flavour) {
    wakes_senders(flavour, |tx, rx| {
        assert!(tx.close());
        assert_eq!(Some(rx.iter().count()), flavour.capacity(), "nothing of the blocked ones");
    });
    wakes_senders(flavour, |_, rx| assert!(rx.close()));
}

fn the_last_receiver_wakes_senders(flavour: Flavour) {
    wakes_senders(flavour, |_, rx| drop(rx));
}

fn timed_out_send_returns_the_message(flavour: Flavour) {
    let (tx, rx, held) = full(flavour);
    let start = Instant::now();
    assert_eq!(tx.try_send(90), Err(TrySendError::Full(90)));
    assert_eq!(tx.send_timeout(91, Duration::ZERO), Err(SendTimeoutError::Timeout(91)));
    assert_eq!(tx.send_timeout(92, ms(20)), Err(SendTimeoutError::Timeout(92)));
    assert_eq!(tx.send_deadline(93, start + ms(40)), Err(SendTimeoutError::Timeout(93)));
    assert!(start.elapsed() >= ms(40));
    let (big_tx, _big_rx) = bounded(0);
    let returned = big_tx.send_timeout([5_u8; 4096], ms(5)).unwrap_err();
    assert!(returned.is_timeout());
    assert_eq!(returned.into_inner(), [5; 4096]);
    assert_eq!(rx.try_iter().collect::<Vec<_>>(), (0..held).collect::<Vec<_>>());
    // A sender that left its queue is not taken for one that waits.
    assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
}
