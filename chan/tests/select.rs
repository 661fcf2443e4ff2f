//! Selects over lists of operations, and what a select leaves behind.

use narrowboat_chan::{
    Receiver, RecvError, Select, SelectTimeoutError, SendError, Sender, TrySelectError, bounded, select,
    unbounded,
};
use narrowboat_runtime::yield_now;
use narrowboat_testing::{Census, Dice, go, ms, scaled, settle, suite};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

suite! {
    a_ready_operation_is_chosen,
    waiting_ends_with_the_first_that_becomes_possible,
    what_happens_between_looking_and_waiting_is_noticed,
    limits_are_kept_and_no_time_is_enough,
    #[should_panic(expected = "no operations have been added")]
    a_select_of_nothing_is_refused,
    indices_are_not_used_again,
    every_possible_operation_has_its_chance,
    a_biased_select_takes_the_first,
    a_wrong_handle_is_refused_and_nothing_is_lost,
    an_operation_that_is_dropped_panics_and_is_undone,
    the_same_channel_may_stand_there_twice,
    many_selects_share_many_channels,
    a_message_is_not_lost_when_another_arm_wins,
    ten_thousand_selects_share_one_silent_channel,
    closing_beats_a_waiting_select_send;
    scoped: a_select_may_change_threads, a_message_that_must_not_change_threads_does_not_die_on_another,
}

fn a_ready_operation_is_chosen() {
    let channels: Vec<_> = (0..5).map(|_| unbounded()).collect();
    channels[3].0.send(33).unwrap();
    let mut select = Select::new();
    for (_, rx) in &channels {
        select.recv(rx);
    }
    let chosen = select.select();
    assert_eq!(chosen.index(), 3);
    assert_eq!(chosen.recv(&channels[3].1), Ok(33));
    assert_eq!(select.try_select().unwrap_err(), TrySelectError);
}

fn waiting_ends_with_the_first_that_becomes_possible() {
    let (tx1, rx1) = bounded::<i32>(0);
    let (tx2, rx2) = bounded::<i32>(0);
    for _ in 0..20 {
        let tx = tx2.clone();
        let sender = go(move || tx.send(2).unwrap());
        let mut select = Select::new();
        let a = select.recv(&rx1);
        let b = select.recv(&rx2);
        let chosen = select.select();
        assert_ne!(chosen.index(), a);
        assert_eq!(chosen.index(), b);
        assert_eq!(chosen.recv(&rx2), Ok(2));
        sender.join();
    }
    drop(tx1);
    let mut select = Select::new();
    select.recv(&rx1);
    select.recv(&rx2);
    assert_eq!(select.select().recv(&rx1), Err(RecvError), "a closed channel is ready");
}

/// The other side acts at about the time at which the select has looked and not yet entered its queues. It does nothing
/// else until it is answered, so whatever the select does not notice is never noticed.
fn what_happens_between_looking_and_waiting_is_noticed() {
    for (capacity, receives) in [(0, true), (1, true), (0, false), (1, false)] {
        let (tx, rx) = bounded(capacity);
        let (ack_tx, ack) = bounded(1);
        let (_keep, quiet) = bounded::<()>(0);
        let other = {
            let (tx, rx) = (tx.clone(), rx.clone());
            go(move || {
                // Awake all the time, to be quick; but a goroutine may have to give way for the other side to act.
                for look in 1_u32.. {
                    match ack.try_recv() {
                        Ok(()) if receives => tx.send(()).unwrap(),
                        Ok(()) => rx.recv().unwrap(),
                        Err(error) if error.is_disconnected() => break,
                        Err(_) if look.is_multiple_of(64) => yield_now(),
                        Err(_) => std::hint::spin_loop(),
                    }
                }
            })
        };
        if !receives && capacity == 1 {
            tx.send(()).unwrap();
        }
        // On a machine that is busy with other things each round may take a slice of time.
        let end = Instant::now() + Duration::from_secs(2);
        for _ in (0..scaled(20_000)).take_while(|_| Instant::now() < end) {
            ack_tx.send(()).unwrap();
            if receives {
                select! { recv(quiet) -> _ => unreachable!(), recv(rx) -> msg => msg.unwrap() }
            } else {
                select! { recv(quiet) -> _ => unreachable!(), send(tx, ()) -> res => res.unwrap() }
            }
        }
        drop(ack_tx);
        other.join();
    }
}

