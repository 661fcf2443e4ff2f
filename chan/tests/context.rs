//! Contexts, in the order of Go's own tests of its package: what they say, what ends them, what they carry.

use narrowboat_chan::context::{
    Cause, Context, Error, after_func, background, todo, with_cancel, with_cancel_cause, with_deadline,
    with_deadline_cause, with_timeout, with_timeout_cause, with_value, without_cancel,
};
use narrowboat_chan::{Receiver, RecvTimeoutError, Select, TryRecvError, bounded, never, select};
use narrowboat_testing::{Census, LONG, Work, eventually, go, ms, pause, settle, sized, suite};
use std::panic::catch_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// The ways to wait for the end of a context.
const WAYS: [fn(&Receiver<()>); 5] = [
    |done| assert!(done.recv().is_err()),
    |done| assert!(done.recv_timeout(LONG).unwrap_err().is_disconnected()),
    |done| select! { recv(done) -> end => assert!(end.is_err()) },
    |done| {
        select! {
            recv(never::<()>()) -> _ => unreachable!(),
            recv(done) -> end => assert!(end.is_err()),
            recv(done) -> end => assert!(end.is_err()),
            default(LONG) => panic!("a wake-up was lost"),
        }
    },
    |done| {
        let mut select = Select::new();
        select.recv(done);
        assert!(select.select().recv(done).is_err());
    },
];

/// Waits for the end in each way, as a goroutine and as a thread.
fn waiting(ctx: &Context) -> Vec<Work<Error>> {
    let wait = |way: fn(&Receiver<()>), on_thread| {
        let ctx = ctx.clone();
        let work = move || {
            way(ctx.done());
            ctx.err().expect("it is done")
        };
        if on_thread { Work::Thread(std::thread::spawn(work)) } else { go(work) }
    };
    WAYS.iter().flat_map(|way| [wait(*way, false), wait(*way, true)]).collect()
}

fn the_background_is_never_done() {
    for ctx in [background(), todo(), with_value(&background(), 1)] {
        assert_eq!((ctx.err(), ctx.deadline(), ctx.is_done()), (None, None, false));
        assert!(ctx.cause().is_none());
        assert_eq!(ctx.done().try_recv(), Err(TryRecvError::Empty));
        assert_eq!(ctx.done().recv_timeout(ms(5)), Err(RecvTimeoutError::Timeout));
    }
}

fn a_cancel_wakes_all_that_wait_below() {
    let (top, cancel) = with_cancel(&background());
    let (middle, _cancel) = with_cancel(&with_value(&top, "x"));
    let (low, _cancel) = with_timeout(&middle, LONG * 2);
    let parties: Vec<_> = [&top, &middle, &low].into_iter().flat_map(waiting).collect();
    settle();
    cancel.cancel();
    for ctx in [&top, &middle, &low] {
        assert_eq!(ctx.err(), Some(Error::Canceled));
        assert!(ctx.done().is_closed());
        assert_eq!(ctx.done().try_recv(), Err(TryRecvError::Disconnected));
        select! { recv(ctx.done()) -> end => assert!(end.is_err()), default => panic!("it is ready") }
    }
    for party in parties {
        assert_eq!(party.join_soon(), Error::Canceled);
    }
}

fn a_deadline_wakes_all_that_wait_and_not_early() {
    let deadline = Instant::now() + ms(50);
    let (top, _cancel) = with_deadline(&background(), deadline);
    let (low, _cancel) = with_timeout(&top, LONG);
    assert_eq!(low.deadline(), Some(deadline));
    for party in [waiting(&top), waiting(&low)].into_iter().flatten() {
        assert_eq!(party.join_soon(), Error::DeadlineExceeded);
        assert!(Instant::now() >= deadline);
    }
}

