//! The barrier: none passes before all are there.

use narrowboat_runtime::yield_now;
use narrowboat_sync::Barrier;
use narrowboat_testing::{On, join_all, send_and_sync, sized, suite_on_each};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

suite_on_each! { none_passes_before_all_are_there, one_of_them_leads, a_crowd_passes }

fn none_passes_before_all_are_there(on: On) {
    const PARTIES: usize = 7;
    let barrier = Arc::new(Barrier::new(PARTIES));
    let arrived = Arc::new(AtomicUsize::new(0));
    let parties = on.many(PARTIES, move |me| {
        for round in 1..=sized(1_000, 200) {
            if (round + me) % 5 == 0 {
                yield_now();
            }
            arrived.fetch_add(1, Ordering::Relaxed);
            barrier.wait();
            let now = arrived.load(Ordering::Relaxed);
            assert!(now >= round * PARTIES && now < (round + 1) * PARTIES, "{now} in round {round}");
            // None arrives for the next round before all have looked.
            barrier.wait();
        }
    });
    join_all(parties);
}

fn one_of_them_leads(on: On) {
    let barrier = Arc::new(Barrier::new(10));
    for _ in 0..20 {
        let barrier = barrier.clone();
        let leaders = join_all(on.many(10, move |_| barrier.wait().is_leader()));
        assert_eq!(leaders.into_iter().filter(|leads| *leads).count(), 1);
    }
}

fn a_crowd_passes(on: On) {
    let parties = on.crowd(5_000);
    let barrier = Arc::new(Barrier::new(parties));
    let leaders = join_all(on.many(parties, move |_| barrier.wait().is_leader()));
    assert_eq!(leaders.into_iter().filter(|leads| *leads).count(), 1);
}

#[test]
fn none_waits_alone() {
    assert!(Barrier::new(0).wait().is_leader());
    assert!(Barrier::new(1).wait().is_leader());
}

#[test]
fn it_can_be_printed_and_shared() {
    let barrier = Barrier::new(1);
    assert_eq!(format!("{barrier:?}"), "Barrier { .. }");
    assert_eq!(format!("{:?}", barrier.wait()), "BarrierWaitResult { is_leader: true }");
    assert_eq!(send_and_sync!(Barrier), (true, true));
}
