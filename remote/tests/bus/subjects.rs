//! Plain messages, groups and requests.

use crate::{Handles, on_each_bus};
use narrowboat::remote::{Codec, Error};
use narrowboat::{chan, go, select, time};
use narrowboat_testing::{LONG, eventually, ms, scaled};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

on_each_bus!(
    every_receiver_gets_every_message_in_order,
    a_message_goes_to_one_of_each_group,
    a_group_goes_on_without_a_member_that_is_dropped,
    both_ends_stand_in_a_select_beside_local_channels,
    a_slow_receiver_learns_how_many_messages_it_has_lost,
    a_message_that_is_too_large_is_refused,
    what_is_of_another_type_is_an_error_and_the_next_message_follows,
    both_codecs_carry_what_programs_have,
    a_request_is_answered,
    a_request_fails_in_the_ways_that_it_says,
    a_reply_that_is_too_large_is_an_error_at_both_ends,
    replies_go_to_their_callers,
    nonsense_is_no_subject,
);

fn every_receiver_gets_every_message_in_order(bus: Handles) {
    let receivers = [bus().receiver::<u64>("numbers.*"), bus().receiver("numbers.odd"), bus().receiver(">")];
    let receivers = receivers.map(|receiver| receiver.unwrap());
    let other = bus().receiver::<u64>("numbers").unwrap();
    let sender = bus().sender::<u64>("numbers.odd").unwrap();
    let count = scaled(500) as u64;
    (0..count).for_each(|n| sender.send(&n).unwrap());
    for receiver in &receivers {
        (0..count).for_each(|n| assert_eq!(receiver.recv_timeout(LONG), Ok(n)));
    }
    assert!(other.channel().try_recv().is_err());
}

fn a_message_goes_to_one_of_each_group(bus: Handles) {
    let members: Vec<_> = (0..4).map(|_| bus().queue_receiver::<u64>("jobs", "workers").unwrap()).collect();
    let watcher = bus().queue_receiver::<u64>("jobs", "watchers").unwrap();
    let sender = bus().sender::<u64>("jobs").unwrap();
    let count = scaled(400) as u64;
    (0..count).for_each(|n| sender.send(&n).unwrap());
    let mut got: Vec<u64> = Vec::new();
    while got.len() < count as usize {
        let before = got.len();
        got.extend(members.iter().flat_map(|member| member.channel().try_iter().map(Result::unwrap)));
        if before == got.len() {
            narrowboat_testing::pause(ms(1));
        }
    }
    got.sort_unstable();
    assert_eq!(got, (0..count).collect::<Vec<_>>());
    (0..count).for_each(|n| assert_eq!(watcher.recv_timeout(LONG), Ok(n)));
}

fn a_group_goes_on_without_a_member_that_is_dropped(bus: Handles) {
    let one = bus();
    let stays = one.queue_receiver::<u64>("jobs", "workers").unwrap();
    let leaves = one.queue_receiver::<u64>("jobs", "workers").unwrap();
    let clone = leaves.clone();
    drop(leaves);
    drop(clone);
    // Of the same connection, so that the server has heard of the drop before.
    let sender = one.sender::<u64>("jobs").unwrap();
    eventually("the member is forgotten", || {
        sender.send(&1).unwrap();
        one.flush(LONG).unwrap();
        stays.recv_timeout(ms(200)).is_ok()
    });
    for n in 0..50 {
        sender.send(&n).unwrap();
        assert_eq!(stays.recv_timeout(LONG), Ok(n));
    }
}

