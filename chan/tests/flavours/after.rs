//! Channels that deliver one message, after a while. Nothing here is asserted to be fast; never to
//! be early is.

use crate::ends::{Receiver, after, bounded, never};
use narrowboat_chan::{RecvTimeoutError, Select, TryRecvError, select};
use narrowboat_testing::{LONG, ms, suite};
use std::time::{Duration, Instant};

suite! {
    there_is_one_message,
    the_end_of_time_is_never,
    it_is_a_limit_for_a_whole_loop,
    in_a_list_of_operations_too,
    one_for_every_turn_costs_nothing_afterwards,
}

fn there_is_one_message() {
    let rx = after(ms(10));
    rx.recv().unwrap();
    assert_eq!((rx.len(), rx.is_empty(), rx.is_full()), (0, true, false));
    assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
    assert_eq!(rx.recv_timeout(ms(20)), Err(RecvTimeoutError::Timeout));
    assert!(!rx.is_closed(), "it does not end, it falls silent");
    assert!(select! { recv(rx) -> _ => false, default(ms(5)) => true });
    assert!(!rx.same_channel(&never()));
}

fn the_end_of_time_is_never() {
    assert_eq!(after(Duration::MAX).recv_timeout(ms(5)), Err(RecvTimeoutError::Timeout));
    let (tx, rx) = bounded(1);
    tx.send(1).unwrap();
    assert_eq!(rx.recv_timeout(Duration::MAX), Ok(1));
    assert_eq!(select! { recv(rx) -> _ => 1, recv(after(Duration::MAX)) -> _ => 2, default(ms(5)) => 3 }, 3);
}

fn it_is_a_limit_for_a_whole_loop() {
    let start = Instant::now();
    let timeout = after(ms(40));
    let (tx, rx) = bounded(1);
    let mut turns = 0_u32;
    loop {
        let _ = tx.try_send(());
        select! {
            recv(rx) -> _ => turns += 1,
            recv(timeout) -> when => break assert!(when.unwrap() >= start + ms(40)),
        }
    }
    assert!(turns > 0 && start.elapsed() >= ms(40));
}

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

fn one_for_every_turn_costs_nothing_afterwards() {
    // Were each of these timers kept until it is due, they would be a hundred thousand at the end.
    let (tx, rx) = bounded(1);
    for n in 0..100_000 {
        tx.send(n).unwrap();
        select! {
            recv(rx) -> msg => assert_eq!(msg, Ok(n)),
            recv(after(LONG)) -> _ => panic!("too early"),
        }
    }
}
