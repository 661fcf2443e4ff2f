//! Selects over channels of one kind.

use crate::flavour::Flavour;
use narrowboat_chan::{RecvError, Select, SendError, select};
use narrowboat_runtime::yield_now;
use narrowboat_testing::{LONG, go, scaled, settle};
use std::time::Duration;

catalogue! {
    on Flavour: [zero, one, array, list];
    {
        a_receiving_select_does_not_prefer_an_arm,
        a_sending_select_does_not_prefer_an_arm,
        duplicate_arms_share_their_luck,
        a_message_may_be_received_while_it_is_sent,
        one_select_may_be_used_again_and_again,
        both_sides_may_poll,
        closed_channels_are_always_ready,
        a_select_waits_for_the_end_of_a_channel,
    }
}

const ROUNDS: usize = 2_000;

/// At least half of an even share each.
#[track_caller]
fn shared_evenly(hits: &[usize]) {
    let even = hits.iter().sum::<usize>() / hits.len();
    assert!(hits.iter().all(|n| *n > even / 2), "{hits:?}");
}

/// The sender offers the same message to two channels, so whenever the receiver has a choice it is its own.
fn a_receiving_select_does_not_prefer_an_arm(flavour: Flavour) {
    let (tx1, rx1) = flavour.make();
    let (tx2, rx2) = flavour.make();
    let sender = go(move || {
        for n in 0..ROUNDS {
            select! { send(tx1, n) -> res => res.unwrap(), send(tx2, n) -> res => res.unwrap() }
        }
        (tx1, tx2) // a closed channel would be ready, too
    });
    let mut hits = [0; 2];
    for _ in 0..ROUNDS {
        select! {
            recv(rx1) -> msg => { msg.unwrap(); hits[0] += 1 }
            recv(rx2) -> msg => { msg.unwrap(); hits[1] += 1 }
        }
    }
    sender.join();
    shared_evenly(&hits);
}

fn a_sending_select_does_not_prefer_an_arm(flavour: Flavour) {
    let (tx1, rx1) = flavour.make();
    let (tx2, rx2) = flavour.make();
    let receiver = go(move || {
        for _ in 0..ROUNDS {
            select! { recv(rx1) -> msg => msg.unwrap(), recv(rx2) -> msg => msg.unwrap() };
        }
        (rx1, rx2)
    });
    let mut hits = [0; 2];
    for n in 0..ROUNDS {
        select! {
            send(tx1, n) -> res => { res.unwrap(); hits[0] += 1 }
            send(tx2, n) -> res => { res.unwrap(); hits[1] += 1 }
        }
    }
    receiver.join();
    shared_evenly(&hits);
}

fn duplicate_arms_share_their_luck(flavour: Flavour) {
    let (tx, rx) = flavour.make();
    let sender = go(move || {
        let mut hits = [0; 3];
        for n in 0..ROUNDS {
            select! {
                send(tx, n) -> res => { res.unwrap(); hits[0] += 1 }
                send(tx, n) -> res => { res.unwrap(); hits[1] += 1 }
                send(tx, n) -> res => { res.unwrap(); hits[2] += 1 }
            }
        }
        hits
    });
    let mut hits = [0; 3];
    for n in 0..ROUNDS {
        let (arm, msg) = select! {
            recv(rx) -> msg => (0, msg),
            recv(rx) -> msg => (1, msg),
            recv(rx) -> msg => (2, msg),
        };
        assert_eq!(msg, Ok(n), "in order, whichever arm it was");
        hits[arm] += 1;
    }
    shared_evenly(&hits);
    shared_evenly(&sender.join());
}

