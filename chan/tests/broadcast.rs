//! Broadcast channels: every receiver gets every message, or learns how many it has missed.

use narrowboat::future::block_on;
use narrowboat_chan::broadcast::{self, Lagged, RecvError, TryRecvError, channel};
use narrowboat_chan::{SendError, after, bounded, select};
use narrowboat_testing::{Census, LONG, On, eventually, join_all, ms, settle, sized, suite_on_each};
use std::panic::catch_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

suite_on_each! {
    every_receiver_gets_every_message, receivers_begin_where_they_subscribe, a_send_needs_a_receiver,
    a_slow_receiver_learns_what_it_missed, closing_comes_after_the_messages, waits_end, a_crowd,
    arms_of_select, clones_of_the_channel_share_a_position, messages_are_dropped_after_the_last_receiver,
    a_dropped_receiver_sets_its_messages_free, tasks_receive,
}

fn every_receiver_gets_every_message(on: On) {
    let (tx, first) = channel(1000);
    let receivers: Vec<_> = (0..3).map(|_| tx.subscribe()).chain([first]).collect();
    let work: Vec<_> = receivers
        .into_iter()
        .map(|mut rx| {
            on.go(move || {
                let mut got = Vec::new();
                while let Ok(n) = rx.recv() {
                    got.push(n);
                }
                got
            })
        })
        .collect();
    (0..500).for_each(|n| assert_eq!(tx.send(n), Ok(4)));
    drop(tx);
    join_all(work).into_iter().for_each(|got| assert!(got.into_iter().eq(0..500)));
}

fn receivers_begin_where_they_subscribe(_: On) {
    let (tx, mut one) = channel(8);
    tx.send(1).unwrap();
    let mut two = tx.subscribe();
    let mut three = one.resubscribe();
    tx.send(2).unwrap();
    assert_eq!((one.try_recv(), one.try_recv()), (Ok(1), Ok(2)));
    assert_eq!((two.recv(), three.recv()), (Ok(2), Ok(2)));
    assert_eq!(one.try_recv(), Err(TryRecvError::Empty));
    assert_eq!((tx.receiver_count(), tx.len()), (3, 0));
}

fn a_send_needs_a_receiver(_: On) {
    let (tx, rx) = channel(2);
    drop(rx);
    assert_eq!((tx.send(1), tx.receiver_count(), tx.is_empty()), (Err(SendError(1)), 0, true));
    let mut rx = tx.subscribe();
    assert_eq!(tx.send(2), Ok(1));
    assert_eq!(rx.recv(), Ok(2));
    assert!(catch_unwind(|| channel::<i32>(0)).is_err());
}

fn a_slow_receiver_learns_what_it_missed(_: On) {
    let (tx, mut slow) = channel(3);
    let mut quick = tx.subscribe();
    for n in 1..=10 {
        assert_eq!(tx.send(n), Ok(2));
        assert_eq!(quick.try_recv(), Ok(n));
    }
    assert_eq!(slow.recv(), Err(RecvError::Lagged(7)));
    assert_eq!((slow.recv(), slow.recv()), (Ok(8), Ok(9)));
    (11..=12).for_each(|n| _ = tx.send(n));
    assert_eq!((slow.recv(), slow.recv()), (Ok(10), Ok(11)));
    (13..=16).for_each(|n| _ = tx.send(n));
    assert_eq!(slow.try_recv(), Err(TryRecvError::Lagged(2)));
    drop(tx);
    assert_eq!([(); 4].map(|()| slow.try_recv().ok()), [Some(14), Some(15), Some(16), None]);
    let texts = [RecvError::Lagged(1).to_string(), TryRecvError::Lagged(2).to_string()];
    assert_eq!(texts, ["the receiver has missed 1 message", "the receiver has missed 2 messages"]);
}

fn closing_comes_after_the_messages(on: On) {
    let (tx, mut rx) = channel(4);
    let other = tx.clone();
    tx.send(1).unwrap();
    drop(tx);
    let waits = on.go(move || (rx.recv(), rx.recv(), rx.try_recv(), rx.channel().is_closed()));
    settle();
    drop(other);
    let end = waits.join_soon();
    assert_eq!(end, (Ok(1), Err(RecvError::Closed), Err(TryRecvError::Closed), true));
}

fn waits_end(on: On) {
    let (tx, mut rx) = channel(4);
    let start = Instant::now();
    assert_eq!(rx.recv_timeout(ms(5)), Err(TryRecvError::Empty));
    assert_eq!(rx.recv_deadline(Instant::now() + ms(5)), Err(TryRecvError::Empty));
    assert!(start.elapsed() >= ms(10));
    let waits = on.go(move || rx.recv_timeout(LONG));
    settle();
    tx.send(3).unwrap();
    assert_eq!(waits.join_soon(), Ok(3));
}

