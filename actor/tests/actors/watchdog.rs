//! Turns that do not end, and mailboxes that grow.

use crate::{All, Append, List, reporting};
use narrowboat::actor::{Handle, Report, StuckAction, System, Turn};
use narrowboat::chan::{Receiver, unbounded};
use narrowboat_testing::{LONG, eventually, ms, program};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Runs without a pause until it is told to end.
struct Loop(Arc<AtomicBool>);

impl Handle<Loop> for List {
    type Reply = ();

    fn handle(turn: &mut Turn<Self>, Loop(end): Loop) {
        while !end.load(Ordering::Relaxed) {
            narrowboat::yield_now();
        }
        // Of a state that nothing else sees any more.
        turn.0.push(99);
    }
}

fn watched(action: StuckAction) -> (System, Receiver<Report>) {
    let (reports, to_read) = unbounded();
    let system = System::builder()
        .stuck(ms(100), action)
        .on_report(move |report| drop(reports.send(report.clone())))
        .build();
    (system, to_read)
}

#[test]
fn an_endless_loop_is_reported_once() {
    program(|| {
        let (system, reports) = watched(StuckAction::Report);
        let list = system.spawn_named("loops", List::default()).unwrap();
        let end = Arc::new(AtomicBool::new(false));
        list.send(Loop(end.clone())).unwrap();
        let line = reports.recv_timeout(LONG).unwrap().to_string();
        assert!(line.contains("'loops'") && line.contains("Loop") && line.contains("endless loop"), "{line}");
        assert!(list.service_info().busy_with.is_some());
        narrowboat::sleep(ms(300));
        end.store(true, Ordering::Relaxed);
        assert_eq!(list.call(All).unwrap(), [99]);
        assert!(reports.try_recv().is_err(), "once");
    });
}

#[test]
fn a_service_in_an_endless_loop_is_started_anew() {
    program(|| {
        let (system, reports) = watched(StuckAction::Restart);
        let supervisor = system.supervisor(3, LONG);
        let list = supervisor.spawn(List::default);
        let end = Arc::new(AtomicBool::new(false));
        list.send(Loop(end.clone())).unwrap();
        list.send(Append(1)).unwrap();
        // Handled by the new one, while the loop still runs.
        assert_eq!(list.call(All).unwrap(), [1]);
        assert!(matches!(reports.recv_timeout(LONG), Ok(Report::Stuck { .. })));
        end.store(true, Ordering::Relaxed);
        assert_eq!(list.call(All).unwrap(), [1]);
    });
}

#[test]
fn a_service_in_an_endless_loop_is_ended() {
    program(|| {
        let (system, _reports) = watched(StuckAction::Kill);
        let list = system.spawn(List::default());
        let end = Arc::new(AtomicBool::new(false));
        list.send(Loop(end.clone())).unwrap();
        eventually("it has ended", || list.service_info().ended);
        end.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_handler_that_waits_without_the_turn_is_not_stuck() {
    struct Sleep;
    impl Handle<Sleep> for List {
        type Reply = ();
        fn handle(turn: &mut Turn<Self>, _: Sleep) {
            turn.wait(|| narrowboat::sleep(ms(500)));
        }
    }
    program(|| {
        let (system, reports) = watched(StuckAction::Kill);
        assert_eq!(system.spawn(List::default()).call(Sleep), Ok(()));
        assert!(reports.try_recv().is_err());
    });
}

#[test]
fn a_long_mailbox_is_reported_when_it_doubles() {
    program(|| {
        let (system, reports) = reporting();
        let list = system.spawn(List::default());
        let end = Arc::new(AtomicBool::new(false));
        list.send(Loop(end.clone())).unwrap();
        (0..2100).for_each(|n| list.send(Append(n)).unwrap());
        end.store(true, Ordering::Relaxed);
        assert_eq!(list.call(All).unwrap().len(), 2101);
        let lengths: Vec<_> = reports
            .try_iter()
            .map(|report| match report {
                Report::Overloaded { mailbox, .. } => mailbox,
                other => panic!("{other}"),
            })
            .collect();
        assert_eq!(lengths, [1024, 2048]);
        assert!(list.service_info().longest_mailbox >= 2100);
    });
}
