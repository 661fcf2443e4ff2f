//! Messages that are kept until they are acknowledged.

use crate::{Handles, on_each_bus};
use narrowboat::go;
use narrowboat::remote::{Error, StreamOptions};
use narrowboat_testing::{LONG, eventually, ms, scaled};
use std::collections::BTreeSet;

on_each_bus!(
    a_message_stays_until_it_is_acknowledged,
    a_message_that_is_dropped_comes_again,
    receivers_share_the_messages,
    a_full_stream_refuses_and_goes_on_when_there_is_room,
    not_more_than_permitted_are_out,
    what_a_receiver_had_comes_to_another_when_it_ends,
    what_is_of_another_type_is_an_error_and_leaves_the_stream,
    streams_of_one_name_are_one,
    a_message_that_is_too_large_leaves_the_stream_as_it_is,
);

fn a_message_stays_until_it_is_acknowledged(bus: Handles) {
    let stream = bus().stream::<u64>("work", StreamOptions::default()).unwrap();
    (0..10).for_each(|n| stream.send(&n).unwrap());
    assert_eq!(stream.count(), Ok(10));
    let receiver = bus().stream::<u64>("work", StreamOptions::default()).unwrap().receiver().unwrap();
    for n in 0..10 {
        let delivery = receiver.recv_timeout(LONG).unwrap();
        assert_eq!(*delivery, n);
        delivery.ack().unwrap();
        assert_eq!(stream.count(), Ok(9 - n));
    }
    assert_eq!(receiver.recv_timeout(ms(50)).unwrap_err(), Error::Timeout);
}

fn a_message_that_is_dropped_comes_again(bus: Handles) {
    let stream = bus().stream::<u64>("work", StreamOptions::default()).unwrap();
    let receiver = stream.receiver().unwrap();
    stream.send(&7).unwrap();
    for _ in 0..3 {
        let delivery = receiver.recv_timeout(LONG).unwrap();
        assert_eq!((*delivery, stream.count()), (7, Ok(1)));
    }
    receiver.recv_timeout(LONG).unwrap().ack().unwrap();
    assert_eq!(stream.count(), Ok(0));
}

fn receivers_share_the_messages(bus: Handles) {
    let stream = bus().stream::<u64>("work", StreamOptions::default()).unwrap();
    let count = scaled(200) as u64;
    let workers: Vec<_> = (0..4)
        .map(|_| {
            let stream = bus().stream::<u64>("work", StreamOptions::default()).unwrap();
            go!(move || {
                let receiver = stream.receiver().unwrap();
                let mut got = Vec::new();
                // A second without a message, and others have the rest.
                while let Ok(delivery) = receiver.recv_timeout(ms(1000)) {
                    got.push(*delivery);
                    delivery.ack().unwrap();
                }
                got
            })
        })
        .collect();
    (0..count).for_each(|n| stream.send(&n).unwrap());
    let mut all: Vec<u64> = workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect();
    all.sort_unstable();
    assert_eq!(all, (0..count).collect::<Vec<_>>());
    assert_eq!(stream.count(), Ok(0));
}

fn a_full_stream_refuses_and_goes_on_when_there_is_room(bus: Handles) {
    let options = StreamOptions { max_messages: 3, ..StreamOptions::default() };
    let stream = bus().stream::<u64>("work", options).unwrap();
    (0..3).for_each(|n| stream.send(&n).unwrap());
    assert_eq!(stream.send(&3), Err(Error::Full));
    let refused = stream.send_timeout(&3, ms(200));
    assert!(matches!(refused, Err(Error::Full | Error::Timeout)), "{refused:?}");
    let waits = stream.clone();
    let waits = go!(move || waits.send_timeout(&4, LONG));
    let receiver = stream.receiver().unwrap();
    receiver.recv_timeout(LONG).unwrap().ack().unwrap();
    assert_eq!(waits.join().unwrap(), Ok(()));
    for n in [1, 2, 4] {
        let delivery = receiver.recv_timeout(LONG).unwrap();
        assert_eq!(*delivery, n);
        delivery.ack().unwrap();
    }
    assert_eq!(stream.count(), Ok(0));
}

