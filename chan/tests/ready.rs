//! Waiting until an operation is possible without carrying it out: `Select::ready` and its relatives.

use narrowboat_chan::{
    ReadyTimeoutError, Receiver, Select, Sender, TryReadyError, TryRecvError, after, bounded, never, select,
    tick, unbounded,
};
use narrowboat_testing::{LONG, Work, go, ms, settle, suite};
use std::panic::catch_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

suite! {
    what_is_possible_is_found_at_once_and_left_alone,
    what_is_impossible_is_said,
    a_ready_without_operations_panics,
    an_index_is_that_of_the_operation,
    a_biased_ready_finds_the_first,
    a_message_calls_its_watchers,
    room_calls_its_watchers,
    a_blocked_counterpart_calls_watchers_of_a_channel_without_buffer,
    a_watcher_takes_no_waiters_turn,
    watchers_are_no_counterparts,
    a_select_is_not_led_astray_by_watchers,
    a_close_calls_all,
    a_dropped_side_calls_all,
    a_reserved_place_that_is_given_back_calls_watchers,
    timers_are_ready_when_they_are_due,
    watchers_and_parties_mixed_lose_nothing,
}

/// Waits until a receive is possible: whether it became so in time.
fn can_recv<T>(rx: &Receiver<T>, timeout: Duration) -> bool {
    let mut select = Select::new();
    select.recv(rx);
    select.ready_timeout(timeout).is_ok()
}

/// The same of a send.
fn can_send<T>(tx: &Sender<T>, timeout: Duration) -> bool {
    let mut select = Select::new();
    select.send(tx);
    select.ready_timeout(timeout).is_ok()
}

/// How long one waits for what will not happen.
const SHORT: Duration = Duration::from_millis(40);

fn what_is_possible_is_found_at_once_and_left_alone() {
    let (tx, rx) = bounded(1);
    let mut select = Select::new();
    let send = select.send(&tx);
    let receive = select.recv(&rx);
    for _ in 0..3 {
        assert_eq!(select.ready(), send);
        assert_eq!(select.try_ready(), Ok(send));
        assert!(rx.is_empty());
    }
    tx.send(7).unwrap();
    for _ in 0..3 {
        assert_eq!(select.ready_timeout(Duration::ZERO), Ok(receive));
        assert_eq!(select.ready_deadline(Instant::now()), Ok(receive));
        assert_eq!(rx.len(), 1);
    }
    assert_eq!(rx.try_recv(), Ok(7));
}

fn what_is_impossible_is_said() {
    let (tx, rx) = bounded::<i32>(0);
    let mut select = Select::new();
    assert_eq!(select.try_ready(), Err(TryReadyError));
    assert_eq!(select.ready_timeout(ms(5)), Err(ReadyTimeoutError));
    select.recv(&rx);
    select.send(&tx);
    assert_eq!(select.try_ready(), Err(TryReadyError));
    let start = Instant::now();
    assert_eq!(select.ready_timeout(ms(20)), Err(ReadyTimeoutError));
    assert_eq!(select.ready_deadline(start), Err(ReadyTimeoutError));
    assert!(start.elapsed() >= ms(20));
    assert!(!TryReadyError.to_string().is_empty() && !ReadyTimeoutError.to_string().is_empty());
}

fn a_ready_without_operations_panics() {
    assert!(catch_unwind(|| Select::new().ready()).is_err());
}

fn an_index_is_that_of_the_operation() {
    let (_tx, silent) = unbounded::<i32>();
    let (tx, rx) = unbounded();
    let mut select = Select::new();
    let first = select.recv(&silent);
    let second = select.recv(&rx);
    select.remove(first);
    tx.send(1).unwrap();
    assert_eq!(select.ready(), second);
    assert_eq!(rx.try_recv(), Ok(1));
}

fn a_biased_ready_finds_the_first() {
    let (tx, rx) = unbounded();
    tx.send(1).unwrap();
    for _ in 0..50 {
        let mut select = Select::new_biased();
        let receive = select.recv(&rx);
        select.send(&tx);
        assert_eq!(select.ready(), receive);
    }
    let mut seen = [0; 2];
    for _ in 0..200 {
        let mut select = Select::new();
        select.recv(&rx);
        select.send(&tx);
        seen[select.ready()] += 1;
    }
    assert!(seen.iter().all(|n| *n > 20), "{seen:?}");
}

