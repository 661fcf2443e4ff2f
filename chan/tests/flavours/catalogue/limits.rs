//! Operations that wait not at all, or not for long.

use crate::flavour::Flavour;
use narrowboat_chan::{RecvTimeoutError, TryRecvError};
use narrowboat_testing::{Dice, LONG, eventually, go, ms, scaled, settle};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

catalogue! {
    on Flavour: [zero, one, array, list];
    {
        try_recv_tells_empty_from_disconnected,
        timed_out_receive_says_so,
        timed_receive_takes_what_comes_in_time,
        no_time_is_enough_on_a_ready_channel,
        timeouts_and_messages_race_cleanly,
    }
}

fn try_recv_tells_empty_from_disconnected(flavour: Flavour) {
    let (tx, rx) = flavour.make::<i32>();
    assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
    drop(tx);
    assert_eq!(rx.try_recv(), Err(TryRecvError::Disconnected));
}

fn timed_out_receive_says_so(flavour: Flavour) {
    let (tx, rx) = flavour.make::<i32>();
    let start = Instant::now();
    assert_eq!(rx.recv_timeout(ms(20)), Err(RecvTimeoutError::Timeout));
    assert_eq!(rx.recv_deadline(start + ms(40)), Err(RecvTimeoutError::Timeout));
    assert!(start.elapsed() >= ms(40));
    drop(tx);
    assert_eq!(rx.recv_timeout(LONG), Err(RecvTimeoutError::Disconnected));
    assert_eq!(rx.recv_timeout(Duration::ZERO), Err(RecvTimeoutError::Disconnected));
}

fn timed_receive_takes_what_comes_in_time(flavour: Flavour) {
    let (tx, rx) = flavour.make();
    let receiver = go(move || (rx.recv_timeout(LONG), rx.recv_timeout(Duration::MAX)));
    settle();
    tx.send(1).unwrap();
    tx.send(2).unwrap();
    assert_eq!(receiver.join(), (Ok(1), Ok(2)));
}

/// The other side may be late; until then the answer is that there is no time, and afterwards it is the message.
fn no_time_is_enough_on_a_ready_channel(flavour: Flavour) {
    let past = Instant::now();
    let (tx, rx) = flavour.make();
    let sender = {
        let tx = tx.clone();
        go(move || (0..4).for_each(|n| tx.send(n).unwrap()))
    };
    for n in 0..4 {
        eventually("a message is there", || {
            let got = if n % 2 == 0 { rx.recv_timeout(Duration::ZERO) } else { rx.recv_deadline(past) };
            assert!(got == Ok(n) || got == Err(RecvTimeoutError::Timeout));
            got.is_ok()
        });
    }
    sender.join();

    let receiver = go(move || (0..3).map(|_| rx.recv().unwrap()).sum::<i32>());
    eventually("there is room, or a receiver", || tx.send_timeout(1, Duration::ZERO).is_ok());
    eventually("there is room, or a receiver", || tx.send_deadline(2, past).is_ok());
    eventually("there is room, or a receiver", || tx.try_send(3).is_ok());
    assert_eq!(receiver.join(), 6);
}

/// A wait that its deadline has ended leaves nothing behind that a later message could be given to.
fn timeouts_and_messages_race_cleanly(flavour: Flavour) {
    let (tx, rx) = flavour.make();
    let done = Arc::new(AtomicBool::new(false));
    let receiver = {
        let done = done.clone();
        go(move || {
            let mut got = 0;
            loop {
                let last = done.load(Ordering::SeqCst);
                match rx.recv_timeout(Duration::from_micros(50)) {
                    Ok(n) => {
                        assert_eq!(n, got);
                        got += 1;
                    }
                    Err(_) if last => return got,
                    Err(_) => {}
                }
            }
        })
    };
    let mut dice = Dice::new(5);
    let count = scaled(3_000);
    for n in 0..count {
        let mut message = n;
        while let Err(error) = tx.send_timeout(message, Duration::from_micros(dice.roll(100))) {
            assert!(error.is_timeout());
            message = error.into_inner();
        }
        if dice.roll(10) == 0 {
            std::thread::sleep(Duration::from_micros(dice.roll(120)));
        }
    }
    done.store(true, Ordering::SeqCst);
    assert_eq!(receiver.join(), count);
}