fn both_ends_stand_in_a_select_beside_local_channels(bus: Handles) {
    let remote = bus().receiver::<u32>("remote").unwrap();
    let sender = bus().sender::<u32>("remote").unwrap();
    let (send_local, local) = chan::bounded::<u32>(0);
    let count = scaled(200) as u32;
    let sending = go!(move || {
        let (mut to_remote, mut to_local) = (0, 0);
        while to_remote < count {
            select! {
                send(sender.channel(), sender.encode(&to_remote).unwrap()) -> sent => {
                    sent.unwrap();
                    to_remote += 1;
                }
                send(send_local, to_local) -> sent => {
                    sent.unwrap();
                    to_local += 1;
                }
            }
        }
        to_local
    });
    let (mut from_remote, mut from_local, mut patience) = (0, 0, time::after(LONG));
    let mut local = Some(local);
    while from_remote < count || local.is_some() {
        let never = chan::never();
        select! {
            recv(remote.channel()) -> message => {
                assert_eq!(message.unwrap(), Ok(from_remote));
                from_remote += 1;
            }
            recv(local.as_ref().unwrap_or(&never)) -> message => match message {
                Ok(n) => {
                    assert_eq!(n, from_local);
                    from_local += 1;
                }
                Err(_) => local = None,
            },
            recv(patience) -> _ => panic!("{from_remote} and {from_local}"),
        }
        patience = time::after(LONG);
    }
    assert_eq!(from_local, sending.join().unwrap());
}

fn a_slow_receiver_learns_how_many_messages_it_has_lost(bus: Handles) {
    let (slow, one) = (bus().with_capacity(10), bus());
    let slow = slow.receiver::<u32>("numbers").unwrap();
    let fast = one.receiver::<u32>("numbers").unwrap();
    let sender = one.sender::<u32>("numbers").unwrap();
    (0..100).for_each(|n| sender.send(&n).unwrap());
    // The fast one is not held up.
    (0..100).for_each(|n| assert_eq!(fast.recv_timeout(LONG), Ok(n)));
    eventually("its buffer is full", || slow.channel().len() == 10);
    // A message may still be on its way: no more is sent until it was dropped, or it was not counted.
    one.flush(LONG).unwrap();
    narrowboat_testing::pause(ms(100));
    (0..10).for_each(|n| assert_eq!(slow.recv_timeout(LONG), Ok(n)));
    sender.send(&100).unwrap();
    assert_eq!(slow.recv_timeout(LONG), Err(Error::Lost(90)));
    assert_eq!(slow.recv_timeout(LONG), Ok(100));
}

fn a_message_that_is_too_large_is_refused(bus: Handles) {
    let bus = bus();
    let receiver = bus.receiver::<String>("text").unwrap();
    let sender = bus.sender::<str>("text").unwrap();
    let limit = 1 << 20;
    let refused = sender.send(&"x".repeat(limit)).unwrap_err();
    assert_eq!(refused, Error::TooLarge { size: limit + 2, limit });
    let largest = "x".repeat(limit - 2);
    sender.send(&largest).unwrap();
    assert_eq!(receiver.recv_timeout(LONG), Ok(largest));
    let refused = bus.request::<_, u8>("text", &"x".repeat(limit), LONG);
    assert!(matches!(refused, Err(Error::TooLarge { .. })), "{refused:?}");
}

