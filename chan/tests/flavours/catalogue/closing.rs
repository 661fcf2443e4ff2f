//! Channels that are closed, or that one side has left.

use crate::ends::{Receiver, Sender, bounded};
use crate::flavour::Flavour;
use narrowboat_chan::{
    RecvError, RecvTimeoutError, SendError, SendTimeoutError, TryRecvError, TrySendError, select,
};
use narrowboat_testing::{LONG, go, scaled, settle};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

catalogue! {
    on Flavour: [zero, one, array, list];
    {
        send_without_receivers_returns_the_message,
        what_was_sent_outlives_the_senders,
        closing_drains_then_fails,
        what_a_closed_channel_tells,
        a_clone_of_a_closed_channel_is_closed,
        closing_wakes_receivers,
        the_last_sender_wakes_receivers,
        close_in_the_middle_loses_nothing,
    }
}

fn send_without_receivers_returns_the_message(flavour: Flavour) {
    let (tx, rx) = flavour.make();
    drop(rx);
    assert!(tx.is_closed());
    assert_eq!(tx.send(1), Err(SendError(1)));
    assert_eq!(tx.try_send(2), Err(TrySendError::Disconnected(2)));
    assert_eq!(tx.send_timeout(3, LONG), Err(SendTimeoutError::Disconnected(3)));
    assert_eq!(tx.send_deadline(4, Instant::now()), Err(SendTimeoutError::Disconnected(4)));
    select! {
        send(tx, 5) -> res => assert_eq!(res, Err(SendError(5))),
        default => panic!("the arm is ready"),
    }
}

fn what_was_sent_outlives_the_senders(flavour: Flavour) {
    let (tx, rx) = flavour.make();
    let held = flavour.holds();
    for n in 0..held {
        tx.send(n).unwrap();
    }
    drop(tx);
    assert!(rx.is_closed());
    assert_eq!(rx.iter().collect::<Vec<_>>(), (0..held).collect::<Vec<_>>());
    assert_eq!(rx.recv(), Err(RecvError));
    assert_eq!(rx.try_recv(), Err(TryRecvError::Disconnected));
    select! {
        recv(rx) -> msg => assert_eq!(msg, Err(RecvError)),
        default => panic!("the arm is ready"),
    }
}

fn closing_drains_then_fails(flavour: Flavour) {
    for by_receiver in [false, true] {
        let (tx, rx) = flavour.make();
        let held = flavour.holds();
        for n in 0..held {
            tx.send(n).unwrap();
        }
        assert!(!tx.is_closed() && !rx.is_closed());
        assert!(if by_receiver { rx.close() } else { tx.close() });
        assert!(!tx.close() && !rx.close(), "only the first call closes");
        assert!(tx.is_closed() && rx.is_closed());

        assert_eq!(tx.send(90), Err(SendError(90)));
        assert_eq!(tx.try_send(91), Err(TrySendError::Disconnected(91)));
        assert_eq!(tx.send_timeout(92, LONG), Err(SendTimeoutError::Disconnected(92)));
        assert_eq!(tx.len(), held);
        assert_eq!((&rx).into_iter().count(), held);
        assert_eq!(rx.recv(), Err(RecvError));
        assert_eq!(rx.recv_timeout(LONG), Err(RecvTimeoutError::Disconnected));
        let (tx2, rx2) = (tx.clone(), rx.clone());
        assert!(tx2.is_closed() && rx2.is_closed(), "clones of a closed channel are closed");
    }
}

fn what_a_closed_channel_tells(flavour: Flavour) {
    let (tx, rx) = flavour.make();
    (0..flavour.holds()).for_each(|n| tx.send(n).unwrap());
    let (capacity, full) = (tx.capacity(), tx.is_full());
    tx.close();
    for left in (0..=flavour.holds()).rev() {
        assert_eq!((rx.len(), tx.len()), (left, left));
        assert_eq!((rx.capacity(), tx.capacity()), (capacity, capacity));
        assert_eq!(rx.is_full(), full && left == flavour.holds());
        assert_eq!(rx.is_empty(), left == 0);
        assert!(rx.is_closed(), "also while there is something in it");
        assert_eq!(rx.try_recv().is_ok(), left > 0);
    }
}

fn a_clone_of_a_closed_channel_is_closed(flavour: Flavour) {
    let (tx, rx) = flavour.make();
    drop(tx);
    let rx2 = rx.clone();
    drop(rx);
    assert!(rx2.is_closed());
    assert_eq!(rx2.recv(), Err::<i32, _>(RecvError));
    let (tx, rx) = flavour.make();
    drop(rx);
    let tx2 = tx.clone();
    drop(tx);
    assert!(tx2.is_closed());
    assert_eq!(tx2.send(1), Err(SendError(1)));
}

fn wakes_receivers(flavour: Flavour, end: fn(Sender<i32>, &Receiver<i32>)) {
    let (tx, rx) = flavour.make::<i32>();
    let other = bounded::<i32>(0);
    let blocked: Vec<_> = (0..6)
        .map(|i| {
            let (rx, other) = (rx.clone(), other.1.clone());
            go(move || match i % 3 {
                0 => rx.recv().is_err(),
                1 => rx.recv_timeout(LONG) == Err(RecvTimeoutError::Disconnected),
                _ => select! { recv(rx) -> msg => msg.is_err(), recv(other) -> _ => false },
            })
        })
        .collect();
    settle();
    end(tx, &rx);
    assert!(blocked.into_iter().all(|receiver| receiver.join()));
}

fn closing_wakes_receivers(flavour: Flavour) {
    wakes_receivers(flavour, |tx, _| assert!(tx.close()));
    wakes_receivers(flavour, |_tx, rx| assert!(rx.close()));
}

fn the_last_sender_wakes_receivers(flavour: Flavour) {
    wakes_receivers(flavour, |tx, _| drop(tx));
}

fn close_in_the_middle_loses_nothing(flavour: Flavour) {
    for round in 0..scaled(50) as u64 {
        let (tx, rx) = flavour.make();
        let sent = Arc::new(AtomicUsize::new(0));
        let senders: Vec<_> = (0..3)
            .map(|_| {
                let (tx, sent) = (tx.clone(), sent.clone());
                go(move || {
                    while tx.send(()).is_ok() {
                        sent.fetch_add(1, Ordering::SeqCst);
                    }
                })
            })
            .collect();
        let receivers: Vec<_> = (0..2)
            .map(|_| {
                let rx = rx.clone();
                go(move || rx.iter().count())
            })
            .collect();
        std::thread::sleep(Duration::from_micros(round * 20));
        assert!(if round % 2 == 0 { tx.close() } else { rx.close() });
        senders.into_iter().for_each(|sender| sender.join());
        let received: usize = receivers.into_iter().map(|receiver| receiver.join()).sum();
        assert_eq!(received, sent.load(Ordering::SeqCst));
    }
}
