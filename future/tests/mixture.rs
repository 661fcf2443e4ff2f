//! One channel, one lock, one semaphore: goroutines, threads and tokio tasks on all sides, in every
//! mixture. Tasks are dropped in the middle of their waits.
#![cfg(feature = "tokio")]

use narrowboat_chan::context::{background, with_cancel};
use narrowboat_chan::{Receiver, RecvError, SendError, Sender, after, bounded, select, unbounded};
use narrowboat_future::{FutureExt, StreamExt, block_on, stream, tokio::handle};
use narrowboat_runtime::{JoinHandle, blocking, spawn};
use narrowboat_testing::{Census, Dice, LONG, bounded as within_limit, eventually, ms, settle, sized};
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

/// What one side of a channel is.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Goroutine,
    Thread,
    Task,
    /// A task whose operations are dropped and begun again, again and again.
    Fickle,
}

const KINDS: [Kind; 4] = [Kind::Goroutine, Kind::Thread, Kind::Task, Kind::Fickle];
const CAPACITIES: [Option<usize>; 4] = [Some(0), Some(1), Some(7), None];

enum Work<T> {
    Goroutine(JoinHandle<T>),
    Thread(std::thread::JoinHandle<T>),
    Task(tokio::task::JoinHandle<T>),
}

impl<T: Send + 'static> Work<T> {
    fn join(self) -> T {
        match self {
            Work::Goroutine(work) => work.join().unwrap(),
            Work::Thread(work) => blocking(move || work.join()).unwrap(),
            Work::Task(work) => work.wait_timeout(LONG).expect("a wake-up was lost").unwrap(),
        }
    }
}

fn make<T>(capacity: Option<usize>) -> (Sender<T>, Receiver<T>) {
    capacity.map_or_else(unbounded, bounded)
}

/// Polls the future some times, and drops it if it is not ready by then.
async fn a_few_polls<F: Future>(future: F, polls: usize) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = polls;
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending if left == 0 => Poll::Ready(None),
        Poll::Pending => {
            left -= 1;
            // Looks again soon, also without a message.
            cx.waker().wake_by_ref();
            Poll::Pending
        }
    })
    .await
}

impl Kind {
    fn run<T, F>(self, blocking: impl FnOnce() -> T + Send + 'static, task: F) -> Work<T>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        match self {
            Kind::Goroutine => Work::Goroutine(spawn(blocking)),
            Kind::Thread => Work::Thread(std::thread::spawn(blocking)),
            Kind::Task | Kind::Fickle => Work::Task(handle().spawn(task)),
        }
    }

    /// Sends the messages. A message whose send was dropped is sent again: it was not taken, or the
    /// receivers see it twice.
    fn sends(self, tx: Sender<u64>, messages: std::ops::Range<u64>) -> Work<()> {
        let (sender, all) = (tx.clone(), messages.clone());
        self.run(move || all.for_each(|n| sender.send(n).unwrap()), async move {
            for n in messages {
                tx.send_async(n).await.unwrap();
                if self == Kind::Fickle && n % 5 == 0 {
                    tokio::task::yield_now().await;
                }
            }
        })
    }

    /// Receives until the channel is closed.
    fn receives(self, rx: Receiver<u64>) -> Work<Vec<u64>> {
        let receiver = rx.clone();
        self.run(move || receiver.iter().collect(), async move {
            let mut got = Vec::new();
            let mut dice = Dice::new(7_u64);
            loop {
                let message = if self == Kind::Task {
                    Some(rx.recv_async().await)
                } else {
                    a_few_polls(rx.recv_async(), dice.roll(3_u64) as usize).await
                };
                match message {
                    Some(Ok(n)) => got.push(n),
                    Some(Err(RecvError)) => return got,
                    None => tokio::task::yield_now().await,
                }
            }
        })
    }
}

fn every_message_arrives_once(senders: Kind, receivers: [Kind; 2], capacity: Option<usize>) {
    let each = sized(600, 60) as u64;
    let (tx, rx) = make(capacity);
    let sending: Vec<_> =
        (0..3).map(|side| senders.sends(tx.clone(), side * each..(side + 1) * each)).collect();
    drop(tx);
    let receiving: Vec<_> =
        receivers.iter().chain(&receivers).map(|receiver| receiver.receives(rx.clone())).collect();
    drop(rx);
    sending.into_iter().for_each(Work::join);
    let mut all: Vec<u64> = receiving.into_iter().flat_map(Work::join).collect();
    all.sort_unstable();
    assert!(all.into_iter().eq(0..3 * each), "{senders:?} to {receivers:?} by {capacity:?}");
}

