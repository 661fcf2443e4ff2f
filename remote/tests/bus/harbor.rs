//! Services by name on other nodes.

use crate::{Handles, on_each_bus};
use narrowboat::actor::{Handle, Service, System, Turn};
use narrowboat::remote::{Error, harbor};
use narrowboat_testing::{LONG, eventually, ms};

on_each_bus!(
    a_service_answers_on_another_node,
    a_service_calls_one_on_another_node_without_its_turn,
    a_service_that_fails_or_has_ended_does_not_reply,
);

struct Sum(u64);

impl Service for Sum {}

impl Handle<u64> for Sum {
    type Reply = u64;

    fn handle(turn: &mut Turn<Self>, n: u64) -> u64 {
        assert!(n < 1000, "too much");
        turn.0 += n;
        turn.0
    }
}

fn a_service_answers_on_another_node(bus: Handles) {
    let sum = System::new().spawn(Sum(0));
    let offer = harbor::offer::<_, u64>(&bus(), "sum", &sum).unwrap();
    let remote = harbor::Remote::<u64, u64>::new(&bus(), "sum").unwrap();
    for n in 1..=10 {
        remote.send(&n).unwrap();
    }
    eventually("all have arrived", || sum.call(0) == Ok(55));
    assert_eq!(remote.call(&5, LONG), Ok(60));
    drop(offer);
    eventually("it is not offered any more", || remote.call(&0, ms(50)) == Err(Error::NoReceiver));
}

fn a_service_calls_one_on_another_node_without_its_turn(bus: Handles) {
    struct Local(harbor::Remote<u64, u64>, u32);
    impl Service for Local {}
    struct Ask(u64);
    impl Handle<Ask> for Local {
        type Reply = Result<u64, Error>;
        fn handle(turn: &mut Turn<Self>, Ask(n): Ask) -> Self::Reply {
            let remote = turn.0.clone();
            let reply = turn.wait(|| remote.call(&n, LONG));
            turn.1 += 1;
            reply
        }
    }
    let (there, here) = (System::new(), System::new());
    let sum = there.spawn(Sum(0));
    let _offer = harbor::offer::<_, u64>(&bus(), "sum", &sum).unwrap();
    let local = here.spawn(Local(harbor::Remote::new(&bus(), "sum").unwrap(), 0));
    assert_eq!(local.call(Ask(7)), Ok(Ok(7)));
    assert_eq!(local.call(Ask(7)), Ok(Ok(14)));
}

fn a_service_that_fails_or_has_ended_does_not_reply(bus: Handles) {
    let system = System::builder().on_report(|_| ()).build();
    let supervisor = system.supervisor(3, LONG);
    let sum = supervisor.spawn(|| Sum(0));
    let _offer = harbor::offer::<_, u64>(&bus(), "sum", &sum).unwrap();
    let remote = harbor::Remote::<u64, u64>::new(&bus(), "sum").unwrap();
    assert_eq!(remote.call(&5000, LONG), Err(Error::NoReply));
    assert_eq!(remote.call(&5, LONG), Ok(5));
    sum.kill();
    assert_eq!(remote.call(&5, LONG), Err(Error::NoReply));
}
