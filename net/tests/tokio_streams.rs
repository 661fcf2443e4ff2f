//! Streams with tokio's traits, polled by goroutines, by threads and by tasks of tokio.
#![cfg(feature = "tokio")]

mod loopback;

use loopback::pair;
use narrowboat::future::{FutureExt, tokio::handle};
use narrowboat_net::tokio::AsyncStream;
use narrowboat_net::unix::UnixStream;
use narrowboat_runtime::spawn;
use narrowboat_runtime::world::{self, End, Moment, Scheduler};
use narrowboat_testing::{LONG, assert_passed, bounded, eventually, in_child_with, ms, settle, within};
use std::any::Any;
use std::future::Future;
use std::io::{ErrorKind, Read, Write};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Instant;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy, split};

const SIZE: usize = 3_000_000;

fn pattern() -> Vec<u8> {
    (0..SIZE).map(|n| (n * n % 251) as u8).collect()
}

fn poll_once<F: Future>(future: F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

async fn echo(stream: impl AsyncRead + AsyncWrite) {
    let (mut reader, mut writer) = split(stream);
    copy(&mut reader, &mut writer).await.unwrap();
    writer.shutdown().await.unwrap();
    // The other end has gone first, or goes now.
    let _ = writer.shutdown().await;
}

/// Sends more than the kernel buffers, and reads it back at the same time.
async fn there_and_back(stream: impl AsyncRead + AsyncWrite) {
    let (mut reader, mut writer) = split(stream);
    let sends = async {
        writer.write_all(&pattern()).await.unwrap();
        writer.shutdown().await.unwrap();
    };
    let receives = async {
        let mut got = Vec::new();
        reader.read_to_end(&mut got).await.unwrap();
        assert!(got == pattern());
    };
    let (mut sends, mut receives) = (pin!(sends), pin!(receives));
    let (mut sent, mut received) = (false, false);
    std::future::poll_fn(|cx| {
        sent = sent || sends.as_mut().poll(cx).is_ready();
        received = received || receives.as_mut().poll(cx).is_ready();
        if sent && received { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

fn on_all_kinds<S>(make: fn() -> (S, S))
where
    S: Send + 'static,
    AsyncStream<S>: From<S> + AsyncRead + AsyncWrite + Unpin,
{
    within(LONG, move || {
        for kind in 0..3 {
            let (one, other) = make();
            let (one, other) = (AsyncStream::from(one), AsyncStream::from(other));
            let echoes = spawn(move || echo(one).wait());
            match kind {
                0 => spawn(move || there_and_back(other).wait()).join().unwrap(),
                1 => there_and_back(other).wait(),
                _ => handle().spawn(there_and_back(other)).wait().unwrap(),
            }
            echoes.join().unwrap();
        }
    });
}

#[test]
fn tcp_there_and_back() {
    on_all_kinds(pair);
}

#[test]
fn unix_there_and_back() {
    on_all_kinds(|| UnixStream::pair().unwrap());
}

/// A read that is given up in its wait has read nothing, and a write nothing written.
#[test]
fn what_is_dropped_loses_nothing() {
    bounded(|| {
        let (mut one, other) = pair();
        let mut reading = AsyncStream::from(other.try_clone().unwrap());
        let mut buf = [0; 8];
        for round in 0..5 {
            assert!(poll_once(reading.read(&mut buf)).is_pending());
            one.write_all(&[round; 3]).unwrap();
            assert_eq!(reading.read(&mut buf).wait().unwrap(), 3);
            assert_eq!(buf[..3], [round; 3]);
        }
        // By a blocking call on a clone, while the wait of a dropped future is still there.
        assert!(poll_once(reading.read(&mut buf)).is_pending());
        one.write_all(b"later").unwrap();
        assert_eq!((&other).read(&mut buf).unwrap(), 5);
        drop(reading);

        let mut writing = AsyncStream::from(other);
        let mut written = 0;
        while let Poll::Ready(wrote) = poll_once(writing.write(&[7; 65_536])) {
            written += wrote.unwrap();
        }
        drop(writing);
        let mut all = Vec::new();
        one.read_to_end(&mut all).unwrap();
        assert_eq!(all.len(), written);
    });
}

#[test]
fn a_deadline_and_a_close_end_what_is_under_way() {
    bounded(|| {
        let (_one, other) = pair();
        let mut stream = AsyncStream::from(other.try_clone().unwrap());
        other.set_read_deadline(Some(Instant::now() + ms(20))).unwrap();
        assert_eq!(stream.read(&mut [0; 8]).wait().unwrap_err().kind(), ErrorKind::TimedOut);
        other.set_read_deadline(None).unwrap();
        // A timeout is for blocking calls alone.
        other.set_read_timeout(Some(ms(1))).unwrap();
        let reads = spawn(move || stream.read(&mut [0; 8]).wait().unwrap_err().kind());
        settle();
        assert!(!reads.is_finished());
        other.close();
        assert_eq!(reads.join().unwrap(), ErrorKind::NotConnected);
        let mut closed = AsyncStream::from(other);
        assert_eq!(closed.write(b"x").wait().unwrap_err().kind(), ErrorKind::NotConnected);
    });
}

#[test]
fn the_end_is_read_again_and_again() {
    bounded(|| {
        let (one, other) = pair();
        let mut stream = AsyncStream::from(other);
        let reads = spawn(move || {
            let ends = [(); 3].map(|()| stream.read(&mut [0; 8]).wait().unwrap());
            assert!(stream.read(&mut []).wait().unwrap() == 0);
            stream.shutdown().wait().unwrap();
            stream.into_inner();
            ends
        });
        settle();
        drop(one);
        assert_eq!(reads.join().unwrap(), [0; 3]);
    });
}

#[test]
fn a_crowd_of_goroutines_waits_and_is_woken() {
    bounded(|| {
        let pairs: Vec<_> = (0..200).map(|_| UnixStream::pair().unwrap()).collect();
        let (near, far): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
        let readers: Vec<_> = far
            .into_iter()
            .map(|stream| {
                spawn(move || {
                    let mut text = String::new();
                    AsyncStream::from(stream).read_to_string(&mut text).wait().unwrap();
                    text
                })
            })
            .collect();
        settle();
        for (number, mut stream) in near.into_iter().enumerate() {
            write!(stream, "{number}").unwrap();
        }
        for (number, reader) in readers.into_iter().enumerate() {
            assert_eq!(reader.join().unwrap(), number.to_string());
        }
    });
}

/// A future whose stream never makes it wait lets others of its processor run.
#[test]
fn a_stream_that_is_always_ready_gives_way() {
    let test = "a_stream_that_is_always_ready_gives_way";
    let one = [("NARROWBOAT_PROCESSORS", "1"), ("NARROWBOAT_WORKERS", "1")];
    let Some(output) = in_child_with(test, &one) else {
        within(LONG, || {
            let (stop, stopped) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
            let seen = (stop.clone(), stopped.clone());
            let busy = spawn(move || {
                let mut stream = AsyncStream::from(UnixStream::pair().unwrap().0);
                async {
                    while !seen.0.load(Ordering::Relaxed) {
                        // Nothing needs no room, and no other end.
                        let _ = stream.write(b"").await;
                    }
                }
                .wait();
                seen.1.store(true, Ordering::Relaxed);
            });
            std::thread::sleep(ms(30));
            spawn(move || stop.store(true, Ordering::Relaxed)).join().unwrap();
            eventually("the other one ends", || stopped.load(Ordering::Relaxed));
            busy.join().unwrap();
        });
        return;
    };
    assert_passed(&output, 1);
}

/// The first goroutine goes first, until there have been too many turns.
struct First(u32);

impl Scheduler for First {
    fn next(&mut self, _: &Moment<'_>) -> Option<usize> {
        self.0 = self.0.checked_sub(1)?;
        Some(0)
    }

    fn draw(&mut self, _: usize) -> usize {
        0
    }

    fn jump(&mut self, _: u64) -> bool {
        true
    }

    fn random(&mut self) -> u64 {
        4
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any + Send> {
        self
    }
}

/// There, each call gives way, and not only those that come late.
#[test]
fn a_stream_makes_progress_in_a_world() {
    let finished = world::run(Box::new(First(10_000)), || {
        let (one, other) = UnixStream::pair().unwrap();
        let (mut one, mut other) = (AsyncStream::from(one), AsyncStream::from(other));
        let mut text = [0; 4];
        let both = async {
            one.write_all(b"ahoy").await.unwrap();
            other.read_exact(&mut text).await.unwrap();
        };
        both.wait();
        text
    })
    .unwrap();
    assert_eq!((finished.end, finished.outcome.unwrap().unwrap()), (End::Complete, *b"ahoy"));
}
