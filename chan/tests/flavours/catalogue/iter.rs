//! Iterating over messages.

use crate::flavour::Flavour;
use narrowboat_testing::{go, settle};

catalogue! {
    on Flavour: [zero, one, array, list];
    {
        an_iterator_ends_with_the_channel,
        iterators_of_several_receivers_share_the_messages,
        iterators_nest,
        an_iterator_that_is_left_early_leaves_the_rest,
        try_iter_takes_what_is_there,
        an_iterator_may_own_its_receiver,
        closing_ends_an_iterator_that_waits,
    }
}

fn an_iterator_ends_with_the_channel(flavour: Flavour) {
    let (tx, rx) = flavour.make();
    let sender = go(move || (0..20).for_each(|n| tx.send(n).unwrap()));
    let mut iter = rx.iter();
    assert!(iter.by_ref().eq(0..20));
    assert_eq!((iter.next(), iter.next()), (None, None), "for good");
    sender.join();
}

fn iterators_of_several_receivers_share_the_messages(flavour: Flavour) {
    let (tx, rx) = flavour.make();
    let receivers: Vec<_> = (0..3)
        .map(|_| {
            let rx = rx.clone();
            go(move || rx.into_iter().collect::<Vec<usize>>())
        })
        .collect();
    (0..300).for_each(|n| tx.send(n).unwrap());
    drop(tx);
    let mut all: Vec<_> = receivers.into_iter().flat_map(|receiver| receiver.join()).collect();
    all.sort();
    assert!(all.into_iter().eq(0..300));
}

fn iterators_nest(flavour: Flavour) {
    let (outer_tx, outer) = flavour.make();
    let (inner_tx, inner) = flavour.make();
    let sender = go(move || {
        for n in 0..5 {
            outer_tx.send(n).unwrap();
            (0..n).for_each(|m| inner_tx.send(m).unwrap());
        }
    });
    for n in &outer {
        assert!(inner.iter().take(n).eq(0..n));
    }
    assert_eq!(inner.iter().next(), None);
    sender.join();
}

fn an_iterator_that_is_left_early_leaves_the_rest(flavour: Flavour) {
    let (tx, rx) = flavour.make();
    let sender = go(move || (0..10).map(|n| tx.send(n)).filter(|sent| sent.is_ok()).count());
    for n in &rx {
        if n == 3 {
            break;
        }
    }
    assert_eq!(rx.recv(), Ok(4));
    drop(rx);
    assert!((5..=10).contains(&sender.join()));
}

fn try_iter_takes_what_is_there(flavour: Flavour) {
    let (tx, rx) = flavour.make();
    assert_eq!(rx.try_iter().count(), 0);
    for round in 0..3 {
        (0..flavour.holds()).for_each(|n| tx.send(round * 100 + n).unwrap());
        assert!(rx.try_iter().eq((0..flavour.holds()).map(|n| round * 100 + n)));
        assert_eq!(rx.try_iter().next(), None);
    }
    drop(tx);
    assert_eq!(rx.try_iter().next(), None);
}

fn an_iterator_may_own_its_receiver(flavour: Flavour) {
    let (tx, rx) = flavour.make();
    let sender = {
        let tx = tx.clone();
        go(move || (0..3).for_each(|n| tx.send(n).unwrap()))
    };
    let mut iter = rx.into_iter();
    assert_eq!((iter.next(), iter.next()), (Some(0), Some(1)));
    assert_eq!(iter.next(), Some(2));
    sender.join();
    assert!(!tx.is_closed());
    drop(iter);
    assert!(tx.is_closed(), "the receiver went with the iterator");
}

fn closing_ends_an_iterator_that_waits(flavour: Flavour) {
    let (tx, rx) = flavour.make();
    let counter = {
        let rx = rx.clone();
        go(move || rx.iter().count())
    };
    (0..5).for_each(|n| tx.send(n).unwrap());
    settle();
    assert!(rx.close());
    assert_eq!(counter.join(), 5);
}
