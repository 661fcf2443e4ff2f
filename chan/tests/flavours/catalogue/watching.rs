//! `Select::ready` over channels of one kind: told that an operation is possible, the party attempts it.

use crate::ends::{Receiver, Sender, bounded};
use crate::flavour::Flavour;
use narrowboat_chan::{Select, TryRecvError};
use narrowboat_testing::{LONG, go, ms, scaled};
use std::time::Duration;

catalogue! {
    on Flavour: [zero, one, array, list];
    {
        the_ready_arm_is_named,
        a_closed_channel_is_ready,
        what_was_ready_may_be_gone,
        duplicate_arms_are_named_in_turn,
        messages_come_in_order_to_a_watcher,
        a_watcher_sends_in_order,
        channels_travel_to_a_watcher,
        watchers_and_limits_race_cleanly,
    }
}

fn the_ready_arm_is_named(flavour: Flavour) {
    let (_silent_tx, silent) = flavour.make::<i32>();
    let (tx, rx) = flavour.make();
    let sender = go(move || (0..50).for_each(|n| tx.send(n).unwrap()));
    let mut select = Select::new();
    select.recv(&silent);
    let index = select.recv(&rx);
    select.recv(&silent);
    for n in 0..50 {
        assert_eq!(select.ready_timeout(LONG), Ok(index));
        assert_eq!(rx.try_recv(), Ok(n), "no other receives");
    }
    sender.join();
}

fn a_closed_channel_is_ready(flavour: Flavour) {
    let (tx, rx) = flavour.make();
    (0..flavour.holds()).for_each(|n| tx.send(n).unwrap());
    tx.close();
    let mut send = Select::new();
    send.send(&tx);
    assert_eq!(send.try_ready(), Ok(0));
    assert!(tx.try_send(0).unwrap_err().is_disconnected());
    let mut receive = Select::new();
    receive.recv(&rx);
    for n in 0..flavour.holds() {
        assert_eq!(receive.ready(), 0);
        assert_eq!(rx.try_recv(), Ok(n));
    }
    for _ in 0..3 {
        assert_eq!(receive.ready_timeout(Duration::ZERO), Ok(0));
        assert_eq!(rx.try_recv(), Err(TryRecvError::Disconnected));
    }
}

/// Several watch for the same messages: each is told, one gets it, and the others go back to watching.
fn what_was_ready_may_be_gone(flavour: Flavour) {
    let (tx, rx) = flavour.make();
    let count = scaled(1_000);
    let watchers: Vec<_> = (0..3)
        .map(|_| {
            let rx = rx.clone();
            go(move || {
                let mut got = Vec::new();
                let mut select = Select::new();
                select.recv(&rx);
                loop {
                    select.ready();
                    match rx.try_recv() {
                        Ok(n) => got.push(n),
                        Err(TryRecvError::Empty) => {}
                        Err(TryRecvError::Disconnected) => break,
                    }
                }
                got
            })
        })
        .collect();
    (0..count).for_each(|n| tx.send(n).unwrap());
    drop(tx);
    let mut all: Vec<_> = watchers.into_iter().flat_map(|watcher| watcher.join()).collect();
    all.sort();
    assert!(all.into_iter().eq(0..count));
}

fn duplicate_arms_are_named_in_turn(flavour: Flavour) {
    let (tx, rx) = flavour.make();
    let count = 1_500;
    let sender = go(move || (0..count).for_each(|n| tx.send(n).unwrap()));
    let mut hits = [0; 3];
    for n in 0..count {
        let mut select = Select::new();
        (0..3).for_each(|_| _ = select.recv(&rx));
        hits[select.ready()] += 1;
        assert_eq!(rx.try_recv(), Ok(n));
    }
    sender.join();
    assert!(hits.iter().all(|n| *n > count / 6), "{hits:?}");
}

/// Receives when it is told that it can, from one of two channels.
fn receive<T>(rx1: &Receiver<T>, rx2: &Receiver<T>) -> T {
    loop {
        let mut select = Select::new();
        select.recv(rx1);
        select.recv(rx2);
        let rx = [rx1, rx2][select.ready()];
        match rx.try_recv() {
            Ok(message) => return message,
            Err(error) => assert!(error.is_empty()),
        }
    }
}

fn send<T>(tx: &Sender<T>, mut message: T) {
    loop {
        let mut select = Select::new();
        select.send(tx);
        assert_eq!(select.ready(), 0);
        match tx.try_send(message) {
            Ok(()) => return,
            Err(error) => {
                assert!(error.is_full());
                message = error.into_inner();
            }
        }
    }
}

/// In lockstep: after each message the sender waits for a word.
fn messages_come_in_order_to_a_watcher(flavour: Flavour) {
    let ((tx1, rx1), (tx2, rx2), (ack_tx, ack)) = (flavour.make(), flavour.make(), bounded(0));
    let count = scaled(1_000);
    let sender = go(move || {
        for n in 0..count {
            for tx in [&tx1, &tx2] {
                tx.send(n).unwrap();
                ack.recv().unwrap();
            }
        }
        (tx1, tx2)
    });
    for n in 0..count {
        for _ in 0..2 {
            assert_eq!(receive(&rx1, &rx2), n);
            ack_tx.send(()).unwrap();
        }
    }
    sender.join();
}

fn a_watcher_sends_in_order(flavour: Flavour) {
    let (tx, rx) = flavour.make();
    let count = scaled(1_000);
    let receiver = go(move || assert!(rx.iter().eq(0..count)));
    (0..count).for_each(|n| send(&tx, n));
    drop(tx);
    receiver.join();
}

fn channels_travel_to_a_watcher(flavour: Flavour) {
    struct Link(Receiver<Option<Link>>);
    let (mut tx, first) = flavour.make();
    let sender = go(move || {
        for _ in 0..100 {
            let (next, rx) = flavour.make();
            tx.send(Some(Link(rx))).unwrap();
            tx = next;
        }
        tx.send(None).unwrap();
    });
    let (_keep, silent) = flavour.make();
    let (mut rx, mut length) = (first, 0);
    while let Some(Link(next)) = receive(&rx, &silent) {
        rx = next;
        length += 1;
    }
    assert_eq!(length, 100);
    sender.join();
}

fn watchers_and_limits_race_cleanly(flavour: Flavour) {
    let (tx, rx) = flavour.make();
    let count = scaled(300);
    let sender = go(move || {
        for n in 0..count {
            if n % 50 == 0 {
                narrowboat_runtime::sleep(ms(1));
            }
            tx.send(n).unwrap();
        }
    });
    let mut select = Select::new();
    select.recv(&rx);
    for n in 0..count {
        while select.ready_timeout(Duration::from_micros(30)).is_err() {}
        assert_eq!(rx.try_recv(), Ok(n));
    }
    sender.join();
}
