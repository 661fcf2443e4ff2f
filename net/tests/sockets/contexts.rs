//! Operations that end when a context does.

use crate::loopback::{listener, pair};
use narrowboat_chan::context::{self, background, with_cancel, with_deadline, with_timeout};
use narrowboat_net::UdpSocket;
use narrowboat_net::unix::UnixStream;
use narrowboat_testing::{bounded, one_site::go, scaled, settle};
use std::io::{Error, ErrorKind, Read, Write};
use std::time::{Duration, Instant};

fn reason(error: &Error) -> Option<context::Error> {
    error.get_ref().and_then(|inner| inner.downcast_ref().copied())
}

#[test]
fn a_cancel_ends_reads_writes_accepts_and_receives_under_way() {
    bounded(|| {
        let (ctx, cancel) = with_cancel(&background());
        let (one, _other) = pair();
        let (mut reader, mut writer) = (one.with_context(&ctx), one.with_context(&ctx));
        let (accepting, receiving) = (listener().with_context(&ctx), UdpSocket::bind("127.0.0.1:0").unwrap());
        let receiving = receiving.with_context(&ctx);
        let ended = [
            go(move || reader.read(&mut [0; 8]).unwrap_err()),
            go(move || std::iter::repeat_with(|| writer.write(&[0; 65_536])).find_map(Result::err).unwrap()),
            go(move || accepting.accept().unwrap_err()),
            go(move || receiving.recv_from(&mut [0; 8]).unwrap_err()),
        ];
        settle();
        cancel.cancel();
        for ended in ended {
            let error = ended.join();
            assert_eq!(reason(&error), Some(context::Error::Canceled));
            assert_eq!((error.kind(), error.to_string()), (ErrorKind::Other, "context canceled".into()));
        }
        // Other handles are not concerned.
        one.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        assert_eq!((&one).read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
    });
}

#[test]
fn a_deadline_of_the_context_is_one_of_its_operations() {
    bounded(|| {
        let (one, _other) = UnixStream::pair().unwrap();
        let began = Instant::now();
        let (ctx, _cancel) = with_timeout(&background(), Duration::from_millis(10));
        let error = one.with_context(&ctx).read(&mut [0; 8]).unwrap_err();
        assert_eq!(
            (error.kind(), reason(&error)),
            (ErrorKind::TimedOut, Some(context::Error::DeadlineExceeded))
        );
        assert!(began.elapsed() >= Duration::from_millis(10));
    });
}

#[test]
fn a_context_that_is_done_fails_even_if_data_are_there() {
    bounded(|| {
        let (mut one, other) = pair();
        one.write_all(b"data").unwrap();
        assert_eq!(other.peek(&mut [0; 8]).unwrap(), 4);
        let (ctx, _cancel) = with_deadline(&background(), Instant::now());
        assert!(other.with_context(&ctx).read(&mut [0; 8]).is_err());
        assert_eq!(other.with_context(&background()).read(&mut [0; 8]).unwrap(), 4);
    });
}

#[test]
fn timeouts_and_deadlines_of_the_socket_count_as_well() {
    bounded(|| {
        let (ctx, _cancel) = with_cancel(&background());
        let (one, _other) = pair();
        let mut tied = one.with_context(&ctx);
        one.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
        assert_eq!(tied.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
        one.set_read_timeout(None).unwrap();
        one.set_read_deadline(Some(Instant::now() + Duration::from_millis(5))).unwrap();
        assert_eq!(tied.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::TimedOut);
        one.set_read_deadline(None).unwrap();
        let blocked = go(move || tied.read(&mut [0; 8]).unwrap_err().kind());
        settle();
        one.close();
        assert_eq!(blocked.join(), ErrorKind::NotConnected);
    });
}

/// An echo through tied handles at both ends, with cancels that come at any moment.
#[test]
fn traffic_flows_until_the_cancel() {
    bounded(|| {
        for round in 0..scaled(100) as u64 {
            let (ctx, cancel) = with_cancel(&background());
            let (one, other) = pair();
            let echo = {
                let mut other = other.with_context(&ctx);
                go(move || {
                    let mut block = [0; 64];
                    loop {
                        let count = other.read(&mut block)?;
                        other.write_all(&block[..count])?;
                    }
                    #[allow(unreachable_code, reason = "it says the type")]
                    Ok::<(), Error>(())
                })
            };
            let mut tied = one.with_context(&ctx);
            let client = go(move || {
                let mut back = [0; 5];
                loop {
                    tied.write_all(b"again")?;
                    tied.read_exact(&mut back)?;
                    assert_eq!(&back, b"again");
                }
                #[allow(unreachable_code, reason = "it says the type")]
                Ok::<(), Error>(())
            });
            std::thread::sleep(Duration::from_micros(round * 37 % 2_000));
            cancel.cancel();
            for ended in [echo, client] {
                assert_eq!(reason(&ended.join().unwrap_err()), Some(context::Error::Canceled));
            }
        }
    });
}
