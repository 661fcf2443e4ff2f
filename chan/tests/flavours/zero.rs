//! Channels without a buffer: a send and a receive meet.

use crate::ends::bounded;
use narrowboat_chan::{Select, SendError, TryRecvError, TrySendError, select};
use narrowboat_testing::{LONG, go, ms, settle, suite, waits};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

suite! {
    a_send_waits_for_its_receiver,
    try_send_needs_a_waiting_receiver,
    try_recv_meets_a_blocked_sender_and_a_selecting_one,
    a_selected_send_makes_its_message_only_when_chosen,
    a_selected_send_that_gives_up_sets_its_receiver_free,
    two_selects_meet_however_they_start,
    offers_and_requests_pair_up,
    a_select_never_meets_itself,
    a_closed_rendezvous_keeps_what_was_agreed,
}

fn a_send_waits_for_its_receiver() {
    let (tx, rx) = bounded(0);
    let returned = Arc::new(AtomicBool::new(false));
    let sender = {
        let returned = returned.clone();
        waits(move || {
            tx.send(1).unwrap();
            returned.store(true, Ordering::SeqCst);
        })
    };
    settle();
    assert_eq!(
        (rx.len(), rx.is_empty(), rx.is_full()),
        (0, true, true),
        "a blocked send is not in the channel"
    );
    assert!(!returned.load(Ordering::SeqCst));
    assert_eq!(rx.recv(), Ok(1));
    sender.join();
}

fn try_send_needs_a_waiting_receiver() {
    let (tx, rx) = bounded(0);
    assert_eq!(tx.try_send(1), Err(TrySendError::Full(1)));
    let receiver = go(move || rx.recv());
    while let Err(error) = tx.try_send(2) {
        assert!(error.is_full());
    }
    assert_eq!(receiver.join(), Ok(2));
}

fn try_recv_meets_a_blocked_sender_and_a_selecting_one() {
    let (tx, rx) = bounded(0);
    assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
    for selecting in [false, true] {
        let tx = tx.clone();
        let sender = go(move || {
            if selecting {
                select! { send(tx, 3) -> res => res, default(LONG) => panic!("lost") }
            } else {
                tx.send(3)
            }
        });
        let got = loop {
            match rx.try_recv() {
                Ok(n) => break n,
                Err(error) => assert!(error.is_empty()),
            }
        };
        assert_eq!(got, 3);
        assert_eq!(sender.join(), Ok(()));
    }
}

/// Both orders: the selecting sender waits and the receiver comes, and the other way round; the
/// receiver being a plain receive, one with a deadline, or a select.
fn a_selected_send_makes_its_message_only_when_chosen() {
    for kind in 0..3 {
        for sender_first in [false, true] {
            let (tx, rx) = bounded::<[u64; 9]>(0);
            let (_quiet_tx, quiet) = bounded::<()>(0);
            let quiet2 = quiet.clone();
            let receive = move || match kind {
                0 => rx.recv().unwrap(),
                1 => rx.recv_timeout(LONG).unwrap(),
                _ => select! { recv(rx) -> msg => msg.unwrap(), recv(quiet) -> _ => unreachable!() },
            };
            let send = move || {
                let mut made = 0;
                select! {
                    send(tx, { made += 1; std::thread::sleep(ms(10)); [7; 9] }) -> res => res.unwrap(),
                    recv(quiet2) -> _ => unreachable!(),
                }
                made
            };
            let (sender, receiver);
            if sender_first {
                sender = go(send);
                settle();
                receiver = go(receive);
            } else {
                receiver = go(receive);
                settle();
                sender = go(send);
            }
            assert_eq!(receiver.join(), [7; 9]);
            assert_eq!(sender.join(), 1);
        }
    }
}

