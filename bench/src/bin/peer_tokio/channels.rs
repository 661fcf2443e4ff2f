//! The channel cases as async tasks. tokio's bounded channels begin at a capacity of one, which stands in for an
//! unbuffered channel in ping-pong and in the ring.

use std::time::Instant;

use narrowboat_bench::cli::per_operation;
use tokio::sync::{mpsc, watch};

/// Two tasks, two channels of capacity one, `operations` round trips.
pub async fn ping_pong(operations: usize) {
    warmed("pingpong", operations, |operations| async move {
        let (ping, mut pinged) = mpsc::channel::<usize>(1);
        let (pong, mut ponged) = mpsc::channel::<usize>(1);
        tokio::spawn(async move {
            for _ in 0..operations {
                pong.send(pinged.recv().await.unwrap()).await.unwrap();
            }
        });
        let ask = tokio::spawn(async move {
            for i in 0..operations {
                ping.send(i).await.unwrap();
                assert_eq!(ponged.recv().await, Some(i));
            }
        });
        ask.await.unwrap();
    })
    .await;
}

/// One sender, one receiver, a capacity of 128, `operations` messages.
pub async fn one_to_one(operations: usize) {
    warmed("chan128", operations, |operations| async move {
        let (messages, mut inbox) = mpsc::channel::<usize>(128);
        tokio::spawn(async move {
            for i in 0..operations {
                messages.send(i).await.unwrap();
            }
        });
        let receive = tokio::spawn(async move {
            for i in 0..operations {
                assert_eq!(inbox.recv().await, Some(i));
            }
        });
        receive.await.unwrap();
    })
    .await;
}

/// `size` tasks in a ring pass one token on for about `hops` hops, in whole rounds. The token
/// counts them.
pub async fn ring(size: usize, hops: usize) {
    let rounds = (hops / size).max(1);
    warmed("ring", rounds * size, move |hops| async move {
        let rounds = (hops / size).max(1);
        let (senders, inboxes): (Vec<_>, Vec<_>) = (0..size).map(|_| mpsc::channel::<usize>(1)).unzip();
        let mut members = Vec::with_capacity(size);
        for (i, mut inbox) in inboxes.into_iter().enumerate() {
            let to = senders[(i + 1) % size].clone();
            members.push(tokio::spawn(async move {
                for round in 0..rounds {
                    let token = inbox.recv().await.unwrap();
                    assert_eq!(token, round * size + i);
                    // The last hop of all has nobody left to receive it.
                    if token + 1 < rounds * size {
                        to.send(token + 1).await.unwrap();
                    }
                }
            }));
        }
        senders[0].send(0).await.unwrap();
        for member in members {
            member.await.unwrap();
        }
    })
    .await;
}

/// `count` tasks, each with a channel of its own, select over that and over one signal that they all share. One task
/// sends to each in turn. In the end the signal comes, and all must go.
pub async fn select_shared(count: usize, operations: usize) {
    warmed("shared", operations / count * count, |operations| async move {
        let each = (operations / count).max(1);
        let (stop, stopped) = watch::channel(());
        let (done, mut ended) = mpsc::channel(count);
        let mut senders = Vec::with_capacity(count);
        for _ in 0..count {
            let (messages, mut inbox) = mpsc::channel::<usize>(1);
            let (mut stopped, done) = (stopped.clone(), done.clone());
            senders.push(messages);
            tokio::spawn(async move {
                let mut received = 0;
                loop {
                    tokio::select! {
                        message = inbox.recv() => assert_eq!(message, Some(received)),
                        _ = stopped.changed() => break,
                    }
                    received += 1;
                }
                // What was sent before the signal, and chosen after it.
                while inbox.try_recv() == Ok(received) {
                    received += 1;
                }
                done.send(received).await.unwrap();
            });
        }
        for i in 0..each {
            for messages in &senders {
                messages.send(i).await.unwrap();
            }
        }
        drop(stop);
        for _ in 0..count {
            assert_eq!(ended.recv().await, Some(each));
        }
    })
    .await;
}

/// Runs the case with a tenth of the work to warm up, then times the whole of it.
pub async fn warmed<F: Future>(name: &'static str, operations: usize, run: impl Fn(usize) -> F) {
    run((operations / 10).max(1)).await;
    let begun = Instant::now();
    run(operations).await;
    per_operation(name, begun.elapsed(), operations);
}
