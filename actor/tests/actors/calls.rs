//! Messages, replies and re-entry.

use crate::{All, Append, List, reporting};
use narrowboat::actor::{Address, CallError, Handle, Service, System, Turn};
use narrowboat::chan::{Receiver, Sender, bounded};
use narrowboat::go;
use narrowboat_testing::{Census, Counted, LONG, eventually, ms, program, scaled};

/// A service that waits in calls of another.
struct Caller {
    gate: Address<Gate>,
    log: Vec<&'static str>,
}

impl Service for Caller {}

/// A service that replies when it is let.
struct Gate(Receiver<u32>);

impl Service for Gate {}

struct Pass;

impl Handle<Pass> for Gate {
    type Reply = u32;

    fn handle(turn: &mut Turn<Self>, _: Pass) -> u32 {
        let opened = turn.0.clone();
        turn.wait(|| opened.recv().unwrap_or(0))
    }
}

struct Go;

impl Handle<Go> for Caller {
    type Reply = Result<u32, CallError>;

    fn handle(turn: &mut Turn<Self>, _: Go) -> Self::Reply {
        turn.log.push("goes");
        let gate = turn.gate.clone();
        let n = turn.call(&gate, Pass)?;
        turn.log.push("passed");
        Ok(n)
    }
}

struct Log;

impl Handle<Log> for Caller {
    type Reply = Vec<&'static str>;

    fn handle(turn: &mut Turn<Self>, _: Log) -> Self::Reply {
        turn.log.push("logs");
        turn.log.clone()
    }
}

fn caller(system: &System) -> (Address<Caller>, Sender<u32>) {
    let (open, opened) = bounded(0);
    let gate = system.spawn(Gate(opened));
    (system.spawn(Caller { gate, log: Vec::new() }), open)
}

#[test]
fn messages_of_one_sender_are_handled_in_order() {
    program(|| {
        let list = System::new().spawn(List::default());
        let count = scaled(2_000) as u64;
        (0..count).for_each(|n| list.send(Append(n)).unwrap());
        assert_eq!(list.call(All).unwrap(), (0..count).collect::<Vec<_>>());
        assert_eq!(list.call(All).unwrap().len() as u64, count);
        assert!(list.service_info().handled > count);
    });
}

#[test]
fn a_service_takes_other_messages_while_a_handler_waits_in_a_call() {
    program(|| {
        let system = System::new();
        let (caller, open) = caller(&system);
        let going = caller.clone();
        let going = go!(move || going.call(Go));
        eventually("it waits", || caller.service_info().waiting.len() == 1);
        assert_eq!(caller.call(Log).unwrap(), ["goes", "logs"]);
        let waiting = &caller.service_info().waiting[0];
        assert!(waiting.target.is_some() && waiting.session > 0, "{waiting:?}");
        assert!(waiting.at.file().ends_with("calls.rs"), "{waiting:?}");
        open.send(7).unwrap();
        assert_eq!(going.join().unwrap(), Ok(Ok(7)));
        assert_eq!(caller.call(Log).unwrap(), ["goes", "logs", "passed", "logs"]);
    });
}

/// Two messages of one service that wait at a time, and go on one after the other.
#[test]
fn handlers_that_wait_go_on_one_at_a_time() {
    struct Count(u64);
    impl Service for Count {}
    struct Twice;
    impl Handle<Twice> for Count {
        type Reply = ();
        fn handle(turn: &mut Turn<Self>, _: Twice) {
            for _ in 0..2 {
                turn.wait(narrowboat::yield_now);
                let before = turn.0;
                // Others of the service would run now, if they could.
                narrowboat::yield_now();
                turn.0 = before + 1;
            }
        }
    }
    program(|| {
        let count = System::new().spawn(Count(0));
        let calls = scaled(2_000) as u64;
        let callers: Vec<_> = (0..calls)
            .map(|_| {
                let count = count.clone();
                go!(move || count.call(Twice).unwrap())
            })
            .collect();
        callers.into_iter().for_each(|caller| caller.join().unwrap());
        let (tx, rx) = bounded(1);
        struct Get(Sender<u64>);
        impl Handle<Get> for Count {
            type Reply = ();
            fn handle(turn: &mut Turn<Self>, Get(tx): Get) {
                tx.send(turn.0).unwrap();
            }
        }
        count.send(Get(tx)).unwrap();
        assert_eq!(rx.recv().unwrap(), 2 * calls);
    });
}

#[test]
fn a_service_may_call_itself() {
    struct Factorial;
    impl Service for Factorial {}
    impl Handle<u64> for Factorial {
        type Reply = u64;
        fn handle(turn: &mut Turn<Self>, n: u64) -> u64 {
            let me = turn.address();
            if n == 0 { 1 } else { n * turn.call(&me, n - 1).unwrap() }
        }
    }
    program(|| assert_eq!(System::new().spawn(Factorial).call(15), Ok(1_307_674_368_000)));
}

