//! Futures and streams as receivers, beside channels, in any mixture of callers.

use narrowboat_chan::{Receiver, RecvError, Select, TryRecvError, after, bounded, never, select, unbounded};
use narrowboat_future::{FutureExt, StreamExt, block_on};
use narrowboat_testing::{LONG, On, join_all, ms, settle, sized, suite_on_each};
use std::future::{pending, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use tokio::sync::{mpsc, oneshot};

suite_on_each! {
    an_output_is_one_message, it_stands_beside_channels, an_arm_that_is_not_taken_loses_nothing,
    default_and_timeouts, select_by_list, ready_takes_nothing, a_stream_ends, streams_are_shared,
    it_waits_beside_a_future_that_parks, a_panic_closes_it, the_last_receiver_drops_it,
    a_select_over_many_futures,
}

/// A stream of what a channel of tokio delivers.
struct Items<T>(mpsc::UnboundedReceiver<T>);

impl<T> futures_core::Stream for Items<T> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        self.0.poll_recv(cx)
    }
}

fn an_output_is_one_message(on: On) {
    let (tx, rx) = oneshot::channel();
    let rx = rx.into_receiver();
    assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
    assert!(rx.is_empty() && !rx.is_closed() && !rx.close());
    assert!(rx.recv_timeout(ms(3)).unwrap_err().is_timeout());
    let sends = on.go(move || tx.send(5).unwrap());
    assert_eq!(rx.recv(), Ok(Ok(5)));
    assert_eq!(rx.recv(), Err(RecvError));
    assert_eq!(rx.try_recv(), Err(TryRecvError::Disconnected));
    assert!(rx.is_closed() && rx.same_channel(&rx.clone()));
    sends.join();
}

fn it_stands_beside_channels(on: On) {
    for _ in 0..sized(500, 50) {
        let (tx, number) = oneshot::channel();
        let (sender, words) = bounded(0);
        let number = number.into_receiver();
        let work = [on.go(move || tx.send(5).unwrap()), on.go(move || sender.send("word").unwrap())];
        let (mut numbers, mut texts) = (0, 0);
        while numbers + texts < 2 {
            select! {
                recv(number) -> n => { numbers += 1; assert_eq!(n, Ok(Ok(5))); }
                recv(words) -> word => { texts += 1; assert_eq!(word, Ok("word")); }
                recv(after(LONG)) -> _ => panic!("a wake-up was lost"),
            }
            if texts == 1 && numbers == 0 {
                assert_eq!(number.recv(), Ok(Ok(5)));
                numbers += 1;
            }
            if numbers == 1 && texts == 0 {
                assert_eq!(words.recv(), Ok("word"));
                texts += 1;
            }
        }
        join_all(work.into());
    }
}

/// Both are ready. The select takes one, and the other's message is still there.
fn an_arm_that_is_not_taken_loses_nothing(_: On) {
    for _ in 0..100 {
        let (tx, rx) = mpsc::unbounded_channel();
        let items = Items(rx).into_receiver();
        let (sender, messages) = unbounded();
        for n in 0..3 {
            tx.send(n).unwrap();
            sender.send(n).unwrap();
        }
        drop((tx, sender));
        let (mut got, mut open) = ([Vec::new(), Vec::new()], [true; 2]);
        while open != [false; 2] {
            select! {
                recv(if open[0] { items.clone() } else { never() }) -> n => match n {
                    Ok(n) => got[0].push(n),
                    Err(_) => open[0] = false,
                },
                recv(if open[1] { messages.clone() } else { never() }) -> n => match n {
                    Ok(n) => got[1].push(n),
                    Err(_) => open[1] = false,
                },
            }
        }
        assert_eq!(got, [vec![0, 1, 2], vec![0, 1, 2]]);
    }
}

fn default_and_timeouts(_: On) {
    let (tx, rx) = oneshot::channel();
    let (rx, (_tx, other)) = (rx.into_receiver(), bounded::<()>(1));
    for _ in 0..3 {
        select! {
            recv(rx) -> n => panic!("{n:?}"),
            recv(other) -> n => panic!("{n:?}"),
            default => {}
        }
        select! {
            recv(rx) -> n => panic!("{n:?}"),
            recv(other) -> n => panic!("{n:?}"),
            default(ms(2)) => {}
        }
    }
    tx.send(1).unwrap();
    select! {
        recv(rx) -> n => assert_eq!(n, Ok(Ok(1))),
        recv(other) -> n => panic!("{n:?}"),
        default => panic!("it is ready"),
    }
}

/// Receivers of different types in one list: each operation completes with its own.
fn select_by_list(on: On) {
    let (tx, text) = oneshot::channel::<String>();
    let text = text.into_receiver();
    let number: Receiver<u64> = pending().into_receiver();
    let sends = on.go(move || tx.send("text".to_owned()).unwrap());
    let mut select = Select::new();
    let at_text = select.recv(&text);
    let at_number = select.recv(&number);
    let chosen = select.select();
    assert_eq!((chosen.index(), at_number), (at_text, 1));
    assert_eq!(chosen.recv(&text), Ok(Ok("text".to_owned())));
    sends.join();
    let panic = catch_unwind(AssertUnwindSafe(|| {
        let mut select = Select::new();
        select.recv(&text);
        let _ = select.select().recv(&number);
    }));
    assert!(panic.is_err(), "an operation takes its own receiver only");
}

