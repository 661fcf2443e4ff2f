//! What is served when: first come, first served in each queue; chance among the arms of a select; none starved.

use narrowboat_chan::{Receiver, RecvTimeoutError, Select, Sender, bounded, select, unbounded};
use narrowboat_testing::{LONG, go, ms, scaled, settle, suite, waits};

suite! {
    blocked_senders_are_served_in_their_order,
    blocked_receivers_are_served_in_their_order,
    a_timed_out_party_loses_its_place_and_no_other_does,
    two_always_ready_arms_share_the_turns,
    a_rare_message_gets_through_beside_a_busy_channel,
    no_waiting_party_is_starved,
    no_waiting_select_is_starved,
    a_chain_of_parties_keeps_the_order,
}

/// A send in one of its forms.
fn send_somehow(tx: &Sender<usize>, n: usize, form: usize) {
    let (_keep, quiet) = bounded::<()>(0);
    match form {
        0 => tx.send(n).unwrap(),
        1 => tx.send_timeout(n, LONG).unwrap(),
        2 => select! { send(tx, n) -> sent => sent.unwrap(), recv(quiet) -> _ => unreachable!() },
        _ => {
            let mut select = Select::new();
            select.send(tx);
            select.select_timeout(LONG).unwrap().send(tx, n).unwrap();
        }
    }
}

fn receive_somehow(rx: &Receiver<usize>, form: usize) -> usize {
    let (_keep, quiet) = bounded::<()>(0);
    match form {
        0 => rx.recv().unwrap(),
        1 => rx.recv_timeout(LONG).unwrap(),
        2 => select! { recv(rx) -> msg => msg.unwrap(), recv(quiet) -> _ => unreachable!() },
        _ => {
            let mut select = Select::new();
            select.recv(rx);
            select.select_timeout(LONG).unwrap().recv(rx).unwrap()
        }
    }
}

/// That each party is in its queue before the next comes can only be made very likely. So an order that is not kept has
/// to show again and again.
#[track_caller]
fn usually_in_order(what: &str, attempt: impl Fn() -> Vec<usize>) {
    let orders: Vec<_> = (0..5).map(|_| attempt()).take_while(|order| !order.is_sorted()).collect();
    assert!(orders.len() < 5, "{what}: {orders:?}");
}

/// A selected send makes its message only when it is chosen. Without a buffer its receiver waits for it; in a buffer it
/// has a place, and a message that exists already may overtake it, so there only the others are compared.
fn blocked_senders_are_served_in_their_order() {
    for (capacity, forms) in [(0, 4), (2, 2)] {
        usually_in_order("senders", || {
            let (tx, rx) = bounded(capacity);
            let senders: Vec<_> = (0..8)
                .map(|n| {
                    let tx = tx.clone();
                    waits(move || send_somehow(&tx, n, n % forms))
                })
                .collect();
            let order = (0..8).map(|_| rx.recv().unwrap()).collect();
            senders.into_iter().for_each(|sender| sender.join());
            order
        });
    }
}

fn blocked_receivers_are_served_in_their_order() {
    for capacity in [0, 2] {
        usually_in_order("receivers", || {
            let (tx, rx) = bounded(capacity);
            let receivers: Vec<_> = (0..8)
                .map(|n| {
                    let rx = rx.clone();
                    waits(move || receive_somehow(&rx, n % 4))
                })
                .collect();
            (0..8).for_each(|n| tx.send(n).unwrap());
            receivers.into_iter().map(|receiver| receiver.join()).collect()
        });
    }
}

fn a_timed_out_party_loses_its_place_and_no_other_does() {
    usually_in_order("receivers of which some have left", || {
        let (tx, rx) = bounded(0);
        let (mut staying, mut leaving) = (Vec::new(), Vec::new());
        for n in 0..6 {
            let rx = rx.clone();
            match n {
                1 | 3 => leaving.push(waits(move || rx.recv_timeout(ms(20)))),
                _ => staying.push(waits(move || receive_somehow(&rx, n % 4))),
            }
        }
        for one in leaving {
            assert_eq!(one.join(), Err(RecvTimeoutError::Timeout));
        }
        (0..4).for_each(|n| tx.send(n).unwrap());
        staying.into_iter().map(|receiver| receiver.join()).collect()
    });
}

