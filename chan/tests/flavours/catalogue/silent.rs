//! Receivers without senders, before their time: `make(LONG)` has nothing to give while a test lasts.

use crate::ends::{Receiver, unbounded};
use crate::flavour::Timed;
use narrowboat_chan::{RecvTimeoutError, Select, SelectTimeoutError, TryRecvError, TrySelectError, select};
use narrowboat_testing::{LONG, go, ms, pause, settle};
use std::time::{Duration, Instant};

catalogue! {
    on Timed: [after, at, tick, never];
    {
        nothing_is_there_before_its_time,
        waits_for_it_keep_their_limits,
        a_select_passes_over_it,
        it_does_not_disturb_the_other_arms,
        it_cannot_be_closed,
        it_travels_through_channels,
        it_may_be_dropped_while_a_clone_is_waited_for,
        clones_are_the_same_channel,
    }
}

fn nothing_is_there_before_its_time(flavour: Timed) {
    let rx = flavour.make(LONG);
    assert_eq!((rx.len(), rx.is_empty()), (0, true));
    assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
    assert_eq!(rx.recv_timeout(Duration::ZERO), Err(RecvTimeoutError::Timeout));
    assert_eq!(rx.recv_deadline(Instant::now()), Err(RecvTimeoutError::Timeout));
    assert_eq!(rx.try_iter().count(), 0);
}

fn waits_for_it_keep_their_limits(flavour: Timed) {
    let rx = flavour.make(LONG);
    let start = Instant::now();
    assert_eq!(rx.recv_timeout(ms(10)), Err(RecvTimeoutError::Timeout));
    assert!(start.elapsed() >= ms(10));
    assert_eq!(rx.recv_deadline(start + ms(20)), Err(RecvTimeoutError::Timeout));
    assert!(start.elapsed() >= ms(20));
    assert!(select! { recv(rx) -> _ => false, default(ms(10)) => true });
    assert!(start.elapsed() >= ms(30));
    let mut select = Select::new();
    select.recv(&rx);
    assert_eq!(select.select_timeout(ms(10)).unwrap_err(), SelectTimeoutError);
    assert!(start.elapsed() >= ms(40));
}

fn a_select_passes_over_it(flavour: Timed) {
    let rx = flavour.make(LONG);
    assert!(select! { recv(rx) -> _ => false, default => true });
    assert!(select! { recv(rx) -> _ => false, recv(rx) -> _ => false, default => true });
    let mut select = Select::new();
    select.recv(&rx);
    select.recv(&rx);
    assert_eq!(select.try_select().unwrap_err(), TrySelectError);
    assert_eq!(select.select_deadline(Instant::now()).unwrap_err(), SelectTimeoutError);
}

fn it_does_not_disturb_the_other_arms(flavour: Timed) {
    let silent = flavour.make(LONG);
    let (tx, rx) = unbounded();
    let sender = go(move || {
        for n in 0..500 {
            tx.send(n).unwrap();
            if n % 100 == 0 {
                pause(ms(1));
            }
        }
    });
    for n in 0..500 {
        select! {
            recv(silent) -> _ => panic!("before its time"),
            recv(rx) -> msg => assert_eq!(msg, Ok(n)),
            recv(silent) -> _ => panic!("before its time"),
        }
    }
    sender.join();
}

fn it_cannot_be_closed(flavour: Timed) {
    let rx = flavour.make(LONG);
    assert!(!rx.close() && !rx.is_closed());
    drop(rx.clone());
    assert!(!rx.is_closed());
    assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
}

fn it_travels_through_channels(flavour: Timed) {
    let (tx, rx) = unbounded();
    let waiting = go(move || {
        let clock: Receiver<Instant> = rx.recv().unwrap();
        select! { recv(clock) -> _ => false, default(ms(5)) => true }
    });
    tx.send(flavour.make(LONG)).unwrap();
    assert!(waiting.join());
}

fn it_may_be_dropped_while_a_clone_is_waited_for(flavour: Timed) {
    let rx = flavour.make(LONG);
    let waiting: Vec<_> = (0..4)
        .map(|_| {
            let rx = rx.clone();
            go(move || rx.recv_timeout(ms(40)))
        })
        .collect();
    settle();
    drop(rx);
    for one in waiting {
        assert_eq!(one.join(), Err(RecvTimeoutError::Timeout));
    }
}

fn clones_are_the_same_channel(flavour: Timed) {
    let rx = flavour.make(LONG);
    assert!(rx.same_channel(&rx.clone()));
    assert!(!rx.same_channel(&narrowboat_chan::unbounded().1));
}
