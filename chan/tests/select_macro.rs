//! `select!` and `select_biased!`: what may be written, what is evaluated when, and which arm is chosen.

use narrowboat_chan::{
    Receiver, RecvError, SendError, Sender, after, bounded, never, select, select_biased, tick, unbounded,
};
use narrowboat_testing::{LONG, go, ms, settle, suite};
use std::cell::Cell;
use std::ops::Deref;
use std::time::Duration;

suite! {
    arms_of_every_form,
    the_macros_work_through_a_facade,
    the_macros_are_hygienic,
    handles_are_evaluated_once_and_messages_only_when_chosen,
    a_message_moves_only_into_its_own_arm,
    handles_of_every_kind,
    an_arm_may_use_up_the_handles,
    arms_may_leave_the_select,
    selects_nest,
    result_types_are_inferred,
    as_many_arms_as_one_likes,
    every_ready_arm_has_its_chance,
    a_biased_select_takes_the_first_that_is_ready,
    one_channel_on_both_sides_of_a_select,
    every_form_wakes_up,
    an_empty_select_waits_for_ever,
}

fn arms_of_every_form() {
    let (tx, rx) = bounded::<i32>(1);
    // Blocks and expressions, with and without commas, patterns, trailing commas everywhere.
    let a = select! {
        recv(rx,) -> _ => 1,
        send(tx, 5,) -> res => { res.unwrap(); 2 }
        default() => { 3 }
    };
    assert_eq!(a, 2);
    let b = select! {
        recv(rx) -> mut msg => { if let Ok(n) = &mut msg { *n += 1; } msg },
        default(LONG,) => Err(RecvError),
    };
    assert_eq!(b, Ok(6));
    let c = select! { default => 7 };
    let d = select! { default(Duration::ZERO) => { 8 } };
    let e = select! { recv(rx) -> _ => 0, default => 9, };
    let f = select! { default => 10, recv(rx) -> _ => 0, recv(never::<String>()) -> _ => 0 };
    assert_eq!((c, d, e, f), (7, 8, 9, 10));
    select! {
        recv(rx) -> (Ok(_) | Err(RecvError)) => panic!("empty"),
        send(tx, if rx.is_empty() { 2 } else { 3 }) -> (Ok(()) | Err(SendError(_))) => {}
        recv(rx) -> _msg => panic!("empty"),
    }
    assert_eq!(select_biased!(recv(rx) -> msg => msg), Ok(2));
    select_biased! { send(tx, 1) -> res => res.unwrap(), recv(rx) -> _ => panic!("empty"), default => panic!() }
}

fn the_macros_work_through_a_facade() {
    mod facade {
        pub use narrowboat_chan as chan;
        pub use narrowboat_chan::{select, select_biased};
    }
    let (tx, rx) = facade::chan::unbounded();
    facade::select! { send(tx, 1) -> res => res.unwrap(), recv(rx) -> _ => panic!("empty") }
    facade::chan::select! { recv(rx) -> msg => assert_eq!(msg, Ok(1)), default => panic!("ready") }
    facade::select_biased! { recv(rx) -> _ => panic!("empty"), default(Duration::ZERO) => {} }
    facade::chan::select_biased! { recv(rx) -> _ => panic!("empty"), default => {} }
}

/// The macros name nothing that the place of use could have redefined.
fn the_macros_are_hygienic() {
    #[allow(non_camel_case_types, dead_code)]
    struct Option;
    let (index, chosen, result, handle) = (1, 2, 3, 4);
    let (tx, rx) = unbounded();
    select! { send(tx, index + chosen) -> res => res.unwrap(), recv(rx) -> _ => panic!("empty") }
    let sum = select! { recv(rx) -> msg => msg.unwrap() + result, default => handle };
    assert_eq!(sum, 6);
}

fn handles_are_evaluated_once_and_messages_only_when_chosen() {
    let order = Cell::new(String::new());
    let note = |what: &str| order.set(order.take() + what);
    let (tx, rx) = bounded(1);
    for _ in 0..20 {
        select! {
            recv({ note("a"); &rx }) -> _ => panic!("empty"),
            send({ note("b"); &tx }, { note("c"); 1 }) -> res => { note("d"); res.unwrap() }
            recv({ note("e"); never::<()>() }) -> _ => unreachable!(),
        }
        assert_eq!(order.take(), "abecd");
        select! {
            recv({ note("a"); &rx }) -> _ => note("b"),
            send({ note("c"); &tx }, { note("d"); 1 }) -> _ => panic!("full"),
            default({ note("e"); LONG }) => unreachable!(),
        }
        assert_eq!(order.take(), "aceb");
    }
}

