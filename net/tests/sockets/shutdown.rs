//! A direction is shut down while another party waits in it: everything that std's sockets do on
//! threads.
//!
//! Each case runs twice, on std's type and on the type of this crate, and both must say the same.

use crate::loopback::pair;
use narrowboat_net::unix::{self, UnixDatagram, UnixStream};
use narrowboat_net::{TcpStream, UdpSocket};
use narrowboat_testing::{bounded, one_site::go, settle};
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

/// Longer than any of this takes. A wait that lasts so long shows as `WouldBlock`.
const LIMIT: Duration = Duration::from_secs(5);

type Said = Result<usize, ErrorKind>;

fn said(result: std::io::Result<usize>) -> Said {
    result.map_err(|error| error.kind())
}

fn shut(socket: &impl AsFd, how: Shutdown) {
    // By way of the descriptor: what C code does, or a socket without a method for it.
    socket2::SockRef::from(socket).shutdown(how).unwrap();
}

/// What `operation` says that waits when `end` is called, and what it says after that. On std's
/// socket in a thread.
fn theirs<S: Send + Sync + 'static>(
    socket: S,
    operation: fn(&S) -> Said,
    end: impl FnOnce(&S),
) -> (Said, Said) {
    let socket = Arc::new(socket);
    let waiting = Arc::clone(&socket);
    let waiting = std::thread::spawn(move || operation(&waiting));
    settle();
    end(&socket);
    (waiting.join().unwrap(), operation(&socket))
}

/// The same with a socket of this crate.
fn ours<S: Send + Sync + 'static>(
    socket: S,
    operation: fn(&S) -> Said,
    end: impl FnOnce(&S),
) -> (Said, Said) {
    let socket = Arc::new(socket);
    let waiting = Arc::clone(&socket);
    let waiting = go(move || operation(&waiting));
    settle();
    end(&socket);
    (waiting.join(), operation(&socket))
}

fn fill(writer: impl Fn() -> std::io::Result<usize>) -> Said {
    said(std::iter::repeat_with(writer).find(Result::is_err).unwrap())
}

/// The same lines for both types: `$Type` is the name under which they are written, `$one` makes
/// the socket and whatever must live beside it.
macro_rules! as_std {
    ($Std:ty, $Ours:ty, $std:expr, $ours:expr, $operation:expr, $end:expr) => {{
        let (socket, _peer) = $std;
        socket.set_read_timeout(Some(LIMIT)).unwrap();
        socket.set_write_timeout(Some(LIMIT)).unwrap();
        let operation: fn(&$Std) -> Said = $operation;
        let theirs = theirs(socket, operation, $end);
        let (socket, _peer) = $ours;
        socket.set_read_timeout(Some(LIMIT)).unwrap();
        socket.set_write_timeout(Some(LIMIT)).unwrap();
        let operation: fn(&$Ours) -> Said = $operation;
        assert_eq!(ours(socket, operation, $end), theirs);
        theirs
    }};
}

fn std_tcp() -> (std::net::TcpStream, std::net::TcpStream) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let one = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (one, listener.accept().unwrap().0)
}

#[test]
fn a_stream_shut_down_under_a_waiting_party_says_what_stds_does() {
    bounded(|| {
        let end = (Ok(0), Ok(0));
        let broken = (Err(ErrorKind::BrokenPipe), Err(ErrorKind::BrokenPipe));
        type StdUnix = std::os::unix::net::UnixStream;
        for how in [Shutdown::Read, Shutdown::Both] {
            let what = as_std!(
                std::net::TcpStream,
                TcpStream,
                std_tcp(),
                pair(),
                |mut s| said(s.read(&mut [0; 9])),
                |s| s.shutdown(how).unwrap()
            );
            assert_eq!(what, end);
            let what = as_std!(
                StdUnix,
                UnixStream,
                StdUnix::pair().unwrap(),
                UnixStream::pair().unwrap(),
                |mut s| said(s.read(&mut [0; 9])),
                |s| shut(s, how)
            );
            assert_eq!(what, end);
        }
        for how in [Shutdown::Write, Shutdown::Both] {
            let what = as_std!(
                std::net::TcpStream,
                TcpStream,
                std_tcp(),
                pair(),
                |s| fill(|| { s }.write(&[0; 65_536])),
                |s| shut(s, how)
            );
            assert_eq!(what, broken);
            let what = as_std!(
                StdUnix,
                UnixStream,
                StdUnix::pair().unwrap(),
                UnixStream::pair().unwrap(),
                |s| fill(|| { s }.write(&[0; 65_536])),
                |s| s.shutdown(how).unwrap()
            );
            assert_eq!(what, broken);
        }
    });
}