fn a_cancel_that_meets_a_wait_as_it_begins_is_not_lost() {
    for (n, way) in WAYS.into_iter().enumerate() {
        let rounds = sized(20_000, 5_000);
        let (tx, rx) = bounded(0);
        let (echo, echoed) = bounded(0);
        let wait = move || {
            for ctx in rx {
                let ctx: Context = ctx;
                way(ctx.done());
                echo.send(ctx.err()).unwrap();
            }
        };
        let waiter = if n % 2 == 0 { Work::Thread(std::thread::spawn(wait)) } else { go(wait) };
        let canceller = std::thread::spawn(move || {
            for n in 0..rounds {
                let (ctx, cancel) = with_cancel(&background());
                tx.send(ctx).unwrap();
                (0..n % 200).for_each(|_| std::hint::spin_loop());
                cancel.cancel();
                let echo = echoed.recv_timeout(LONG).expect("a wake-up was lost");
                assert_eq!(echo, Some(Error::Canceled));
            }
        });
        Work::Thread(canceller).join_soon();
        waiter.join_soon();
    }
}

fn an_end_is_seen_without_a_waiter() {
    let (ctx, _cancel) = with_timeout(&background(), ms(5));
    let (child, _cancel) = with_cancel(&ctx);
    pause(ms(6));
    assert_eq!((child.err(), ctx.err()), (Some(Error::DeadlineExceeded), Some(Error::DeadlineExceeded)));
}

fn a_child_does_not_end_its_parent_or_siblings() {
    let (parent, _cancel) = with_cancel(&background());
    let (child, cancel) = with_cancel(&parent);
    let (sibling, _cancel) = with_cancel(&parent);
    let (expired, _cancel) = with_deadline(&parent, Instant::now());
    cancel.cancel();
    assert!(child.is_done() && expired.is_done());
    assert!(!parent.is_done() && !sibling.is_done());
}

fn the_earlier_deadline_counts() {
    let (soon, later) = (Instant::now() + LONG, Instant::now() + LONG * 2);
    let (ctx, _cancel) = with_deadline(&background(), later);
    assert_eq!(ctx.deadline(), Some(later));
    let (ctx, _cancel) = with_cancel(&ctx);
    assert_eq!(ctx.deadline(), Some(later));
    let (ctx, _cancel) = with_deadline(&ctx, soon);
    assert_eq!(ctx.deadline(), Some(soon));
    let (ctx, _cancel) = with_deadline(&with_value(&ctx, 1), later);
    assert_eq!(ctx.deadline(), Some(soon));
    assert!(with_timeout(&background(), Duration::MAX).0.deadline().is_some());
}

fn what_ended_a_context_stays() {
    let (ctx, cancel) = with_deadline_cause(&background(), Instant::now(), "low tide");
    let (child, cancel_child) = with_cancel(&ctx);
    cancel.cancel_with("too late");
    cancel_child.cancel_with("too late");
    for ctx in [&ctx, &child] {
        assert_eq!(ctx.err(), Some(Error::DeadlineExceeded));
        assert_eq!(ctx.cause().unwrap().to_string(), "low tide");
    }
    let (ctx, cancel) = with_timeout_cause(&background(), ms(10), "too late");
    cancel.cancel_with("early");
    pause(ms(12));
    assert_eq!(ctx.err(), Some(Error::Canceled));
    assert_eq!(ctx.cause().unwrap().to_string(), "early");
}

fn a_cancel_leaves_their_own_ends_to_those_below() {
    let (top, cancel) = with_cancel_cause(&background());
    let (expired, _cancel) = with_deadline_cause(&top, Instant::now(), "low tide");
    let (cancelled, cancel_it) = with_cancel(&top);
    let (running, _cancel) = with_cancel(&top);
    cancel_it.cancel();
    cancel.cancel_with("all hands");
    let cause = |ctx: &Context| ctx.cause().unwrap().to_string();
    assert_eq!((expired.err(), cause(&expired)), (Some(Error::DeadlineExceeded), "low tide".into()));
    assert_eq!((cancelled.err(), cause(&cancelled)), (Some(Error::Canceled), "context canceled".into()));
    assert_eq!((running.err(), cause(&running)), (Some(Error::Canceled), "all hands".into()));
}