fn a_message_moves_only_into_its_own_arm() {
    let (tx, rx) = bounded(1);
    let mut text = String::from("first");
    for round in 0..2 {
        text = select! {
            send(tx, text) -> res => { res.unwrap(); String::from("second") }
            default => { assert_eq!(round, 1); text }
        };
    }
    assert_eq!(text, "second");
    assert_eq!(rx.recv().unwrap(), "first");
}

fn handles_of_every_kind() {
    struct Wrapper(Receiver<i32>, Sender<i32>);
    impl Deref for Wrapper {
        type Target = Receiver<i32>;
        fn deref(&self) -> &Receiver<i32> {
            &self.0
        }
    }
    let (tx, rx) = unbounded();
    let wrapper = Wrapper(rx, tx);
    let boxed = Box::new(wrapper.1.clone());
    let list = [wrapper.1.clone()];
    let reference = &&wrapper.0;
    for _ in 0..40 {
        select! {
            send(wrapper.1, 1) -> res => res.unwrap(),
            send(*boxed, 1) -> res => res.unwrap(),
            send(list[0], 1) -> res => res.unwrap(),
            send(&list[0], 1) -> res => res.unwrap(),
        }
        select! {
            recv(*wrapper) -> msg => assert_eq!(msg, Ok(1)),
            recv(wrapper) -> msg => assert_eq!(msg, Ok(1)),
            recv(reference) -> msg => assert_eq!(msg, Ok(1)),
            recv(wrapper.0.clone()) -> msg => assert_eq!(msg, Ok(1)),
        }
        // Alone, too: this form has an expansion of its own.
        assert!(select! { recv(reference) -> _ => false, default => true });
    }
}

fn an_arm_may_use_up_the_handles() {
    let (tx, rx) = bounded(1);
    tx.send(1).unwrap();
    select! {
        recv(rx) -> msg => { msg.unwrap(); drop(rx); drop(tx); }
        send(tx, 2) -> _ => { drop(tx); drop(rx); }
    }
    let (tx, mut rx) = unbounded::<i32>();
    drop(tx);
    select! { recv(rx) -> _ => rx = never(), default => unreachable!() }
    assert!(rx.try_recv().is_err());
}

fn arms_may_leave_the_select() {
    fn first(rx: &Receiver<i32>, quiet: &Receiver<i32>) -> Result<i32, RecvError> {
        let mut sum = 0;
        'outer: loop {
            for round in 0.. {
                select! {
                    recv(rx) -> msg => match msg? {
                        0 => break 'outer Ok(sum),
                        -1 => continue 'outer,
                        100 => return Ok(100),
                        n => sum += n,
                    },
                    recv(quiet) -> msg => { msg?; }
                }
                assert!(round < 10);
            }
        }
    }
    let (tx, rx) = unbounded();
    let quiet = never();
    for n in [1, 2, -1, 3, 0, 100] {
        tx.send(n).unwrap();
    }
    drop(tx);
    assert_eq!(first(&rx, &quiet), Ok(6));
    assert_eq!(first(&rx, &quiet), Ok(100));
    assert_eq!(first(&rx, &quiet), Err(RecvError));
}

fn selects_nest() {
    let (tx, rx) = unbounded();
    select! {
        send(tx, 1) -> res => {
            res.unwrap();
            select! {
                recv(rx) -> msg => {
                    assert_eq!(msg, Ok(1));
                    select! { recv(rx) -> _ => panic!("empty"), default => tx.send(2).unwrap() }
                }
                recv(never::<()>()) -> _ => panic!("never"),
            }
        }
        recv(rx) -> _ => panic!("empty"),
    }
    let through = select! {
        send(tx, select! { recv(rx) -> msg => msg.unwrap(), default => panic!("there is one") } + 1) -> res => res,
    };
    assert_eq!(through, Ok(()));
    assert_eq!(rx.recv(), Ok(3));
}

fn result_types_are_inferred() {
    let (tx, rx) = unbounded();
    select! {
        recv(rx) -> msg => { let _: Result<Vec<u8>, RecvError> = msg; }
        default => {}
    }
    select! { send(tx, Vec::new()) -> res => { let _: Result<(), SendError<Vec<u8>>> = res; } }
    let (tx, rx) = unbounded();
    select! { recv(rx) -> msg => { let _ = msg; } default => {} }
    tx.send(1_u16).unwrap();
}