#[test]
fn a_datagram_socket_shut_down_under_a_waiting_party_says_what_stds_does() {
    type StdUnix = std::os::unix::net::UnixDatagram;
    bounded(|| {
        let end = (Ok(0), Ok(0));
        for how in [Shutdown::Read, Shutdown::Both] {
            for through_descriptor in [false, true] {
                type Both = (fn(&StdUnix) -> Said, fn(&UnixDatagram) -> Said);
                let operations: [Both; 2] = [
                    (|s| said(s.recv(&mut [0; 9])), |s| said(s.recv(&mut [0; 9]))),
                    (
                        |s| said(s.recv_from(&mut [0; 9]).map(|(n, from)| (assert!(from.is_unnamed()), n).1)),
                        |s| said(s.recv_from(&mut [0; 9]).map(|(n, from)| (assert!(from.is_unnamed()), n).1)),
                    ),
                ];
                for (on_std, on_ours) in operations {
                    let (one, _other) = StdUnix::pair().unwrap();
                    one.set_read_timeout(Some(LIMIT)).unwrap();
                    assert_eq!(theirs(one, on_std, |s| s.shutdown(how).unwrap()), end);
                    let (one, _other) = UnixDatagram::pair().unwrap();
                    one.set_read_timeout(Some(LIMIT)).unwrap();
                    let shutdown = |s: &UnixDatagram| {
                        if through_descriptor { shut(s, how) } else { s.shutdown(how).unwrap() }
                    };
                    assert_eq!(ours(one, on_ours, shutdown), end);
                }
            }
        }
        // The queue of the peer is full.
        for how in [Shutdown::Write, Shutdown::Both] {
            let broken = (Err(ErrorKind::BrokenPipe), Err(ErrorKind::BrokenPipe));
            let what = as_std!(
                StdUnix,
                UnixDatagram,
                StdUnix::pair().unwrap(),
                UnixDatagram::pair().unwrap(),
                |s| fill(|| s.send(&[0; 64])),
                |s| s.shutdown(how).unwrap()
            );
            assert_eq!(what, broken);
        }
    });
}

/// std has no method for it, but descriptors are for all.
#[test]
fn a_udp_socket_shut_down_under_a_waiting_party_says_what_stds_does() {
    bounded(|| {
        for how in [Shutdown::Read, Shutdown::Both] {
            let peer = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
            let to = peer.local_addr().unwrap();
            let what = as_std!(
                std::net::UdpSocket,
                UdpSocket,
                {
                    let one = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
                    one.connect(to).unwrap();
                    (one, ())
                },
                {
                    let one = UdpSocket::bind("127.0.0.1:0").unwrap();
                    one.connect(to).unwrap();
                    (one, ())
                },
                |s| said(s.recv(&mut [0; 9])),
                |s| shut(s, how)
            );
            assert_eq!(what, (Ok(0), Ok(0)));
            let what = as_std!(
                std::net::UdpSocket,
                UdpSocket,
                (std::net::UdpSocket::bind("127.0.0.1:0").unwrap(), ()),
                (UdpSocket::bind("127.0.0.1:0").unwrap(), ()),
                |s| said(s.recv_from(&mut [0; 9]).map(|(n, _)| n)),
                // It is not connected, which the kernel says, and shuts it down all the same.
                |s| drop(socket2::SockRef::from(s).shutdown(how))
            );
            println!("recv_from after {how:?}: {what:?}");
        }
    });
}

/// What had come before is received first; and the end of it can be told from the outside, too.
#[test]
fn datagrams_that_came_before_the_end_are_received() {
    bounded(|| {
        let (one, other) = UnixDatagram::pair().unwrap();
        other.send(b"last").unwrap();
        one.shutdown(Shutdown::Read).unwrap();
        assert_eq!(other.send(b"late").unwrap_err().kind(), ErrorKind::BrokenPipe);
        one.readable().recv().unwrap();
        assert_eq!(one.peek(&mut [0; 8]).unwrap(), 4);
        assert_eq!(one.recv(&mut [0; 8]).unwrap(), 4);
        assert_eq!(one.peek(&mut [0; 8]).unwrap(), 0);
        assert_eq!(one.recv(&mut [0; 8]).unwrap(), 0);
        one.readable().recv().unwrap();
        // In non-blocking mode the kernel says this, after the end as before it.
        one.set_nonblocking(true).unwrap();
        assert_eq!(one.recv(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
        // Closed is more than shut down.
        one.set_nonblocking(false).unwrap();
        one.close();
        assert_eq!(one.recv(&mut [0; 8]).unwrap_err().kind(), ErrorKind::NotConnected);
    });
}

#[test]
fn a_listener_shut_down_under_an_accept_says_what_stds_does() {
    bounded(|| {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let expected = theirs(listener, |l| said(l.accept().map(|_| 1)), |l| shut(l, Shutdown::Read));
        let listener = narrowboat_net::TcpListener::bind("127.0.0.1:0").unwrap();
        assert_eq!(ours(listener, |l| said(l.accept().map(|_| 1)), |l| shut(l, Shutdown::Read)), expected);
        let (path, second) = (crate::TestPath::new(), crate::TestPath::new());
        let listener = std::os::unix::net::UnixListener::bind(&*path).unwrap();
        let expected = theirs(listener, |l| said(l.accept().map(|_| 1)), |l| shut(l, Shutdown::Read));
        let listener = unix::UnixListener::bind(&*second).unwrap();
        assert_eq!(ours(listener, |l| said(l.accept().map(|_| 1)), |l| shut(l, Shutdown::Read)), expected);
    });
}