#[test]
fn every_mixture_of_senders_and_receivers() {
    within_limit(|| {
        for capacity in CAPACITIES {
            for senders in KINDS {
                for receiver in KINDS {
                    every_message_arrives_once(senders, [receiver, Kind::Goroutine], capacity);
                    every_message_arrives_once(senders, [receiver, Kind::Fickle], capacity);
                }
            }
        }
    });
}

/// A sender that has to itself sees its own order kept by a receiver that is dropped in between.
#[test]
fn one_fickle_receiver_keeps_the_order() {
    within_limit(|| {
        for capacity in CAPACITIES {
            for senders in KINDS {
                let (tx, rx) = make(capacity);
                let sends = senders.sends(tx, 0..300);
                let got = Kind::Fickle.receives(rx).join();
                assert!(got.into_iter().eq(0..300), "{senders:?} by {capacity:?}");
                sends.join();
            }
        }
    });
}

struct Counter(AtomicUsize);

impl Wake for Counter {
    fn wake(self: Arc<Counter>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn counter() -> (Arc<Counter>, Waker) {
    let counter = Arc::new(Counter(AtomicUsize::new(0)));
    (counter.clone(), Waker::from(counter))
}

/// A receive is dropped after its message has been handed to it: the next receive gets the message,
/// before younger ones, and also if the channel has no room.
#[test]
fn a_dropped_receive_gives_its_message_back() {
    for capacity in CAPACITIES {
        let (tx, rx) = make(capacity);
        let (wakes, waker) = counter();
        let mut cx = Context::from_waker(&waker);
        let mut receive = Box::pin(rx.recv_async());
        assert!(receive.as_mut().poll(&mut cx).is_pending());
        // Handed over: a send without a buffer has returned.
        tx.try_send(1).unwrap();
        assert_eq!(wakes.0.load(Ordering::SeqCst), 1);
        let younger: Vec<i32> = (2..20).take_while(|n| tx.try_send(*n).is_ok()).collect();
        drop(receive);
        assert_eq!(rx.len(), 1 + younger.len());
        assert!(rx.try_iter().eq(std::iter::once(1).chain(younger)));
        // It is as it was.
        assert_eq!(tx.try_send(9).is_ok(), capacity != Some(0));
    }
}

/// The same while another receive waits, of each kind: it gets the message.
#[test]
fn a_dropped_receive_passes_its_message_on() {
    within_limit(|| {
        for kind in [Kind::Goroutine, Kind::Thread, Kind::Task] {
            let (tx, rx) = bounded(0);
            let (_, waker) = counter();
            let mut first = Box::pin(rx.recv_async());
            assert!(first.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            let (one, other) = (rx.clone(), rx.clone());
            let second = kind.run(move || one.recv(), async move { other.recv_async().await });
            settle();
            tx.try_send(1_u64).unwrap();
            drop(first);
            assert_eq!(second.join(), Ok(1));
        }
    });
}

#[test]
fn a_dropped_send_leaves_or_has_sent() {
    static CENSUS: Census = Census::new();
    let (tx, rx) = bounded(0);
    let (_, waker) = counter();
    let mut cx = Context::from_waker(&waker);
    let mut send = Box::pin(tx.send_async(CENSUS.value()));
    assert!(send.as_mut().poll(&mut cx).is_pending());
    drop(send);
    assert!(rx.try_recv().is_err() && CENSUS.alive() == 0, "its message was dropped with it");
    let mut send = Box::pin(tx.send_async(CENSUS.value()));
    assert!(send.as_mut().poll(&mut cx).is_pending());
    drop(rx.try_recv().unwrap());
    drop(send);
    // Never polled, refused by a closed channel in its wait, and refused at once.
    drop(tx.send_async(CENSUS.value()));
    let mut send = Box::pin(tx.send_async(CENSUS.value()));
    assert!(send.as_mut().poll(&mut cx).is_pending());
    let mut dropped = Box::pin(tx.send_async(CENSUS.value()));
    assert!(dropped.as_mut().poll(&mut cx).is_pending());
    drop(rx);
    drop(dropped);
    assert!(matches!(send.as_mut().poll(&mut cx), Poll::Ready(Err(SendError(_)))));
    assert!(block_on(tx.send_async(CENSUS.value())).is_err());
    assert_eq!(CENSUS.alive(), 0);
    assert_eq!(CENSUS.made(), CENSUS.dropped());
}

/// Messages that are on their way to dropped receives when the last receiver goes are dropped.
#[test]
fn nothing_is_left_behind() {
    static CENSUS: Census = Census::new();
    within_limit(|| {
        for _ in 0..sized(300, 30) {
            let (tx, rx) = bounded(1);
            let sends = spawn(move || while tx.send(CENSUS.value()).is_ok() {});
            let receives = handle().spawn(async move {
                for _ in 0..20 {
                    drop(a_few_polls(rx.recv_async(), 1).await);
                }
            });
            receives.wait().unwrap();
            sends.join().unwrap();
        }
        eventually("all messages are dropped", || CENSUS.alive() == 0);
    });
}

/// The select's message is made after the task was chosen, slowly, or not at all.
#[test]
fn a_task_meets_the_sends_of_selects() {
    within_limit(|| {
        for task_first in [true, false] {
            for gives_up in [true, false] {
                let (tx, rx) = bounded::<u64>(0);
                let other = tx.clone();
                let select = move || {
                    let _ = catch_unwind(AssertUnwindSafe(|| {
                        select! {
                            send(tx, { narrowboat_runtime::sleep(ms(5)); if gives_up { panic!("no message") } 7 }) -> _ => {},
                            recv(after(LONG)) -> _ => panic!("lost"),
                        }
                    }));
                };
                let receive = async move { rx.recv_async().await };
                let (selects, receives);
                if task_first {
                    receives = handle().spawn(receive);
                    settle();
                    selects = spawn(select);
                } else {
                    selects = spawn(select);
                    settle();
                    receives = handle().spawn(receive);
                }
                if gives_up {
                    other.send(7).unwrap();
                }
                assert_eq!(receives.wait().unwrap(), Ok(7));
                selects.join().unwrap();
            }
        }
    });
}

/// The task is dropped while the select makes the message for it.
#[test]
fn a_message_that_is_made_for_a_dropped_task_goes_back() {
    within_limit(|| {
        for task_first in [true, false] {
            let (tx, rx) = bounded::<u64>(0);
            let (go_on, gate) = bounded::<()>(0);
            let (_, waker) = counter();
            let select = move || {
                select! {
                    send(tx, { gate.recv().unwrap(); 7 }) -> end => end.unwrap(),
                    recv(after(LONG)) -> _ => panic!("lost"),
                }
            };
            let mut receive = Box::pin(rx.recv_async());
            let mut cx = Context::from_waker(&waker);
            let selects;
            if task_first {
                assert!(receive.as_mut().poll(&mut cx).is_pending());
                selects = spawn(select);
            } else {
                selects = spawn(select);
                settle();
                assert!(receive.as_mut().poll(&mut cx).is_pending());
            }
            settle();
            drop(receive);
            go_on.send(()).unwrap();
            assert_eq!(rx.recv_timeout(LONG), Ok(7));
            selects.join().unwrap();
        }
    });
}

#[test]
fn closes_reach_tasks() {
    within_limit(|| {
        let (tx, rx) = bounded::<u64>(0);
        let (_full, other) = (tx.clone(), rx.clone());
        let receives = handle().spawn(async move { other.recv_async().await });
        settle();
        rx.close();
        assert_eq!(receives.wait().unwrap(), Err(RecvError));
        assert_eq!(tx.send_async(3).wait(), Err(SendError(3)));
    });
}

/// Timers, contexts, sockets and futures: what has no sender.
#[test]
fn events_reach_tasks() {
    within_limit(|| {
        let start = Instant::now();
        let nap = after(ms(20));
        assert!(block_on(a_few_polls(nap.recv_async(), 2)).is_none());
        assert!(handle().spawn(async move { nap.recv_async().await }).wait().unwrap().is_ok());
        assert!(start.elapsed() >= ms(20));
        let (ctx, cancel) = with_cancel(&background());
        let done = handle().spawn(async move { ctx.done().recv_async().await });
        settle();
        cancel.cancel();
        assert_eq!(done.wait().unwrap(), Err(RecvError));
        let (future, ready) = tokio::sync::oneshot::channel();
        let ready = ready.into_receiver();
        let waits = handle().spawn(async move { ready.recv_async().await });
        settle();
        future.send(3).unwrap();
        assert_eq!(waits.wait().unwrap(), Ok(Ok(3)));
        let (mut one, two) = narrowboat::net::unix::UnixStream::pair().unwrap();
        let readable = handle().spawn(async move { two.readable().recv_async().await });
        settle();
        std::io::Write::write_all(&mut one, b"x").unwrap();
        assert_eq!(readable.wait().unwrap(), Ok(()));
    });
}

#[test]
fn goroutines_are_awaited() {
    within_limit(|| {
        let task = handle().spawn(async {
            let (tx, rx) = bounded::<()>(0);
            let waits = spawn(move || rx.recv().is_ok());
            let ended = spawn(|| 5);
            let panics = spawn(|| panic!("oh no"));
            tokio::task::yield_now().await;
            // Dropped in its wait, it goes on.
            let abandoned = spawn(|| narrowboat_runtime::sleep(ms(3)));
            assert!(a_few_polls(abandoned.into_future(), 1).await.is_none());
            tx.send_async(()).await.unwrap();
            let panic: Box<dyn std::any::Any + Send> = panics.await.unwrap_err();
            (waits.await.unwrap(), ended.await.unwrap(), *panic.downcast::<&str>().unwrap())
        });
        assert_eq!(task.wait().unwrap(), (true, 5, "oh no"));
        for _ in 0..sized(2_000, 100) {
            let short = spawn(|| 1).into_future();
            drop(block_on(a_few_polls(short, 0)));
        }
    });
}

#[test]
fn streams_both_ways() {
    within_limit(|| {
        let (tx, rx) = bounded(3);
        let sends = handle().spawn(async move {
            for n in 0..100 {
                tx.send_async(n).await.unwrap();
            }
        });
        assert!(stream(rx).into_receiver().iter().eq(0..100));
        sends.wait().unwrap();
    });
}

/// Never more than the permits, and none is lost with a dropped task.
#[test]
fn a_semaphore_for_all() {
    use narrowboat::sync::Semaphore;
    within_limit(|| {
        let semaphore = Arc::new(Semaphore::new(3));
        let inside = Arc::new(AtomicUsize::new(0));
        let rounds = sized(500, 50);
        let work: Vec<_> = (0..12)
            .map(|n| {
                let kind = KINDS[n % 4];
                let (a, b) = ((semaphore.clone(), inside.clone()), (semaphore.clone(), inside.clone()));
                let work = |inside: &AtomicUsize, permits: usize| {
                    assert!(inside.fetch_add(permits, Ordering::SeqCst) + permits <= 3);
                    std::thread::yield_now();
                    inside.fetch_sub(permits, Ordering::SeqCst);
                };
                kind.run(
                    move || {
                        (0..rounds).for_each(|n| {
                            let permit = a.0.acquire_many(1 + n % 3);
                            work(&a.1, permit.num_permits());
                        });
                    },
                    async move {
                        for n in 0..rounds {
                            if kind == Kind::Fickle {
                                drop(a_few_polls(b.0.acquire_many_async(1 + n % 3), n % 2).await);
                            } else {
                                let permit = b.0.acquire_many_async(1 + n % 3).await;
                                work(&b.1, permit.num_permits());
                            }
                            tokio::task::yield_now().await;
                        }
                    },
                )
            })
            .collect();
        work.into_iter().for_each(Work::join);
        assert_eq!(semaphore.available_permits(), 3);
    });
}

#[test]
fn a_mutex_for_all() {
    use narrowboat::sync::Mutex;
    within_limit(|| {
        let mutex = Arc::new(Mutex::new(0));
        let rounds = sized(500, 50);
        let work: Vec<_> = (0..12)
            .map(|n| {
                let kind = KINDS[n % 4];
                let (a, b) = (mutex.clone(), mutex.clone());
                kind.run(
                    move || {
                        (0..rounds).for_each(|n| {
                            let mut count = a.lock().unwrap();
                            if n % 50 == 0 {
                                narrowboat_runtime::sleep(Duration::from_micros(1500));
                            }
                            *count += 1;
                        });
                    },
                    async move {
                        let mut left = rounds;
                        while left > 0 {
                            let locked = if kind == Kind::Fickle {
                                a_few_polls(b.lock_async(), left % 2).await.map(|guard| *guard.unwrap() += 1)
                            } else {
                                b.lock_async().await.map(|mut guard| *guard += 1).ok()
                            };
                            left -= usize::from(locked.is_some());
                            tokio::task::yield_now().await;
                        }
                    },
                )
            })
            .collect();
        work.into_iter().for_each(Work::join);
        assert_eq!(*mutex.lock().unwrap(), 12 * rounds);
    });
}

#[test]
fn a_lock_that_is_read_and_written_by_all() {
    use narrowboat::sync::RwLock;
    within_limit(|| {
        let lock = Arc::new(RwLock::new((0_usize, 0_usize)));
        let rounds = sized(500, 50);
        let work: Vec<_> = (0..12)
            .map(|n| {
                let kind = KINDS[n % 4];
                let (a, b) = (lock.clone(), lock.clone());
                let write = |both: &mut (usize, usize)| {
                    both.0 += 1;
                    std::thread::yield_now();
                    both.1 += 1;
                };
                let read = |both: &(usize, usize)| assert_eq!(both.0, both.1);
                kind.run(
                    move || {
                        (0..rounds).for_each(|n| {
                            write(&mut a.write().unwrap());
                            read(&a.read().unwrap());
                            if n % 50 == 0 {
                                let _reading = a.read().unwrap();
                                narrowboat_runtime::sleep(Duration::from_micros(1500));
                            }
                        });
                    },
                    async move {
                        let mut left = rounds;
                        while left > 0 {
                            let polls = if kind == Kind::Fickle { left % 2 } else { usize::MAX };
                            let wrote = a_few_polls(b.write_async(), polls).await;
                            left -= usize::from(wrote.map(|both| write(&mut both.unwrap())).is_some());
                            tokio::task::yield_now().await;
                            a_few_polls(b.read_async(), polls)
                                .await
                                .inspect(|both| read(both.as_ref().unwrap()));
                            tokio::task::yield_now().await;
                        }
                    },
                )
            })
            .collect();
        work.into_iter().for_each(Work::join);
        assert_eq!(*lock.read().unwrap(), (12 * rounds, 12 * rounds));
    });
}

/// A waker runs in the middle of another goroutine's step. What it may do, and what ends there.
#[test]
fn wakers_may_use_channels_but_not_wait() {
    struct Curious(Mutex<Vec<String>>, Sender<u64>, Receiver<u64>);
    impl Wake for Curious {
        fn wake(self: Arc<Curious>) {
            let sent = self.1.try_send(1).is_ok();
            // Where it would have to wait it is refused.
            let waited = catch_unwind(AssertUnwindSafe(|| self.2.recv()));
            self.0.lock().unwrap().push(format!("{sent} {}", waited.is_err()));
            panic!("a waker that panics");
        }
    }
    within_limit(|| {
        let (tx, _keep) = bounded(1);
        let (_silent, silence) = bounded(0);
        let curious = Arc::new(Curious(Mutex::default(), tx, silence));
        let waker = Waker::from(curious.clone());
        let mut cx = Context::from_waker(&waker);
        let (tx, rx) = bounded(0);
        let mut receive = Box::pin(rx.recv_async());
        assert!(receive.as_mut().poll(&mut cx).is_pending());
        // Between the beginning of its wait and its park the second send wakes nothing; the first
        // hands its message over, and goes on behind the panic.
        let sends = spawn(move || [tx.send(1), tx.send(2)]);
        eventually("the waker has run", || !curious.0.lock().unwrap().is_empty());
        assert!(matches!(receive.as_mut().poll(&mut cx), Poll::Ready(Ok(1))));
        assert_eq!(rx.recv(), Ok(2));
        assert_eq!(sends.join().unwrap(), [Ok(()), Ok(())]);
        assert_eq!(*curious.0.lock().unwrap(), ["true true"]);
    });
}
