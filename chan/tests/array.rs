//! Channels with a buffer of fixed size.

#[macro_use]
mod common;

use common::catalogue::Flavour;
use common::{go, settle};
use narrowboat_chan::{Select, TryRecvError, TrySendError, bounded, select};

struct Array;

impl Flavour for Array {
    const CAPACITY: Option<usize> = Some(7);
}

catalogue! { Array:
    capacity_is_as_asked, len_empty_and_full_agree, messages_come_in_order, receive_waits_for_a_send,
    try_recv_tells_empty_from_disconnected, timed_out_receive_says_so, timed_receive_takes_what_comes_in_time,
    no_time_is_enough_on_a_ready_channel, send_to_nobody_returns_the_message, what_was_sent_outlives_the_senders,
    closing_drains_then_fails, closing_wakes_receivers, the_last_sender_wakes_receivers, every_message_arrives_once,
    no_operation_loses_a_message, close_in_the_middle_loses_nothing, one_message_channels_in_great_number,
    every_value_is_dropped_once, failed_sends_drop_nothing_twice, a_destructor_may_use_the_channel,
    messages_of_any_shape, channels_travel_through_channels, timeouts_and_messages_race_cleanly,
    clones_are_the_same_channel,
    closing_wakes_senders_with_their_messages, the_last_receiver_wakes_senders, timed_out_send_returns_the_message,
    panicking_destructors_stop_nothing, messages_need_not_be_static_or_send,
}

/// The smallest buffer has the most contention.
mod one {
    use super::Flavour;

    struct One;

    impl Flavour for One {
        const CAPACITY: Option<usize> = Some(1);
    }

    catalogue! { One:
        messages_come_in_order, every_message_arrives_once, no_operation_loses_a_message,
        close_in_the_middle_loses_nothing, timeouts_and_messages_race_cleanly,
        closing_wakes_senders_with_their_messages, messages_of_any_shape, timed_out_send_returns_the_message,
    }
}

#[test]
fn blocked_senders_move_up_in_their_order() {
    let (tx, rx) = bounded(2);
    let senders: Vec<_> = (0..6)
        .map(|n| {
            let tx = tx.clone();
            let sender = go(move || tx.send(n).unwrap());
            settle();
            sender
        })
        .collect();
    assert_eq!(rx.len(), 2);
    for n in 0..6 {
        assert_eq!(rx.recv(), Ok(n));
        assert_eq!(rx.len(), (5 - n).min(2), "the free place is taken at once");
    }
    senders.into_iter().for_each(|sender| sender.join());
}

#[test]
fn the_buffer_never_overflows() {
    let (tx, rx) = bounded(3);
    let senders: Vec<_> = (0..4)
        .map(|i| {
            let tx = tx.clone();
            go(move || {
                for n in 0..2_000 {
                    if (n + i) % 2 == 0 {
                        tx.send(n).unwrap();
                    } else {
                        select! { send(tx, n) -> res => res.unwrap() }
                    }
                    assert!(tx.len() <= 3);
                }
            })
        })
        .collect();
    drop(tx);
    let mut got = 0;
    while rx.recv().is_ok() {
        got += 1;
        assert!(rx.len() <= 3);
    }
    assert_eq!(got, 8_000);
    senders.into_iter().for_each(|sender| sender.join());
}

#[test]
fn a_selected_send_keeps_its_place() {
    let (tx, rx) = bounded(1);
    let mut select = Select::new();
    select.send(&tx);
    let chosen = select.select();
    assert!(tx.is_full(), "the place is reserved");
    assert_eq!(tx.try_send(9), Err(TrySendError::Full(9)));
    assert_eq!(rx.try_recv(), Err(TryRecvError::Empty), "but nothing is in it yet");
    chosen.send(&tx, 1).unwrap();
    assert_eq!(rx.recv(), Ok(1));
    assert_eq!(tx.try_send(2), Ok(()));
}

#[test]
fn a_receive_may_overtake_a_reserved_place() {
    // The only place is reserved; a blocked sender's message goes to a receiver all the same.
    let (tx, rx) = bounded(1);
    let mut select = Select::new();
    select.send(&tx);
    let chosen = select.select();
    let sender = {
        let tx = tx.clone();
        go(move || tx.send(2))
    };
    assert_eq!(rx.recv(), Ok(2));
    sender.join().unwrap();
    chosen.send(&tx, 1).unwrap();
    assert_eq!(rx.recv(), Ok(1));
}

#[test]
fn a_selected_send_that_gives_up_frees_its_place_for_the_next() {
    let (tx, rx) = bounded(1);
    let give_up = || -> Option<()> {
        select! { send(tx, None::<i32>?) -> _ => Some(()) }
    };
    assert_eq!(give_up(), None);
    assert!(!tx.is_full());

    let mut select = Select::new();
    select.send(&tx);
    let chosen = select.select();
    let sender = {
        let tx = tx.clone();
        go(move || tx.send(5))
    };
    settle();
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(chosen))).is_err());
    assert_eq!(sender.join(), Ok(()));
    assert_eq!(rx.recv(), Ok(5));
}

#[test]
fn a_reserved_place_in_a_closed_channel_is_an_error() {
    let (tx, rx) = bounded(1);
    for dropped in [false, true] {
        let (tx, rx) = if dropped { bounded(1) } else { (tx.clone(), rx.clone()) };
        let mut select = Select::new();
        select.send(&tx);
        let chosen = select.select();
        rx.close();
        drop(rx);
        assert_eq!(chosen.send(&tx, 3).unwrap_err().into_inner(), 3);
        assert_eq!(tx.len(), 0);
    }
}

#[test]
#[should_panic(expected = "capacity overflow")]
fn more_than_memory_is_refused() {
    let _ = bounded::<u64>(usize::MAX / 2);
}
