//! Waiting for one future: wakes from anywhere, limits, panics, and where the future lies.

use narrowboat_chan::context::{self, background, with_cancel, with_timeout};
use narrowboat_chan::{bounded, unbounded};
use narrowboat_future::{FutureExt, TimeoutError, block_on};
use narrowboat_runtime::yield_now;
use narrowboat_testing::{LONG, On, join_all, ms, settle, sized, suite_on_each};
use std::future::{Future, pending, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

suite_on_each! {
    a_ready_future_does_not_wait, it_need_not_be_send_and_may_borrow, every_kind_of_wake_counts,
    wakes_race_with_the_park, a_late_wake_ends_no_later_wait, a_future_that_wakes_itself_lets_others_run,
    limits_drop_the_future, an_output_comes_before_a_limit, a_cancel_ends_a_wait, a_panic_passes_on,
    a_wait_within_a_poll, nodes_in_lists_of_others_stay_where_they_are, a_future_borrowed_from_the_stack_stays,
    waits_of_thousands,
}

/// Ready when it is opened, from anywhere.
#[derive(Default)]
struct Gate(Mutex<(bool, Option<Waker>)>);

impl Gate {
    fn open(&self) {
        let mut gate = self.0.lock().unwrap();
        gate.0 = true;
        let waker = gate.1.take();
        drop(gate);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    async fn passed(&self) {
        poll_fn(|cx| {
            let mut gate = self.0.lock().unwrap();
            if gate.0 {
                return Poll::Ready(());
            }
            gate.1 = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    fn waker(&self) -> Option<Waker> {
        self.0.lock().unwrap().1.clone()
    }
}

/// Sets the flag when it is dropped.
struct Dropped(Arc<AtomicBool>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn a_ready_future_does_not_wait(_: On) {
    assert_eq!(block_on(async { 1 + 1 }), 2);
    assert_eq!(std::future::ready("it").wait(), "it");
    let nested = block_on(async { async { 3 }.wait() + async { 4 }.await });
    assert_eq!(nested, 7);
}

fn it_need_not_be_send_and_may_borrow(on: On) {
    let gate = Arc::new(Gate::default());
    let opener = gate.clone();
    let opened = on.go(move || opener.open());
    let (shared, mut count) = (Rc::new(5), 0);
    block_on(async {
        gate.passed().await;
        count += *shared;
    });
    assert_eq!(count, 5);
    opened.join();
}

/// By value, by reference, by a clone, twice, before anything has changed, and after the end.
fn every_kind_of_wake_counts(on: On) {
    let gate = Arc::new(Gate::default());
    let polls = Arc::new(AtomicUsize::new(0));
    let waits = on.go({
        let (gate, polls) = (gate.clone(), polls.clone());
        move || {
            let mut passed = pin!(gate.passed());
            block_on(poll_fn(|cx| {
                polls.fetch_add(1, Ordering::SeqCst);
                passed.as_mut().poll(cx)
            }));
        }
    });
    let mut last = None;
    for n in 1..=3 {
        narrowboat_testing::eventually("a poll", || {
            polls.load(Ordering::SeqCst) >= n && gate.waker().is_some()
        });
        let waker = gate.waker().unwrap();
        // Spurious: the gate is still closed.
        waker.wake_by_ref();
        last = Some(waker.clone());
        waker.wake();
    }
    gate.open();
    waits.join_soon();
    let last = last.unwrap();
    last.wake_by_ref();
    last.wake();
}

fn wakes_race_with_the_park(on: On) {
    let gates: Vec<_> = (0..sized(2_000, 200)).map(|_| Arc::new(Gate::default())).collect();
    let opener = gates.clone();
    let opens = on.go(move || opener.iter().for_each(|gate| gate.open()));
    gates.iter().for_each(|gate| gate.passed().wait());
    opens.join();
}

fn a_late_wake_ends_no_later_wait(on: On) {
    for _ in 0..sized(300, 30) {
        let gate = Arc::new(Gate::default());
        let late = gate.clone();
        let opens = on.go(move || late.open());
        let _ = gate.passed().wait_timeout(std::time::Duration::from_micros(50));
        // A wait that is none of the gate's.
        let (_tx, rx) = bounded::<()>(0);
        assert!(rx.recv_timeout(std::time::Duration::from_micros(100)).unwrap_err().is_timeout());
        opens.join();
    }
}

fn a_future_that_wakes_itself_lets_others_run(on: On) {
    let done = Arc::new(AtomicBool::new(false));
    let other = done.clone();
    let sets = on.go(move || other.store(true, Ordering::SeqCst));
    block_on(poll_fn(|cx| {
        if done.load(Ordering::SeqCst) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }));
    sets.join();
    // It is not polled for ever, either.
    let selfish = poll_fn(|cx: &mut Context<'_>| {
        cx.waker().wake_by_ref();
        Poll::<()>::Pending
    });
    assert_eq!(selfish.wait_timeout(ms(10)), Err(TimeoutError));
}

fn limits_drop_the_future(_: On) {
    let dropped = Arc::new(AtomicBool::new(false));
    let never = |flag: &Arc<AtomicBool>| {
        flag.store(false, Ordering::SeqCst);
        let guard = Dropped(flag.clone());
        async move {
            pending::<()>().await;
            drop(guard);
        }
    };
    let start = Instant::now();
    assert_eq!(never(&dropped).wait_timeout(ms(5)), Err(TimeoutError));
    assert!(dropped.load(Ordering::SeqCst) && start.elapsed() >= ms(5));
    assert_eq!(never(&dropped).wait_deadline(Instant::now() + ms(5)), Err(TimeoutError));
    assert!(dropped.load(Ordering::SeqCst));
    let (ctx, _cancel) = with_timeout(&background(), ms(5));
    assert_eq!(never(&dropped).wait_with_context(&ctx), Err(context::Error::DeadlineExceeded));
    assert!(dropped.load(Ordering::SeqCst));
}

fn an_output_comes_before_a_limit(on: On) {
    let (ctx, cancel) = with_cancel(&background());
    cancel.cancel();
    assert_eq!(async { 1 }.wait_with_context(&ctx), Ok(1));
    assert_eq!(async { 1 }.wait_deadline(Instant::now()), Ok(1));
    for far in [LONG, std::time::Duration::MAX] {
        let gate = Arc::new(Gate::default());
        let opener = gate.clone();
        let opens = on.go(move || opener.open());
        assert_eq!(gate.passed().wait_timeout(far), Ok(()));
        assert_eq!(gate.passed().wait_with_context(&background()), Ok(()));
        opens.join();
    }
}

fn a_cancel_ends_a_wait(on: On) {
    for _ in 0..sized(100, 20) {
        let (ctx, cancel) = with_cancel(&background());
        let gate = Arc::new(Gate::default());
        let (rivals, theirs) = (on.go(move || cancel.cancel()), gate.clone());
        let opens = on.go(move || theirs.open());
        let end = gate.passed().wait_with_context(&ctx);
        assert!(matches!(end, Ok(()) | Err(context::Error::Canceled)));
        rivals.join();
        opens.join();
    }
    let (ctx, cancel) = with_cancel(&background());
    let waits = on.go(move || pending::<()>().wait_with_context(&ctx));
    settle();
    cancel.cancel();
    assert_eq!(waits.join_soon(), Err(context::Error::Canceled));
}

fn a_panic_passes_on(on: On) {
    let gate = Arc::new(Gate::default());
    let opener = gate.clone();
    let opens = on.go(move || opener.open());
    let panic = catch_unwind(AssertUnwindSafe(|| {
        block_on(async {
            gate.passed().await;
            panic!("in the second poll");
        })
    }));
    assert_eq!(*panic.unwrap_err().downcast::<&str>().unwrap(), "in the second poll");
    assert_eq!(async { 1 }.wait(), 1);
    opens.join();
}

fn a_wait_within_a_poll(on: On) {
    let (tx, rx) = bounded(0);
    let gate = Arc::new(Gate::default());
    let opener = gate.clone();
    let work = on.go(move || {
        tx.send(1).unwrap();
        opener.open();
        tx.send(2).unwrap();
    });
    let sum = block_on(async {
        let first = rx.recv().unwrap();
        gate.passed().await;
        first + rx.recv().unwrap()
    });
    assert_eq!(sum, 3);
    work.join();
}

/// A semaphore's list points into each future that waits for a permit, while the goroutine is
/// parked by the future, and while it is parked by something else in the middle of a poll.
fn nodes_in_lists_of_others_stay_where_they_are(on: On) {
    let semaphore = Arc::new(tokio::sync::Semaphore::new(1));
    let (turn, turns) = unbounded::<()>();
    let parties = on.many(on.crowd(200), {
        let (semaphore, turns) = (semaphore.clone(), turns.clone());
        move |n| {
            let mut acquire = Box::pin(semaphore.acquire());
            let mut waited = false;
            let permit = block_on(poll_fn(|cx| {
                let polled = acquire.as_mut().poll(cx);
                if polled.is_pending() && !waited && n % 2 == 0 {
                    // Its node is in the list. Others run on this stack meanwhile.
                    waited = true;
                    turns.recv().unwrap();
                }
                polled
            }));
            yield_now();
            drop(permit);
        }
    });
    (0..on.crowd(200)).for_each(|_| turn.send(()).unwrap());
    join_all(parties);
    assert_eq!(semaphore.available_permits(), 1);
}

/// A future that the caller has pinned on its own stack, in a list that others write to.
fn a_future_borrowed_from_the_stack_stays(on: On) {
    let notify = Arc::new(tokio::sync::Notify::new());
    let waiting = Arc::new(AtomicUsize::new(0));
    let parties = on.many(on.crowd(200), {
        let (notify, waiting) = (notify.clone(), waiting.clone());
        move |n| {
            let mut notified = pin!(notify.notified());
            notified.as_mut().enable();
            waiting.fetch_add(1, Ordering::SeqCst);
            let bytes = [n as u8; 100];
            notified.wait();
            assert_eq!(bytes, [n as u8; 100]);
        }
    });
    narrowboat_testing::eventually("they all wait", || waiting.load(Ordering::SeqCst) == on.crowd(200));
    notify.notify_waiters();
    join_all(parties);
}

fn waits_of_thousands(on: On) {
    let semaphore = Arc::new(tokio::sync::Semaphore::new(0));
    let parties = on.many(on.crowd(sized(2_000, 300)), {
        let semaphore = semaphore.clone();
        move |n| {
            semaphore.acquire().wait().unwrap().forget();
            n
        }
    });
    let n = parties.len();
    let releases = on.go(move || (0..n).for_each(|_| semaphore.add_permits(1)));
    assert_eq!(join_all(parties).into_iter().sum::<usize>(), n * (n - 1) / 2);
    releases.join();
}