fn a_cause_can_be_any_error_and_without_one_it_is_the_error() {
    let (ctx, cancel) = with_cancel(&background());
    cancel.cancel();
    let cause: Cause = ctx.cause().unwrap();
    assert_eq!(cause.downcast_ref::<Error>(), Some(&Error::Canceled));
    let (ctx, _cancel) = with_deadline(&background(), Instant::now());
    assert_eq!(ctx.cause().unwrap().to_string(), "context deadline exceeded");
    let (ctx, cancel) = with_cancel(&background());
    cancel.cancel_with(std::io::Error::from_raw_os_error(5));
    let (late, _cancel) = with_cancel(&ctx);
    let cause = late.cause().unwrap();
    assert_eq!(cause.downcast_ref::<std::io::Error>().unwrap().raw_os_error(), Some(5));
}

fn a_child_of_what_is_done_is_done() {
    let (ctx, cancel) = with_cancel(&background());
    cancel.cancel_with("over");
    let (child, _cancel) = with_timeout(&with_value(&ctx, 1), LONG);
    assert_eq!(child.err(), Some(Error::Canceled));
    assert_eq!(child.cause().unwrap().to_string(), "over");
    for party in waiting(&child) {
        party.join_soon();
    }
}

fn values_are_found_by_type_the_innermost_first() {
    #[derive(PartialEq, Debug)]
    struct Port(u16);
    #[derive(PartialEq, Debug)]
    struct Host(&'static str);

    let ctx = with_value(&background(), Port(80));
    let (ctx, _cancel) = with_cancel(&with_value(&ctx, Host("a")));
    let inner = with_value(&ctx, Port(443));
    assert_eq!((inner.value(), inner.value()), (Some(&Port(443)), Some(&Host("a"))));
    assert_eq!(ctx.value(), Some(&Port(80)));
    assert_eq!(ctx.value::<u16>(), None);
    // A box is a type of its own.
    let boxed = with_value(&ctx, Box::new(Port(1)));
    assert_eq!((boxed.value(), boxed.value::<Box<Port>>()), (Some(&Port(80)), Some(&Box::new(Port(1)))));
}

fn without_cancel_keeps_only_the_values() {
    let (ctx, cancel) = with_timeout(&with_value(&background(), 7_u8), LONG);
    let detached = without_cancel(&ctx);
    let (child, cancel_child) = with_cancel(&detached);
    cancel.cancel();
    assert_eq!((detached.err(), detached.deadline(), detached.value()), (None, None, Some(&7_u8)));
    assert!(!child.is_done());
    cancel_child.cancel();
    assert!(child.is_done() && !detached.is_done());
}

fn the_channel_outlives_its_context() {
    let (parent, cancel) = with_cancel(&background());
    let done = with_cancel(&with_cancel(&parent).0).0.done().clone();
    let soon = with_timeout(&parent, ms(5)).0.done().clone();
    assert_eq!(soon.recv_timeout(LONG), Err(RecvTimeoutError::Disconnected));
    drop(parent);
    assert_eq!(done.recv_timeout(ms(5)), Err(RecvTimeoutError::Timeout));
    cancel.cancel();
    assert_eq!(done.try_recv(), Err(TryRecvError::Disconnected));
}

fn the_channel_cannot_be_closed_by_hand() {
    let (ctx, _cancel) = with_cancel(&background());
    let done = ctx.done();
    assert!(!done.close() && !done.is_closed());
    assert_eq!((done.len(), done.capacity(), done.is_empty()), (0, Some(0), true));
    let (other, _cancel) = with_cancel(&ctx);
    assert!(done.same_channel(with_value(&ctx, 1).done()) && !done.same_channel(other.done()));
}

fn a_guard_cancels_however_its_block_is_left() {
    let (ctx, cancel) = with_cancel(&background());
    let moved = cancel.clone();
    let panic = catch_unwind(move || {
        let _cancel = moved.on_drop();
        panic!("halfway");
    });
    assert!(panic.is_err() && ctx.is_done());
    let (ctx, cancel) = with_cancel(&background());
    drop(cancel);
    assert!(!ctx.is_done(), "to drop a cancel does nothing");
}

fn a_function_runs_when_the_context_is_done() {
    let (tx, rx) = bounded(0);
    let run = |ctx: &Context| {
        let tx = tx.clone();
        after_func(ctx, move || tx.send(()).unwrap())
    };
    let (ctx, cancel) = with_cancel(&background());
    let handle = run(&ctx);
    run(&with_value(&ctx, 1));
    assert!(rx.recv_timeout(ms(5)).is_err());
    cancel.cancel();
    rx.recv_timeout(LONG).unwrap();
    rx.recv_timeout(LONG).unwrap();
    assert!(!handle.stop(), "it has run");
    run(&ctx);
    rx.recv_timeout(LONG).expect("it is done already");
    run(&with_timeout(&background(), ms(5)).0);
    rx.recv_timeout(LONG).expect("also when the context has no owner any more");
}

fn a_stopped_function_does_not_run_and_is_dropped_at_once() {
    static CENSUS: Census = Census::new();
    let (ctx, cancel) = with_cancel(&background());
    for ctx in [&ctx, &background()] {
        let counted = CENSUS.value();
        let handle = after_func(ctx, move || {
            let _ = &counted;
            panic!("it was stopped")
        });
        assert!(handle.stop() && !handle.stop());
        assert_eq!(CENSUS.alive(), 0);
    }
    let counted = CENSUS.value();
    drop(after_func(&background(), move || drop(counted)));
    assert_eq!(CENSUS.alive(), 0, "it could never have run");
    cancel.cancel();
    settle();
}

fn a_stop_prevents_a_run_or_says_that_it_did_not() {
    let runs = Arc::new(AtomicUsize::new(0));
    let mut stopped = 0;
    for n in 0..1_000 {
        let (ctx, cancel) = with_cancel(&background());
        let counter = runs.clone();
        let handle = after_func(&ctx, move || {
            counter.fetch_add(1, Ordering::Relaxed);
        });
        let other = go(move || cancel.cancel());
        if n % 2 == 0 {
            narrowboat_runtime::yield_now();
        }
        stopped += usize::from(handle.stop());
        other.join();
    }
    eventually("each ran or was stopped", || runs.load(Ordering::Relaxed) + stopped == 1_000);
}

/// Many goroutines in `select!`s on one `done`, as in every server.
fn thousands_of_selects_share_one_context() {
    let (ctx, cancel) = with_cancel(&background());
    let (tx, rx) = bounded(0);
    let workers: Vec<_> = (0..2_000)
        .map(|_| {
            let (ctx, rx) = (ctx.clone(), rx.clone());
            narrowboat_runtime::spawn(move || {
                let mut sum = 0;
                loop {
                    select! {
                        recv(rx) -> n => sum += n.unwrap(),
                        recv(ctx.done()) -> _ => return sum,
                    }
                }
            })
        })
        .collect();
    for n in 1..=4_000_u64 {
        tx.send(n).unwrap();
    }
    cancel.cancel();
    assert_eq!(workers.into_iter().map(|worker| worker.join().unwrap()).sum::<u64>(), 4_000 * 4_001 / 2);
}

fn it_prints_what_it_is() {
    let (ctx, cancel) = with_cancel(&background());
    assert_eq!(format!("{ctx:?}"), "Context { err: None, deadline: None, .. }");
    cancel.cancel();
    assert_eq!(format!("{ctx:?}"), "Context { err: Some(Canceled), deadline: None, .. }");
    assert_eq!(format!("{cancel:?}"), "Cancel { err: Some(Canceled), .. }");
}

suite! {
    the_background_is_never_done,
    a_cancel_wakes_all_that_wait_below,
    a_deadline_wakes_all_that_wait_and_not_early,
    a_cancel_that_meets_a_wait_as_it_begins_is_not_lost,
    an_end_is_seen_without_a_waiter,
    a_child_does_not_end_its_parent_or_siblings,
    the_earlier_deadline_counts,
    what_ended_a_context_stays,
    a_cancel_leaves_their_own_ends_to_those_below,
    a_cause_can_be_any_error_and_without_one_it_is_the_error,
    a_child_of_what_is_done_is_done,
    values_are_found_by_type_the_innermost_first,
    without_cancel_keeps_only_the_values,
    the_channel_outlives_its_context,
    the_channel_cannot_be_closed_by_hand,
    a_guard_cancels_however_its_block_is_left,
    a_function_runs_when_the_context_is_done,
    a_stopped_function_does_not_run_and_is_dropped_at_once,
    a_stop_prevents_a_run_or_says_that_it_did_not,
    thousands_of_selects_share_one_context,
    it_prints_what_it_is,
}
