//! To and from std's types and bare descriptors.

mod loopback;

use loopback::{listener, pair};
use narrowboat_net::{TcpListener, TcpStream};
use narrowboat_testing::{bounded, one_site::go, settle};
use socket2::SockRef;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::time::Duration;

#[test]
fn debug_shows_what_std_shows() {
    let (one, _other) = pair();
    let ours = format!("{one:?}");
    assert_eq!(ours, format!("{:?}", std::net::TcpStream::from(one)));
    let listener = listener();
    let ours = format!("{listener:#?}");
    assert_eq!(ours, format!("{:#?}", std::net::TcpListener::from(listener)));
}

#[test]
fn std_gets_a_blocking_socket_and_gives_one() {
    bounded(|| {
        let (one, other) = pair();
        let number = one.as_raw_fd();
        // Registered, by a wait: it must not be any more when it is std's.
        one.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        assert_eq!((&one).read(&mut [0; 1]).unwrap_err().kind(), ErrorKind::WouldBlock);
        one.set_read_timeout(None).unwrap();
        let mut one = std::net::TcpStream::from(one);
        assert_eq!(one.as_raw_fd(), number);
        assert!(!SockRef::from(&one).nonblocking().unwrap());
        // std's read blocks whatever thread it is on, so it gets one of its own.
        let blocked = std::thread::spawn(move || {
            let mut text = [0; 4];
            one.read_exact(&mut text).unwrap();
            (one, text)
        });
        settle();
        (&other).write_all(b"text").unwrap();
        let (one, text) = blocked.join().unwrap();
        assert_eq!(&text, b"text");

        let mut one = TcpStream::from(one);
        assert_eq!(one.as_raw_fd(), number);
        let blocked = go(move || {
            let mut text = [0; 4];
            one.read_exact(&mut text).unwrap();
            text
        });
        settle();
        (&other).write_all(b"back").unwrap();
        assert_eq!(&blocked.join(), b"back");
    });
}

#[test]
fn mode_and_timeouts_go_along_both_ways() {
    let (one, _other) = pair();
    one.set_nonblocking(true).unwrap();
    one.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
    one.set_write_timeout(Some(Duration::from_secs(5))).unwrap();
    let one = std::net::TcpStream::from(one);
    assert_eq!((&one).read(&mut [0; 1]).unwrap_err().kind(), ErrorKind::WouldBlock);
    assert_eq!(one.read_timeout().unwrap(), Some(Duration::from_secs(3)));
    assert_eq!(one.write_timeout().unwrap(), Some(Duration::from_secs(5)));
    one.set_read_timeout(None).unwrap();
    let one = TcpStream::from(one);
    assert_eq!((&one).read(&mut [0; 1]).unwrap_err().kind(), ErrorKind::WouldBlock);
    assert_eq!(one.read_timeout().unwrap(), None);
    assert_eq!(one.write_timeout().unwrap(), Some(Duration::from_secs(5)));
    // A timeout that was taken away here must not reappear there.
    one.set_write_timeout(None).unwrap();
    assert_eq!(std::net::TcpStream::from(one).write_timeout().unwrap(), None);
}

#[test]
fn a_listener_goes_to_std_and_comes_back() {
    bounded(|| {
        let listener = listener();
        let address = listener.local_addr().unwrap();
        let listener = std::net::TcpListener::from(listener);
        assert!(!SockRef::from(&listener).nonblocking().unwrap());
        let _first = TcpStream::connect(address).unwrap();
        listener.accept().unwrap();
        let listener = TcpListener::from(listener);
        let acceptor = go(move || listener.accept().unwrap().1);
        settle();
        let second = TcpStream::connect(address).unwrap();
        assert_eq!(acceptor.join(), second.local_addr().unwrap());
    });
}

#[test]
fn descriptors_go_out_and_come_in() {
    bounded(|| {
        let (one, mut other) = pair();
        let number = one.as_fd().as_raw_fd();
        let raw = one.into_raw_fd();
        assert_eq!(raw, number);
        // SAFETY: the line above gave the descriptor to us.
        let one = unsafe { TcpStream::from_raw_fd(raw) };
        let owned = OwnedFd::from(one);
        assert_eq!(owned.as_raw_fd(), number);
        let mut one = TcpStream::from(owned);
        one.write_all(b"same").unwrap();
        let mut text = [0; 4];
        other.read_exact(&mut text).unwrap();
        assert_eq!(&text, b"same");
    });
}

#[test]
fn a_clone_keeps_the_connection_when_the_other_handle_is_converted() {
    bounded(|| {
        let (one, mut other) = pair();
        let mut clone = one.try_clone().unwrap();
        let blocked = go(move || {
            let mut text = [0; 4];
            clone.read_exact(&mut text).unwrap();
            (clone, text)
        });
        settle();
        let converted = OwnedFd::from(one);
        // The description is blocking now, and the clone still waits in the poller, not in the kernel.
        other.write_all(b"text").unwrap();
        let (clone, text) = blocked.join();
        assert_eq!(&text, b"text");
        assert_ne!(clone.as_raw_fd(), converted.as_raw_fd());
        clone.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
        assert_eq!((&clone).read(&mut [0; 1]).unwrap_err().kind(), ErrorKind::WouldBlock);
        drop(clone);
        std::net::TcpStream::from(converted).write_all(b"more").unwrap();
        other.read_exact(&mut [0; 4]).unwrap();
    });
}

#[test]
fn a_descriptor_that_is_no_socket_says_so_when_it_is_used() {
    let file = std::fs::File::open("/dev/null").unwrap();
    let mut stream = TcpStream::from(OwnedFd::from(file));
    let error = stream.read(&mut [0; 1]).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ENOTSOCK));
    assert!(format!("{stream:?}").starts_with("TcpStream { fd: "));
}
