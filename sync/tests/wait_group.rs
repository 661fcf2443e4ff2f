//! The wait group: until the others are done.

use narrowboat_runtime::yield_now;
use narrowboat_sync::WaitGroup;
use narrowboat_testing::{On, join_all, send_and_sync, settle, sized, suite_on_each};
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

suite_on_each! {
    it_waits_for_all_members, all_may_wait_for_each_other, a_member_that_panics_is_done, members_may_bring_others,
    a_crowd_is_waited_for,
}

fn it_waits_for_all_members(on: On) {
    for _ in 0..sized(300, 50) {
        let group = WaitGroup::new();
        let done = Arc::new(AtomicUsize::new(0));
        let members: Vec<_> = (0..5)
            .map(|n| {
                let (group, done) = (group.clone(), done.clone());
                on.go(move || {
                    if n % 2 == 0 {
                        yield_now();
                    }
                    done.fetch_add(1, Ordering::Relaxed);
                    drop(group);
                })
            })
            .collect();
        group.wait();
        assert_eq!(done.load(Ordering::Relaxed), 5);
        join_all(members);
    }
}

fn all_may_wait_for_each_other(on: On) {
    let group = WaitGroup::new();
    let passed = Arc::new(AtomicUsize::new(0));
    let members: Vec<_> = (0..10)
        .map(|_| {
            let (group, passed) = (group.clone(), passed.clone());
            on.go(move || {
                group.wait();
                passed.fetch_add(1, Ordering::SeqCst);
            })
        })
        .collect();
    settle();
    assert_eq!(passed.load(Ordering::SeqCst), 0);
    group.wait();
    join_all(members);
    assert_eq!(passed.load(Ordering::SeqCst), 10);
}

fn a_member_that_panics_is_done(on: On) {
    let group = WaitGroup::new();
    let member = group.clone();
    let clumsy = on.go(move || {
        let _member = member;
        resume_unwind(Box::new(()));
    });
    group.wait();
    assert!(clumsy.try_join().is_err());
}

fn members_may_bring_others(on: On) {
    fn bring(on: On, group: WaitGroup, depth: usize, done: Arc<AtomicUsize>) {
        if depth > 0 {
            for _ in 0..2 {
                let (group, done) = (group.clone(), done.clone());
                on.go(move || bring(on, group, depth - 1, done));
            }
        }
        done.fetch_add(1, Ordering::Relaxed);
    }
    let group = WaitGroup::new();
    let done = Arc::new(AtomicUsize::new(0));
    bring(on, group.clone(), 5, done.clone());
    group.wait();
    assert_eq!(done.load(Ordering::Relaxed), 63);
}

fn a_crowd_is_waited_for(on: On) {
    let crowd = on.crowd(10_000);
    let group = WaitGroup::new();
    let done = Arc::new(AtomicUsize::new(0));
    for _ in 0..crowd {
        let (group, done) = (group.clone(), done.clone());
        on.go(move || {
            done.fetch_add(1, Ordering::Relaxed);
            drop(group);
        });
    }
    group.wait();
    assert_eq!(done.load(Ordering::Relaxed), crowd);
}

#[test]
fn none_waits_alone() {
    WaitGroup::new().wait();
    WaitGroup::default().wait();
}

#[test]
fn it_can_be_printed_and_shared() {
    let group = WaitGroup::new();
    let _other = group.clone();
    assert_eq!(format!("{group:?}"), "WaitGroup { count: 2 }");
    assert_eq!(send_and_sync!(WaitGroup), (true, true));
}