/// The message expression of a send receives from the very channel that the send has been chosen for.
fn a_message_may_be_received_while_it_is_sent(flavour: Flavour) {
    let (tx, rx) = flavour.make();
    let sender = {
        let tx = tx.clone();
        go(move || (0_u64..).take_while(|n| tx.send(*n).is_ok()).count() as u64)
    };
    let receiver = {
        let rx = rx.clone();
        go(move || rx.iter().collect::<Vec<_>>())
    };
    for _ in 0..200 {
        select! { send(tx, rx.recv().unwrap()) -> res => res.unwrap() }
    }
    tx.close();
    let sent = sender.join();
    let mut got = receiver.join();
    got.extend(rx.try_iter());
    got.sort();
    assert!(got.into_iter().eq(0..sent));
}

fn one_select_may_be_used_again_and_again(flavour: Flavour) {
    let (tx, rx) = flavour.make();
    let (back_tx, back) = flavour.make();
    let rounds = scaled(2_000);
    let echo = go(move || {
        let mut receive = Select::new();
        receive.recv(&rx);
        let mut answer = Select::new();
        answer.send(&back_tx);
        for _ in 0..rounds {
            let n: usize = receive.select().recv(&rx).unwrap();
            answer.select().send(&back_tx, n + 1).unwrap();
        }
    });
    let mut either = Select::new();
    let sending = either.send(&tx);
    let receiving = either.recv(&back);
    let (mut sent, mut received) = (0, 0);
    while received < rounds {
        // No more than one on its way, or else a small channel would be stuck in both directions.
        let chosen = if sent == received {
            let chosen = either.select();
            assert_eq!(chosen.index(), sending);
            chosen
        } else {
            let mut only = either.clone();
            only.remove(sending);
            only.select()
        };
        if chosen.index() == receiving {
            assert_eq!(chosen.recv(&back), Ok(received + 1));
            received += 1;
        } else {
            chosen.send(&tx, sent).unwrap();
            sent += 1;
        }
    }
    echo.join();
}

fn both_sides_may_poll(flavour: Flavour) {
    let (tx, rx) = flavour.make();
    let rounds = scaled(200);
    let sender = go(move || {
        for n in 0..rounds {
            loop {
                let mut select = Select::new();
                select.send(&tx);
                // The two sides must not poll in turns for ever: one of them waits a moment now and then.
                match select.select_timeout(Duration::from_micros(200)) {
                    Ok(chosen) => break chosen.send(&tx, n).unwrap(),
                    Err(_) => yield_now(),
                }
            }
        }
    });
    for n in 0..rounds {
        loop {
            let mut select = Select::new();
            select.recv(&rx);
            match select.try_select() {
                Ok(chosen) => break assert_eq!(chosen.recv(&rx), Ok(n)),
                Err(_) => yield_now(),
            }
        }
    }
    sender.join();
}

fn closed_channels_are_always_ready(flavour: Flavour) {
    let (tx, rx) = flavour.make::<usize>();
    let (open_tx, open) = flavour.make::<usize>();
    tx.close();
    let (mut sends, mut receives) = (0, 0);
    for n in 0..200 {
        select! {
            send(tx, n) -> res => { assert_eq!(res, Err(SendError(n))); sends += 1 }
            recv(rx) -> msg => { assert_eq!(msg, Err(RecvError)); receives += 1 }
            recv(open) -> _ => panic!("nothing sends"),
        }
    }
    assert!(sends > 20 && receives > 20, "{sends} {receives}");
    drop(open_tx);
    assert_eq!(select! { recv(open) -> msg => msg, default(LONG) => panic!("it is closed") }, Err(RecvError));
}

fn a_select_waits_for_the_end_of_a_channel(flavour: Flavour) {
    let (tx, rx) = flavour.make::<u8>();
    let (_other_tx, other) = flavour.make::<u8>();
    let extra = tx.clone();
    let waiting = go(move || select! { recv(rx) -> msg => msg, recv(other) -> _ => panic!("nothing sends") });
    settle();
    drop(tx.clone());
    drop(extra);
    settle();
    drop(tx);
    assert_eq!(waiting.join(), Err(RecvError));
}
