//! What std promises of its TCP types, asked of ours.

mod loopback;
#[path = "loopback/registered.rs"]
mod registered;

use loopback::{listener, pair};
use narrowboat_net::{TcpListener, TcpStream};
use narrowboat_testing::{bounded, one_site::go, settle};
use registered::register;
use socket2::SockRef;
use std::io::{ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::net::{Ipv6Addr, Shutdown, SocketAddr};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use std::time::{Duration, Instant};

fn read_all(mut stream: impl Read) -> Vec<u8> {
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    all
}

#[test]
fn the_types_have_the_auto_traits_of_stds() {
    fn check<T: Send + Sync + Unpin + UnwindSafe + RefUnwindSafe>() {}
    check::<TcpListener>();
    check::<TcpStream>();
}

#[test]
fn an_echo_comes_back_and_the_end_is_the_end() {
    bounded(|| {
        let (mut one, other) = pair();
        let echo = go(move || std::io::copy(&mut &other, &mut &other).unwrap());
        let mut back = [0; 5];
        for text in [b"first", b"again"] {
            one.write_all(text).unwrap();
            one.read_exact(&mut back).unwrap();
            assert_eq!(&back, text);
        }
        one.shutdown(Shutdown::Write).unwrap();
        for _ in 0..3 {
            assert_eq!(one.read(&mut back).unwrap(), 0);
        }
        assert_eq!(echo.join(), 10);
    });
}

#[test]
fn the_end_is_seen_by_a_reader_that_waits_and_by_one_that_does_not() {
    bounded(|| {
        let (one, mut other) = pair();
        let waiting = go(move || other.read(&mut [0; 8]).unwrap());
        settle();
        drop(one);
        assert_eq!(waiting.join(), 0);

        let (one, mut other) = pair();
        drop(one);
        settle();
        assert_eq!(other.read(&mut [0; 8]).unwrap(), 0);
    });
}

#[test]
fn half_a_close_leaves_the_other_half() {
    bounded(|| {
        let (mut one, mut other) = pair();
        one.write_all(b"question").unwrap();
        one.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_all(&other), b"question");
        other.write_all(b"answer").unwrap();
        assert_eq!(one.write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
        drop(other);
        assert_eq!(read_all(&one), b"answer");
    });
}

#[test]
fn a_reset_is_a_reset_whether_one_waits_or_not() {
    bounded(|| {
        let reset = |stream: TcpStream| {
            SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
            drop(stream);
        };
        let (one, mut other) = pair();
        let waiting = go(move || other.read(&mut [0; 8]).unwrap_err().kind());
        settle();
        reset(one);
        assert_eq!(waiting.join(), ErrorKind::ConnectionReset);

        let (one, mut other) = pair();
        reset(one);
        assert_eq!(other.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    });
}

#[test]
fn a_reset_ends_a_write_that_waits_for_room() {
    bounded(|| {
        let (one, mut other) = pair();
        let waiting = go(move || {
            loop {
                if let Err(error) = other.write(&[0; 65_536]) {
                    return error.kind();
                }
            }
        });
        settle();
        SockRef::from(&one).set_linger(Some(Duration::ZERO)).unwrap();
        drop(one);
        let kind = waiting.join();
        assert!(matches!(kind, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{kind:?}");
    });
}

#[test]
fn without_a_listener_the_connection_is_refused() {
    bounded(|| {
        let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert_eq!(TcpStream::connect(address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
        let error = TcpStream::connect_timeout(&address, Duration::from_secs(60)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    });
}

#[test]
fn the_second_address_is_tried_when_the_first_refuses() {
    bounded(|| {
        let refusing = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let listener = listener();
        let addresses = [refusing, listener.local_addr().unwrap()];
        let stream = TcpStream::connect(&addresses[..]).unwrap();
        assert_eq!(stream.peer_addr().unwrap(), addresses[1]);
        assert_eq!(TcpStream::connect(&addresses[..0]).unwrap_err().kind(), ErrorKind::InvalidInput);
    });
}

/// A listener whose queue is full drops what comes, as a host that is not there would.
#[test]
fn a_connection_without_an_answer_times_out() {
    bounded(|| {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
        socket.listen(0).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        let mut taken = Vec::new();
        let limit = Duration::from_millis(150);
        let (error, took) = loop {
            let began = Instant::now();
            match TcpStream::connect_timeout(&address, limit) {
                Ok(stream) => taken.push(stream),
                Err(error) => break (error, began.elapsed()),
            }
            assert!(taken.len() < 100, "the queue never fills");
        };
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert!(took >= limit);
        let error = TcpStream::connect_timeout(&address, Duration::ZERO).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    });
}

#[test]
fn an_address_in_use_is_refused() {
    let first = listener();
    let error = TcpListener::bind(first.local_addr().unwrap()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
}

#[test]
fn a_listeners_address_can_be_used_again_at_once() {
    bounded(|| {
        let first = listener();
        let address = first.local_addr().unwrap();
        let client = TcpStream::connect(address).unwrap();
        // Closed first on this side, so that the connection lingers in the kernel.
        drop(first.accept().unwrap());
        drop((first, client));
        TcpListener::bind(address).unwrap();
    });
}

#[test]
fn addresses_of_both_families_work() {
    bounded(|| {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let listener = match TcpListener::bind(address) {
                Err(error) if error.kind() == ErrorKind::AddrNotAvailable => continue,
                listener => listener.unwrap(),
            };
            let one = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (other, peer) = listener.accept().unwrap();
            assert_eq!(peer, one.local_addr().unwrap());
            assert_eq!(other.peer_addr().unwrap(), peer);
            assert_eq!(one.peer_addr().unwrap(), other.local_addr().unwrap());
            assert_eq!(peer.is_ipv6(), peer.ip() == Ipv6Addr::LOCALHOST);
        }
    });
}

#[test]
fn a_shutdown_wakes_those_that_are_blocked() {
    bounded(|| {
        for how in [Shutdown::Read, Shutdown::Both] {
            let (one, _other) = pair();
            let mut blocked = one.try_clone().unwrap();
            let reader = go(move || blocked.read(&mut [0; 8]).unwrap());
            settle();
            one.shutdown(how).unwrap();
            assert_eq!(reader.join(), 0);
        }
        for how in [Shutdown::Write, Shutdown::Both] {
            let (one, _other) = pair();
            let mut blocked = one.try_clone().unwrap();
            let writer = go(move || {
                loop {
                    if let Err(error) = blocked.write(&[0; 65_536]) {
                        return error.kind();
                    }
                }
            });
            settle();
            one.shutdown(how).unwrap();
            assert_eq!(writer.join(), ErrorKind::BrokenPipe);
        }
    });
}

#[test]
fn shutting_down_what_is_not_connected_is_an_error() {
    bounded(|| {
        let (one, other) = pair();
        SockRef::from(&other).set_linger(Some(Duration::ZERO)).unwrap();
        drop(other);
        assert_eq!((&one).read(&mut [0; 1]).unwrap_err().kind(), ErrorKind::ConnectionReset);
        assert_eq!(one.shutdown(Shutdown::Both).unwrap_err().kind(), ErrorKind::NotConnected);
        assert_eq!(one.peer_addr().unwrap_err().kind(), ErrorKind::NotConnected);
    });
}

#[test]
fn every_byte_goes_to_one_of_several_readers_and_the_end_to_all() {
    bounded(|| {
        const BYTES: usize = 20_000;
        let (mut one, other) = pair();
        let other = Arc::new(other);
        let readers: Vec<_> = (0..4)
            .map(|_| {
                let other = Arc::clone(&other);
                go(move || read_all(&*other))
            })
            .collect();
        for n in 0..BYTES {
            one.write_all(&[n as u8]).unwrap();
        }
        drop(one);
        let mut counts = [0; 256];
        for reader in readers {
            for byte in reader.join() {
                counts[byte as usize] += 1;
            }
        }
        for (byte, count) in counts.into_iter().enumerate() {
            assert_eq!(count, (byte..BYTES).step_by(256).count());
        }
    });
}

#[test]
fn several_acceptors_share_a_listener() {
    bounded(|| {
        const EACH: usize = 50;
        let listener = Arc::new(listener());
        let acceptors: Vec<_> = (0..4)
            .map(|_| {
                let listener = Arc::clone(&listener);
                go(move || {
                    for stream in listener.incoming().take(EACH) {
                        stream.unwrap().write_all(b"!").unwrap();
                    }
                })
            })
            .collect();
        for _ in 0..4 * EACH {
            let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            assert_eq!(read_all(stream), b"!");
        }
        for acceptor in acceptors {
            acceptor.join();
        }
    });
}

/// One event may stand for all of them.
#[test]
fn connections_that_queued_up_are_all_taken() {
    bounded(|| {
        let listener = listener();
        listener.set_deadline(Some(Instant::now() + Duration::from_millis(10))).unwrap();
        assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::TimedOut);
        listener.set_deadline(None).unwrap();
        let address = listener.local_addr().unwrap();
        let clients: Vec<_> = (0..50).map(|_| TcpStream::connect(address).unwrap()).collect();
        settle();
        for client in &clients {
            assert_eq!(listener.accept().unwrap().1, client.local_addr().unwrap());
        }
    });
}

#[test]
fn a_clone_is_the_same_connection() {
    bounded(|| {
        let (one, mut other) = pair();
        let mut clone = one.try_clone().unwrap();
        clone.set_read_timeout(Some(Duration::from_secs(7))).unwrap();
        assert_eq!(one.read_timeout().unwrap(), Some(Duration::from_secs(7)));
        clone.write_all(b"a").unwrap();
        drop(one);
        clone.write_all(b"b").unwrap();
        let mut two = [0; 2];
        other.read_exact(&mut two).unwrap();
        assert_eq!(&two, b"ab");
        drop(clone);
        assert_eq!(other.read(&mut two).unwrap(), 0);
    });
}

#[test]
fn dropping_a_handle_leaves_a_blocked_read_alone() {
    bounded(|| {
        let (one, mut other) = pair();
        let mut blocked = one.try_clone().unwrap();
        let reader = go(move || {
            let mut text = [0; 4];
            blocked.read_exact(&mut text).map(|()| text)
        });
        settle();
        drop(one);
        // Sockets that come and go would take the number of a descriptor that was closed too early.
        for _ in 0..100 {
            drop(pair());
        }
        other.write_all(b"here").unwrap();
        assert_eq!(&reader.join().unwrap(), b"here");
    });
}

#[test]
fn a_peek_takes_nothing() {
    bounded(|| {
        let (mut one, mut other) = pair();
        register(&other);
        let peeking = other.try_clone().unwrap();
        let waiting = go(move || {
            let mut seen = [0; 8];
            let count = peeking.peek(&mut seen).unwrap();
            seen[..count].to_vec()
        });
        settle();
        one.write_all(b"look").unwrap();
        assert_eq!(waiting.join(), b"look");
        let mut text = [0; 8];
        // A peek and a read that ask for more than there is, then one that must wait for the rest.
        assert_eq!(other.peek(&mut text).unwrap(), 4);
        assert_eq!(other.read(&mut text).unwrap(), 4);
        let waiting = go(move || {
            let count = other.peek(&mut text).unwrap();
            (other.read(&mut text).unwrap(), count)
        });
        settle();
        one.write_all(b"more").unwrap();
        assert_eq!(waiting.join(), (4, 4));
    });
}

#[test]
fn empty_buffers_never_wait() {
    bounded(|| {
        let (mut one, mut other) = pair();
        assert_eq!(one.read(&mut []).unwrap(), 0);
        assert_eq!(one.peek(&mut []).unwrap(), 0);
        assert_eq!(one.read_vectored(&mut [IoSliceMut::new(&mut [])]).unwrap(), 0);
        one.set_write_timeout(Some(Duration::from_millis(10))).unwrap();
        while one.write(&[0; 65_536]).is_ok() {}
        one.set_write_timeout(None).unwrap();
        assert_eq!(one.write(&[]).unwrap(), 0);
        assert_eq!(one.write_vectored(&[IoSlice::new(&[])]).unwrap(), 0);
        assert!(other.read(&mut [0; 8]).unwrap() > 0);
    });
}

#[test]
fn vectored_calls_use_all_their_buffers() {
    bounded(|| {
        let (mut one, mut other) = pair();
        let parts = [IoSlice::new(b"one"), IoSlice::new(b""), IoSlice::new(b"two")];
        assert_eq!(one.write_vectored(&parts).unwrap(), 6);
        let (mut a, mut b) = ([0; 2], [0; 9]);
        let count = other.read_vectored(&mut [IoSliceMut::new(&mut a), IoSliceMut::new(&mut b)]).unwrap();
        assert_eq!((count, &a, &b[..4]), (6, b"on", &b"etwo"[..]));
        // The short read above is followed by one that has to wait.
        let waiting = go(move || {
            let (mut a, mut b) = ([0; 2], [0; 9]);
            other.read_vectored(&mut [IoSliceMut::new(&mut a), IoSliceMut::new(&mut b)]).unwrap()
        });
        settle();
        one.write_all(b"abc").unwrap();
        assert_eq!(waiting.join(), 3);
    });
}

#[test]
fn more_buffers_than_the_kernel_takes_are_a_short_write() {
    bounded(|| {
        let (mut one, mut other) = pair();
        register(&one);
        register(&other);
        let parts: Vec<_> = (0..3_000).map(|_| IoSlice::new(b"xy")).collect();
        let written = one.write_vectored(&parts).unwrap();
        assert!(0 < written && written < 6_000, "{written}");
        let mut bytes = vec![0; written];
        let mut slots: Vec<_> = bytes.chunks_mut(1).map(IoSliceMut::new).collect();
        let read = other.read_vectored(&mut slots).unwrap();
        assert!(0 < read && read <= written);
        // Neither was the fault of the socket, so neither may make the next call wait.
        one.write_all(b"z").unwrap();
        other.read_exact(&mut vec![0; written - read + 1]).unwrap();
    });
}

#[test]
fn options_reach_the_socket() {
    let (one, _other) = pair();
    assert!(!one.nodelay().unwrap());
    one.set_nodelay(true).unwrap();
    assert!(one.nodelay().unwrap());
    one.set_ttl(77).unwrap();
    assert_eq!(one.ttl().unwrap(), 77);
    assert!(one.take_error().unwrap().is_none());
    let listener = listener();
    listener.set_ttl(78).unwrap();
    assert_eq!(listener.ttl().unwrap(), 78);
    assert!(listener.take_error().unwrap().is_none());
}

#[test]
fn without_blocking_nothing_waits_and_nothing_is_missed() {
    bounded(|| {
        let listener = listener();
        listener.set_nonblocking(true).unwrap();
        assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
        let mut one = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut other = listener.accept().unwrap().0;
        register(&other);
        other.set_nonblocking(true).unwrap();
        for round in 0..1_000u32 {
            let mut text = [0; 8];
            assert_eq!(other.read(&mut text).unwrap_err().kind(), ErrorKind::WouldBlock);
            assert_eq!(other.peek(&mut text).unwrap_err().kind(), ErrorKind::WouldBlock);
            one.write_all(&round.to_ne_bytes()).unwrap();
            // On loopback what was written is there; no poll is needed.
            assert_eq!(other.read(&mut text).unwrap(), 4);
            assert_eq!(text[..4], round.to_ne_bytes());
        }
        let error = std::iter::repeat_with(|| other.write(&[0; 65_536])).find_map(Result::err);
        assert_eq!(error.unwrap().kind(), ErrorKind::WouldBlock);
        other.set_nonblocking(false).unwrap();
        let reader = go(move || read_all(one));
        other.write_all(b"end").unwrap();
        drop(other);
        assert!(reader.join().ends_with(b"\0end"));
    });
}

/// A read stops at the mark, which makes it a short one with more behind it.
#[test]
fn urgent_data_do_not_hide_what_follows_them() {
    bounded(|| {
        for round in 0..60 {
            let (mut one, mut other) = pair();
            register(&other);
            one.write_all(b"before").unwrap();
            pause(round % 3);
            SockRef::from(&one).send_out_of_band(b"!").unwrap();
            pause(round % 5);
            one.write_all(b"after").unwrap();
            pause(round % 4);
            let mut text = [0; 32];
            let mut got = Vec::new();
            while got.len() < 11 {
                let count = other.read(&mut text).unwrap();
                got.extend_from_slice(&text[..count]);
            }
            assert_eq!(got, b"beforeafter");
        }
    });
}

fn pause(milliseconds: u64) {
    if milliseconds > 0 {
        std::thread::sleep(Duration::from_millis(milliseconds));
    }
}
