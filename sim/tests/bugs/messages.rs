//! Bugs in what goroutines say to each other: channels, ends, times, protocols.

use super::{Bug, bug, cell, go_all};
use narrowboat::sync::{Condvar, Mutex};
use narrowboat::{chan, context, go, select, sleep, time, yield_now};
use std::sync::Arc;
use std::time::{Duration, Instant};

const MS: Duration = Duration::from_millis(1);

pub const BUGS: &[Bug] = &[
    bug!("closed twice", "two see that a channel is open, and close it", closed_twice),
    bug!("send after close", "one closes while another one sends", send_after_close),
    bug!("forgotten cancel", "the way that fails returns without the cancel", forgotten_cancel),
    bug!(
        "answer that nothing takes",
        "a request times out, and its goroutine waits for ever",
        abandoned_answer
    ),
    bug!("late answer", "the answer to a request that timed out is taken for the next one's", late_answer),
    bug!("full circle", "two stages send to each other, and both buffers are full", full_circle),
    bug!("wait before add", "a goroutine counts itself in, after the wait has seen none", wait_before_add),
    bug!("tasks lost at the end", "a worker sees the end before what is queued", tasks_lost),
    bug!("stopped timer fires", "the timer has been taken for stopped, and was about to fire", stopped_timer),
    bug!("two leaders", "a leader goes on after its lease has ended", two_leaders),
    bug!("retry without idempotence", "a request whose answer came too late is carried out twice", retried),
    bug!("first error lost", "of two errors the last one is reported", error_lost),
];

fn closed_twice<const FIXED: bool>() {
    let (tx, _rx) = chan::unbounded::<()>();
    let once = cell(());
    go_all(2, |_| {
        let (tx, once) = (tx.clone(), once.clone());
        move || {
            let _once = FIXED.then(|| once.lock().unwrap());
            if !tx.is_closed() {
                assert!(tx.close(), "closed twice");
            }
        }
    });
}

fn send_after_close<const FIXED: bool>() {
    let (tx, rx) = chan::bounded(1);
    let sender = go!({
        let tx = tx.clone();
        move || {
            let sent = tx.send(1);
            assert!(FIXED || sent.is_ok(), "sent to a closed channel");
        }
    });
    tx.close();
    drop(rx);
    sender.join().unwrap();
}

fn forgotten_cancel<const FIXED: bool>() {
    let (ctx, cancel) = context::with_cancel(&context::background());
    let (tx, rx) = chan::bounded(1);
    go!(move || ctx.done().recv().is_ok());
    go!(move || tx.send(1).is_ok());
    // Kept by another part of the program.
    let cancel = std::mem::ManuallyDrop::new(cancel);
    let failed = rx.try_recv().is_err();
    if FIXED || !failed {
        cancel.cancel();
    }
}

fn abandoned_answer<const FIXED: bool>() {
    let (tx, rx) = chan::bounded(if FIXED { 1 } else { 0 });
    // Both ends stay alive in the connection.
    let connection = std::mem::ManuallyDrop::new((tx.clone(), rx.clone()));
    go!(move || {
        sleep(10 * MS);
        tx.send(1).unwrap();
    });
    let _ = connection.1.recv_timeout(10 * MS);
}

fn late_answer<const FIXED: bool>() {
    let (ask, asked) = chan::bounded::<(u32, chan::Sender<u32>)>(4);
    go!(move || {
        for (request, answer) in asked.iter() {
            sleep(10 * MS);
            let _ = answer.send(request);
        }
    });
    let shared = chan::bounded(4);
    for request in 0..3 {
        let (answer, answered) = if FIXED { chan::bounded(4) } else { shared.clone() };
        ask.send((request, answer)).unwrap();
        if let Ok(got) = answered.recv_timeout(10 * MS) {
            assert_eq!(got, request, "the answer to another request");
        }
    }
}

fn full_circle<const FIXED: bool>() {
    const TASKS: usize = 6;
    let (tasks, todo) = chan::bounded(1);
    let (results, done) = chan::bounded(1);
    let worker = go!(move || todo.iter().for_each(|task: usize| results.send(task).unwrap()));
    let mut got = 0;
    for task in 0..TASKS {
        if !FIXED {
            while task % 3 == 0 && done.try_recv().is_ok() {
                got += 1;
            }
            // The worker may be about to send, and not about to receive.
            tasks.send(task).unwrap();
            continue;
        }
        loop {
            select! {
                send(tasks, task) -> sent => {
                    sent.unwrap();
                    break;
                }
                recv(done) -> result => {
                    result.unwrap();
                    got += 1;
                }
            }
        }
    }
    drop(tasks);
    got += done.iter().count();
    assert_eq!(got, TASKS);
    worker.join().unwrap();
}

