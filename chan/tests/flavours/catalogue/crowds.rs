//! Many senders and many receivers.

use crate::ends::bounded;
use crate::flavour::Flavour;
use narrowboat_chan::select;
use narrowboat_testing::{Dice, go, scaled};
use std::time::Duration;

catalogue! {
    on Flavour: [zero, one, array, list];
    {
        every_message_arrives_once,
        no_operation_loses_a_message,
    }
}

fn every_message_arrives_once(flavour: Flavour) {
    const SIDES: usize = 4;
    let each = scaled(5_000);
    let (tx, rx) = flavour.make();
    let senders: Vec<_> = (0..SIDES)
        .map(|side| {
            let tx = tx.clone();
            go(move || (0..each).for_each(|n| tx.send(side * each + n).unwrap()))
        })
        .collect();
    drop(tx);
    let receivers: Vec<_> = (0..SIDES)
        .map(|_| {
            let rx = rx.clone();
            go(move || rx.iter().collect::<Vec<usize>>())
        })
        .collect();
    senders.into_iter().for_each(|sender| sender.join());
    let mut got = Vec::new();
    for receiver in receivers {
        let part = receiver.join();
        for side in 0..SIDES {
            let of_side: Vec<_> = part.iter().filter(|n| **n / each == side).collect();
            assert!(of_side.is_sorted(), "each sender's messages come in its order");
        }
        got.extend(part);
    }
    got.sort();
    assert_eq!(got, (0..SIDES * each).collect::<Vec<_>>());
}

/// Every kind of send against every kind of receive; what failed is tried again, and in the end
/// nothing is missing.
fn no_operation_loses_a_message(flavour: Flavour) {
    const SIDES: u64 = 3;
    let each = scaled(1_500) as u64;
    let (tx, rx) = flavour.make::<Box<u64>>();
    let (quiet_tx, quiet) = bounded::<()>(0);
    let senders: Vec<_> = (0..SIDES)
        .map(|side| {
            let (tx, quiet) = (tx.clone(), quiet.clone());
            go(move || {
                let mut dice = Dice::new(side + 1);
                for n in side * each..(side + 1) * each {
                    let mut message = Box::new(n);
                    loop {
                        message = match dice.roll(5) {
                            0 => break tx.send(message).unwrap(),
                            1 => match tx.try_send(message) {
                                Ok(()) => break,
                                Err(error) => error.into_inner(),
                            },
                            2 => match tx.send_timeout(message, Duration::from_micros(dice.roll(200))) {
                                Ok(()) => break,
                                Err(error) => error.into_inner(),
                            },
                            3 => select! {
                                send(tx, message) -> res => break res.unwrap(),
                                recv(quiet) -> _ => unreachable!(),
                            },
                            _ => select! {
                                send(tx, message) -> res => break res.unwrap(),
                                default(Duration::from_micros(dice.roll(200))) => message,
                            },
                        };
                    }
                }
            })
        })
        .collect();
    drop(tx);
    let receivers: Vec<_> = (0..SIDES)
        .map(|side| {
            let (rx, quiet) = (rx.clone(), quiet.clone());
            go(move || {
                let mut dice = Dice::new(side + 100);
                let mut got = Vec::new();
                loop {
                    let message = match dice.roll(5) {
                        0 => rx.recv().map_err(|_| true),
                        1 => rx.try_recv().map_err(|error| error.is_disconnected()),
                        2 => rx
                            .recv_timeout(Duration::from_micros(dice.roll(200)))
                            .map_err(|error| error.is_disconnected()),
                        3 => select! {
                            recv(rx) -> msg => msg.map_err(|_| true),
                            recv(quiet) -> _ => unreachable!(),
                            recv(rx) -> msg => msg.map_err(|_| true),
                        },
                        _ => select! {
                            recv(rx) -> msg => msg.map_err(|_| true),
                            recv(quiet) -> _ => unreachable!(),
                            default(Duration::from_micros(dice.roll(200))) => Err(false),
                        },
                    };
                    match message {
                        Ok(n) => got.push(*n),
                        Err(true) => return got,
                        Err(false) => {}
                    }
                }
            })
        })
        .collect();
    senders.into_iter().for_each(|sender| sender.join());
    let mut got: Vec<_> = receivers.into_iter().flat_map(|receiver| receiver.join()).collect();
    got.sort();
    assert_eq!(got, (0..SIDES * each).collect::<Vec<_>>());
    drop(quiet_tx);
}