fn ready_takes_nothing(on: On) {
    let (tx, rx) = oneshot::channel();
    let rx = rx.into_receiver();
    let sends = on.go(move || tx.send(9).unwrap());
    for _ in 0..3 {
        let mut select = Select::new();
        select.recv(&rx);
        assert_eq!(select.ready(), 0);
        assert_eq!((rx.len(), rx.is_full()), (1, true));
    }
    assert_eq!(rx.try_recv(), Ok(Ok(9)));
    sends.join();
}

fn a_stream_ends(on: On) {
    let (tx, rx) = mpsc::unbounded_channel();
    let sends = on.go(move || (0..100).for_each(|n| tx.send(n).unwrap()));
    assert!(Items(rx).into_receiver().iter().eq(0..100));
    sends.join();
}

fn streams_are_shared(on: On) {
    let count = sized(20_000, 1_000);
    let (tx, rx) = mpsc::unbounded_channel();
    let items = Items(rx).into_receiver();
    let sum = Arc::new(AtomicUsize::new(0));
    let parties = on.many(8, {
        let (items, sum) = (items.clone(), sum.clone());
        move |n| {
            let (_tx, other) = bounded::<()>(0);
            let mut received = 0;
            loop {
                let item = if n % 2 == 0 {
                    items.recv()
                } else {
                    select! { recv(items) -> item => item, recv(other) -> _ => unreachable!() }
                };
                let Ok(item) = item else { return received };
                sum.fetch_add(item, Ordering::SeqCst);
                received += 1;
            }
        }
    });
    (0..count).for_each(|n| tx.send(n).unwrap());
    drop(tx);
    assert_eq!(join_all(parties).into_iter().sum::<usize>(), count);
    assert_eq!(sum.load(Ordering::SeqCst), count * (count - 1) / 2);
}

/// One receiver polls a future that parks in its poll. Another waits beside it and is not held up.
fn it_waits_beside_a_future_that_parks(on: On) {
    let (go_on, gate) = bounded::<()>(0);
    let future = async move {
        gate.recv().unwrap();
        3
    }
    .into_receiver();
    let (polls, polled) = (future.clone(), future.clone());
    let polls = on.go(move || polls.recv());
    settle();
    assert!(polled.recv_timeout(ms(5)).unwrap_err().is_timeout());
    let waits = on.go(move || {
        select! { recv(polled) -> n => n, recv(after(LONG)) -> _ => panic!("a wake-up was lost") }
    });
    settle();
    go_on.send(()).unwrap();
    let mut ends = [polls.join_soon(), waits.join_soon()];
    ends.sort_unstable_by_key(Result::is_err);
    assert_eq!(ends, [Ok(3), Err(RecvError)]);
    drop(future);
}

fn a_panic_closes_it(_: On) {
    let rx = async { panic!("in the poll") }.into_receiver();
    let rx: Receiver<()> = rx;
    let panic = catch_unwind(AssertUnwindSafe(|| rx.recv())).unwrap_err();
    assert_eq!(*panic.downcast::<&str>().unwrap(), "in the poll");
    assert_eq!(rx.recv(), Err(RecvError));
    assert!(rx.is_closed());
}

fn the_last_receiver_drops_it(_: On) {
    let shared = Arc::new(());
    let inside = shared.clone();
    let wakers = Arc::new(std::sync::Mutex::new(Vec::new()));
    let kept = wakers.clone();
    let rx = poll_fn(move |cx| {
        let _inside = &inside;
        kept.lock().unwrap().push(cx.waker().clone());
        Poll::<()>::Pending
    })
    .into_receiver();
    let other = rx.clone();
    assert!(rx.try_recv().is_err());
    drop(rx);
    assert_eq!(Arc::strong_count(&shared), 2);
    drop(other);
    assert_eq!(Arc::strong_count(&shared), 1, "a waker keeps no future alive");
    wakers.lock().unwrap().drain(..).for_each(|waker| waker.wake());
}

fn a_select_over_many_futures(on: On) {
    let (mut senders, mut receivers) = (Vec::new(), Vec::new());
    for _ in 0..40 {
        let (tx, rx) = oneshot::channel();
        senders.push(tx);
        receivers.push(rx.into_receiver());
    }
    let sends = on.go(move || {
        for (n, tx) in senders.into_iter().enumerate().rev() {
            tx.send(n).unwrap();
        }
    });
    let mut sum = 0;
    let mut open: Vec<_> = receivers.iter().collect();
    while !open.is_empty() {
        let mut select = Select::new();
        open.iter().for_each(|rx| {
            select.recv(rx);
        });
        let chosen = select.select();
        let index = chosen.index();
        sum += chosen.recv(open[index]).unwrap().unwrap();
        open.swap_remove(index);
    }
    assert_eq!(sum, 40 * 39 / 2);
    assert_eq!(block_on(async { 1 }), 1);
    sends.join();
}