/// The message expression panics, or leaves the arm: the receiver that was met goes on waiting.
fn a_selected_send_that_gives_up_sets_its_receiver_free() {
    for kind in 0..4 {
        for sender_first in [false, true] {
            for panics in [false, true] {
                let (tx, rx) = bounded::<i32>(0);
                let tx2 = tx.clone();
                let receive = move || match kind {
                    0 => rx.recv().unwrap(),
                    1 => rx.recv_timeout(LONG).unwrap(),
                    2 => select! { recv(rx) -> msg => msg.unwrap(), default(LONG) => panic!("lost") },
                    _ => loop {
                        if let Ok(n) = rx.try_recv() {
                            break n;
                        }
                    },
                };
                fn make(panics: bool) -> Option<i32> {
                    if panics { panic!("no message") } else { None }
                }
                let give_up = move || -> Option<()> {
                    select! {
                        send(tx2, make(panics)?) -> _ => Some(()),
                        default(LONG) => panic!("none came"),
                    }
                };
                let (sender, receiver);
                if sender_first {
                    sender = go(give_up);
                    settle();
                    receiver = go(receive);
                } else {
                    receiver = go(receive);
                    settle();
                    sender = go(give_up);
                }
                assert_eq!(sender.try_join().is_err(), panics);
                settle();
                tx.send(8).unwrap();
                assert_eq!(receiver.join(), 8);
            }
        }
    }
}

fn two_selects_meet_however_they_start() {
    let (tx, rx) = bounded(0);
    let (back_tx, back) = bounded(0);
    const ROUNDS: u32 = 3_000;
    let echo = go(move || {
        for _ in 0..ROUNDS {
            let n: u32 = select! { recv(rx) -> msg => msg.unwrap(), default(LONG) => panic!("lost") };
            let mut select = Select::new();
            select.send(&back_tx);
            select.select().send(&back_tx, n + 1).unwrap();
        }
    });
    for n in 0..ROUNDS {
        select! { send(tx, n) -> res => res.unwrap(), default(LONG) => panic!("lost") }
        let mut select = Select::new();
        select.recv(&back);
        assert_eq!(select.select().recv(&back), Ok(n + 1));
    }
    echo.join();
}

/// All offer and ask at once, in one select each; which meet is left to chance.
fn offers_and_requests_pair_up() {
    let (tx, rx) = bounded(0);
    let matched = (0..20)
        .map(|me| {
            let (tx, rx) = (tx.clone(), rx.clone());
            go(move || {
                select! {
                    send(tx, me) -> res => { res.unwrap(); None }
                    recv(rx) -> other => Some((me, other.unwrap())),
                }
            })
        })
        .collect::<Vec<_>>();
    let pairs: Vec<_> = matched.into_iter().filter_map(|one| one.join()).collect();
    assert_eq!(pairs.len(), 10);
    assert!(pairs.iter().all(|(a, b)| a != b), "none meets itself");
    let mut all: Vec<_> = pairs.iter().flat_map(|(a, b)| [*a, *b]).collect();
    all.sort();
    assert_eq!(all, (0..20).collect::<Vec<_>>());
}

fn a_select_never_meets_itself() {
    let (tx, rx) = bounded(0);
    for _ in 0..100 {
        select! {
            send(tx, 1) -> _ => panic!("to what?"),
            recv(rx) -> _ => panic!("from what?"),
            default(Duration::from_micros(200)) => {}
        }
    }
    let receiver = {
        let rx = rx.clone();
        go(move || rx.recv())
    };
    select! {
        send(tx, 2) -> res => res.unwrap(),
        recv(rx) -> _ => panic!("from what?"),
    }
    assert_eq!(receiver.join(), Ok(2));
}

fn a_closed_rendezvous_keeps_what_was_agreed() {
    // A receiver that a selected send has met gets the message even if the channel is closed meanwhile.
    let (tx, rx) = bounded(0);
    let receiver = {
        let rx = rx.clone();
        go(move || rx.recv())
    };
    settle();
    let mut select = Select::new();
    select.send(&tx);
    let chosen = select.select();
    rx.close();
    assert_eq!(chosen.send(&tx, 4), Ok(()));
    assert_eq!(receiver.join(), Ok(4));
    assert_eq!(tx.send(5), Err(SendError(5)));
}
