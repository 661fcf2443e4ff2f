//! Panics, ends and new starts.

use crate::{All, Append, Fail, List, reporting};
use narrowboat::actor::{Address, CallError, Handle, Report, Service, System, Turn};
use narrowboat::chan::{Receiver, bounded};
use narrowboat::go;
use narrowboat_testing::{Census, Counted, LONG, eventually, ms, program, scaled};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

#[test]
fn a_panic_ends_a_service_that_has_no_supervisor() {
    program(|| {
        let (system, reports) = reporting();
        let list = system.spawn_named("list", List::default()).unwrap();
        assert_eq!(list.call(Fail), Err(CallError::Failed));
        let line = reports.recv_timeout(LONG).unwrap().to_string();
        assert!(line.contains("'list'") && line.contains("Fail: failed with 0 entries"), "{line}");
        eventually("it has ended", || list.service_info().ended);
        assert_eq!(list.call(All), Err(CallError::Ended));
        assert!(list.send(All).is_err() && system.find::<List>("list").is_none());
        assert!(!list.restart());
    });
}

#[test]
fn a_supervisor_starts_a_service_anew_with_the_messages_that_were_not_begun() {
    program(|| {
        let (system, _reports) = reporting();
        let supervisor = system.supervisor(3, LONG);
        let list = supervisor.spawn_named("list", List::default).unwrap();
        let (hold, held) = bounded::<()>(0);
        struct Hold(Receiver<()>);
        impl Handle<Hold> for List {
            type Reply = ();
            fn handle(_: &mut Turn<Self>, Hold(held): Hold) {
                held.recv().unwrap();
            }
        }
        list.call(Append(1)).unwrap();
        list.send(Hold(held)).unwrap();
        list.send(Append(2)).unwrap();
        list.send(Fail).unwrap();
        list.send(Append(3)).unwrap();
        hold.send(()).unwrap();
        // 1 and 2 are of the state that has failed.
        assert_eq!(list.call(All).unwrap(), [3]);
        let info = list.service_info();
        assert_eq!((info.failures, info.restarts), (1, 1));
        assert_eq!(system.find("list"), Some(list));
    });
}

/// A service whose handlers wait in a call of one that does not reply.
struct Waits {
    never: Address<Never>,
    _held: Counted,
}

struct Never;

struct Ask(Counted);

impl Service for Waits {}
impl Service for Never {}

impl Handle<()> for Never {
    type Reply = ();
    fn handle(turn: &mut Turn<Self>, _: ()) {
        turn.wait(|| narrowboat::chan::never::<()>().recv().unwrap());
    }
}

impl Handle<Ask> for Waits {
    type Reply = ();
    fn handle(turn: &mut Turn<Self>, Ask(counted): Ask) {
        let never = turn.never.clone();
        let _ = turn.call(&never, ());
        drop(counted);
        unreachable!("it does not come back");
    }
}

impl Handle<Fail> for Waits {
    type Reply = ();
    fn handle(_: &mut Turn<Self>, _: Fail) {
        panic!("as asked");
    }
}

