//! What a close means, in Go's order: which side may, which notices, what is left.

use narrowboat_chan::{Receiver, SendError, Sender, bounded, never, select, unbounded};
use narrowboat_testing::{Census, Counted, Dice, Work, go, ms, pause, scaled, settle, suite};
use std::time::Duration;

suite! {
    one_of_many_closers_closes,
    closing_lets_all_go,
    blocked_senders_get_their_messages_back,
    a_receiver_may_close,
    what_is_in_it_can_be_drained_by_many,
    a_close_in_a_crowd_loses_no_message,
    a_loop_over_closed_channels_ends,
}

fn one_of_many_closers_closes() {
    for round in 0..scaled(100) {
        let (tx, rx) = bounded::<()>(round % 3);
        let closers: Vec<_> = (0..6)
            .map(|n| {
                let (tx, rx) = (tx.clone(), rx.clone());
                go(move || if n % 2 == 0 { tx.close() } else { rx.close() })
            })
            .collect();
        assert_eq!(closers.into_iter().map(Work::join).filter(|closed| *closed).count(), 1);
        assert!(!tx.close() && !rx.close());
    }
}

fn closing_lets_all_go() {
    let (tx, rx) = bounded::<()>(0);
    let waiting: Vec<_> = (0..scaled(500))
        .map(|_| {
            let rx = rx.clone();
            go(move || rx.recv().is_err())
        })
        .collect();
    settle();
    tx.close();
    assert!(waiting.into_iter().all(Work::join));
}

fn blocked_senders_get_their_messages_back() {
    static CENSUS: Census = Census::new();
    for capacity in [0, 1, 3] {
        let (tx, rx) = bounded::<(usize, Counted)>(capacity);
        let senders: Vec<_> = (0..10)
            .map(|n| {
                let tx = tx.clone();
                go(move || match tx.send((n, CENSUS.value())) {
                    Ok(()) => None,
                    Err(SendError((same, _))) => Some(same == n),
                })
            })
            .collect();
        while tx.len() < capacity {
            pause(ms(1));
        }
        settle();
        rx.close();
        let outcomes: Vec<_> = senders.into_iter().map(Work::join).collect();
        assert_eq!(outcomes.iter().filter(|one| **one == Some(true)).count(), 10 - capacity);
        assert!(!outcomes.contains(&Some(false)), "another's message");
        assert_eq!(rx.len(), capacity);
        drop(rx);
        assert_eq!(CENSUS.alive(), 0);
    }
}

fn a_receiver_may_close() {
    let (tx, rx) = bounded(1);
    let producer = go(move || (0_u32..).take_while(|n| tx.send(*n).is_ok()).last());
    let mut got: Vec<_> = rx.iter().take(50).collect();
    assert!(rx.close());
    got.extend(&rx);
    assert_eq!(got.last().copied(), producer.join(), "what was accepted was delivered");
    assert!((0..).zip(got).all(|(n, got)| n == got));
}

fn what_is_in_it_can_be_drained_by_many() {
    let (tx, rx) = unbounded();
    let count = scaled(5_000);
    (0..count).for_each(|n| tx.send(n).unwrap());
    tx.close();
    let drains: Vec<_> = (0..4)
        .map(|_| {
            let rx = rx.clone();
            go(move || rx.iter().collect::<Vec<_>>())
        })
        .collect();
    let mut all: Vec<_> = drains.into_iter().flat_map(Work::join).collect();
    all.sort();
    assert!(all.into_iter().eq(0..count));
    assert_eq!((rx.len(), rx.is_empty()), (0, true));
}

/// Senders and receivers of every kind, and a close at some moment. Each message is then with a receiver, in the channel,
/// or back with its sender: with one of them, and once.
fn a_close_in_a_crowd_loses_no_message() {
    fn send(tx: &Sender<u64>, n: u64, how: u64) -> Result<(), u64> {
        match how {
            0 => tx.send(n).map_err(|error| error.into_inner()),
            1 => tx.send_timeout(n, ms(1)).map_err(|error| error.into_inner()),
            2 => tx.try_send(n).map_err(|error| error.into_inner()),
            _ => {
                select! { send(tx, n) -> sent => sent.map_err(|error| error.into_inner()), default(ms(1)) => Err(n) }
            }
        }
    }
    fn receive(rx: &Receiver<u64>, how: u64) -> Result<u64, bool> {
        match how {
            0 => rx.recv().map_err(|_| true),
            1 => rx.recv_timeout(ms(1)).map_err(|error| error.is_disconnected()),
            2 => rx.try_recv().map_err(|error| error.is_disconnected()),
            _ => select! { recv(rx) -> msg => msg.map_err(|_| true), default(ms(1)) => Err(false) },
        }
    }
    for round in 0..scaled(60) as u64 {
        let (tx, rx) = if round % 4 == 3 { unbounded() } else { bounded(round as usize % 4) };
        let senders: Vec<_> = (0..3)
            .map(|side| {
                let tx = tx.clone();
                go(move || {
                    let mut dice = Dice::new(round * 10 + side);
                    let (mut kept, mut back) = (Vec::new(), Vec::new());
                    for n in (side * 10_000..).take(3_000) {
                        match send(&tx, n, dice.roll(4)) {
                            Ok(()) => kept.push(n),
                            Err(same) => {
                                assert_eq!(same, n);
                                back.push(n);
                                if tx.is_closed() {
                                    break;
                                }
                            }
                        }
                    }
                    (kept, back)
                })
            })
            .collect();
        let receivers: Vec<_> = (0..2)
            .map(|side| {
                let rx = rx.clone();
                go(move || {
                    let mut dice = Dice::new(round * 10 + 5 + side);
                    let mut got = Vec::new();
                    loop {
                        match receive(&rx, dice.roll(4)) {
                            Ok(n) => got.push(n),
                            Err(true) => return got,
                            Err(false) => {}
                        }
                    }
                })
            })
            .collect();
        pause(Duration::from_micros(round * 30));
        assert!(tx.close());
        let (mut accepted, mut got) = (Vec::new(), Vec::new());
        for sender in senders {
            let (kept, back) = sender.join();
            assert!(back.is_sorted() && kept.iter().all(|n| back.binary_search(n).is_err()));
            accepted.extend(kept);
        }
        receivers.into_iter().for_each(|receiver| got.extend(receiver.join()));
        accepted.sort();
        got.sort();
        assert_eq!(got, accepted);
    }
}

fn a_loop_over_closed_channels_ends() {
    let (tx1, mut rx1) = bounded::<u32>(3);
    let (tx2, mut rx2) = bounded::<u32>(3);
    (0..3).for_each(|n| tx1.send(n).and(tx2.send(n + 10)).unwrap());
    tx1.close();
    tx2.close();
    let (mut got, mut open) = (Vec::new(), 2);
    while open > 0 {
        select! {
            recv(rx1) -> msg => match msg { Ok(n) => got.push(n), Err(_) => { rx1 = never(); open -= 1 } },
            recv(rx2) -> msg => match msg { Ok(n) => got.push(n), Err(_) => { rx2 = never(); open -= 1 } },
        }
    }
    got.sort();
    assert_eq!(got, [0, 1, 2, 10, 11, 12]);
}