fn limits_are_kept_and_no_time_is_enough() {
    let (tx, rx) = bounded(1);
    let mut select = Select::new();
    select.recv(&rx);
    let start = Instant::now();
    assert_eq!(select.select_timeout(ms(20)).unwrap_err(), SelectTimeoutError);
    assert_eq!(select.select_deadline(start + ms(40)).unwrap_err(), SelectTimeoutError);
    assert!(start.elapsed() >= ms(40));
    for round in 0..3 {
        tx.send(round).unwrap();
        let chosen = match round {
            0 => select.try_select().unwrap(),
            1 => select.select_timeout(Duration::ZERO).unwrap(),
            _ => select.select_deadline(start).unwrap(),
        };
        assert_eq!(chosen.recv(&rx), Ok(round));
    }
    let mut nothing = Select::new();
    assert!(nothing.try_select().is_err());
    assert!(nothing.select_timeout(ms(5)).is_err());
}

fn a_select_of_nothing_is_refused() {
    Select::new().select().index();
}

fn indices_are_not_used_again() {
    let (tx, rx) = unbounded();
    tx.send(1).unwrap();
    let mut select = Select::new();
    assert_eq!(select.recv(&rx), 0);
    assert_eq!(select.recv(&rx), 1);
    select.remove(0);
    assert_eq!(select.recv(&rx), 2);
    select.remove(1);
    let chosen = select.select();
    assert_eq!(chosen.index(), 2);
    chosen.recv(&rx).unwrap();
    assert!(catch_unwind(AssertUnwindSafe(|| select.remove(1))).is_err(), "it is gone");
    assert!(catch_unwind(AssertUnwindSafe(|| select.remove(3))).is_err(), "it never was");
}

fn every_possible_operation_has_its_chance() {
    let receivers: Vec<_> = (0..4)
        .map(|_| {
            let (tx, rx) = unbounded();
            (0..8_000).for_each(|n| tx.send(n).unwrap());
            (tx, rx)
        })
        .collect();
    let (sink, _keep) = unbounded();
    let mut select = Select::new();
    for (_, rx) in &receivers {
        select.recv(rx);
    }
    select.send(&sink);
    let mut hits = [0; 5];
    for _ in 0..8_000 {
        let chosen = select.select();
        hits[chosen.index()] += 1;
        match chosen.index() {
            4 => chosen.send(&sink, ()).unwrap(),
            i => drop(chosen.recv(&receivers[i].1).unwrap()),
        }
    }
    assert!(hits.iter().all(|n| (1_200..2_000).contains(n)), "{hits:?}");
}

fn a_biased_select_takes_the_first() {
    let (tx, rx) = unbounded();
    (0..300).for_each(|n| tx.send(n).unwrap());
    let mut select = Select::new_biased();
    let first = select.recv(&rx);
    select.send(&tx);
    for n in 0..300 {
        let chosen = select.select();
        assert_eq!(chosen.index(), first);
        assert_eq!(chosen.recv(&rx), Ok(n));
    }
    let chosen = select.select();
    assert_ne!(chosen.index(), first);
    chosen.send(&tx, 0).unwrap();
}

fn a_wrong_handle_is_refused_and_nothing_is_lost() {
    let (tx, rx) = bounded::<i32>(1);
    let (tx2, rx2) = bounded::<i32>(1);
    tx.send(1).unwrap();
    let mut select = Select::new();
    select.recv(&rx);
    for _ in 0..2 {
        let chosen = select.select();
        assert!(catch_unwind(AssertUnwindSafe(|| chosen.recv(&rx2))).is_err());
        assert!(rx.is_empty(), "the message was dropped");
        tx.send(2).unwrap();
    }
    let chosen = select.select();
    assert!(catch_unwind(AssertUnwindSafe(|| chosen.send(&tx, 3))).is_err(), "it was a receive");
    let mut select = Select::new();
    select.send(&tx);
    let chosen = select.select();
    assert!(catch_unwind(AssertUnwindSafe(|| chosen.send(&tx2, 3))).is_err());
    let chosen = select.select();
    assert_eq!(chosen.send(&tx.clone(), 4), Ok(()), "a clone will do");
    assert_eq!(rx.recv(), Ok(4));
}