fn waits(system: &System, census: &'static Census) -> impl Fn() -> Waits + Send + Sync + 'static {
    let never = system.spawn(Never);
    move || Waits { never: never.clone(), _held: census.value() }
}

#[test]
fn handlers_of_a_killed_service_unwind_out_of_their_calls() {
    program(|| {
        let census = Census::leaked();
        let (system, reports) = reporting();
        let service = system.spawn(waits(&system, census)());
        let count = scaled(100);
        let asking: Vec<_> = (0..count)
            .map(|_| {
                let (service, counted) = (service.clone(), census.value());
                go!(move || service.call(Ask(counted)))
            })
            .collect();
        eventually("all wait", || service.service_info().waiting.len() == count);
        service.kill();
        for asking in asking {
            assert_eq!(asking.join().unwrap(), Err(CallError::Failed));
        }
        eventually("all is dropped", || census.alive() == 0);
        assert!(reports.try_recv().is_err(), "that is no failure");
    });
}

#[test]
fn handlers_of_the_former_state_do_not_meet_the_new_one() {
    program(|| {
        let census = Census::leaked();
        let (system, _reports) = reporting();
        let supervisor = system.supervisor(1000, LONG);
        let service = supervisor.spawn(waits(&system, census));
        for round in 1..=scaled(20) as u32 {
            let (asks, counted) = (service.clone(), census.value());
            let asking = go!(move || asks.call(Ask(counted)));
            eventually("it waits", || service.service_info().waiting.len() == 1);
            if round % 2 == 0 {
                assert!(service.restart());
            } else {
                assert_eq!(service.call(Fail), Err(CallError::Failed));
            }
            assert_eq!(asking.join().unwrap(), Err(CallError::Failed));
            eventually("the former state is dropped", || census.alive() == 1);
            eventually("it has started", || service.service_info().restarts == round);
        }
        drop(supervisor);
        eventually("the state is dropped", || census.alive() == 0);
        assert!(service.service_info().ended);
    });
}

#[test]
fn a_panic_in_a_wait_is_a_failure_though_the_turn_is_given_up() {
    struct Trips(u32);
    impl Service for Trips {}
    struct Trip;
    impl Handle<Trip> for Trips {
        type Reply = ();
        fn handle(turn: &mut Turn<Self>, _: Trip) {
            turn.wait(|| panic!("in the wait"));
        }
    }
    impl Handle<u32> for Trips {
        type Reply = u32;
        fn handle(turn: &mut Turn<Self>, n: u32) -> u32 {
            turn.0 += n;
            turn.0
        }
    }
    program(|| {
        let (system, _reports) = reporting();
        let supervisor = system.supervisor(3, LONG);
        let trips = supervisor.spawn(|| Trips(0));
        assert_eq!(trips.call(5), Ok(5));
        assert_eq!(trips.call(Trip), Err(CallError::Failed));
        assert_eq!(trips.call(1), Ok(1));
    });
}

#[test]
fn a_supervisor_gives_up_after_too_many_restarts_and_ends_all() {
    program(|| {
        let (system, reports) = reporting();
        let supervisor = system.supervisor(2, LONG);
        let bad = supervisor.spawn(List::default);
        let good = supervisor.spawn_named("good", List::default).unwrap();
        for _ in 0..2 {
            assert_eq!(bad.call(Fail), Err(CallError::Failed));
            assert_eq!(bad.call(All), Ok(Vec::new()));
        }
        assert!(supervisor.gave_up().try_recv().is_err());
        assert_eq!(bad.call(Fail), Err(CallError::Failed));
        let gave_up = supervisor.gave_up().recv_timeout(LONG).unwrap();
        assert_eq!((gave_up.service, gave_up.restarts), (bad.id(), 2));
        assert!(good.service_info().ended && system.find::<List>("good").is_none());
        assert!(reports.iter().any(|report| matches!(report, Report::GaveUp { .. })));
        let late = supervisor.spawn(List::default);
        assert_eq!(late.call(All), Err(CallError::Ended));
    });
}

#[test]
fn restarts_that_are_long_ago_do_not_count() {
    program(|| {
        let (system, _reports) = reporting();
        let supervisor = system.supervisor(1, ms(20));
        let list = supervisor.spawn(List::default);
        for _ in 0..4 {
            assert_eq!(list.call(Fail), Err(CallError::Failed));
            assert_eq!(list.call(All), Ok(Vec::new()));
            narrowboat::sleep(ms(60));
        }
    });
}

#[test]
fn a_new_start_that_fails_counts_as_a_failure() {
    program(|| {
        let (system, _reports) = reporting();
        let supervisor = system.supervisor(5, LONG);
        let starts = Arc::new(AtomicU32::new(0));
        let count = starts.clone();
        let list = supervisor.spawn(move || {
            let nth = count.fetch_add(1, Ordering::Relaxed);
            assert!(nth == 0 || nth > 2, "not yet");
            List(vec![nth.into()])
        });
        list.call(Fail).unwrap_err();
        // Starts 1 and 2 fail, 3 does not.
        assert_eq!(list.call(All).unwrap(), [3]);
        assert_eq!(starts.load(Ordering::Relaxed), 4);
    });
}

#[test]
fn a_handler_that_stops_its_service_is_answered_and_nothing_after_it_is() {
    struct Stops;
    impl Service for Stops {}
    impl Handle<bool> for Stops {
        type Reply = &'static str;
        fn handle(turn: &mut Turn<Self>, last: bool) -> Self::Reply {
            if last {
                turn.stop();
                return "last";
            }
            "not last"
        }
    }
    program(|| {
        let system = System::new();
        let supervisor = system.supervisor(3, LONG);
        let stops = supervisor.spawn(|| Stops);
        assert_eq!(stops.call(false), Ok("not last"));
        assert_eq!(stops.call(true), Ok("last"));
        assert!(stops.call(false).is_err());
        assert!(stops.service_info().ended && stops.service_info().restarts == 0);
    });
}
