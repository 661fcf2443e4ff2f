//! Select, in the ways that have been got wrong somewhere.

use narrowboat_chan::{Receiver, RecvError, Select, Sender, bounded, never, select, unbounded};
use narrowboat_testing::{Dice, LONG, Work, go, ms, scaled, suite};
use std::time::Duration;

suite! {
    an_operation_is_never_done_twice,
    a_million_selects,
    a_select_beside_a_silent_channel_keeps_nothing,
    a_poll_that_finds_nothing_has_lost_nothing,
    a_poll_finds_the_end_of_one_of_two,
    a_select_that_sees_itself_waits_for_others,
    arms_that_cannot_move_are_passed_over,
    random_arms,
    duplicate_arms_compete_with_a_stranger,
    a_send_arm_chosen_by_chance_sends_a_bit,
    a_select_that_lost_leaves_its_place_to_the_next,
    all_select_over_everything,
}

/// Four channels, a sender that selects over all of them, and a receiver that does.
fn an_operation_is_never_done_twice() {
    let channels: Vec<(Sender<usize>, Receiver<usize>)> = (0..4).map(|_| bounded(0)).collect();
    let (txs, rxs): (Vec<_>, Vec<_>) = channels.into_iter().unzip();
    let rounds = scaled(20_000);
    let sender = go(move || {
        for n in 0..rounds {
            select! {
                send(txs[0], n) -> sent => sent.unwrap(),
                send(txs[1], n) -> sent => sent.unwrap(),
                send(txs[2], n) -> sent => sent.unwrap(),
                send(txs[3], n) -> sent => sent.unwrap(),
            }
        }
        txs
    });
    for n in 0..rounds {
        let got = select! {
            recv(rxs[3]) -> msg => msg,
            recv(rxs[2]) -> msg => msg,
            recv(rxs[1]) -> msg => msg,
            recv(rxs[0]) -> msg => msg,
        };
        assert_eq!(got, Ok(n), "neither left out nor twice");
    }
    let txs = sender.join();
    assert!(rxs.iter().all(|rx| rx.try_recv().is_err()));
    drop(txs);
}

fn a_million_selects() {
    let (tx, rx) = bounded(1);
    let (_keep, quiet) = bounded::<()>(0);
    let rounds = scaled(1_000_000) as u64;
    let (mut sum, mut sent) = (0, 0);
    for _ in 0..rounds {
        select! {
            recv(rx) -> msg => sum += msg.unwrap(),
            send(tx, sent) -> res => { res.unwrap(); sent += 1 }
            recv(quiet) -> _ => panic!("quiet"),
        }
    }
    sum += rx.try_iter().sum::<u64>();
    assert_eq!(sum, sent * (sent - 1) / 2);
}

/// Were a place in the queue of the silent channel left behind, a poll would take it for a waiter.
fn a_select_beside_a_silent_channel_keeps_nothing() {
    let (silent_tx, silent) = bounded(0);
    let (tx, rx) = bounded(0);
    let rounds = scaled(20_000);
    let sender = go(move || (0..rounds).for_each(|n| tx.send(n).unwrap()));
    for n in 0..rounds {
        select! { recv(silent) -> _ => panic!("silent"), recv(rx) -> msg => assert_eq!(msg, Ok(n)) }
    }
    assert!(silent_tx.try_send(()).unwrap_err().is_full());
    sender.join();
}

/// One of the two channels has a message at every moment. Go's poll looks at both at one moment, and finds it; this one
/// looks at one after the other, and may see each when it is empty. The message is then where it was.
fn a_poll_that_finds_nothing_has_lost_nothing() {
    for _ in 0..scaled(1_000) {
        let (tx1, rx1) = bounded(1);
        let (tx2, rx2) = bounded(1);
        tx1.send(1).unwrap();
        let poll = {
            let (rx1, rx2) = (rx1.clone(), rx2.clone());
            go(move || select! { recv(rx1) -> _ => true, recv(rx2) -> _ => true, default => false })
        };
        tx2.send(1).unwrap();
        let _ = rx1.try_recv();
        let found = poll.join();
        assert!(found || rx2.try_recv().is_ok(), "the message is gone, and none has it");
    }
}

