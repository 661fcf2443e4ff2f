//! Receives that meet a `select!` whose message takes long to make.
//!
//! The message takes `SLOW`, and everything else has to be over in half of that.

use narrowboat_chan::{Receiver, SendError, Sender, after, bounded, select, unbounded};
use narrowboat_testing::{Census, Dice, LONG, Work, go, ms, pause, scaled, settle, suite};
use std::time::{Duration, Instant};

suite! {
    a_receive_ends_when_its_time_is_up,
    a_receive_that_waited_first_ends_when_its_time_is_up,
    an_attempt_ends_at_once,
    selects_end_when_their_time_is_up,
    a_select_takes_another_arm_meanwhile,
    a_close_meanwhile_is_seen,
    a_receive_without_a_limit_waits_for_the_message,
    a_message_that_is_not_made_after_all_is_missed_by_none,
    attempts_meet_quick_messages,
    a_crowd_loses_and_doubles_nothing,
}

const SLOW: Duration = Duration::from_secs(2);

/// A select that sends 7, and takes its time to make it; then what came of it, or `None` if it has
/// done something else.
fn slow_sender(tx: Sender<u32>) -> Work<Option<Result<(), SendError<u32>>>> {
    go(move || {
        let (_keep, never) = bounded::<()>(0);
        select! {
            send(tx, { pause(SLOW); 7 }) -> res => Some(res),
            recv(never) -> _ => None,
        }
    })
}

#[track_caller]
fn soon<T>(f: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = f();
    let elapsed = start.elapsed();
    assert!(elapsed < SLOW / 2, "it took {elapsed:?}");
    result
}

/// The message is not lost: the next receive gets it.
#[track_caller]
fn comes_later(sender: Work<Option<Result<(), SendError<u32>>>>, rx: &Receiver<u32>) {
    assert_eq!(rx.recv(), Ok(7));
    assert_eq!(sender.join(), Some(Ok(())));
    assert!(rx.try_recv().is_err());
}

fn a_receive_ends_when_its_time_is_up() {
    let (tx, rx) = bounded(0);
    let sender = slow_sender(tx.clone());
    settle();
    assert!(soon(|| rx.recv_timeout(ms(10))).unwrap_err().is_timeout());
    comes_later(sender, &rx);
}

fn a_receive_that_waited_first_ends_when_its_time_is_up() {
    let (tx, rx) = bounded(0);
    let receiver = {
        let rx = rx.clone();
        go(move || soon(|| rx.recv_timeout(ms(100))))
    };
    settle();
    let sender = slow_sender(tx.clone());
    assert!(receiver.join().unwrap_err().is_timeout());
    comes_later(sender, &rx);
}

fn an_attempt_ends_at_once() {
    let (tx, rx) = bounded(0);
    let sender = slow_sender(tx.clone());
    settle();
    for _ in 0..3 {
        assert!(soon(|| rx.try_recv()).unwrap_err().is_empty());
    }
    assert_eq!(soon(|| rx.try_iter().count()), 0);
    comes_later(sender, &rx);
}

fn selects_end_when_their_time_is_up() {
    let forms: [fn(&Receiver<u32>) -> bool; 5] = [
        |rx| select! { recv(rx) -> _ => false, default => true },
        |rx| select! { recv(rx) -> _ => false, recv(rx) -> _ => false, default => true },
        |rx| select! { recv(rx) -> _ => false, default(ms(10)) => true },
        |rx| select! { recv(rx) -> _ => false, recv(rx) -> _ => false, default(ms(10)) => true },
        |rx| select! { recv(rx) -> _ => false, recv(after(ms(10))) -> _ => true },
    ];
    let works = forms.map(|form| {
        go(move || {
            let (tx, rx) = bounded(0);
            let sender = slow_sender(tx.clone());
            settle();
            assert!(soon(|| form(&rx)));
            comes_later(sender, &rx);
        })
    });
    works.into_iter().for_each(Work::join);
}

fn a_select_takes_another_arm_meanwhile() {
    for first in [true, false] {
        let (tx, rx) = bounded(0);
        let (urgent_tx, urgent) = bounded(0);
        let receiver = {
            let rx = rx.clone();
            move || {
                if !first {
                    settle();
                }
                soon(|| select! { recv(rx) -> msg => msg, recv(urgent) -> msg => msg })
            }
        };
        let receiver = go(receiver);
        if first {
            settle();
        }
        let sender = slow_sender(tx.clone());
        pause(ms(50));
        urgent_tx.send(1).unwrap();
        assert_eq!(receiver.join(), Ok(1));
        comes_later(sender, &rx);
    }
}

fn a_close_meanwhile_is_seen() {
    let (tx, rx) = bounded(0);
    let sender = slow_sender(tx.clone());
    settle();
    assert!(soon(|| rx.try_recv()).unwrap_err().is_empty());
    rx.close();
    assert!(soon(|| rx.try_recv()).unwrap_err().is_disconnected());
    assert!(soon(|| rx.recv_timeout(LONG)).unwrap_err().is_disconnected());
    assert_eq!(sender.join(), Some(Err(SendError(7))));
}

