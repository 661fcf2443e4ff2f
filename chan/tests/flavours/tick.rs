//! Channels that deliver a message every so often.

use crate::ends::tick;
use narrowboat_chan::{RecvTimeoutError, TryRecvError, select};
use narrowboat_testing::{go, ms, pause, suite};
use std::time::{Duration, Instant};

suite! {
    ticks_keep_time_and_do_not_pile_up,
    ticks_without_distance_are_always_there,
    ticks_go_on_for_any_receiver,
    a_loop_between_ticks,
    the_end_of_time_is_never,
}

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

fn ticks_without_distance_are_always_there() {
    let rx = tick(Duration::ZERO);
    for _ in 0..100 {
        rx.try_recv().unwrap();
    }
}

/// Clones share one clock: each tick goes to one of them, in order, and none comes twice.
fn ticks_go_on_for_any_receiver() {
    let rx = tick(ms(3));
    let receivers: Vec<_> = (0..3)
        .map(|_| {
            let rx = rx.clone();
            go(move || rx.iter().take(5).collect::<Vec<_>>())
        })
        .collect();
    let mut all = Vec::new();
    for receiver in receivers {
        let mine = receiver.join();
        assert!(mine.is_sorted());
        all.extend(mine);
    }
    all.sort();
    assert!(all.windows(2).all(|pair| pair[1] >= pair[0] + ms(3)), "{all:?}");
}

fn a_loop_between_ticks() {
    let rx = tick(ms(5));
    let (mut ticks, mut turns) = (0, 0_u64);
    while ticks < 5 {
        select! { recv(rx) -> _ => ticks += 1, default => turns += 1 }
    }
    assert!(turns > 0);
}

fn the_end_of_time_is_never() {
    assert_eq!(tick(Duration::MAX).recv_timeout(ms(5)), Err(RecvTimeoutError::Timeout));
}