fn a_poll_finds_the_end_of_one_of_two() {
    for _ in 0..scaled(500) {
        let (tx1, rx1) = bounded::<u8>(1);
        let (tx2, rx2) = bounded::<u8>(0);
        tx2.close();
        let poll = go(
            move || select! { recv(rx1) -> _ => 1, recv(rx2) -> msg => { assert!(msg.is_err()); 2 } default => 0 },
        );
        let _ = tx1.try_send(1);
        assert_ne!(poll.join(), 0, "a closed channel is ready at every moment");
    }
}

/// Two parties, each with both directions of one channel in its select: they talk to each other, never to themselves.
fn a_select_that_sees_itself_waits_for_others() {
    for capacity in [0, 10] {
        let (tx, rx) = bounded(capacity);
        let rounds = scaled(3_000);
        let parties: Vec<_> = (0..2_usize)
            .map(|me| {
                let (tx, rx) = (tx.clone(), rx.clone());
                go(move || {
                    let (mut sent, mut received) = (0, 0);
                    for n in 0..rounds {
                        let other = |from: usize| assert!(capacity > 0 || from != me, "it met itself");
                        // In either order, and so that a party that is left alone does not wait for ever.
                        if me == 0 || n % 2 == 0 {
                            select! {
                                send(tx, me) -> res => { res.unwrap(); sent += 1 }
                                recv(rx) -> from => { other(from.unwrap()); received += 1 }
                                default(ms(100)) => break,
                            }
                        } else {
                            select! {
                                recv(rx) -> from => { other(from.unwrap()); received += 1 }
                                send(tx, me) -> res => { res.unwrap(); sent += 1 }
                                default(ms(100)) => break,
                            }
                        }
                    }
                    (sent, received)
                })
            })
            .collect();
        let (sent, received) =
            parties.into_iter().map(Work::join).fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        assert_eq!(sent - received, rx.len());
        assert!(sent > 0);
    }
}

fn arms_that_cannot_move_are_passed_over() {
    let (full_tx, _keep) = bounded(1);
    full_tx.send(0).unwrap();
    let (_tx, empty) = bounded::<u32>(1);
    let (ready_tx, ready) = unbounded();
    for n in 0..1_000 {
        ready_tx.send(n).unwrap();
        select! {
            send(full_tx, 1) -> _ => panic!("full"),
            recv(empty) -> _ => panic!("empty"),
            recv(never::<u32>()) -> _ => panic!("never"),
            recv(ready) -> msg => assert_eq!(msg, Ok(n)),
            default => panic!("one is ready"),
        }
    }
}

/// Lists of arms drawn by lot, on channels in states drawn by lot: one that is chosen was ready, and if none is chosen
/// then none was.
fn random_arms() {
    let mut dice = Dice::new(19);
    for round in 0..scaled(3_000) {
        let messages: Vec<_> = (0..4).map(|_| dice.roll(3)).collect();
        let channels: Vec<_> = messages
            .iter()
            .map(|messages| {
                let (tx, rx) = bounded::<u64>(2);
                (0..*messages).for_each(|n| tx.send(n).unwrap());
                if dice.roll(5) == 0 {
                    tx.close();
                }
                (tx, rx)
            })
            .collect();
        let arms: Vec<_> = (0..dice.roll(9)).map(|_| (dice.roll(4) as usize, dice.roll(2) == 0)).collect();
        let mut list = if dice.roll(2) == 0 { Select::new() } else { Select::new_biased() };
        for (channel, sends) in &arms {
            let (tx, rx) = &channels[*channel];
            if *sends {
                list.send(tx)
            } else {
                list.recv(rx)
            };
        }
        let ready = |(channel, sends): &(usize, bool)| {
            let (tx, rx) = &channels[*channel];
            tx.is_closed() || if *sends { !tx.is_full() } else { !rx.is_empty() }
        };
        let any = arms.iter().any(ready);
        let chosen = match round % 3 {
            0 => list.try_select().ok(),
            1 => list.select_timeout(Duration::ZERO).ok(),
            _ if any => Some(list.select()),
            _ => list.select_timeout(Duration::from_micros(10)).ok(),
        };
        assert_eq!(chosen.is_some(), any, "{arms:?}");
        let Some(chosen) = chosen else { continue };
        let (channel, sends) = arms[chosen.index()];
        let (tx, rx) = &channels[channel];
        let (closed, before) = (tx.is_closed(), rx.len());
        if sends {
            assert_eq!(chosen.send(tx, 7).is_ok(), !closed);
            assert_eq!(rx.len(), before + usize::from(!closed));
            assert!(closed || messages[channel] < 2, "it was full");
        } else {
            // The message was taken when the arm was chosen. The first that was put in was a 0.
            assert_eq!(before as u64, messages[channel].saturating_sub(1));
            assert!(closed || messages[channel] > 0, "it was empty");
            assert_eq!(chosen.recv(rx), if messages[channel] == 0 { Err(RecvError) } else { Ok(0) });
        }
    }
}

