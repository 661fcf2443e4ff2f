//! Great numbers of waiting parties: how they leave, and that nothing of them stays.

use narrowboat_chan::{Receiver, Sender, bounded, select};
use narrowboat_testing::{Dice, On, Work, go, ms, on, scaled, suite};
use std::time::Duration;

suite! {
    ten_thousand_leave_in_any_order,
    a_crowd_times_out_and_nothing_is_left,
    a_crowd_shares_what_comes,
}

/// Goroutines are made for such numbers, threads are not.
fn crowd() -> usize {
    scaled(if matches!(on(), On::Threads | On::Mixed) { 200 } else { 10_000 })
}

#[track_caller]
fn none_waits(tx: &Sender<usize>, rx: &Receiver<usize>) {
    assert!(tx.try_send(0).unwrap_err().is_full(), "something seems to receive");
    assert!(rx.try_recv().unwrap_err().is_empty(), "something seems to send");
}

/// All wait for one channel, half of them in each direction, and each for a word of its own to
/// leave. If one that leaves had to be searched for, this would take hours.
fn ten_thousand_leave_in_any_order() {
    let (receiving_tx, receiving) = bounded::<usize>(0);
    let (sending, sending_rx) = bounded::<usize>(0);
    let (ready, count) = bounded(crowd());
    let mut waiting: Vec<_> = (0..crowd())
        .map(|n| {
            let (receiving, sending, ready) = (receiving.clone(), sending.clone(), ready.clone());
            let (leave, left) = bounded::<()>(0);
            let work = go(move || {
                ready.send(()).unwrap();
                if n % 2 == 0 {
                    select! { recv(receiving) -> _ => false, recv(left) -> _ => true }
                } else {
                    select! { send(sending, n) -> _ => false, recv(left) -> _ => true }
                }
            });
            (leave, work)
        })
        .collect();
    (0..crowd()).for_each(|_| count.recv().unwrap());
    let mut dice = Dice::new(3);
    while !waiting.is_empty() {
        let (leave, work) = waiting.swap_remove(dice.roll(waiting.len() as u64) as usize);
        leave.send(()).unwrap();
        assert!(work.join());
    }
    none_waits(&receiving_tx, &sending_rx);
}

fn a_crowd_times_out_and_nothing_is_left() {
    let (tx, rx) = bounded(0);
    let mut dice = Dice::new(8);
    let waiting: Vec<_> = (0..crowd() / 4)
        .map(|n| {
            let rx = rx.clone();
            let limit = Duration::from_micros(dice.roll(20_000));
            go(move || match n % 2 {
                0 => rx.recv_timeout(limit).is_err(),
                _ => select! { recv(rx) -> _ => false, recv(rx) -> _ => false, default(limit) => true },
            })
        })
        .collect();
    assert!(waiting.into_iter().all(Work::join));
    none_waits(&tx, &rx);

    // The other direction, where a message comes back from every one.
    let waiting: Vec<_> = (0..crowd() / 4)
        .map(|n| {
            let tx = tx.clone();
            let limit = Duration::from_micros(dice.roll(20_000));
            go(move || match n % 2 {
                0 => tx.send_timeout(n, limit).unwrap_err().into_inner() == n,
                _ => select! { send(tx, n) -> _ => false, send(tx, n) -> _ => false, default(limit) => true },
            })
        })
        .collect();
    assert!(waiting.into_iter().all(Work::join));
    none_waits(&tx, &rx);
}

fn a_crowd_shares_what_comes() {
    let (tx, rx) = bounded(0);
    let (done_tx, done) = bounded::<()>(0);
    let crowd = crowd() / 4;
    let waiting: Vec<_> = (0..crowd)
        .map(|_| {
            let (rx, done) = (rx.clone(), done.clone());
            go(move || {
                let mut got = Vec::new();
                loop {
                    select! { recv(rx) -> msg => got.push(msg.unwrap()), recv(done) -> _ => return got }
                }
            })
        })
        .collect();
    (0..2 * crowd).for_each(|n| tx.send(n).unwrap());
    done_tx.close();
    let mut all: Vec<usize> = waiting.into_iter().flat_map(Work::join).collect();
    all.sort();
    assert!(all.into_iter().eq(0..2 * crowd));
    assert!(tx.send_timeout(0, ms(1)).is_err());
}
