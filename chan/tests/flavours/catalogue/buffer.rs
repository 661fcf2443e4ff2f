//! Channels that hold messages without a receiver.

use crate::flavour::Flavour;
use narrowboat_chan::{Select, select};
use narrowboat_testing::{Census, go, scaled};
use std::panic::{AssertUnwindSafe, catch_unwind};

catalogue! {
    on Flavour: [one, array, list];
    {
        sender_and_receiver_may_share_a_thread,
        polls_see_what_they_have_sent_themselves,
        panicking_destructors_stop_nothing,
        messages_need_not_be_static_or_send,
    }
}

fn panicking_destructors_stop_nothing(flavour: Flavour) {
    let census = Census::leaked();
    let (tx, rx) = flavour.make();
    for left in (0..flavour.holds()).rev() {
        tx.send(if left % 2 == 0 { census.explosive() } else { census.value() }).unwrap();
    }
    let panic = catch_unwind(AssertUnwindSafe(|| drop(rx))).unwrap_err();
    assert_eq!(*panic.downcast_ref::<&str>().unwrap(), "explosive");
    assert_eq!(census.alive(), 0);
    assert!(tx.send(census.value()).is_err(), "the channel is closed all the same");
    assert_eq!(census.alive(), 0);
}

fn messages_need_not_be_static_or_send(flavour: Flavour) {
    let text = String::from("on the stack");
    let (tx, rx) = flavour.make::<&str>();
    // The crate's own methods: those of a task need what is static, and may go to another thread.
    (*tx).send(&text).unwrap();
    assert_eq!((*rx).recv(), Ok("on the stack"));

    let shared = std::rc::Rc::new(5);
    let (tx, rx) = flavour.make();
    (*tx).send(shared.clone()).unwrap();
    let mut select = Select::new();
    select.recv(&rx);
    assert_eq!(*select.select().recv(&rx).unwrap(), 5);
    assert_eq!(std::rc::Rc::strong_count(&shared), 1);
}

fn sender_and_receiver_may_share_a_thread(flavour: Flavour) {
    let (tx, rx) = flavour.make();
    for round in 0..3 * flavour.holds() {
        (0..flavour.holds()).for_each(|n| tx.send(round + n).unwrap());
        (0..flavour.holds()).for_each(|n| assert_eq!(rx.recv(), Ok(round + n)));
    }
    assert!(rx.is_empty());
}

/// As many parties as there are places: what one of them has put in, it finds something of.
fn polls_see_what_they_have_sent_themselves(flavour: Flavour) {
    let (tx, rx) = flavour.make();
    let parties: Vec<_> = (0..flavour.holds().min(4))
        .map(|_| {
            let (tx, rx) = (tx.clone(), rx.clone());
            go(move || {
                for n in 0..scaled(1_000) {
                    tx.try_send(n).unwrap();
                    rx.try_recv().unwrap();
                    select! { send(tx, n) -> res => res.unwrap(), default => panic!("there is room") }
                    select! { recv(rx) -> msg => msg.unwrap(), default => panic!("there is a message") };
                }
            })
        })
        .collect();
    parties.into_iter().for_each(|party| party.join());
    assert!(rx.is_empty());
}