/// Three arms of one channel against one that comes from elsewhere: each message goes to exactly one.
fn duplicate_arms_compete_with_a_stranger() {
    let (tx, rx) = bounded(0);
    let rounds = scaled(3_000);
    let stranger = {
        let rx = rx.clone();
        go(move || rx.iter().collect::<Vec<_>>())
    };
    let many = go(move || {
        let mut got = Vec::new();
        loop {
            let msg = select! {
                recv(rx) -> msg => msg,
                recv(rx) -> msg => msg,
                recv(rx) -> msg => msg,
            };
            match msg {
                Ok(n) => got.push(n),
                Err(_) => return got,
            }
        }
    });
    (0..rounds).for_each(|n| tx.send(n).unwrap());
    drop(tx);
    let (a, b) = (stranger.join(), many.join());
    assert!(a.is_sorted() && b.is_sorted());
    let mut all = [a, b].concat();
    all.sort();
    assert!(all.into_iter().eq(0..rounds));
}

fn a_send_arm_chosen_by_chance_sends_a_bit() {
    for capacity in [0, 1, 100] {
        let (tx, rx) = bounded(capacity);
        let sender = go(move || {
            for _ in 0..1_000 {
                select! { send(tx, 0) -> sent => sent.unwrap(), send(tx, 1) -> sent => sent.unwrap() }
            }
        });
        let ones = rx.iter().filter(|bit| *bit == 1).count();
        assert!((350..650).contains(&ones), "{ones} of 1000");
        sender.join();
    }
}

/// A party that waits for two channels gets what comes through one, and does not hold up one that waits for the other.
fn a_select_that_lost_leaves_its_place_to_the_next() {
    for _ in 0..scaled(300) {
        let (tx1, rx1) = bounded::<u8>(0);
        let (tx2, rx2) = bounded::<u8>(0);
        let first = {
            let rx1 = rx1.clone();
            go(move || rx1.recv())
        };
        let both = go(move || {
            select! { recv(rx1) -> msg => (1, msg), recv(rx2) -> msg => (2, msg) }
        });
        tx2.send(2).unwrap();
        assert_eq!(both.join(), (2, Ok(2)));
        tx1.send(1).unwrap();
        assert_eq!(first.join(), Ok(1));
    }
}

/// Go's stress of select: for each of four channels one plain sender and one plain receiver, and beside them one party
/// that selects over all sends and one that selects over all receives.
fn all_select_over_everything() {
    let each = scaled(5_000);
    let channels: Vec<(Sender<u32>, Receiver<u32>)> = vec![bounded(0), bounded(0), bounded(2), bounded(3)];
    let mut works = Vec::new();
    for (tx, rx) in &channels {
        let (tx, rx) = (tx.clone(), rx.clone());
        works.push(go(move || (0..each).for_each(|_| tx.send(0).unwrap())));
        works.push(go(move || (0..each).for_each(|_| _ = rx.recv().unwrap())));
    }
    let (txs, rxs): (Vec<_>, Vec<_>) = channels.into_iter().unzip();
    works.push(go(move || {
        let mut left = [each; 4];
        while left.iter().any(|n| *n > 0) {
            let mut list = Select::new();
            let arms: Vec<_> = (0..4).filter(|i| left[*i] > 0).collect();
            arms.iter().for_each(|i| _ = list.send(&txs[*i]));
            let chosen = list.select();
            let i = arms[chosen.index()];
            chosen.send(&txs[i], 1).unwrap();
            left[i] -= 1;
        }
    }));
    works.push(go(move || {
        let mut left = [each; 4];
        while left.iter().any(|n| *n > 0) {
            let mut list = Select::new();
            let arms: Vec<_> = (0..4).filter(|i| left[*i] > 0).collect();
            arms.iter().for_each(|i| _ = list.recv(&rxs[*i]));
            let chosen = list.select_timeout(LONG).expect("another sends");
            let i = arms[chosen.index()];
            chosen.recv(&rxs[i]).unwrap();
            left[i] -= 1;
        }
    }));
    works.into_iter().for_each(Work::join);
}