fn an_operation_that_is_dropped_panics_and_is_undone() {
    static CENSUS: Census = Census::new();
    for capacity in [0, 1] {
        let (tx, rx) = bounded(capacity);
        let sender = {
            let tx = tx.clone();
            go(move || tx.send((CENSUS.value(), [0_u64; 9])).unwrap())
        };
        settle();
        let mut select = Select::new();
        select.recv(&rx);
        let chosen = select.select();
        let panic = catch_unwind(AssertUnwindSafe(|| drop(chosen))).unwrap_err();
        assert!(panic.downcast_ref::<&str>().unwrap().contains("without completing"));
        sender.join();
        assert_eq!(CENSUS.alive(), 0, "its message is dropped");

        let mut select = Select::new();
        select.send(&tx);
        let receiver = {
            let rx = rx.clone();
            go(move || drop(rx.recv().unwrap()))
        };
        settle();
        let chosen = select.select();
        assert!(catch_unwind(AssertUnwindSafe(|| drop(chosen))).is_err());
        settle();
        tx.send((CENSUS.value(), [0; 9])).unwrap();
        receiver.join();
        assert_eq!(CENSUS.alive(), 0);
    }
}

fn the_same_channel_may_stand_there_twice() {
    let (tx, rx) = bounded(0);
    let mut hits = [0; 2];
    for capacity_used in 0..200 {
        let sender = {
            let tx = tx.clone();
            go(move || tx.send(capacity_used).unwrap())
        };
        let mut select = Select::new();
        select.recv(&rx);
        select.recv(&rx);
        let chosen = select.select();
        hits[chosen.index()] += 1;
        assert_eq!(chosen.recv(&rx), Ok(capacity_used));
        sender.join();
    }
    assert_eq!(hits[0] + hits[1], 200);
}

fn many_selects_share_many_channels() {
    // Each of the senders and receivers selects over all channels; whatever the interleaving, nothing is lost.
    const EACH: u64 = 3_000;
    let channels: Vec<(Sender<u64>, Receiver<u64>)> = vec![bounded(0), bounded(1), bounded(3), unbounded()];
    let senders: Vec<_> = (0..3)
        .map(|side| {
            let txs: Vec<_> = channels.iter().map(|(tx, _)| tx.clone()).collect();
            go(move || {
                for n in 0..EACH {
                    let mut select = Select::new();
                    // The unbounded one, which is always ready, only now and then.
                    let open = if n % 16 == 0 { txs.len() } else { txs.len() - 1 };
                    for tx in &txs[..open] {
                        select.send(tx);
                    }
                    let chosen = select.select();
                    let index = chosen.index();
                    chosen.send(&txs[index], side * EACH + n).unwrap();
                }
            })
        })
        .collect();
    let receivers: Vec<_> = (0..3)
        .map(|side| {
            let rxs: Vec<_> = channels.iter().map(|(_, rx)| rx.clone()).collect();
            go(move || {
                let mut dice = Dice::new(side);
                let mut got = Vec::new();
                let mut select = Select::new();
                for rx in &rxs {
                    select.recv(rx);
                }
                let mut open = rxs.len();
                while open > 0 {
                    let limit = Duration::from_micros(dice.roll(100));
                    let Ok(chosen) = select.select_timeout(limit) else { continue };
                    let index = chosen.index();
                    match chosen.recv(&rxs[index]) {
                        Ok(n) => got.push(n),
                        Err(RecvError) => {
                            select.remove(index);
                            open -= 1;
                        }
                    }
                }
                got
            })
        })
        .collect();
    drop(channels);
    senders.into_iter().for_each(|sender| sender.join());
    let mut got: Vec<_> = receivers.into_iter().flat_map(|receiver| receiver.join()).collect();
    got.sort();
    assert_eq!(got, (0..3 * EACH).collect::<Vec<_>>());
}