fn as_many_arms_as_one_likes() {
    let channels: Vec<_> = (0..8).map(|_| unbounded()).collect();
    let rx = |n: usize| &channels[n].1;
    macro_rules! eight {
        ($($n:expr),*) => { select! { $(recv(rx($n % 8)) -> msg => { assert_eq!(msg, Ok($n % 8)); $n })* } };
    }
    for (n, (tx, _)) in channels.iter().enumerate() {
        tx.send(n).unwrap();
        let got = eight!(
            0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26,
            27, 28, 29, 30, 31
        );
        assert_eq!(got % 8, n);
    }
}

fn every_ready_arm_has_its_chance() {
    let (tx1, rx1) = unbounded();
    let (tx2, rx2) = bounded(10_000);
    for n in 0..10_000 {
        tx1.send(n).unwrap();
        tx2.send(n).unwrap();
    }
    let (sink, _keep) = unbounded();
    let mut hits = [0; 5];
    for _ in 0..10_000 {
        select! {
            recv(rx1) -> msg => { msg.unwrap(); hits[0] += 1 }
            recv(rx2) -> msg => { msg.unwrap(); hits[1] += 1 }
            recv(after(Duration::ZERO)) -> msg => { msg.unwrap(); hits[2] += 1 }
            recv(tick(Duration::ZERO)) -> msg => { msg.unwrap(); hits[3] += 1 }
            send(sink, ()) -> res => { res.unwrap(); hits[4] += 1 }
            recv(never::<()>()) -> _ => unreachable!(),
        }
    }
    assert!(hits.iter().all(|n| (1_500..2_500).contains(n)), "{hits:?}");
}

fn a_biased_select_takes_the_first_that_is_ready() {
    let (tx1, rx1) = unbounded();
    let (tx2, rx2) = unbounded();
    for n in 0..1_000 {
        tx1.send(n).unwrap();
        tx2.send(n).unwrap();
    }
    let mut order = Vec::new();
    for _ in 0..2_000 {
        order.push(select_biased! {
            recv(never::<()>()) -> _ => unreachable!(),
            recv(rx1) -> msg => (1, msg.unwrap()),
            recv(rx2) -> msg => (2, msg.unwrap()),
        });
    }
    assert!(order.is_sorted());
    let slow = select_biased! { recv(rx1) -> _ => 0, recv(rx2) -> _ => 0, default(ms(5)) => 1 };
    assert_eq!(slow, 1);
}

fn one_channel_on_both_sides_of_a_select() {
    let (tx, rx) = bounded(2);
    let (mut sent, mut received) = (0, 0);
    for _ in 0..3_000 {
        select! {
            recv(rx) -> msg => { assert_eq!(msg, Ok(received)); received += 1; }
            send(tx, sent) -> res => { res.unwrap(); sent += 1; }
        }
    }
    assert_eq!(sent - received, rx.len());
    assert!(sent > 1_000 && received > 1_000);
}

fn every_form_wakes_up() {
    let (_keep, quiet) = bounded::<()>(0);
    for form in 0..6 {
        let (tx, rx) = bounded(0);
        let quiet = quiet.clone();
        let receiver = go(move || match form {
            0 => select! { recv(rx) -> msg => msg },
            1 => select! { recv(rx) -> msg => msg, default(LONG) => panic!("lost") },
            2 => select! { recv(rx) -> msg => msg, recv(quiet) -> _ => panic!("quiet") },
            3 => {
                select! { recv(quiet) -> _ => panic!("quiet"), recv(rx) -> msg => msg, default(LONG) => panic!() }
            }
            4 => select_biased! { recv(quiet) -> _ => panic!("quiet"), recv(rx) -> msg => msg },
            _ => select! { recv(after(LONG)) -> _ => panic!("lost"), recv(rx) -> msg => msg },
        });
        settle();
        select! { send(tx, form) -> res => res.unwrap() }
        assert_eq!(receiver.join(), Ok(form));
    }
}

fn an_empty_select_waits_for_ever() {
    let (tx, rx) = bounded::<()>(0);
    std::thread::spawn(move || {
        let _tx = tx;
        select! {}
    });
    assert!(rx.recv_timeout(ms(30)).unwrap_err().is_timeout());
}
