//! The behaviours that all channels have, whatever they hold. [`catalogue!`] makes them the tests of one flavour.

use super::{Census, Dice, LONG, go, ms, settle};
use narrowboat_chan::{
    Receiver, RecvError, RecvTimeoutError, Select, SendError, SendTimeoutError, Sender, TryRecvError,
    TrySendError, bounded, select, unbounded,
};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// A way to make channels.
pub trait Flavour: 'static {
    const CAPACITY: Option<usize>;

    fn make<T>() -> (Sender<T>, Receiver<T>) {
        Self::CAPACITY.map_or_else(unbounded, bounded)
    }

    /// A channel that has no room left, and the number of messages in it.
    fn full() -> (Sender<u32>, Receiver<u32>, u32) {
        let (tx, rx) = Self::make();
        let capacity = Self::CAPACITY.expect("this channel is never full") as u32;
        for n in 0..capacity {
            tx.send(n).unwrap();
        }
        (tx, rx, capacity)
    }
}

/// How many messages a channel holds without a receiver, if a test needs but a few.
fn holds<F: Flavour>() -> usize {
    F::CAPACITY.unwrap_or(10).min(10)
}

#[allow(unused_macros)]
macro_rules! catalogue {
    ($flavour:ty: $($name:ident),* $(,)?) => {
        $(#[test] fn $name() { $crate::common::catalogue::$name::<$flavour>(); })*
    };
}

pub fn capacity_is_as_asked<F: Flavour>() {
    let (tx, rx) = F::make::<i32>();
    assert_eq!(tx.capacity(), F::CAPACITY);
    assert_eq!(rx.capacity(), F::CAPACITY);
}

pub fn len_empty_and_full_agree<F: Flavour>() {
    let (tx, rx) = F::make();
    for n in 0..=holds::<F>() {
        for (len, empty, full) in
            [(tx.len(), tx.is_empty(), tx.is_full()), (rx.len(), rx.is_empty(), rx.is_full())]
        {
            assert_eq!(len, n);
            assert_eq!(empty, n == 0);
            assert_eq!(full, F::CAPACITY == Some(n));
        }
        if n < holds::<F>() {
            tx.send(n).unwrap();
        }
    }
    assert_eq!(rx.try_iter().count(), holds::<F>());
    assert_eq!(rx.len(), 0);
}

pub fn messages_come_in_order<F: Flavour>() {
    let (tx, rx) = F::make();
    let sender = go(move || (0..10_000).for_each(|n| tx.send(n).unwrap()));
    for n in 0..10_000 {
        assert_eq!(rx.recv(), Ok(n));
    }
    sender.join();
    assert_eq!(rx.recv(), Err(RecvError));
}

pub fn receive_waits_for_a_send<F: Flavour>() {
    let (tx, rx) = F::make();
    let receiver = go(move || rx.recv());
    settle();
    tx.send(7).unwrap();
    assert_eq!(receiver.join(), Ok(7));
}

pub fn try_recv_tells_empty_from_disconnected<F: Flavour>() {
    let (tx, rx) = F::make::<i32>();
    assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
    drop(tx);
    assert_eq!(rx.try_recv(), Err(TryRecvError::Disconnected));
}

pub fn timed_out_receive_says_so<F: Flavour>() {
    let (tx, rx) = F::make::<i32>();
    let start = Instant::now();
    assert_eq!(rx.recv_timeout(ms(20)), Err(RecvTimeoutError::Timeout));
    assert_eq!(rx.recv_deadline(start + ms(40)), Err(RecvTimeoutError::Timeout));
    assert!(start.elapsed() >= ms(40));
    drop(tx);
    assert_eq!(rx.recv_timeout(LONG), Err(RecvTimeoutError::Disconnected));
    assert_eq!(rx.recv_timeout(Duration::ZERO), Err(RecvTimeoutError::Disconnected));
}

pub fn timed_receive_takes_what_comes_in_time<F: Flavour>() {
    let (tx, rx) = F::make();
    let receiver = go(move || (rx.recv_timeout(LONG), rx.recv_timeout(Duration::MAX)));
    settle();
    tx.send(1).unwrap();
    tx.send(2).unwrap();
    assert_eq!(receiver.join(), (Ok(1), Ok(2)));
}

pub fn no_time_is_enough_on_a_ready_channel<F: Flavour>() {
    let past = Instant::now();
    let (tx, rx) = F::make();
    let sender = {
        let tx = tx.clone();
        go(move || (0..3).for_each(|n| tx.send(n).unwrap()))
    };
    settle();
    let mut got = vec![rx.recv_timeout(Duration::ZERO).unwrap()];
    // The others are blocked one after the other in a small channel.
    while got.len() < 3 {
        match rx.recv_deadline(past) {
            Ok(n) => got.push(n),
            Err(error) => assert!(error.is_timeout()),
        }
    }
    assert_eq!(got, [0, 1, 2]);
    sender.join();

    let receiver = go(move || (0..3).map(|_| rx.recv().unwrap()).sum::<i32>());
    settle();
    tx.send_timeout(1, Duration::ZERO).unwrap();
    settle();
    tx.send_deadline(2, past).unwrap();
    settle();
    tx.try_send(3).unwrap();
    assert_eq!(receiver.join(), 6);
}

pub fn send_to_nobody_returns_the_message<F: Flavour>() {
    let (tx, rx) = F::make();
    drop(rx);
    assert!(tx.is_closed());
    assert_eq!(tx.send(1), Err(SendError(1)));
    assert_eq!(tx.try_send(2), Err(TrySendError::Disconnected(2)));
    assert_eq!(tx.send_timeout(3, LONG), Err(SendTimeoutError::Disconnected(3)));
    assert_eq!(tx.send_deadline(4, Instant::now()), Err(SendTimeoutError::Disconnected(4)));
    select! {
        send(tx, 5) -> res => assert_eq!(res, Err(SendError(5))),
        default => panic!("the arm is ready"),
    }
}

pub fn what_was_sent_outlives_the_senders<F: Flavour>() {
    let (tx, rx) = F::make();
    let held = holds::<F>();
    for n in 0..held {
        tx.send(n).unwrap();
    }
    drop(tx);
    assert!(rx.is_closed());
    assert_eq!(rx.iter().collect::<Vec<_>>(), (0..held).collect::<Vec<_>>());
    assert_eq!(rx.recv(), Err(RecvError));
    assert_eq!(rx.try_recv(), Err(TryRecvError::Disconnected));
    select! {
        recv(rx) -> msg => assert_eq!(msg, Err(RecvError)),
        default => panic!("the arm is ready"),
    }
}

pub fn closing_drains_then_fails<F: Flavour>() {
    for by_receiver in [false, true] {
        let (tx, rx) = F::make();
        let held = holds::<F>();
        for n in 0..held {
            tx.send(n).unwrap();
        }
        assert!(!tx.is_closed() && !rx.is_closed());
        assert!(if by_receiver { rx.close() } else { tx.close() });
        assert!(!tx.close() && !rx.close(), "only the first call closes");
        assert!(tx.is_closed() && rx.is_closed());

        assert_eq!(tx.send(90), Err(SendError(90)));
        assert_eq!(tx.try_send(91), Err(TrySendError::Disconnected(91)));
        assert_eq!(tx.send_timeout(92, LONG), Err(SendTimeoutError::Disconnected(92)));
        assert_eq!(tx.len(), held);
        assert_eq!((&rx).into_iter().count(), held);
        assert_eq!(rx.recv(), Err(RecvError));
        assert_eq!(rx.recv_timeout(LONG), Err(RecvTimeoutError::Disconnected));
        let (tx2, rx2) = (tx.clone(), rx.clone());
        assert!(tx2.is_closed() && rx2.is_closed(), "clones of a closed channel are closed");
    }
}

fn wakes_receivers<F: Flavour>(end: fn(Sender<i32>, &Receiver<i32>)) {
    let (tx, rx) = F::make::<i32>();
    let other = bounded::<i32>(0);
    let blocked: Vec<_> = (0..6)
        .map(|i| {
            let (rx, other) = (rx.clone(), other.1.clone());
            go(move || match i % 3 {
                0 => rx.recv().is_err(),
                1 => rx.recv_timeout(LONG) == Err(RecvTimeoutError::Disconnected),
                _ => select! { recv(rx) -> msg => msg.is_err(), recv(other) -> _ => false },
            })
        })
        .collect();
    settle();
    end(tx, &rx);
    assert!(blocked.into_iter().all(|receiver| receiver.join()));
}

pub fn closing_wakes_receivers<F: Flavour>() {
    wakes_receivers::<F>(|tx, _| assert!(tx.close()));
    wakes_receivers::<F>(|_tx, rx| assert!(rx.close()));
}

pub fn the_last_sender_wakes_receivers<F: Flavour>() {
    wakes_receivers::<F>(|tx, _| drop(tx));
}

/// For channels that can be full.
fn wakes_senders<F: Flavour>(end: fn(&Sender<u32>, Receiver<u32>)) {
    let (tx, rx, _) = F::full();
    let other = bounded::<i32>(0);
    let blocked: Vec<_> = (100..106)
        .map(|n| {
            let (tx, other) = (tx.clone(), other.1.clone());
            go(move || match n % 3 {
                0 => tx.send(n) == Err(SendError(n)),
                1 => tx.send_timeout(n, LONG) == Err(SendTimeoutError::Disconnected(n)),
                _ => select! {
                    send(tx, n) -> res => res == Err(SendError(n)),
                    recv(other) -> _ => false,
                },
            })
        })
        .collect();
    settle();
    end(&tx, rx);
    assert!(blocked.into_iter().all(|sender| sender.join()));
}

pub fn closing_wakes_senders_with_their_messages<F: Flavour>() {
    wakes_senders::<F>(|tx, rx| {
        assert!(tx.close());
        assert_eq!(Some(rx.iter().count()), F::CAPACITY, "nothing of the blocked ones");
    });
    wakes_senders::<F>(|_, rx| assert!(rx.close()));
}

pub fn the_last_receiver_wakes_senders<F: Flavour>() {
    wakes_senders::<F>(|_, rx| drop(rx));
}

/// For channels that can be full.
pub fn timed_out_send_returns_the_message<F: Flavour>() {
    let (tx, rx, held) = F::full();
    let start = Instant::now();
    assert_eq!(tx.try_send(90), Err(TrySendError::Full(90)));
    assert_eq!(tx.send_timeout(91, Duration::ZERO), Err(SendTimeoutError::Timeout(91)));
    assert_eq!(tx.send_timeout(92, ms(20)), Err(SendTimeoutError::Timeout(92)));
    assert_eq!(tx.send_deadline(93, start + ms(40)), Err(SendTimeoutError::Timeout(93)));
    assert!(start.elapsed() >= ms(40));
    let (big_tx, _big_rx) = bounded(0);
    let returned = big_tx.send_timeout([5_u8; 4096], ms(5)).unwrap_err();
    assert!(returned.is_timeout());
    assert_eq!(returned.into_inner(), [5; 4096]);
    assert_eq!(rx.try_iter().collect::<Vec<_>>(), (0..held).collect::<Vec<_>>());
    // A sender that left its queue is not taken for one that waits.
    assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
}

pub fn every_message_arrives_once<F: Flavour>() {
    const EACH: usize = 5_000;
    const SIDES: usize = 4;
    let (tx, rx) = F::make();
    let senders: Vec<_> = (0..SIDES)
        .map(|side| {
            let tx = tx.clone();
            go(move || (0..EACH).for_each(|n| tx.send(side * EACH + n).unwrap()))
        })
        .collect();
    drop(tx);
    let receivers: Vec<_> = (0..SIDES)
        .map(|_| {
            let rx = rx.clone();
            go(move || rx.iter().collect::<Vec<usize>>())
        })
        .collect();
    senders.into_iter().for_each(|sender| sender.join());
    let mut got = Vec::new();
    for receiver in receivers {
        let part = receiver.join();
        for side in 0..SIDES {
            let of_side: Vec<_> = part.iter().filter(|n| **n / EACH == side).collect();
            assert!(of_side.is_sorted(), "each sender's messages come in its order");
        }
        got.extend(part);
    }
    got.sort();
    assert_eq!(got, (0..SIDES * EACH).collect::<Vec<_>>());
}

/// Every kind of send against every kind of receive; what failed is tried again, and in the end nothing is missing.
pub fn no_operation_loses_a_message<F: Flavour>() {
    const EACH: u64 = 1_500;
    const SIDES: u64 = 3;
    let (tx, rx) = F::make::<Box<u64>>();
    let (quiet_tx, quiet) = bounded::<()>(0);
    let senders: Vec<_> = (0..SIDES)
        .map(|side| {
            let (tx, quiet) = (tx.clone(), quiet.clone());
            go(move || {
                let mut dice = Dice::new(side + 1);
                for n in side * EACH..(side + 1) * EACH {
                    let mut message = Box::new(n);
                    loop {
                        message = match dice.roll(5) {
                            0 => break tx.send(message).unwrap(),
                            1 => match tx.try_send(message) {
                                Ok(()) => break,
                                Err(error) => error.into_inner(),
                            },
                            2 => match tx.send_timeout(message, Duration::from_micros(dice.roll(200))) {
                                Ok(()) => break,
                                Err(error) => error.into_inner(),
                            },
                            3 => select! {
                                send(tx, message) -> res => break res.unwrap(),
                                recv(quiet) -> _ => unreachable!(),
                            },
                            _ => select! {
                                send(tx, message) -> res => break res.unwrap(),
                                default(Duration::from_micros(dice.roll(200))) => message,
                            },
                        };
                    }
                }
            })
        })
        .collect();
    drop(tx);
    let receivers: Vec<_> = (0..SIDES)
        .map(|side| {
            let (rx, quiet) = (rx.clone(), quiet.clone());
            go(move || {
                let mut dice = Dice::new(side + 100);
                let mut got = Vec::new();
                loop {
                    let message = match dice.roll(5) {
                        0 => rx.recv().map_err(|_| true),
                        1 => rx.try_recv().map_err(|error| error.is_disconnected()),
                        2 => rx
                            .recv_timeout(Duration::from_micros(dice.roll(200)))
                            .map_err(|error| error.is_disconnected()),
                        3 => select! {
                            recv(rx) -> msg => msg.map_err(|_| true),
                            recv(quiet) -> _ => unreachable!(),
                            recv(rx) -> msg => msg.map_err(|_| true),
                        },
                        _ => select! {
                            recv(rx) -> msg => msg.map_err(|_| true),
                            recv(quiet) -> _ => unreachable!(),
                            default(Duration::from_micros(dice.roll(200))) => Err(false),
                        },
                    };
                    match message {
                        Ok(n) => got.push(*n),
                        Err(true) => return got,
                        Err(false) => {}
                    }
                }
            })
        })
        .collect();
    senders.into_iter().for_each(|sender| sender.join());
    let mut got: Vec<_> = receivers.into_iter().flat_map(|receiver| receiver.join()).collect();
    got.sort();
    assert_eq!(got, (0..SIDES * EACH).collect::<Vec<_>>());
    drop(quiet_tx);
}

pub fn close_in_the_middle_loses_nothing<F: Flavour>() {
    for round in 0..50 {
        let (tx, rx) = F::make();
        let sent = Arc::new(AtomicUsize::new(0));
        let senders: Vec<_> = (0..3)
            .map(|_| {
                let (tx, sent) = (tx.clone(), sent.clone());
                go(move || {
                    while tx.send(()).is_ok() {
                        sent.fetch_add(1, Ordering::SeqCst);
                    }
                })
            })
            .collect();
        let receivers: Vec<_> = (0..2)
            .map(|_| {
                let rx = rx.clone();
                go(move || rx.iter().count())
            })
            .collect();
        std::thread::sleep(Duration::from_micros(round * 20));
        assert!(if round % 2 == 0 { tx.close() } else { rx.close() });
        senders.into_iter().for_each(|sender| sender.join());
        let received: usize = receivers.into_iter().map(|receiver| receiver.join()).sum();
        assert_eq!(received, sent.load(Ordering::SeqCst));
    }
}

pub fn one_message_channels_in_great_number<F: Flavour>() {
    for n in 0..500 {
        let (tx, rx) = F::make();
        let sender = go(move || tx.send(n));
        assert_eq!(rx.recv(), Ok(n));
        sender.join().unwrap();
    }
}

pub fn every_value_is_dropped_once<F: Flavour>() {
    static CENSUS: Census = Census::new();
    let mut dice = Dice::new(77);
    for _ in 0..50 {
        let before = CENSUS.alive();
        assert_eq!(before, 0);
        let (tx, rx) = F::make();
        let (taken, left) = (dice.roll(100), dice.roll(20).min(holds::<F>() as u64));
        let sender = {
            let tx = tx.clone();
            go(move || (0..taken).for_each(|_| tx.send(CENSUS.citizen()).unwrap()))
        };
        for _ in 0..taken {
            rx.recv().unwrap();
        }
        sender.join();
        for _ in 0..left {
            tx.send(CENSUS.citizen()).unwrap();
        }
        assert_eq!(CENSUS.alive(), left as usize);
        if dice.roll(2) == 0 {
            drop(rx);
            assert_eq!(CENSUS.alive(), 0, "messages go with the last receiver");
            drop(tx);
        } else {
            drop(tx);
            assert_eq!(CENSUS.alive(), left as usize);
            drop(rx);
        }
    }
    assert!(CENSUS.made() > 0);
    assert_eq!(CENSUS.alive(), 0);
}

pub fn failed_sends_drop_nothing_twice<F: Flavour>() {
    static CENSUS: Census = Census::new();
    let (tx, rx) = F::make();
    while F::CAPACITY.is_some() && tx.try_send((CENSUS.citizen(), [0_u8; 100])).is_ok() {}
    let blocked: Vec<_> = (0..4)
        .map(|_| {
            let tx = tx.clone();
            go(move || tx.send((CENSUS.citizen(), [1_u8; 100])).is_err())
        })
        .collect();
    settle();
    drop(rx);
    let failed = blocked.into_iter().filter(|_| true).map(|sender| sender.join()).filter(|f| *f).count();
    assert_eq!(failed, if F::CAPACITY.is_some() { 4 } else { 0 });
    assert_eq!(CENSUS.alive(), 0);
}

/// For channels that hold at least four messages.
pub fn panicking_destructors_stop_nothing<F: Flavour>() {
    static CENSUS: Census = Census::new();
    let (tx, rx) = F::make();
    tx.send(CENSUS.citizen()).unwrap();
    tx.send(CENSUS.explosive()).unwrap();
    tx.send(CENSUS.citizen()).unwrap();
    tx.send(CENSUS.explosive()).unwrap();
    let panic = catch_unwind(AssertUnwindSafe(|| drop(rx))).unwrap_err();
    assert_eq!(*panic.downcast_ref::<&str>().unwrap(), "explosive");
    assert_eq!(CENSUS.alive(), 0);
    assert!(tx.send(CENSUS.citizen()).is_err(), "the channel is closed all the same");
    assert_eq!(CENSUS.alive(), 0);
}

pub fn a_destructor_may_use_the_channel<F: Flavour>() {
    struct Talkative(Sender<Option<Talkative>>);
    impl Drop for Talkative {
        fn drop(&mut self) {
            assert!(self.0.try_send(None).is_err());
            assert!(!self.0.is_full() || self.0.capacity() == Some(0));
        }
    }
    let (tx, rx) = F::make();
    let _ = tx.try_send(Some(Talkative(tx.clone())));
    drop(rx);
}

pub fn messages_of_any_shape<F: Flavour>() {
    #[repr(align(64))]
    #[derive(Clone, PartialEq, Debug)]
    struct Wide(u8);

    fn through<F: Flavour, T: Clone + PartialEq + std::fmt::Debug + Send + 'static>(value: T) {
        let (tx, rx) = F::make::<T>();
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

    through::<F, ()>(());
    through::<F, u8>(3);
    through::<F, u128>(u128::MAX / 3);
    through::<F, String>("a message of some length, on the heap".into());
    through::<F, [u64; 5]>([1, 2, 3, 4, 5]);
    through::<F, [u8; 4096]>([9; 4096]);
    through::<F, Wide>(Wide(6));
    through::<F, [Wide; 0]>([]);
}

/// For channels that hold at least one message.
pub fn messages_need_not_be_static_or_send<F: Flavour>() {
    let text = String::from("on the stack");
    let (tx, rx) = F::make::<&str>();
    tx.send(&text).unwrap();
    assert_eq!(rx.recv(), Ok("on the stack"));

    let shared = std::rc::Rc::new(5);
    let (tx, rx) = F::make();
    tx.send(shared.clone()).unwrap();
    let mut select = Select::new();
    select.recv(&rx);
    assert_eq!(*select.select().recv(&rx).unwrap(), 5);
    assert_eq!(std::rc::Rc::strong_count(&shared), 1);
}

pub fn channels_travel_through_channels<F: Flavour>() {
    type Link = (u32, Box<dyn std::any::Any + Send>);
    const DEPTH: u32 = 300;
    let (tx, rx) = F::make::<Link>();
    let sender = go(move || {
        let mut tx = tx;
        for n in 0..DEPTH {
            let (next_tx, next_rx) = F::make::<Link>();
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

/// A wait that its deadline has ended leaves nothing behind that a later message could be given to.
pub fn timeouts_and_messages_race_cleanly<F: Flavour>() {
    let (tx, rx) = F::make();
    let done = Arc::new(AtomicBool::new(false));
    let receiver = {
        let done = done.clone();
        go(move || {
            let mut got = 0;
            loop {
                let last = done.load(Ordering::SeqCst);
                match rx.recv_timeout(Duration::from_micros(50)) {
                    Ok(n) => {
                        assert_eq!(n, got);
                        got += 1;
                    }
                    Err(_) if last => return got,
                    Err(_) => {}
                }
            }
        })
    };
    let mut dice = Dice::new(5);
    for n in 0..3_000 {
        let mut message = n;
        while let Err(error) = tx.send_timeout(message, Duration::from_micros(dice.roll(100))) {
            assert!(error.is_timeout());
            message = error.into_inner();
        }
        if dice.roll(10) == 0 {
            std::thread::sleep(Duration::from_micros(dice.roll(120)));
        }
    }
    done.store(true, Ordering::SeqCst);
    assert_eq!(receiver.join(), 3_000);
}

pub fn clones_are_the_same_channel<F: Flavour>() {
    let (tx, rx) = F::make::<i32>();
    let (tx2, rx2) = F::make::<i32>();
    assert!(tx.same_channel(&tx.clone()) && rx.same_channel(&rx.clone()));
    assert!(!tx.same_channel(&tx2) && !rx.same_channel(&rx2));
    drop((tx.clone(), rx.clone()));
    assert!(!tx.is_closed() && !rx.is_closed(), "others are left");
}