/// Two channels and two selecting parties that wait for both: closing or sending into one must not lose the other.
fn a_message_is_not_lost_when_another_arm_wins() {
    let (tx1, rx1) = bounded(0);
    let (tx2, rx2) = bounded(0);
    const EACH: usize = 5_000;
    let first = go(move || (0..EACH).for_each(|_| tx1.send(1_usize).unwrap()));
    let second = go(move || (0..EACH).for_each(|_| tx2.send(1_usize).unwrap()));
    let receivers: Vec<_> = (0..2)
        .map(|_| {
            let (rx1, rx2) = (rx1.clone(), rx2.clone());
            go(move || {
                let (mut sum, mut open1, mut open2) = (0, true, true);
                while open1 || open2 {
                    select! {
                        recv(rx1) -> msg => match msg { Ok(n) => sum += n, Err(_) => open1 = false },
                        recv(rx2) -> msg => match msg { Ok(n) => sum += n, Err(_) => open2 = false },
                    }
                }
                sum
            })
        })
        .collect();
    first.join();
    second.join();
    assert_eq!(receivers.into_iter().map(|receiver| receiver.join()).sum::<usize>(), 2 * EACH);
}

fn ten_thousand_selects_share_one_silent_channel() {
    // If a select cost time in proportion to those that wait beside it, this would not end.
    let (_keep, done) = bounded::<()>(0);
    let waiting: Vec<_> = (0..50)
        .map(|_| {
            let (tx, rx) = bounded::<()>(0);
            let done = done.clone();
            let work = go(move || select! { recv(done) -> _ => panic!("silent"), recv(rx) -> msg => msg });
            (tx, work)
        })
        .collect();
    let (tx, rx) = unbounded();
    for n in 0..10_000 {
        tx.send(n).unwrap();
        select! { recv(done) -> _ => panic!("silent"), recv(rx) -> msg => assert_eq!(msg, Ok(n)) }
        select! {
            recv(done) -> _ => panic!("silent"),
            recv(rx) -> _ => panic!("empty"),
            default(Duration::from_nanos(1)) => {}
        }
    }
    for (tx, work) in waiting {
        drop(tx);
        assert_eq!(work.join(), Err(RecvError));
    }
}

fn a_select_may_change_threads() {
    fn travels<T: Send + Sync>(value: T) -> T {
        value
    }
    let (tx, rx) = unbounded();
    tx.send(1).unwrap();
    let mut select = travels(Select::new());
    select.recv(&rx);
    let mut copy = select.clone();
    std::thread::scope(|scope| {
        scope.spawn(|| assert_eq!(copy.select().recv(&rx), Ok(1)));
    });
    assert!(select.try_select().is_err());
    assert_eq!(format!("{select:?}"), "Select { .. }");
}

fn a_message_that_must_not_change_threads_does_not_die_on_another() {
    struct Local(#[allow(dead_code)] *const (), &'static Census);
    impl Drop for Local {
        fn drop(&mut self) {
            drop(self.1.value());
        }
    }
    static DROPS: Census = Census::new();
    let (tx, rx) = unbounded();
    tx.send(Local(std::ptr::null(), &DROPS)).unwrap();
    tx.send(Local(std::ptr::null(), &DROPS)).unwrap();
    let mut select = Select::new();
    select.recv(&rx);
    std::thread::scope(|scope| {
        // The receiver cannot come along, so the operation cannot be completed here.
        let panic = scope.spawn(|| catch_unwind(AssertUnwindSafe(|| drop(select.select()))).is_err());
        assert!(panic.join().unwrap());
    });
    assert_eq!(DROPS.made(), 0, "forgotten");
    let chosen = select.select();
    assert!(catch_unwind(AssertUnwindSafe(|| drop(chosen))).is_err());
    assert_eq!(DROPS.made(), 1, "dropped at home");
}

fn closing_beats_a_waiting_select_send() {
    let (tx, rx) = bounded(0);
    let (_keep, quiet) = bounded::<()>(0);
    let sender = go(move || select! { send(tx, 5) -> res => res, recv(quiet) -> _ => unreachable!() });
    settle();
    rx.close();
    assert_eq!(sender.join(), Err(SendError(5)));
}
