//! Channels without a limit.

#[macro_use]
mod common;

use common::catalogue::Flavour;
use common::go;
use narrowboat_chan::unbounded;

struct List;

impl Flavour for List {
    const CAPACITY: Option<usize> = None;
}

catalogue! { List:
    capacity_is_as_asked, len_empty_and_full_agree, messages_come_in_order, receive_waits_for_a_send,
    try_recv_tells_empty_from_disconnected, timed_out_receive_says_so, timed_receive_takes_what_comes_in_time,
    no_time_is_enough_on_a_ready_channel, send_to_nobody_returns_the_message, what_was_sent_outlives_the_senders,
    closing_drains_then_fails, closing_wakes_receivers, the_last_sender_wakes_receivers, every_message_arrives_once,
    no_operation_loses_a_message, close_in_the_middle_loses_nothing, one_message_channels_in_great_number,
    every_value_is_dropped_once, failed_sends_drop_nothing_twice, a_destructor_may_use_the_channel,
    messages_of_any_shape, channels_travel_through_channels, timeouts_and_messages_race_cleanly,
    clones_are_the_same_channel,
    panicking_destructors_stop_nothing, messages_need_not_be_static_or_send,
}

#[test]
fn sends_never_wait() {
    let (tx, rx) = unbounded();
    for n in 0..200_000 {
        tx.send(n).unwrap();
    }
    assert_eq!(rx.len(), 200_000);
    assert!(!tx.is_full());
    drop(tx);
    assert!(rx.iter().eq(0..200_000));
}

#[test]
fn bursts_come_and_go() {
    let (tx, rx) = unbounded();
    let receiver = go(move || {
        let mut next = 0;
        for n in rx {
            assert_eq!(n, next);
            next += 1;
        }
        next
    });
    let mut n = 0;
    for burst in [1, 1_000, 10, 20_000, 3, 50_000, 1] {
        for _ in 0..burst {
            tx.send(n).unwrap();
            n += 1;
        }
        std::thread::yield_now();
    }
    drop(tx);
    assert_eq!(receiver.join(), n);
}
