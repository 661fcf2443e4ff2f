//! Receivers whose message comes in its time: `make(delay)` has one after that delay.

use crate::ends::{bounded, unbounded};
use crate::flavour::Timed;
use narrowboat_chan::{Select, select};
use narrowboat_testing::{LONG, go, ms, pause, settle};
use std::time::{Duration, Instant};

catalogue! {
    on Timed: [after, at, tick];
    {
        it_is_not_early,
        the_message_is_the_instant_it_was_due,
        len_and_capacity_tell_whether_it_is_due,
        no_time_is_enough_when_it_is_due,
        it_ends_a_wait_of_every_form,
        a_message_comes_before_it,
        the_earliest_of_several_ends_a_select,
        due_ones_share_their_luck_with_other_arms,
        duplicate_arms_share_their_luck,
        it_calls_a_watcher,
        each_message_goes_to_one_clone,
        two_different_ones_are_not_the_same_channel,
    }
}

fn it_is_not_early(flavour: Timed) {
    let start = Instant::now();
    let rx = flavour.make(ms(30));
    // A machine that stands still meanwhile may have made it due.
    let early = [rx.try_recv().ok(), rx.recv_timeout(ms(5)).ok()].into_iter().flatten().next();
    assert!(early.is_none() || start.elapsed() >= ms(30));
    let when = early.unwrap_or_else(|| rx.recv().unwrap());
    assert!(when >= start + ms(30) && Instant::now() >= when);
}

fn the_message_is_the_instant_it_was_due(flavour: Timed) {
    let before = Instant::now();
    let rx = flavour.make(ms(10));
    let after = Instant::now();
    pause(ms(30));
    let when = rx.recv().unwrap();
    assert!((before + ms(10)..=after + ms(10)).contains(&when), "however late it is received");
}

fn len_and_capacity_tell_whether_it_is_due(flavour: Timed) {
    let rx = flavour.make(LONG);
    assert_eq!((rx.capacity(), rx.len(), rx.is_empty(), rx.is_full()), (Some(1), 0, true, false));
    let rx = flavour.make(ms(1));
    pause(ms(2));
    assert_eq!((rx.capacity(), rx.len(), rx.is_empty(), rx.is_full()), (Some(1), 1, false, true));
}

fn no_time_is_enough_when_it_is_due(flavour: Timed) {
    let past = Instant::now();
    for form in 0..6 {
        let rx = flavour.make(ms(1));
        pause(ms(2));
        let mut select = Select::new();
        select.recv(&rx);
        let when = match form {
            0 => rx.try_recv().ok(),
            1 => rx.recv_timeout(Duration::ZERO).ok(),
            2 => rx.recv_deadline(past).ok(),
            3 => select! { recv(rx) -> msg => msg.ok(), default => None },
            4 => select.try_select().ok().and_then(|chosen| chosen.recv(&rx).ok()),
            _ => select.select_timeout(Duration::ZERO).ok().and_then(|chosen| chosen.recv(&rx).ok()),
        };
        assert!(when.expect("it is due") > past);
    }
}

fn it_ends_a_wait_of_every_form(flavour: Timed) {
    let (_tx, quiet) = bounded::<()>(0);
    for form in 0..6 {
        let start = Instant::now();
        let rx = flavour.make(ms(5));
        let mut select = Select::new();
        select.recv(&quiet);
        let index = select.recv(&rx);
        let when = match form {
            0 => rx.recv().unwrap(),
            1 => rx.recv_timeout(LONG).unwrap(),
            2 => rx.iter().next().unwrap(),
            3 => select! { recv(rx) -> msg => msg.unwrap(), recv(quiet) -> _ => panic!("quiet") },
            4 => {
                select! { recv(quiet) -> _ => panic!("quiet"), recv(rx) -> msg => msg.unwrap(), default(LONG) => panic!() }
            }
            _ => {
                let chosen = select.select();
                assert_eq!(chosen.index(), index);
                chosen.recv(&rx).unwrap()
            }
        };
        assert!(when >= start + ms(5));
    }
}

