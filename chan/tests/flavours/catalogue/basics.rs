//! What channels have in common: order, identity, what may travel through them.

use crate::flavour::Flavour;
use narrowboat_chan::{RecvError, select};
use narrowboat_testing::{LONG, On, as_task, go, on, scaled, settle};

catalogue! {
    on Flavour: [zero, one, array, list];
    {
        the_tests_run_where_they_are_told,
        capacity_is_as_asked,
        len_empty_and_full_agree,
        messages_come_in_order,
        receive_waits_for_a_send,
        clones_are_the_same_channel,
        channels_travel_through_channels,
        one_message_channels_in_great_number,
        messages_of_any_shape,
    }
}

fn the_tests_run_where_they_are_told(_: Flavour) {
    fn in_a_goroutine() -> bool {
        narrowboat_runtime::current().is_some()
    }
    assert_eq!(in_a_goroutine(), on() == On::Goroutines);
    if on() == On::Mixed {
        // By turns with those of the other tests.
        let mut works = (0..10_000).map(|_| go(in_a_goroutine).join());
        assert!(works.any(|goroutine| goroutine) && works.any(|goroutine| !goroutine));
        assert!((0..10_000).any(|_| as_task()) && (0..10_000).any(|_| !as_task()));
        return;
    }
    assert_eq!(go(in_a_goroutine).join(), on() != On::Threads);
    assert!(!as_task());
}

fn capacity_is_as_asked(flavour: Flavour) {
    let (tx, rx) = flavour.make::<i32>();
    assert_eq!(tx.capacity(), flavour.capacity());
    assert_eq!(rx.capacity(), flavour.capacity());
}

fn len_empty_and_full_agree(flavour: Flavour) {
    let (tx, rx) = flavour.make();
    for n in 0..=flavour.holds() {
        for (len, empty, full) in
            [(tx.len(), tx.is_empty(), tx.is_full()), (rx.len(), rx.is_empty(), rx.is_full())]
        {
            assert_eq!(len, n);
            assert_eq!(empty, n == 0);
            assert_eq!(full, flavour.capacity() == Some(n));
        }
        if n < flavour.holds() {
            tx.send(n).unwrap();
        }
    }
    assert_eq!(rx.try_iter().count(), flavour.holds());
    assert_eq!(rx.len(), 0);
}

fn messages_come_in_order(flavour: Flavour) {
    let (tx, rx) = flavour.make();
    let count = scaled(10_000);
    let sender = go(move || (0..count).for_each(|n| tx.send(n).unwrap()));
    for n in 0..count {
        assert_eq!(rx.recv(), Ok(n));
    }
    sender.join();
    assert_eq!(rx.recv(), Err(RecvError));
}

fn receive_waits_for_a_send(flavour: Flavour) {
    let (tx, rx) = flavour.make();
    let receiver = go(move || rx.recv());
    settle();
    tx.send(7).unwrap();
    assert_eq!(receiver.join(), Ok(7));
}

fn clones_are_the_same_channel(flavour: Flavour) {
    let (tx, rx) = flavour.make::<i32>();
    let (tx2, rx2) = flavour.make::<i32>();
    assert!(tx.same_channel(&tx.clone()) && rx.same_channel(&rx.clone()));
    assert!(!tx.same_channel(&tx2) && !rx.same_channel(&rx2));
    drop((tx.clone(), rx.clone()));
    assert!(!tx.is_closed() && !rx.is_closed(), "others are left");
}

fn channels_travel_through_channels(flavour: Flavour) {
    type Link = (u32, Box<dyn std::any::Any + Send>);
    const DEPTH: u32 = 300;
    let (tx, rx) = flavour.make::<Link>();
    let sender = go(move || {
        let mut tx = tx;
        for n in 0..DEPTH {
            let (next_tx, next_rx) = flavour.make::<Link>();
            tx.send((n, Box::new(next_rx))).unwrap();
            tx = next_tx;
        }
    });
    let mut rx = rx;
    for n in 0..DEPTH {
        let (got, next) = rx.recv().unwrap();
        assert_eq!(got, n);
        rx = *next.downcast().unwrap();
    }
    sender.join();
}

fn one_message_channels_in_great_number(flavour: Flavour) {
    for n in 0..scaled(500) {
        let (tx, rx) = flavour.make();
        let sender = go(move || tx.send(n));
        assert_eq!(rx.recv(), Ok(n));
        sender.join().unwrap();
    }
}

fn messages_of_any_shape(flavour: Flavour) {
    #[repr(align(64))]
    #[derive(Clone, PartialEq, Debug)]
    struct Wide(u8);

    fn through<T: Clone + PartialEq + std::fmt::Debug + Send + 'static>(flavour: Flavour, value: T) {
        let (tx, rx) = flavour.make::<T>();
        // Receiver first, sender first, through a select, back from a failed send.
        let receiver = {
            let rx = rx.clone();
            go(move || rx.recv().unwrap())
        };
        settle();
        tx.send(value.clone()).unwrap();
        assert_eq!(receiver.join(), value);
        for _ in 0..2 {
            let sender = {
                let (tx, value) = (tx.clone(), value.clone());
                go(move || (0..8).for_each(|_| tx.send(value.clone()).unwrap()))
            };
            settle();
            for _ in 0..4 {
                assert_eq!(rx.recv().unwrap(), value);
                select! {
                    recv(rx) -> msg => assert_eq!(msg.unwrap(), value),
                    default(LONG) => panic!("lost"),
                }
            }
            sender.join();
        }
        let receiver = {
            let rx = rx.clone();
            go(move || select! { recv(rx) -> msg => msg.unwrap(), default(LONG) => panic!("lost") })
        };
        settle();
        select! {
            send(tx, value.clone()) -> res => res.unwrap(),
            default(LONG) => panic!("lost"),
        }
        assert_eq!(receiver.join(), value);
        drop(rx);
        assert_eq!(tx.send(value.clone()).unwrap_err().into_inner(), value);
    }

    through::<()>(flavour, ());
    through::<u8>(flavour, 3);
    through::<u128>(flavour, u128::MAX / 3);
    through::<String>(flavour, "a message of some length, on the heap".into());
    through::<[u64; 5]>(flavour, [1, 2, 3, 4, 5]);
    through::<[u8; 4096]>(flavour, [9; 4096]);
    through::<Wide>(flavour, Wide(6));
    through::<Box<[u8; 32_768]>>(flavour, Box::new([1; 32_768]));
    through::<[Wide; 0]>(flavour, []);
}
