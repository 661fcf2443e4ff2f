//! The channel that delivers nothing.

use crate::ends::{after, never, tick, unbounded};
use narrowboat_chan::select;
use narrowboat_testing::{LONG, ms, suite};
use std::time::Duration;

suite! {
    it_tells_of_nothing,
    all_of_a_type_are_the_same,
    an_arm_can_be_switched_off,
    a_limit_may_be_left_out,
    so_many_ticks_and_no_more,
}

fn it_tells_of_nothing() {
    let rx = never::<i32>();
    assert_eq!((rx.capacity(), rx.len(), rx.is_empty(), rx.is_full()), (Some(0), 0, true, true));
}

fn all_of_a_type_are_the_same() {
    assert!(never::<i32>().same_channel(&never()));
    assert!(!never().same_channel(&after(LONG)));
}

fn an_arm_can_be_switched_off() {
    let (tx, mut rx) = unbounded();
    let (other_tx, other) = unbounded();
    tx.send(1).unwrap();
    drop(tx);
    let mut got = Vec::new();
    for n in 2..5 {
        other_tx.send(n).unwrap();
    }
    drop(other_tx);
    // A closed channel is ready for ever; the loop puts it out of action and goes on with the other.
    loop {
        select! {
            recv(rx) -> msg => match msg { Ok(n) => got.push(n), Err(_) => rx = never() },
            recv(other) -> msg => match msg { Ok(n) => got.push(n), Err(_) if got.len() == 4 => break, Err(_) => {} },
        }
    }
    got.sort();
    assert_eq!(got, [1, 2, 3, 4]);
}

fn a_limit_may_be_left_out() {
    for limit in [None, Some(LONG)] {
        let (tx, rx) = unbounded();
        tx.send(1).unwrap();
        select! {
            recv(rx) -> msg => assert_eq!(msg, Ok(1)),
            recv(limit.map_or_else(never, after)) -> _ => panic!("it is not due"),
        }
    }
    let none: Option<Duration> = None;
    assert!(select! { recv(none.map_or_else(never, after)) -> _ => false, default(ms(5)) => true });
}

fn so_many_ticks_and_no_more() {
    let mut left = 3;
    let mut rx = tick(ms(2));
    let mut seen = 0;
    while select! { recv(rx) -> _ => true, default(ms(60)) => false } {
        seen += 1;
        left -= 1;
        if left == 0 {
            rx = never();
        }
    }
    assert_eq!(seen, 3);
}