fn a_receive_without_a_limit_waits_for_the_message() {
    let (tx, rx) = bounded(0);
    let sender = slow_sender(tx.clone());
    settle();
    comes_later(sender, &rx);
}

fn a_message_that_is_not_made_after_all_is_missed_by_none() {
    let (tx, rx) = bounded::<u32>(0);
    let sender = {
        let tx = tx.clone();
        go(move || {
            let (_keep, never) = bounded::<()>(0);
            select! {
                send(tx, { pause(ms(50)); if tx.is_closed() { 1 } else { return } }) -> _ => {}
                recv(never) -> _ => {}
            }
        })
    };
    // Until the select stands there it is not met.
    while !sender.is_finished() {
        assert!(soon(|| rx.try_recv()).unwrap_err().is_empty());
        pause(ms(1));
    }
    sender.join();
    assert!(rx.try_recv().unwrap_err().is_empty() && tx.try_send(1).unwrap_err().is_full());
    let receiver = {
        let rx = rx.clone();
        go(move || rx.recv())
    };
    tx.send(2).unwrap();
    assert_eq!(receiver.join(), Ok(2));
}

/// A select that only sends what it has is a counterpart of attempts, too.
fn attempts_meet_quick_messages() {
    let (tx, rx) = bounded(0);
    let count = scaled(2_000) as u32;
    let sender = go(move || {
        let (_keep, never) = bounded::<()>(0);
        for n in 0..count {
            select! { send(tx, n) -> res => res.unwrap(), recv(never) -> _ => unreachable!() }
        }
    });
    let mut next = 0;
    while next < count {
        match rx.try_recv() {
            Ok(n) => {
                assert_eq!(n, next);
                next += 1;
            }
            Err(error) => {
                assert!(error.is_empty());
                narrowboat_runtime::yield_now();
            }
        }
    }
    sender.join();
    assert!(rx.recv().is_err());
}

fn a_crowd_loses_and_doubles_nothing() {
    const EACH: u64 = 60;
    let census = Census::leaked();
    let (tx, rx) = bounded(0);
    let (other_tx, other) = bounded(0);
    let senders: Vec<_> = (0..6)
        .map(|seed| {
            let (tx, other_tx) = (tx.clone(), other_tx.clone());
            go(move || {
                let mut dice = Dice::new(seed);
                for n in 0..EACH {
                    let number = seed * EACH + n;
                    // Some messages take longer than anything is patient for.
                    let message = |time| {
                        pause(Duration::from_micros(time));
                        (number, census.value())
                    };
                    match dice.roll(3) {
                        0 => tx.send(message(0)).unwrap(),
                        1 => {
                            let time = dice.roll(2) * dice.roll(4_000);
                            select! {
                                send(tx, message(time)) -> res => res.unwrap(),
                                send(other_tx, message(time)) -> res => res.unwrap(),
                            }
                        }
                        _ => {
                            let time = dice.roll(3_000);
                            select! {
                                send(tx, message(time)) -> res => res.unwrap(),
                                recv(after(LONG)) -> _ => unreachable!(),
                            }
                        }
                    }
                }
            })
        })
        .collect();
    drop((tx, other_tx));
    let (got_tx, got) = unbounded();
    let receivers: Vec<_> = (10..14)
        .map(|seed| {
            let (rx, other, got) = (rx.clone(), other.clone(), got_tx.clone());
            go(move || {
                let mut dice = Dice::new(seed);
                let (mut open, mut other_open) = (true, true);
                let take = |result: Option<Result<_, bool>>, open: &mut bool| match result {
                    Some(Ok((number, _counted))) => got.send(number).unwrap(),
                    Some(Err(true)) => *open = false,
                    Some(Err(false)) | None => {}
                };
                while open || other_open {
                    match dice.roll(4) {
                        0 => take(Some(rx.try_recv().map_err(|e| e.is_disconnected())), &mut open),
                        1 => {
                            let time = Duration::from_micros(dice.roll(2_500));
                            take(Some(rx.recv_timeout(time).map_err(|e| e.is_disconnected())), &mut open);
                        }
                        2 => {
                            let time = Duration::from_micros(dice.roll(2_500));
                            take(
                                Some(other.recv_timeout(time).map_err(|e| e.is_disconnected())),
                                &mut other_open,
                            );
                        }
                        _ => select! {
                            recv(rx) -> msg => take(Some(msg.map_err(|_| true)), &mut open),
                            recv(other) -> msg => take(Some(msg.map_err(|_| true)), &mut other_open),
                            default(ms(2)) => {}
                        },
                    }
                }
            })
        })
        .collect();
    senders.into_iter().for_each(Work::join_soon);
    receivers.into_iter().for_each(Work::join_soon);
    drop(got_tx);
    let mut got: Vec<u64> = got.iter().collect();
    got.sort_unstable();
    assert!(got.iter().copied().eq(0..6 * EACH), "{got:?}");
    assert_eq!(census.alive(), 0);
}