fn a_crowd(on: On) {
    let (tx, _rx) = channel(64);
    let each = sized(300, 50);
    let seen = Arc::new(AtomicUsize::new(0));
    let receivers: Vec<_> = (0..on.crowd(100)).map(|_| tx.subscribe()).collect();
    let work: Vec<_> = receivers
        .into_iter()
        .map(|mut rx| {
            let seen = seen.clone();
            on.go(move || {
                let (mut count, mut last) = (0, [None; 2]);
                loop {
                    match rx.recv() {
                        Ok((sender, n)) => {
                            assert!(last[sender] < Some(n), "each sender's come in its order");
                            last[sender] = Some(n);
                            count += 1;
                        }
                        Err(RecvError::Lagged(missed)) => count += missed,
                        Err(RecvError::Closed) => break,
                    }
                }
                seen.fetch_add(count as usize, Ordering::SeqCst);
            })
        })
        .collect();
    let sender = tx.clone();
    join_all(on.many(2, move |me| (0..each).for_each(|n| _ = sender.send((me, n)))));
    drop((tx, _rx));
    let crowd = work.len();
    join_all(work);
    assert_eq!(seen.load(Ordering::SeqCst), crowd * 2 * each);
}

fn arms_of_select(on: On) {
    let (tx, rx) = channel(2);
    let (stop, stopped) = bounded::<()>(0);
    let work = on.go(move || {
        let (mut sum, mut missed) = (0, 0);
        loop {
            select! {
                recv(rx.channel()) -> event => match event {
                    Ok(Ok(n)) => sum += n,
                    Ok(Err(Lagged(n))) => missed += n,
                    Err(_) => return (sum, missed),
                },
                recv(stopped) -> _ => {}
                recv(after(LONG)) -> _ => panic!("a wake-up was lost"),
            }
        }
    });
    stop.send(()).unwrap();
    for n in 1..=3 {
        tx.send(n).unwrap();
        eventually("it is read", || tx.is_empty());
    }
    stop.send(()).unwrap();
    drop(tx);
    assert_eq!(work.join_soon(), (6, 0));
}

fn clones_of_the_channel_share_a_position(_: On) {
    let (tx, mut rx) = channel(4);
    let shared = rx.channel().clone();
    (1..=3).for_each(|n| _ = tx.send(n));
    assert_eq!((shared.len(), shared.recv(), rx.recv(), shared.recv()), (1, Ok(Ok(1)), Ok(2), Ok(Ok(3))));
    drop(rx);
    assert_eq!(tx.receiver_count(), 1, "the clone is a receiver");
}

fn messages_are_dropped_after_the_last_receiver(_: On) {
    #[derive(Clone)]
    struct Message(#[expect(dead_code, reason = "it is counted")] Arc<narrowboat_testing::Counted>);
    let census = Census::leaked();
    let (tx, mut one) = channel(4);
    let mut two = tx.subscribe();
    (0..6).for_each(|_| _ = tx.send(Message(Arc::new(census.value()))));
    assert_eq!(census.alive(), 4);
    assert!(one.recv().is_err() && one.recv().is_ok());
    assert_eq!(census.alive(), 4);
    assert!(two.recv().is_err() && two.recv().is_ok());
    assert_eq!(census.alive(), 3);
    drop((one, two));
    assert_eq!((census.alive(), tx.len()), (0, 0));
}

fn a_dropped_receiver_sets_its_messages_free(_: On) {
    let (tx, mut one) = channel(8);
    let two = tx.subscribe();
    (0..5).for_each(|n| _ = tx.send(n));
    (0..3).for_each(|n| assert_eq!(one.recv(), Ok(n)));
    assert_eq!(tx.len(), 5);
    drop(two);
    assert_eq!(tx.len(), 2);
    assert_eq!((one.recv(), one.recv(), tx.is_empty()), (Ok(3), Ok(4), true));
}

fn tasks_receive(on: On) {
    let (tx, mut rx) = channel(4);
    let task = on.go(move || {
        block_on(async move {
            let mut got = Vec::new();
            while let Ok(n) = rx.recv_async().await {
                got.push(n);
            }
            got
        })
    });
    let sends = on.go(move || {
        for n in 0..20 {
            tx.send(n).unwrap();
            eventually("it is read", || tx.is_empty());
        }
    });
    sends.join();
    assert!(task.join_soon().into_iter().eq(0..20));
    let (tx, _): (broadcast::Sender<u8>, _) = channel(1);
    assert_eq!(format!("{tx:?}"), "broadcast::Sender { .. }");
}