fn a_message_comes_before_it(flavour: Timed) {
    let (tx, rx) = bounded(0);
    let sender = go(move || {
        pause(ms(20));
        tx.send(6).unwrap();
    });
    assert_eq!(select! { recv(rx) -> msg => msg, recv(flavour.make(LONG)) -> _ => panic!("lost") }, Ok(6));
    sender.join();
}

fn the_earliest_of_several_ends_a_select(flavour: Timed) {
    for _ in 0..3 {
        let (early, late) = (flavour.make(ms(10)), flavour.make(LONG));
        let (_tx, quiet) = bounded::<()>(0);
        let start = Instant::now();
        select! {
            recv(late) -> _ => panic!("too early for this one"),
            recv(quiet) -> _ => panic!("nothing sends"),
            recv(early) -> when => assert!(when.unwrap() >= start),
            default(LONG) => panic!("the arm comes first"),
        }
    }
}

fn due_ones_share_their_luck_with_other_arms(flavour: Timed) {
    let (tx, rx) = unbounded();
    let mut hits = [0; 3];
    for n in 0..3_000 {
        tx.send(n).unwrap();
        let (a, b) = (flavour.make(Duration::ZERO), flavour.make(Duration::ZERO));
        select! {
            recv(rx) -> msg => { msg.unwrap(); hits[0] += 1 }
            recv(a) -> msg => { msg.unwrap(); hits[1] += 1 }
            recv(b) -> msg => { msg.unwrap(); hits[2] += 1 }
        }
    }
    assert!(hits.iter().all(|n| *n > 700), "{hits:?}");
}

fn duplicate_arms_share_their_luck(flavour: Timed) {
    let mut hits = [0; 3];
    for _ in 0..1_500 {
        let rx = flavour.make(Duration::ZERO);
        select! {
            recv(rx) -> msg => { msg.unwrap(); hits[0] += 1 }
            recv(rx) -> msg => { msg.unwrap(); hits[1] += 1 }
            recv(rx.clone()) -> msg => { msg.unwrap(); hits[2] += 1 }
        }
    }
    assert!(hits.iter().all(|n| *n > 350), "{hits:?}");
}

fn it_calls_a_watcher(flavour: Timed) {
    let (_tx, quiet) = bounded::<()>(0);
    let start = Instant::now();
    let (early, late) = (flavour.make(ms(10)), flavour.make(LONG));
    let mut select = Select::new();
    select.recv(&late);
    select.recv(&quiet);
    let index = select.recv(&early);
    assert!(select.try_ready().is_err() || start.elapsed() >= ms(10));
    assert_eq!(select.ready(), index);
    assert!(start.elapsed() >= ms(10));
    assert_eq!(select.try_ready(), Ok(index), "it is still there");
    assert!(early.try_recv().unwrap() >= start + ms(10));
}

/// As many messages are taken as there are, by whatever form of wait, and no two clones get the same.
fn each_message_goes_to_one_clone(flavour: Timed) {
    let rx = flavour.make(ms(40));
    let receivers: Vec<_> = (0..9)
        .map(|i| {
            let rx = rx.clone();
            go(move || match i % 3 {
                0 => rx.recv_timeout(ms(70)).ok(),
                1 => select! { recv(rx) -> msg => msg.ok(), default(ms(70)) => None },
                _ => {
                    let mut select = Select::new();
                    select.recv(&rx);
                    select.select_timeout(ms(70)).ok().map(|chosen| chosen.recv(&rx).unwrap())
                }
            })
        })
        .collect();
    settle();
    let mut got: Vec<_> = receivers.into_iter().filter_map(|one| one.join()).collect();
    got.sort();
    // On a machine that stood still meanwhile none may have got it.
    got.extend(got.is_empty().then(|| rx.try_recv().unwrap()));
    let taken = got.len();
    got.dedup();
    assert_eq!(got.len(), taken, "one message for two");
    assert!(flavour.messages().is_none_or(|messages| taken == messages));
}

fn two_different_ones_are_not_the_same_channel(flavour: Timed) {
    let (a, b) = (flavour.make(LONG), flavour.make(LONG));
    assert!(!a.same_channel(&b));
}