fn not_more_than_permitted_are_out(bus: Handles) {
    let options = StreamOptions { max_unacknowledged: 2, ..StreamOptions::default() };
    let stream = bus().stream::<u64>("work", options).unwrap();
    let receiver = stream.receiver().unwrap();
    (0..4).for_each(|n| stream.send(&n).unwrap());
    let first = receiver.recv_timeout(LONG).unwrap();
    let second = receiver.recv_timeout(LONG).unwrap();
    assert_eq!((*first, *second), (0, 1));
    assert_eq!(receiver.recv_timeout(ms(200)).unwrap_err(), Error::Timeout);
    second.ack().unwrap();
    let third = receiver.recv_timeout(LONG).unwrap();
    assert_eq!(*third, 2);
    assert_eq!(stream.count(), Ok(3));
}

fn what_a_receiver_had_comes_to_another_when_it_ends(bus: Handles) {
    // What a client of a server had asked for and not delivered comes after this time.
    let options = StreamOptions { ack_wait: ms(500), ..StreamOptions::default() };
    let stream = bus().stream::<u64>("work", options).unwrap();
    let count = scaled(60) as u64;
    (0..count).for_each(|n| stream.send(&n).unwrap());
    let first = stream.receiver().unwrap();
    let mut seen = BTreeSet::new();
    let delivery = first.recv_timeout(LONG).unwrap();
    seen.insert(*delivery);
    delivery.ack().unwrap();
    let held = first.recv_timeout(LONG);
    drop(first);
    drop(held);
    let second = stream.receiver().unwrap();
    while seen.len() < count as usize {
        let delivery = second.recv_timeout(LONG).unwrap();
        seen.insert(*delivery);
        delivery.ack().unwrap();
    }
    eventually("all are acknowledged", || stream.count() == Ok(0));
}

fn what_is_of_another_type_is_an_error_and_leaves_the_stream(bus: Handles) {
    let bus = bus();
    let words = bus.stream::<String>("work", StreamOptions::default()).unwrap();
    let numbers = bus.stream::<u64>("work", StreamOptions::default()).unwrap();
    words.send(&"seven".to_owned()).unwrap();
    numbers.send(&7).unwrap();
    let receiver = numbers.receiver().unwrap();
    assert!(matches!(receiver.recv_timeout(LONG), Err(Error::Decode(_))));
    let delivery = receiver.recv_timeout(LONG).unwrap();
    assert_eq!(*delivery, 7);
    delivery.ack().unwrap();
    eventually("both are gone", || numbers.count() == Ok(0));
}

fn streams_of_one_name_are_one(bus: Handles) {
    let options = |max_messages| StreamOptions { max_messages, ..StreamOptions::default() };
    let one = bus().stream::<u64>("work", options(5)).unwrap();
    one.send(&1).unwrap();
    assert_eq!(bus().stream::<u64>("work", options(5)).unwrap().count(), Ok(1));
    assert_eq!(bus().stream::<u64>("other", options(5)).unwrap().count(), Ok(0));
    assert!(bus().stream::<u64>("work", options(6)).is_err());
}

fn a_message_that_is_too_large_leaves_the_stream_as_it_is(bus: Handles) {
    let stream = bus().stream::<String>("large", StreamOptions::default()).unwrap();
    let refused = stream.send(&"x".repeat(2 << 20)).unwrap_err();
    assert!(matches!(refused, Error::TooLarge { .. }), "{refused}");
    assert!(matches!(stream.send_timeout(&"x".repeat(2 << 20), LONG), Err(Error::TooLarge { .. })));
    stream.send(&"small".to_string()).unwrap();
    let delivery = stream.receiver().unwrap().recv_timeout(LONG).unwrap();
    assert_eq!(*delivery, "small");
    delivery.ack().unwrap();
    assert_eq!(stream.count(), Ok(0));
}
