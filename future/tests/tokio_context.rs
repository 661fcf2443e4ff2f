//! Futures of tokio in goroutines and threads, by the runtime in the background.
#![cfg(feature = "tokio")]

use narrowboat_chan::{Sender, bounded, select};
use narrowboat_future::{FutureExt, TimeoutError, block_on, tokio::handle};
use narrowboat_testing::{LONG, On, join_all, ms, sized, suite_on_each};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::{Barrier, Mutex, Semaphore, broadcast, mpsc, watch};

suite_on_each! {
    timers_wake, timeouts_of_both_worlds, tasks_and_callers_talk, sockets_of_tokio, locks_of_tokio,
    the_context_is_not_held_across_waits, an_own_runtime_around_the_caller_is_used,
    a_future_is_dropped_where_it_is_polled, arms_of_select,
}

fn timers_wake(on: On) {
    let start = Instant::now();
    join_all(on.many(on.crowd(sized(1_000, 100)), |_| {
        async { tokio::time::sleep(Duration::from_millis(20)).await }.wait();
    }));
    assert!(start.elapsed() >= ms(20));
    let mut interval = async { tokio::time::interval(Duration::from_millis(2)) }.wait();
    (0..3).for_each(|_| {
        interval.tick().wait();
    });
}

fn timeouts_of_both_worlds(_: On) {
    let long = || async { tokio::time::sleep(LONG).await };
    assert_eq!(long().wait_timeout(ms(5)), Err(TimeoutError));
    assert!(async { tokio::time::timeout(Duration::from_millis(5), long()).await }.wait().is_err());
}

fn tasks_and_callers_talk(on: On) {
    let (tx, mut requests) = mpsc::channel::<(u64, tokio::sync::oneshot::Sender<u64>)>(4);
    let task = handle().spawn(async move {
        let mut served = 0;
        while let Some((n, reply)) = requests.recv().await {
            reply.send(n * n).unwrap();
            served += 1;
        }
        served
    });
    let callers = on.many(on.crowd(100), move |n| {
        let (reply, answer) = tokio::sync::oneshot::channel();
        tx.send((n as u64, reply)).wait().unwrap();
        assert_eq!(answer.wait().unwrap(), (n * n) as u64);
    });
    let count = callers.len();
    join_all(callers);
    assert_eq!(task.wait().unwrap(), count);
}

fn sockets_of_tokio(on: On) {
    let listener = TcpListener::bind("127.0.0.1:0").wait().unwrap();
    let address = listener.local_addr().unwrap();
    let clients = on.many(20, move |n| {
        let mut stream = TcpStream::connect(address).wait().unwrap();
        stream.write_all(&[n as u8; 1000]).wait().unwrap();
        let mut reply = [0; 1000];
        stream.read_exact(&mut reply).wait().unwrap();
        assert_eq!(reply, [n as u8; 1000]);
    });
    for _ in 0..20 {
        let (mut stream, _) = listener.accept().wait().unwrap();
        on.go(move || {
            let (mut reader, mut writer) = stream.split();
            block_on(tokio::io::copy(&mut reader, &mut writer)).unwrap();
        });
    }
    join_all(clients);
}

fn locks_of_tokio(on: On) {
    let (mutex, semaphore) = (Arc::new(Mutex::new(0)), Arc::new(Semaphore::new(3)));
    let barrier = Arc::new(Barrier::new(20));
    let work = on.many(20, {
        let (mutex, semaphore) = (mutex.clone(), semaphore.clone());
        move |_| {
            barrier.wait().wait();
            let _permit = semaphore.acquire().wait().unwrap();
            // The guard is held across a wait of ours.
            let mut count = mutex.lock().wait();
            narrowboat_runtime::yield_now();
            *count += 1;
        }
    });
    join_all(work);
    assert_eq!((*mutex.lock().wait(), semaphore.available_permits()), (20, 3));
    let (tx, mut rx) = broadcast::channel(4);
    tx.send(1).unwrap();
    assert_eq!(rx.recv().wait(), Ok(1));
    let (tx, mut rx) = watch::channel(0);
    let sends = on.go(move || tx.send(1));
    rx.changed().wait().unwrap();
    assert_eq!(*rx.borrow(), 1);
    let _ = sends.join();
}

fn the_context_is_not_held_across_waits(on: On) {
    assert!(Handle::try_current().is_err());
    let (tx, rx) = bounded::<()>(0);
    let held = on.go(move || {
        let future = async {
            assert!(Handle::try_current().is_ok());
            tokio::task::yield_now().await;
            // Of Narrowboat, in the middle of a poll: the context stays the caller's own.
            rx.recv().unwrap();
            assert!(Handle::try_current().is_ok());
            tokio::task::yield_now().await;
        };
        future.wait();
        assert!(Handle::try_current().is_err());
    });
    for _ in 0..20 {
        async { tokio::task::yield_now().await }.wait();
        assert!(Handle::try_current().is_err());
    }
    tx.send(()).unwrap();
    held.join();
}

fn an_own_runtime_around_the_caller_is_used(_: On) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let id = runtime.handle().id();
    {
        let _inside = runtime.enter();
        assert_eq!(async { Handle::current().id() }.wait(), id);
    }
    assert_ne!(async { Handle::current().id() }.wait(), id);
    narrowboat_runtime::blocking(move || drop(runtime));
}

/// A value as clients of servers have them: its destructor needs the context.
struct NeedsTheContext(Sender<bool>);

impl Drop for NeedsTheContext {
    fn drop(&mut self) {
        self.0.send(Handle::try_current().is_ok()).unwrap();
    }
}

fn a_future_is_dropped_where_it_is_polled(_: On) {
    let (tx, rx) = bounded(8);
    let sleeper = || {
        let held = NeedsTheContext(tx.clone());
        async move {
            tokio::time::sleep(LONG).await;
            drop(held);
        }
    };
    assert!(sleeper().wait_timeout(Duration::from_millis(1)).is_err());
    assert_eq!(rx.try_recv(), Ok(true), "after a time-out");
    let receiver = sleeper().into_receiver();
    assert!(receiver.try_recv().is_err());
    drop(receiver);
    assert_eq!(rx.try_recv(), Ok(true), "with its receiver");
    let held = NeedsTheContext(tx.clone());
    let ready = async move { held }.into_receiver();
    assert!(!ready.is_empty());
    drop(ready);
    assert_eq!(rx.try_recv(), Ok(true), "the output that nothing has received");
}

fn arms_of_select(on: On) {
    let (tx, rx) = bounded::<()>(0);
    let nap = async { tokio::time::sleep(Duration::from_millis(10)).await }.into_receiver();
    select! {
        recv(rx) -> _ => unreachable!(),
        recv(nap) -> end => assert_eq!(end, Ok(())),
    }
    let sends = on.go(move || tx.send(()).unwrap());
    let nap = async { tokio::time::sleep(LONG).await }.into_receiver();
    select! {
        recv(rx) -> end => assert_eq!(end, Ok(())),
        recv(nap) -> _ => unreachable!(),
    }
    sends.join();
}