fn wait_before_add<const FIXED: bool>() {
    let group = Arc::new((Mutex::new(0), Condvar::new()));
    let done = cell(0);
    let workers: Vec<_> = (0..2)
        .map(|_| {
            if FIXED {
                *group.0.lock().unwrap() += 1;
            }
            let (group, done) = (group.clone(), done.clone());
            go!(move || {
                if !FIXED {
                    *group.0.lock().unwrap() += 1;
                }
                *done.lock().unwrap() += 1;
                *group.0.lock().unwrap() -= 1;
                group.1.notify_all();
            })
        })
        .collect();
    let mut running = group.0.lock().unwrap();
    while *running > 0 {
        running = group.1.wait(running).unwrap();
    }
    drop(running);
    let seen = *done.lock().unwrap();
    workers.into_iter().for_each(|worker| worker.join().unwrap());
    assert_eq!(seen, 2);
}

fn tasks_lost<const FIXED: bool>() {
    let (tx, rx) = chan::bounded(4);
    let (stop, stopped) = chan::bounded::<()>(0);
    let worker = go!(move || {
        let mut done = 0;
        loop {
            select! {
                recv(rx) -> task => match task {
                    Ok(()) => done += 1,
                    Err(_) => return done,
                },
                recv(stopped) -> _ => {
                    if FIXED {
                        done += rx.iter().count();
                    }
                    return done;
                }
            }
        }
    });
    tx.send(()).unwrap();
    tx.send(()).unwrap();
    drop(tx);
    drop(stop);
    assert_eq!(worker.join().unwrap(), 2);
}

fn stopped_timer<const FIXED: bool>() {
    let closed = cell(false);
    let timer = time::after_func(5 * MS, {
        let closed = closed.clone();
        move || {
            let closed = closed.lock().unwrap();
            assert!(FIXED || !*closed, "used after the end");
        }
    });
    sleep(5 * MS);
    // What it returns says whether the function has been called, or is being called.
    timer.stop();
    *closed.lock().unwrap() = true;
}

fn two_leaders<const FIXED: bool>() {
    // The term and the end of the lease, and the term of what was written last.
    let (lease, written) = (cell((0u64, Instant::now())), cell(0u64));
    go_all(2, |n| {
        let (lease, written) = (lease.clone(), written.clone());
        let work = [25 * MS, 5 * MS][n];
        move || {
            let term = loop {
                let mut lease = lease.lock().unwrap();
                if Instant::now() >= lease.1 {
                    *lease = (lease.0 + 1, Instant::now() + 10 * MS);
                    break lease.0;
                }
                drop(lease);
                sleep(MS);
            };
            sleep(work);
            let mut written = written.lock().unwrap();
            if *written > term {
                assert!(FIXED, "a former leader writes over what its successor has written");
                return;
            }
            *written = term;
        }
    });
}

fn retried<const FIXED: bool>() {
    let (ask, asked) = chan::bounded::<(u32, chan::Sender<()>)>(4);
    let charged = cell(vec![]);
    let server = go!({
        let charged = charged.clone();
        move || {
            for (key, answer) in asked.iter() {
                sleep(10 * MS);
                let mut charged = charged.lock().unwrap();
                if !FIXED || !charged.contains(&key) {
                    charged.push(key);
                }
                let _ = answer.send(());
            }
        }
    });
    for _ in 0..2 {
        let (answer, answered) = chan::bounded(1);
        ask.send((7, answer)).unwrap();
        if answered.recv_timeout(10 * MS).is_ok() {
            break;
        }
    }
    drop(ask);
    server.join().unwrap();
    assert_eq!(charged.lock().unwrap().len(), 1);
}

fn error_lost<const FIXED: bool>() {
    let (first, order) = (cell(None), cell(vec![]));
    go_all(2, |n| {
        let (first, order) = (first.clone(), order.clone());
        move || {
            let mut order = order.lock().unwrap();
            order.push(n);
            if !FIXED {
                drop(order);
            }
            first.lock().unwrap().get_or_insert(n);
            yield_now();
        }
    });
    let (first, order) = (*first.lock().unwrap(), order.lock().unwrap());
    assert_eq!(first, order.first().copied());
}