fn a_message_calls_its_watchers() {
    for (tx, rx) in [bounded(3), unbounded()] {
        let watchers: Vec<_> = (0..3)
            .map(|_| {
                let rx = rx.clone();
                go(move || can_recv(&rx, LONG))
            })
            .collect();
        settle();
        tx.send(5).unwrap();
        // All are told of the one message, and none takes it.
        assert!(watchers.into_iter().all(|watcher| watcher.join()));
        assert_eq!(rx.try_recv(), Ok(5));
    }
}

fn room_calls_its_watchers() {
    let (tx, rx) = bounded(1);
    tx.send(1).unwrap();
    let watchers: Vec<_> = (0..3)
        .map(|_| {
            let tx = tx.clone();
            go(move || can_send(&tx, LONG))
        })
        .collect();
    settle();
    assert_eq!(rx.recv(), Ok(1));
    assert!(watchers.into_iter().all(|watcher| watcher.join()));
    assert!(rx.is_empty());
}

fn a_blocked_counterpart_calls_watchers_of_a_channel_without_buffer() {
    let (tx, rx) = bounded(0);

    // A lone send, a selected one, and the message goes to the next receive.
    for selected in [false, true] {
        let watcher = {
            let rx = rx.clone();
            go(move || {
                assert!(can_recv(&rx, LONG));
                rx.try_recv()
            })
        };
        settle();
        match selected {
            false => tx.send(1).unwrap(),
            true => {
                select! { send(tx, 1) -> res => res.unwrap(), recv(never::<()>()) -> _ => unreachable!() }
            }
        }
        assert_eq!(watcher.join(), Ok(1));
    }

    for selected in [false, true] {
        let watcher = {
            let tx = tx.clone();
            go(move || {
                assert!(can_send(&tx, LONG));
                tx.try_send(2)
            })
        };
        settle();
        let got = match selected {
            false => rx.recv(),
            true => select! { recv(rx) -> msg => msg, recv(never::<()>()) -> _ => unreachable!() },
        };
        assert_eq!(got, Ok(2));
        assert_eq!(watcher.join(), Ok(()));
    }
}

fn a_watcher_takes_no_waiters_turn() {
    // The watcher came first; the receiver gets the message all the same, and the watcher is not told of what is not
    // there.
    let (tx, rx) = bounded(0);
    let watcher = {
        let rx = rx.clone();
        go(move || can_recv(&rx, SHORT * 4))
    };
    settle();
    let receiver = {
        let rx = rx.clone();
        go(move || rx.recv())
    };
    assert!(can_send(&tx, LONG));
    tx.send_timeout(3, LONG).unwrap();
    assert_eq!(receiver.join(), Ok(3));
    assert!(!watcher.join());

    let watcher = {
        let tx = tx.clone();
        go(move || can_send(&tx, SHORT * 4))
    };
    settle();
    let sender = {
        let tx = tx.clone();
        go(move || tx.send(4))
    };
    assert!(can_recv(&rx, LONG));
    assert_eq!(rx.recv_timeout(LONG), Ok(4));
    sender.join().unwrap();
    assert!(!watcher.join());
}

fn watchers_are_no_counterparts() {
    let (tx, rx) = bounded(0);
    let receives = {
        let rx = rx.clone();
        go(move || can_recv(&rx, SHORT * 2))
    };
    let sends = {
        let tx = tx.clone();
        go(move || can_send(&tx, SHORT * 2))
    };
    settle();
    assert!(tx.try_send(1).is_err());
    assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
    assert!(!receives.join() && !sends.join());
}

fn a_select_is_not_led_astray_by_watchers() {
    // Both arms of the select have watchers on the other side, which it cannot meet.
    let (tx, rx) = bounded(0);
    let (tx2, rx2) = bounded(0);
    let watchers = {
        let (rx, tx2) = (rx.clone(), tx2.clone());
        go(move || {
            let mut select = Select::new();
            select.recv(&rx);
            select.send(&tx2);
            let index = select.ready();
            match index {
                0 => assert_eq!(rx.recv(), Ok(1)),
                _ => tx2.send(2).unwrap(),
            }
            index
        })
    };
    settle();
    let chosen = select! { send(tx, 1) -> res => { res.unwrap(); 0 } recv(rx2) -> msg => { assert_eq!(msg, Ok(2)); 1 } };
    assert_eq!(watchers.join(), chosen);
}

fn a_close_calls_all() {
    for capacity in [0, 1] {
        for by_receiver in [false, true] {
            let (tx, rx) = bounded::<i32>(capacity);
            let full = bounded(capacity);
            for n in 0..capacity {
                full.0.send(n).unwrap();
            }
            let watch_recv = {
                let rx = rx.clone();
                go(move || can_recv(&rx, LONG) && rx.try_recv() == Err(TryRecvError::Disconnected))
            };
            let watch_send = {
                let tx = full.0.clone();
                go(move || can_send(&tx, LONG) && tx.try_send(9).unwrap_err().is_disconnected())
            };
            settle();
            assert!(if by_receiver { rx.close() } else { tx.close() });
            assert!(if by_receiver { full.1.close() } else { full.0.close() });
            assert!(watch_recv.join() && watch_send.join());
        }
    }
}