fn what_is_of_another_type_is_an_error_and_the_next_message_follows(bus: Handles) {
    let bus = bus();
    let numbers = bus.receiver::<u8>("numbers").unwrap();
    bus.sender::<str>("numbers").unwrap().send("seven").unwrap();
    bus.sender::<u8>("numbers").unwrap().send(&7).unwrap();
    assert!(matches!(numbers.recv_timeout(LONG), Err(Error::Decode(_))));
    assert_eq!(numbers.recv_timeout(LONG), Ok(7));
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
enum Shape {
    Point,
    Circle(f64),
    Named { name: String, corners: Vec<(i32, i32)>, more: BTreeMap<u8, Option<String>> },
}

fn both_codecs_carry_what_programs_have(bus: Handles) {
    let more = BTreeMap::from([(1, None), (2, Some("two".to_owned()))]);
    let named = Shape::Named { name: "narrow".to_owned(), corners: vec![(1, -2), (i32::MAX, 0)], more };
    for codec in [Codec::Json, Codec::Postcard] {
        let bus = bus().with_codec(codec);
        let receiver = bus.receiver::<Shape>("shapes").unwrap();
        let sender = bus.sender::<Shape>("shapes").unwrap();
        for shape in [Shape::Point, Shape::Circle(1.5), named.clone()] {
            sender.send(&shape).unwrap();
            assert_eq!(receiver.recv_timeout(LONG), Ok(shape));
        }
    }
}

fn a_request_is_answered(bus: Handles) {
    let squares = bus().service::<u64, u64>("squares", "workers").unwrap();
    let served = go!(move || {
        let mut served = 0;
        while let Ok(request) = squares.recv() {
            let n = *request;
            request.reply(&(n * n)).unwrap();
            served += 1;
            if n == 0 {
                return served;
            }
        }
        unreachable!("the last question is 0");
    });
    let asks = bus();
    for n in (0..20).rev() {
        assert_eq!(asks.request("squares", &n, LONG), Ok(n * n));
    }
    assert_eq!(served.join().unwrap(), 20);
}

fn a_request_fails_in_the_ways_that_it_says(bus: Handles) {
    let bus = bus();
    assert_eq!(bus.request::<_, u8>("nothing", &1, LONG), Err(Error::NoReceiver));
    let service = bus.service::<u8, u8>("service", "workers").unwrap();
    let serving = go!(move || {
        let kept = service.recv_timeout(LONG).unwrap();
        drop(service.recv_timeout(LONG).unwrap());
        assert!(matches!(service.recv_timeout(LONG), Err(Error::Decode(_))));
        kept
    });
    assert_eq!(bus.request::<_, u8>("service", &1, ms(50)), Err(Error::Timeout));
    assert_eq!(bus.request::<_, u8>("service", &2, LONG), Err(Error::NoReply));
    let begun = std::time::Instant::now();
    let undecodable = bus.request::<_, u8>("service", "three", ms(500));
    assert!(matches!(undecodable, Err(Error::NoReply | Error::Timeout)), "{undecodable:?}");
    assert!(begun.elapsed() < LONG);
    // The caller of this one has given up, which hurts nothing.
    assert_eq!(serving.join().unwrap().reply(&1), Ok(()));
    eventually("the service is forgotten", || {
        bus.request::<_, u8>("service", &1, ms(50)) == Err(Error::NoReceiver)
    });
}

fn a_reply_that_is_too_large_is_an_error_at_both_ends(bus: Handles) {
    let bus = bus();
    let service = bus.service::<usize, String>("texts", "workers").unwrap();
    let serving = go!(move || {
        let refused = service.recv_timeout(LONG).unwrap().reply(&"x".repeat(2 << 20));
        (refused, service.recv_timeout(LONG).unwrap().reply(&"small".into()))
    });
    let begun = std::time::Instant::now();
    assert_eq!(bus.request::<_, String>("texts", &1, LONG), Err(Error::NoReply));
    assert!(begun.elapsed() < LONG / 2, "at once, not when the time is up");
    assert_eq!(bus.request::<_, String>("texts", &1, LONG), Ok("small".into()));
    let (refused, replied) = serving.join().unwrap();
    assert!(matches!(refused, Err(Error::TooLarge { .. })), "{refused:?}");
    assert_eq!(replied, Ok(()));
}

fn replies_go_to_their_callers(bus: Handles) {
    let bus = bus();
    let service = bus.service::<u64, u64>("echo", "workers").unwrap();
    for _ in 0..4 {
        let service = service.clone();
        go!(move || {
            while let Ok(request) = service.recv() {
                let n = *request;
                let _ = request.reply(&n);
            }
        });
    }
    drop(service);
    let asking: Vec<_> = (0..scaled(100) as u64)
        .map(|n| {
            let bus = bus.clone();
            go!(move || assert_eq!(bus.request("echo", &n, LONG), Ok(n)))
        })
        .collect();
    asking.into_iter().for_each(|asking| asking.join().unwrap());
}

fn nonsense_is_no_subject(bus: Handles) {
    let bus = bus();
    for bad in ["", "a b", "a..b", "a.*", "a\r\nPUB b 0"] {
        assert!(matches!(bus.sender::<u8>(bad), Err(Error::Subject(_))), "{bad:?}");
        assert!(matches!(bus.request::<_, u8>(bad, &1, LONG), Err(Error::Subject(_))), "{bad:?}");
    }
    assert!(bus.receiver::<u8>("a b").is_err() && bus.receiver::<u8>("a.>.b").is_err());
    assert!(bus.queue_receiver::<u8>("a", "two words").is_err());
    assert!(bus.stream::<u8>("a.b", Default::default()).is_err());
}
