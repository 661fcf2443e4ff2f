//! Watched values: the latest one, and whether it has changed.

use narrowboat::future::block_on;
use narrowboat_chan::watch::channel;
use narrowboat_chan::{RecvError, RecvTimeoutError, SendError, after, bounded, select};
use narrowboat_testing::{LONG, On, join_all, ms, settle, sized, suite_on_each};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

suite_on_each! {
    a_receiver_has_seen_the_first_value, only_the_latest_value_counts, each_receiver_sees_for_itself,
    the_end_comes_after_the_last_value, waits_end, wait_for_a_value, changes_in_place, a_send_needs_a_receiver,
    a_borrow_holds_a_change_up, arms_of_select, every_watcher_sees_the_last_value, tasks_watch,
}

fn a_receiver_has_seen_the_first_value(on: On) {
    let (tx, mut rx) = channel("one");
    assert_eq!((*rx.borrow(), rx.has_changed()), ("one", Ok(false)));
    let waits = on.go(move || {
        rx.changed().unwrap();
        let value = *rx.borrow();
        (value, rx.has_changed())
    });
    settle();
    tx.send("two").unwrap();
    assert_eq!(waits.join_soon().0, "two");
}

fn only_the_latest_value_counts(_: On) {
    let (tx, mut rx) = channel(0);
    (1..=5).for_each(|n| tx.send(n).unwrap());
    assert_eq!(rx.has_changed(), Ok(true));
    rx.changed().unwrap();
    assert_eq!((*rx.borrow(), rx.has_changed()), (5, Ok(false)));
    tx.send(6).unwrap();
    assert_eq!((*rx.borrow(), rx.has_changed()), (6, Ok(true)), "a borrow is no look");
    assert_eq!(*rx.borrow_and_update(), 6);
    assert_eq!(rx.has_changed(), Ok(false));
    assert_eq!(tx.send_replace(7), 6);
}

fn each_receiver_sees_for_itself(_: On) {
    let (tx, mut one) = channel(0);
    tx.send(1).unwrap();
    let mut same = one.clone();
    let mut new = tx.subscribe();
    one.changed().unwrap();
    same.changed().unwrap();
    assert_eq!(new.changed_timeout(ms(2)), Err(RecvTimeoutError::Timeout));
    assert_eq!((*new.borrow(), tx.receiver_count()), (1, 3));
    drop((one, same, new));
    assert_eq!(tx.receiver_count(), 0);
}

fn the_end_comes_after_the_last_value(on: On) {
    let (tx, mut rx) = channel(0);
    let other = tx.clone();
    tx.send(1).unwrap();
    drop(tx);
    let mut waits = rx.clone();
    let waits = on.go(move || (waits.changed(), waits.changed()));
    settle();
    drop(other);
    assert_eq!(waits.join_soon(), (Ok(()), Err(RecvError)));
    assert_eq!(rx.has_changed(), Err(RecvError));
    assert_eq!((rx.changed(), *rx.borrow()), (Ok(()), 1));
    assert_eq!(rx.changed(), Err(RecvError));
}

fn waits_end(_: On) {
    let (_tx, mut rx) = channel(0);
    let start = Instant::now();
    assert_eq!(rx.changed_timeout(ms(5)), Err(RecvTimeoutError::Timeout));
    assert_eq!(rx.changed_deadline(Instant::now() + ms(5)), Err(RecvTimeoutError::Timeout));
    assert!(start.elapsed() >= ms(10));
}

fn wait_for_a_value(on: On) {
    let (tx, mut rx) = channel(3);
    assert_eq!(*rx.wait_for(|n| *n == 3).unwrap(), 3);
    let waits = on.go(move || {
        let found = *rx.wait_for(|n| *n > 5).unwrap();
        (found, rx.wait_for(|n| *n > 100).map(|n| *n))
    });
    for n in 4..=9 {
        tx.send(n).unwrap();
    }
    drop(tx);
    let (found, never) = waits.join_soon();
    assert!((6..=9).contains(&found) && never == Err(RecvError));
}

fn changes_in_place(_: On) {
    let (tx, rx) = channel(vec![1]);
    tx.send_modify(|list| list.push(2));
    assert_eq!((rx.borrow().len(), rx.has_changed()), (2, Ok(true)));
    let (tx, rx) = channel(1);
    assert!(!tx.send_if_modified(|_| false));
    let panic = catch_unwind(AssertUnwindSafe(|| tx.send_modify(|_| panic!("half-way"))));
    assert!(panic.is_err());
    assert_eq!((rx.has_changed(), *tx.borrow()), (Ok(false), 1));
    tx.send(2).unwrap();
    assert_eq!(rx.has_changed(), Ok(true));
}

fn a_send_needs_a_receiver(_: On) {
    let (tx, rx) = channel(1);
    drop(rx);
    assert_eq!((tx.send(2), *tx.borrow()), (Err(SendError(2)), 1));
    assert_eq!((tx.send_replace(3), *tx.subscribe().borrow()), (1, 3));
}

/// The guard is held across waits, on any thread.
fn a_borrow_holds_a_change_up(on: On) {
    let (tx, rx) = channel(1);
    let guard = rx.borrow();
    let sends = on.go(move || tx.send(2).map_err(|_| ()));
    settle();
    assert!(!sends.is_finished());
    assert_eq!(*guard, 1);
    drop(guard);
    assert_eq!(sends.join_soon(), Ok(()));
    assert_eq!(*rx.borrow(), 2);
}

fn arms_of_select(on: On) {
    let (tx, rx) = channel(0);
    let (ask, asked) = bounded::<()>(0);
    let work = on.go(move || {
        let (mut last, mut questions) = (0, 0);
        loop {
            select! {
                recv(rx.channel()) -> changed => match changed {
                    Ok(()) => last = *rx.borrow(),
                    Err(RecvError) => return (last, questions),
                },
                recv(asked) -> question => if question.is_ok() { questions += 1 } else { panic!("it is asked once") },
                recv(after(LONG)) -> _ => panic!("a wake-up was lost"),
            }
        }
    });
    (1..=100).for_each(|n| tx.send(n).unwrap());
    ask.send(()).unwrap();
    tx.send(101).unwrap();
    drop(tx);
    assert_eq!(work.join_soon(), (101, 1));
    drop(ask);
}

fn every_watcher_sees_the_last_value(on: On) {
    let (tx, rx) = channel(0);
    let last = sized(2_000, 200);
    let work = on.many(on.crowd(100), move |_| {
        let mut rx = rx.clone();
        let mut seen = 0;
        while rx.changed().is_ok() {
            let now = *rx.borrow_and_update();
            assert!(now >= seen);
            seen = now;
        }
        seen
    });
    // Those that have not begun see the end, and the last value with it.
    let sends = on.go(move || (1..=last).for_each(|n| _ = tx.send(n)));
    sends.join();
    assert!(join_all(work).into_iter().all(|seen| seen == last || seen == 0));
}

fn tasks_watch(on: On) {
    let (tx, mut rx) = channel(0);
    let task = on.go(move || {
        block_on(async move {
            while rx.changed_async().await.is_ok() {
                if *rx.borrow_and_update() == 50 {
                    return true;
                }
            }
            false
        })
    });
    let sends = on.go(move || {
        (1..=50).for_each(|n| _ = tx.send(n));
        tx
    });
    let _tx = sends.join();
    assert!(task.join_soon());
}
