//! What becomes of the messages that are not received.

use crate::ends::Sender;
use crate::flavour::Flavour;
use narrowboat_testing::{Census, Dice, go, settle};

catalogue! {
    on Flavour: [zero, one, array, list];
    {
        every_value_is_dropped_once,
        failed_sends_drop_nothing_twice,
        a_destructor_may_use_the_channel,
    }
}

fn every_value_is_dropped_once(flavour: Flavour) {
    let census = Census::leaked();
    let mut dice = Dice::new(77);
    for _ in 0..50 {
        let before = census.alive();
        assert_eq!(before, 0);
        let (tx, rx) = flavour.make();
        let (taken, left) = (dice.roll(100), dice.roll(20).min(flavour.holds() as u64));
        let sender = {
            let tx = tx.clone();
            go(move || (0..taken).for_each(|_| tx.send(census.value()).unwrap()))
        };
        for _ in 0..taken {
            rx.recv().unwrap();
        }
        sender.join();
        for _ in 0..left {
            tx.send(census.value()).unwrap();
        }
        assert_eq!(census.alive(), left as usize);
        if dice.roll(2) == 0 {
            drop(rx);
            assert_eq!(census.alive(), 0, "messages go with the last receiver");
            drop(tx);
        } else {
            drop(tx);
            assert_eq!(census.alive(), left as usize);
            drop(rx);
        }
    }
    assert!(census.made() > 0);
    assert_eq!(census.alive(), 0);
}

fn failed_sends_drop_nothing_twice(flavour: Flavour) {
    let census = Census::leaked();
    let (tx, rx) = flavour.make();
    while flavour.capacity().is_some() && tx.try_send((census.value(), [0_u8; 100])).is_ok() {}
    let blocked: Vec<_> = (0..4)
        .map(|_| {
            let tx = tx.clone();
            go(move || tx.send((census.value(), [1_u8; 100])).is_err())
        })
        .collect();
    settle();
    drop(rx);
    let failed = blocked.into_iter().filter(|_| true).map(|sender| sender.join()).filter(|f| *f).count();
    assert_eq!(failed, if flavour.capacity().is_some() { 4 } else { 0 });
    assert_eq!(census.alive(), 0);
}

fn a_destructor_may_use_the_channel(flavour: Flavour) {
    struct Talkative(Sender<Option<Talkative>>);
    impl Drop for Talkative {
        fn drop(&mut self) {
            assert!(self.0.try_send(None).is_err());
            assert!(!self.0.is_full() || self.0.capacity() == Some(0));
        }
    }
    let (tx, rx) = flavour.make();
    let _ = tx.try_send(Some(Talkative(tx.clone())));
    drop(rx);
}