#[test]
fn a_ring_of_services_passes_a_call_around() {
    struct Node(Option<Address<Node>>);
    impl Service for Node {}
    struct Next(Address<Node>);
    impl Handle<Next> for Node {
        type Reply = ();
        fn handle(turn: &mut Turn<Self>, Next(next): Next) {
            turn.0 = Some(next);
        }
    }
    impl Handle<u32> for Node {
        type Reply = u32;
        fn handle(turn: &mut Turn<Self>, hops: u32) -> u32 {
            let next = turn.0.clone().expect("it is in the ring");
            if hops == 0 { 0 } else { 1 + turn.call(&next, hops - 1).unwrap() }
        }
    }
    program(|| {
        let system = System::new();
        let nodes: Vec<_> = (0..10).map(|_| system.spawn(Node(None))).collect();
        for (i, node) in nodes.iter().enumerate() {
            node.call(Next(nodes[(i + 1) % 10].clone())).unwrap();
        }
        // Each node has several calls under way.
        let hops = scaled(500) as u32;
        assert_eq!(nodes[0].call(hops), Ok(hops));
        system.shut_down();
    });
}

#[test]
fn a_late_reply_is_dropped_and_disturbs_nothing() {
    program(|| {
        let system = System::new();
        let (caller, open) = caller(&system);
        struct Impatient;
        impl Handle<Impatient> for Caller {
            type Reply = Result<u32, CallError>;
            fn handle(turn: &mut Turn<Self>, _: Impatient) -> Self::Reply {
                let gate = turn.gate.clone();
                turn.call_timeout(&gate, Pass, ms(10))
            }
        }
        assert_eq!(caller.call(Impatient).unwrap(), Err(CallError::Timeout));
        assert!(caller.service_info().waiting.is_empty());
        open.send_timeout(1, LONG).unwrap(); // the reply that is late
        let again = caller.clone();
        let again = go!(move || again.call(Go).unwrap());
        open.send_timeout(2, LONG).unwrap();
        assert_eq!(again.join().unwrap(), Ok(2));
    });
}

#[test]
fn source_and_session_are_those_of_the_call() {
    struct Witness;
    impl Service for Witness {}
    struct Who;
    impl Handle<Who> for Witness {
        type Reply = (Option<narrowboat::actor::ServiceId>, u32);
        fn handle(turn: &mut Turn<Self>, _: Who) -> Self::Reply {
            (turn.source(), turn.session())
        }
    }
    struct Ask(Address<Witness>);
    impl Handle<Ask> for List {
        type Reply = ();
        fn handle(turn: &mut Turn<Self>, Ask(witness): Ask) {
            let me = turn.address().id();
            for session in 1..4 {
                assert_eq!(turn.call(&witness, Who), Ok((Some(me), session)));
            }
        }
    }
    program(|| {
        let system = System::new();
        let (witness, list) = (system.spawn(Witness), system.spawn(List::default()));
        list.call(Ask(witness.clone())).unwrap();
        assert_eq!(witness.call(Who), Ok((None, 0)));
    });
}

#[test]
fn messages_go_to_services_from_threads_and_goroutines() {
    let list = System::new().spawn(List::default());
    let count = scaled(400) as u64;
    let threads: Vec<_> = (0..4)
        .map(|i| {
            let list = list.clone();
            let work = move || {
                (0..count).for_each(|n| {
                    list.call(Append(n)).unwrap();
                })
            };
            std::thread::spawn(move || if i % 2 == 0 { work() } else { go!(work).join().unwrap() })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(list.call(All).unwrap().len() as u64, 4 * count);
}

#[test]
fn what_a_dead_service_had_is_dropped_once() {
    struct Holder(#[expect(dead_code, reason = "it is dropped")] Counted);
    impl Service for Holder {}
    impl Handle<Counted> for Holder {
        type Reply = ();
        fn handle(turn: &mut Turn<Self>, _: Counted) {
            turn.wait(|| narrowboat::sleep(ms(1)));
        }
    }
    program(|| {
        let census = Census::leaked();
        let (system, _reports) = reporting();
        let holder = system.spawn(Holder(census.value()));
        for _ in 0..100 {
            holder.send(census.value()).unwrap();
        }
        holder.kill();
        let error = holder.send(census.value()).unwrap_err();
        drop(error);
        eventually("all are dropped", || census.alive() == 0);
        drop(holder);
        eventually("it is forgotten", || format!("{system:?}").contains("services: 0"));
    });
}

#[test]
fn a_service_that_nothing_refers_to_is_dropped() {
    struct Holder(#[expect(dead_code, reason = "it is dropped")] Counted);
    impl Service for Holder {}
    impl Handle<u8> for Holder {
        type Reply = u8;
        fn handle(_: &mut Turn<Self>, n: u8) -> u8 {
            n
        }
    }
    program(|| {
        let census = Census::leaked();
        let system = System::new();
        let holder = system.spawn(Holder(census.value()));
        assert_eq!(holder.call(3), Ok(3));
        drop(holder);
        eventually("it is dropped", || census.alive() == 0 && system.info().services == 0);
        // A name keeps it.
        system.spawn_named("holder", Holder(census.value())).unwrap();
        assert_eq!(system.find::<Holder>("holder").unwrap().call(4), Ok(4));
        assert!(system.find::<List>("holder").is_none(), "of another type");
        assert_eq!(census.alive(), 1);
        system.shut_down();
        eventually("it is dropped", || census.alive() == 0);
        assert!(system.spawn_named("holder", Holder(census.value())).is_ok(), "the name is free again");
        system.shut_down();
    });
}
