//! Closing while others use the socket, and what becomes of the descriptor's number.

use crate::TestPath;
use crate::loopback::pair;
use narrowboat_net::unix::{UnixDatagram, UnixListener, UnixStream};
use narrowboat_net::{TcpListener, TcpStream, UdpSocket};
use narrowboat_testing::{bounded, one_site::go, scaled, settle};
use std::io::{Error, ErrorKind, Read, Write};
use std::time::{Duration, Instant};

fn kind_of(error: Error) -> ErrorKind {
    if error.kind() == ErrorKind::NotConnected {
        assert!(error.to_string().contains("closed by `close`"), "{error}");
    }
    error.kind()
}

#[test]
fn closing_a_listener_ends_every_accept_and_refuses_what_comes() {
    bounded(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let acceptors: Vec<_> = (0..4)
            .map(|_| {
                let listener = listener.try_clone().unwrap();
                go(move || kind_of(listener.accept().unwrap_err()))
            })
            .collect();
        let looping = listener.try_clone().unwrap();
        let looping = go(move || looping.incoming().filter_map(Result::ok).count());
        let _client = TcpStream::connect(address).unwrap();
        settle();
        listener.close();
        let ended = acceptors.into_iter().map(|acceptor| acceptor.try_join());
        // One of the five has got the client; if it was an acceptor it has panicked.
        let kinds: Vec<_> = ended.flatten().collect();
        assert!(kinds.len() >= 3 && kinds.iter().all(|kind| *kind == ErrorKind::NotConnected));
        assert_eq!(4 - kinds.len() + looping.join(), 1);
        // Later ones fail at once, the deadline notwithstanding, and closing again changes nothing.
        listener.set_deadline(Some(Instant::now() + Duration::from_secs(60))).unwrap();
        listener.close();
        assert_eq!(kind_of(listener.accept().unwrap_err()), ErrorKind::NotConnected);
        assert!(listener.incoming().next().is_none());
        #[cfg(target_os = "linux")]
        assert_eq!(TcpStream::connect(address).unwrap_err().kind(), ErrorKind::ConnectionRefused);

        let path = TestPath::new();
        let listener = UnixListener::bind(&path).unwrap();
        let blocked = listener.try_clone().unwrap();
        let acceptor = go(move || kind_of(blocked.accept().unwrap_err()));
        settle();
        listener.close();
        assert_eq!(acceptor.join(), ErrorKind::NotConnected);
        assert_eq!(listener.into_iter().count(), 0);
    });
}

#[test]
fn closing_a_stream_ends_what_is_under_way_and_the_peer_reads_the_end() {
    fn check<S: Read + Write + Send + 'static>(
        socket: S,
        clone: impl Fn(&S) -> S,
        close: fn(&S),
        mut peer: impl Read,
    ) {
        let mut blocked = clone(&socket);
        let reader = go(move || kind_of(blocked.read(&mut [0; 8]).unwrap_err()));
        let mut blocked = clone(&socket);
        let writer = go(move || {
            kind_of(std::iter::repeat_with(|| blocked.write(&[0; 65_536])).find_map(Result::err).unwrap())
        });
        // The writer has begun, and soon there is no more room.
        peer.read_exact(&mut [0; 1]).unwrap();
        settle();
        close(&socket);
        assert_eq!(reader.join(), ErrorKind::NotConnected);
        assert_eq!(writer.join(), ErrorKind::NotConnected);
        std::io::copy(&mut peer, &mut std::io::sink()).unwrap();
    }
    bounded(|| {
        let (one, other) = pair();
        check(one, |one| one.try_clone().unwrap(), TcpStream::close, other);
        let (one, other) = UnixStream::pair().unwrap();
        check(one, |one| one.try_clone().unwrap(), UnixStream::close, other);
    });
}

#[test]
fn closing_a_datagram_socket_ends_its_receives() {
    bounded(|| {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let blocked = socket.try_clone().unwrap();
        let receiver = go(move || kind_of(blocked.recv_from(&mut [0; 8]).unwrap_err()));
        let (one, _other) = UnixDatagram::pair().unwrap();
        let blocked = one.try_clone().unwrap();
        let unix = go(move || kind_of(blocked.recv(&mut [0; 8]).unwrap_err()));
        settle();
        socket.close();
        one.close();
        assert_eq!(receiver.join(), ErrorKind::NotConnected);
        assert_eq!(unix.join(), ErrorKind::NotConnected);
        assert_eq!(one.send(b"x").unwrap_err().kind(), ErrorKind::NotConnected);
    });
}

/// Close comes at any moment of a read: before it, before it has registered, while it waits, together with data.
#[test]
fn a_close_at_any_moment_is_seen() {
    bounded(|| {
        for round in 0..scaled(400) as u64 {
            let (one, mut other) = UnixStream::pair().unwrap();
            let mut blocked = one.try_clone().unwrap();
            let reader = go(move || {
                loop {
                    match blocked.read(&mut [0; 8]) {
                        Ok(0) => panic!("the peer has not gone"),
                        Ok(_) => {}
                        Err(error) => return error,
                    }
                }
            });
            if round % 3 == 0 {
                other.write_all(b"x").unwrap();
            }
            std::thread::sleep(Duration::from_micros(round * 7 % 100));
            one.close();
            match reader.try_join() {
                Ok(error) => assert_eq!(error.kind(), ErrorKind::NotConnected, "round {round}: {error:?}"),
                // A call that was under way in the kernel when the socket was shut down sees the end itself.
                Err(panic) => assert_eq!(panic.downcast_ref(), Some(&"the peer has not gone")),
            }
        }
    });
}

/// The number of a closed socket goes to the next one that is made, and a party that waited on the old one neither gets its
/// data nor takes its events.
#[test]
fn a_number_that_is_reused_at_once_is_not_confused_with_its_predecessor() {
    bounded(|| {
        for round in 0..scaled(300) {
            let (one, other) = UnixStream::pair().unwrap();
            let mut blocked = one.try_clone().unwrap();
            let old = go(move || blocked.read(&mut [0; 8]).unwrap_err().kind());
            if round % 2 == 0 {
                std::thread::sleep(Duration::from_micros(50));
            }
            one.close();
            drop(one);
            // The reader is still about to leave, or has left; then the number is free, and usually the next.
            let old = if round % 4 < 2 { Err(old) } else { Ok(old.try_join()) };
            let (mut new, mut peer) = UnixStream::pair().unwrap();
            let reader = go(move || {
                let mut text = [0; 8];
                let count = new.read(&mut text).unwrap();
                text[..count].to_vec()
            });
            drop(other);
            peer.write_all(b"new").unwrap();
            assert_eq!(reader.join(), b"new");
            if let Ok(kind) = old.unwrap_or_else(|old| old.try_join()) {
                assert_eq!(kind, ErrorKind::NotConnected);
            }
        }
    });
}