fn a_dropped_side_calls_all() {
    let (tx, rx) = unbounded::<i32>();
    let watcher = go(move || can_recv(&rx, LONG));
    settle();
    drop(tx);
    assert!(watcher.join());

    let (tx, rx) = bounded::<i32>(0);
    let watcher = go(move || can_send(&tx, LONG));
    settle();
    drop(rx);
    assert!(watcher.join());
}

fn a_reserved_place_that_is_given_back_calls_watchers() {
    /// Reserves the only place, and changes its mind once a watcher stands there.
    fn hesitate(tx: &Sender<i32>) -> Result<(), Work<bool>> {
        select! {
            send(tx, {
                assert!(!can_send(tx, Duration::ZERO));
                let watcher = {
                    let tx = tx.clone();
                    go(move || can_send(&tx, LONG))
                };
                settle();
                Err(watcher)?
            }) -> _ => {}
            recv(never::<()>()) -> _ => {}
        }
        Ok(())
    }
    let (tx, _rx) = bounded(1);
    assert!(hesitate(&tx).unwrap_err().join());
}

fn timers_are_ready_when_they_are_due() {
    let start = Instant::now();
    let (after, tick, never) = (after(ms(20)), tick(ms(10)), never::<()>());
    let mut select = Select::new_biased();
    let never = select.recv(&never);
    let tick_index = select.recv(&tick);
    let after_index = select.recv(&after);
    assert_ne!(select.ready(), never);
    assert!(start.elapsed() >= ms(10));
    assert!(tick.try_recv().is_ok());
    select.remove(tick_index);
    assert_eq!(select.ready(), after_index);
    assert!(start.elapsed() >= ms(20));
    assert!(after.try_recv().is_ok());
    assert_eq!(select.try_ready(), Err(TryReadyError));
}

/// Every message is taken once, and none sleeps on beside a message: consumers that only watch and attempt, against
/// producers that do the same, or block.
fn watchers_and_parties_mixed_lose_nothing() {
    const MESSAGES: usize = 3_000;
    for capacity in [0, 1, 4] {
        let (tx, rx) = bounded::<usize>(capacity);
        let (tx2, rx2) = bounded::<usize>(capacity);
        let sum = Arc::new(AtomicUsize::new(0));
        let consumers: Vec<_> = (0..4)
            .map(|n| {
                let (rx, rx2, sum) = (rx.clone(), rx2.clone(), sum.clone());
                go(move || {
                    let mut open = [true, true];
                    while open[0] || open[1] {
                        let both = [&rx, &rx2];
                        let mut select = Select::new();
                        let of: Vec<_> = (0..2).filter(|i| open[*i]).collect();
                        for i in &of {
                            select.recv(both[*i]);
                        }
                        // One of them takes part as a party, so that a channel without buffer gets anywhere.
                        let (i, got) = if n == 0 {
                            let chosen = select.select();
                            let i = of[chosen.index()];
                            (i, chosen.recv(both[i]).map_err(|_| TryRecvError::Disconnected))
                        } else {
                            let i = of[select.ready()];
                            (i, both[i].try_recv())
                        };
                        match got {
                            Ok(message) => _ = sum.fetch_add(message, Ordering::Relaxed),
                            Err(TryRecvError::Disconnected) => open[i] = false,
                            Err(TryRecvError::Empty) => {}
                        }
                    }
                })
            })
            .collect();
        let producers: Vec<_> = (0..4)
            .map(|n| {
                let tx = if n % 2 == 0 { tx.clone() } else { tx2.clone() };
                go(move || {
                    for message in 1..=MESSAGES / 4 {
                        if n < 2 {
                            tx.send(message).unwrap();
                            continue;
                        }
                        loop {
                            let mut select = Select::new();
                            select.send(&tx);
                            assert_eq!(select.ready(), 0);
                            if tx.try_send(message).is_ok() {
                                break;
                            }
                        }
                    }
                })
            })
            .collect();
        drop((tx, tx2, rx, rx2));
        for producer in producers {
            producer.join();
        }
        for consumer in consumers {
            consumer.join();
        }
        let each = MESSAGES / 4;
        assert_eq!(sum.load(Ordering::Relaxed), 4 * each * (each + 1) / 2);
    }
}