fn two_always_ready_arms_share_the_turns() {
    let (tx1, rx1) = unbounded();
    let (tx2, rx2) = bounded(1);
    let mut hits = [0_u32; 2];
    for n in 0..4_000 {
        tx1.send(n).unwrap();
        let _ = tx2.try_send(n);
        select! {
            recv(rx1) -> msg => { msg.unwrap(); hits[0] += 1 }
            recv(rx2) -> msg => { msg.unwrap(); hits[1] += 1 }
        }
    }
    assert!(hits.iter().all(|n| *n > 1_700), "{hits:?}");
}

/// In each round the rare channel has one message and the busy one more than all could take.
fn a_rare_message_gets_through_beside_a_busy_channel() {
    let (busy_tx, busy) = unbounded();
    let (rare_tx, rare) = bounded(1);
    (0..100).for_each(|_| busy_tx.send(()).unwrap());
    for _ in 0..200 {
        rare_tx.send(()).unwrap();
        let mut passed_over = 0;
        while select! { recv(rare) -> msg => { msg.unwrap(); false } recv(busy) -> msg => { msg.unwrap(); true } }
        {
            busy_tx.send(()).unwrap();
            passed_over += 1;
            // One time in two; a hundred times in a row is not chance.
            assert!(passed_over < 100);
        }
    }
}

/// How many messages each of two parties gets, of those that are sent one by one.
fn shares(receive: fn(&Receiver<()>) -> bool) -> Vec<usize> {
    let (tx, rx) = bounded(0);
    let receivers: Vec<_> = (0..2)
        .map(|_| {
            let rx = rx.clone();
            go(move || std::iter::repeat_with(|| receive(&rx)).take_while(|got| *got).count())
        })
        .collect();
    drop(rx);
    settle();
    for _ in 0..2_000 {
        tx.send_timeout((), LONG).unwrap();
    }
    drop(tx);
    receivers.into_iter().map(|receiver| receiver.join()).collect()
}

/// Of two that receive in a loop from one channel, and were there from the beginning, neither is passed over for good. How
/// they share is the scheduler's affair: one that was served may be a while in coming back.
fn no_waiting_party_is_starved() {
    let counts = shares(|rx| rx.recv().is_ok());
    assert_eq!(counts.iter().sum::<usize>(), 2_000);
    assert!(counts.iter().all(|n| *n > 0), "{counts:?}");
}

fn no_waiting_select_is_starved() {
    let counts = shares(|rx| {
        let (_keep, quiet) = bounded::<()>(0);
        select! { recv(rx) -> msg => msg.is_ok(), recv(quiet) -> _ => unreachable!() }
    });
    assert_eq!(counts.iter().sum::<usize>(), 2_000);
    assert!(counts.iter().all(|n| *n > 0), "{counts:?}");
}

/// Each party waits for its neighbour's word before it says its own.
fn a_chain_of_parties_keeps_the_order() {
    let (tx, rx) = unbounded();
    let (first, mut last) = bounded::<()>(0);
    let length = scaled(300);
    let parties: Vec<_> = (0..length)
        .map(|n| {
            let tx = tx.clone();
            let (next, done) = bounded::<()>(0);
            let before = std::mem::replace(&mut last, done);
            go(move || {
                before.recv().unwrap();
                tx.send(n).unwrap();
                // Nothing listens to the last one.
                let _ = next.send(());
            })
        })
        .collect();
    drop((tx, last));
    first.send(()).unwrap();
    assert!(rx.iter().eq(0..length));
    parties.into_iter().for_each(|party| party.join());
}
