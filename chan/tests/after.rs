//! The channels that tell the time. Nothing here is asserted to be fast; never to be early is.

mod common;

use common::{LONG, go, ms, pause};
use narrowboat_chan::{
    Receiver, RecvTimeoutError, Select, TryRecvError, after, at, bounded, never, select, tick,
};
use std::time::{Duration, Instant};

#[test]
fn after_delivers_once_and_not_early() {
    let start = Instant::now();
    let rx = after(ms(30));
    assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
    let when = rx.recv().unwrap();
    assert!(when >= start + ms(30) && Instant::now() >= when);
    assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
    assert_eq!(rx.recv_timeout(ms(20)), Err(RecvTimeoutError::Timeout));
}

#[test]
fn at_delivers_its_instant_also_when_it_has_passed() {
    let past = Instant::now();
    pause(ms(2));
    assert_eq!(at(past).recv(), Ok(past));
    assert_eq!(at(past).try_recv(), Ok(past));
    assert_eq!(at(past).recv_timeout(Duration::ZERO), Ok(past));
    assert_eq!(select! { recv(at(past)) -> msg => msg, default => panic!("it is due") }, Ok(past));
    assert_eq!(select! { recv(at(past)) -> msg => msg, recv(never::<()>()) -> _ => panic!() }, Ok(past));
}

#[test]
fn len_and_capacity_tell_whether_it_is_due() {
    let rx = after(ms(20));
    assert_eq!((rx.capacity(), rx.len(), rx.is_empty(), rx.is_full()), (Some(1), 0, true, false));
    pause(ms(30));
    assert_eq!((rx.len(), rx.is_empty(), rx.is_full()), (1, false, true));
    rx.recv().unwrap();
    assert_eq!((rx.len(), rx.is_empty(), rx.is_full()), (0, true, false));
    let rx = never::<i32>();
    assert_eq!((rx.capacity(), rx.len(), rx.is_empty(), rx.is_full()), (Some(0), 0, true, true));
}

#[test]
fn one_of_many_clones_gets_it() {
    let rx = after(ms(20));
    let receivers: Vec<_> = (0..8)
        .map(|i| {
            let rx = rx.clone();
            go(move || match i % 2 {
                0 => rx.recv_timeout(ms(200)).is_ok(),
                _ => select! { recv(rx) -> _ => true, default(ms(200)) => false },
            })
        })
        .collect();
    assert_eq!(receivers.into_iter().filter(|_| true).map(|one| one.join()).filter(|got| *got).count(), 1);
}

#[test]
fn the_earliest_of_several_ends_a_select() {
    for _ in 0..3 {
        let (early, late) = (after(ms(10)), after(LONG));
        let (_tx, quiet) = bounded::<()>(0);
        let start = Instant::now();
        select! {
            recv(late) -> _ => panic!("too early for this one"),
            recv(quiet) -> _ => panic!("nobody sends"),
            recv(early) -> when => assert!(when.unwrap() >= start),
            default(LONG) => panic!("the arm comes first"),
        }
        select! {
            recv(late) -> _ => panic!("too early for this one"),
            recv(early) -> _ => panic!("it has delivered"),
            default(ms(10)) => {}
        }
    }
}

#[test]
fn a_message_comes_before_its_timeout() {
    let (tx, rx) = bounded(0);
    let sender = go(move || {
        pause(ms(20));
        tx.send(6).unwrap();
    });
    assert_eq!(select! { recv(rx) -> msg => msg, recv(after(LONG)) -> _ => panic!("lost") }, Ok(6));
    sender.join();
}

#[test]
fn ticks_keep_time_and_do_not_pile_up() {
    let start = Instant::now();
    let rx = tick(ms(20));
    assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
    let first = rx.recv().unwrap();
    let second = rx.recv().unwrap();
    assert!(first >= start + ms(20));
    assert_eq!((second - first).as_nanos() % ms(20).as_nanos(), 0, "in step");
    pause(ms(110));
    let late = rx.try_recv().unwrap();
    assert!(late > second && late <= Instant::now() - ms(60), "the one that waited, not the latest");
    let next = rx.recv().unwrap();
    assert!(next - late >= ms(80), "those between are left out");
    assert_eq!((next - first).as_nanos() % ms(20).as_nanos(), 0, "still in step");
}

#[test]
fn ticks_without_distance_are_always_there() {
    let rx = tick(Duration::ZERO);
    for _ in 0..100 {
        rx.try_recv().unwrap();
    }
}

#[test]
fn never_is_silent() {
    let rx = never::<i32>();
    assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
    assert_eq!(rx.recv_timeout(ms(10)), Err(RecvTimeoutError::Timeout));
    assert_eq!(rx.recv_deadline(Instant::now()), Err(RecvTimeoutError::Timeout));
    assert_eq!(select! { recv(rx) -> _ => 1, default(ms(5)) => 2 }, 2);
    assert_eq!(select! { recv(rx) -> _ => 1, recv(rx) -> _ => 1, default => 2 }, 2);
    assert!(!rx.close() && !rx.is_closed());
}

#[test]
fn the_end_of_time_is_never() {
    assert_eq!(after(Duration::MAX).recv_timeout(ms(5)), Err(RecvTimeoutError::Timeout));
    assert_eq!(tick(Duration::MAX).recv_timeout(ms(5)), Err(RecvTimeoutError::Timeout));
    let (tx, rx) = bounded(1);
    tx.send(1).unwrap();
    assert_eq!(rx.recv_timeout(Duration::MAX), Ok(1));
}

#[test]
fn nobody_can_close_a_clock() {
    let rx = after(ms(5));
    assert!(!rx.close() && !rx.is_closed());
    rx.recv().unwrap();
    assert!(!rx.is_closed());
}

#[test]
fn clones_are_the_same_channel() {
    let (a, b) = (after(LONG), after(LONG));
    assert!(a.same_channel(&a.clone()) && !a.same_channel(&b));
    assert!(!a.same_channel(&never()) && never::<i32>().same_channel(&never()));
}

#[test]
fn in_a_list_of_operations_too() {
    let clocks: Vec<Receiver<Instant>> = (0..10).map(|n| after(ms(n))).collect();
    let mut select = Select::new();
    for clock in &clocks {
        select.recv(clock);
    }
    let mut fired = [0; 10];
    while let Ok(chosen) = select.select_timeout(ms(100)) {
        let index = chosen.index();
        chosen.recv(&clocks[index]).unwrap();
        fired[index] += 1;
    }
    assert_eq!(fired, [1; 10]);
}
