//! Channels that deliver one message, at an instant.

use crate::ends::{at, never};
use narrowboat_chan::{RecvTimeoutError, TryRecvError, select};
use narrowboat_testing::{LONG, ms, pause, suite};
use std::time::{Duration, Instant};

suite! {
    there_is_one_message,
    an_instant_that_has_passed_is_due_at_once,
    the_earlier_of_two_comes_first,
}

fn there_is_one_message() {
    let when = Instant::now() + ms(10);
    let rx = at(when);
    assert_eq!(rx.recv(), Ok(when));
    assert_eq!((rx.len(), rx.is_empty(), rx.is_full()), (0, true, false));
    assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
    assert_eq!(rx.recv_timeout(ms(20)), Err(RecvTimeoutError::Timeout));
    assert!(!rx.is_closed());
}

fn an_instant_that_has_passed_is_due_at_once() {
    let past = Instant::now();
    pause(ms(2));
    assert_eq!(at(past).recv(), Ok(past));
    assert_eq!(at(past).try_recv(), Ok(past));
    assert_eq!(at(past).recv_timeout(Duration::ZERO), Ok(past));
    assert_eq!(select! { recv(at(past)) -> msg => msg, default => panic!("it is due") }, Ok(past));
    assert_eq!(select! { recv(at(past)) -> msg => msg, recv(never::<()>()) -> _ => panic!() }, Ok(past));
}

fn the_earlier_of_two_comes_first() {
    let soon = Instant::now() + ms(5);
    let (first, second) = (at(soon), at(soon + LONG));
    for _ in 0..2 {
        let got =
            select! { recv(second) -> msg => msg, recv(first) -> msg => msg, default(ms(50)) => Ok(soon) };
        assert_eq!(got, Ok(soon));
    }
}
