//! Async tasks that are dropped by the wakers of others that wait for the same thing.

use narrowboat_chan::{bounded, broadcast, watch};
use narrowboat_testing::{LONG, within};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A waker that drops tasks, when it is woken.
#[derive(Default)]
struct Dropper(Mutex<Vec<Task>>);

impl Wake for Dropper {
    fn wake(self: Arc<Dropper>) {
        let tasks = std::mem::take(&mut *self.0.lock().unwrap());
        drop(tasks);
    }
}

/// Counts its calls.
#[derive(Default)]
struct Counter(AtomicUsize);

impl Wake for Counter {
    fn wake(self: Arc<Counter>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn waits(task: &mut Task, waker: &Waker) -> bool {
    task.as_mut().poll(&mut Context::from_waker(waker)).is_pending()
}

/// Of five tasks that wait, the first one's waker drops the next three. Then all are woken.
fn drop_in_the_middle(make: impl Fn() -> Task, wake_all: impl FnOnce()) {
    let (dropper, counter) = (Arc::new(Dropper::default()), Arc::new(Counter::default()));
    let mut first = make();
    assert!(waits(&mut first, &dropper.clone().into()));
    let mut others: Vec<Task> = (0..4).map(|_| make()).collect();
    for other in &mut others {
        assert!(waits(other, &counter.clone().into()));
    }
    let mut last = others.pop().unwrap();
    *dropper.0.lock().unwrap() = others;
    wake_all();
    assert_eq!(counter.0.load(Ordering::Relaxed), 1);
    assert_eq!(Arc::strong_count(&counter), 1, "the dropped tasks keep no waker");
    assert!(!waits(&mut first, Waker::noop()) && !waits(&mut last, Waker::noop()));
}

#[test]
fn receives_are_dropped_while_a_channel_closes() {
    within(LONG, || {
        let (tx, rx) = bounded::<u64>(0);
        let make = || -> Task {
            let rx = rx.clone();
            Box::pin(async move { assert!(rx.recv_async().await.is_err()) })
        };
        drop_in_the_middle(make, || drop(tx));
    });
}

#[test]
fn sends_are_dropped_while_a_channel_closes() {
    within(LONG, || {
        let (tx, rx) = bounded::<Arc<()>>(0);
        let message = Arc::new(());
        let make = || -> Task {
            let (tx, message) = (tx.clone(), message.clone());
            Box::pin(async move { drop(tx.send_async(message).await.unwrap_err()) })
        };
        drop_in_the_middle(make, || drop(rx));
        assert_eq!(Arc::strong_count(&message), 1);
    });
}

#[test]
fn receivers_of_a_broadcast_are_dropped_while_a_message_comes() {
    within(LONG, || {
        let (tx, _rx) = broadcast::channel(4);
        let make = || -> Task {
            let mut rx = tx.subscribe();
            Box::pin(async move { assert_eq!(rx.recv_async().await, Ok(5)) })
        };
        drop_in_the_middle(make, || assert!(tx.send(5).is_ok()));
    });
}

#[test]
fn watchers_are_dropped_while_a_value_changes() {
    within(LONG, || {
        let (tx, rx) = watch::channel(1);
        let make = || -> Task {
            let mut rx = rx.clone();
            Box::pin(async move { rx.changed_async().await.unwrap() })
        };
        drop_in_the_middle(make, || tx.send(2).unwrap());
    });
}
