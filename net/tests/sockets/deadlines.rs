//! Deadlines on every kind of socket; `limits.rs` has what TCP streams do beyond that.

use crate::TestPath;
use narrowboat_net::fd::Async;
use narrowboat_net::unix::{UnixDatagram, UnixListener, UnixStream};
use narrowboat_net::{TcpListener, UdpSocket};
use narrowboat_testing::{bounded, one_site::go, settle};
use std::io::{ErrorKind, Read, Result, Write};
use std::time::{Duration, Instant};

/// `operate` is ended by a deadline that is set while it waits, fails once that has passed even if it would not have to
/// wait, and works again without.
fn check(
    set_deadline: impl Fn(Option<Instant>) -> Result<()>,
    operate: impl Fn() -> Result<usize> + Clone + Send + 'static,
    make_ready: impl FnOnce(),
) {
    let blocked = go({
        let operate = operate.clone();
        move || operate().unwrap_err()
    });
    settle();
    set_deadline(Some(Instant::now() + Duration::from_millis(5))).unwrap();
    let error = blocked.join();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert!(error.to_string().contains("deadline"), "{error}");
    make_ready();
    assert_eq!(operate().unwrap_err().kind(), ErrorKind::TimedOut);
    set_deadline(None).unwrap();
    operate().unwrap();
}

#[test]
fn every_socket_has_deadlines() {
    bounded(|| {
        use std::sync::Arc;
        let listener = Arc::new(TcpListener::bind("127.0.0.1:0").unwrap());
        let address = listener.local_addr().unwrap();
        let operating = listener.clone();
        check(
            |deadline| listener.set_deadline(deadline),
            move || operating.accept().map(|_| 0),
            || drop(std::net::TcpStream::connect(address).unwrap()),
        );

        let path = TestPath::new();
        let listener = Arc::new(UnixListener::bind(&path).unwrap());
        let operating = listener.clone();
        check(
            |deadline| listener.set_deadline(deadline),
            move || operating.accept().map(|_| 0),
            || drop(std::os::unix::net::UnixStream::connect(&path).unwrap()),
        );

        let (one, mut other) = UnixStream::pair().unwrap();
        let one = Arc::new(one);
        let operating = one.clone();
        check(
            |deadline| one.set_deadline(deadline),
            move || (&*operating).read(&mut [0; 8]),
            || other.write_all(b"x").unwrap(),
        );

        let (one, other) = UnixDatagram::pair().unwrap();
        let one = Arc::new(one);
        let operating = one.clone();
        check(
            |deadline| one.set_read_deadline(deadline),
            move || operating.recv(&mut [0; 8]),
            || assert_eq!(other.send(b"x").unwrap(), 1),
        );

        let socket = Arc::new(UdpSocket::bind("127.0.0.1:0").unwrap());
        let operating = socket.clone();
        check(
            |deadline| socket.set_read_deadline(deadline),
            move || operating.recv_from(&mut [0; 8]).map(|(length, _)| length),
            || assert_eq!(socket.send_to(b"x", socket.local_addr().unwrap()).unwrap(), 1),
        );

        let (reader, mut writer) = std::io::pipe().unwrap();
        let reader = Arc::new(Async::new(reader).unwrap());
        let operating = reader.clone();
        check(
            |deadline| reader.set_deadline(deadline),
            move || (&*operating).read(&mut [0; 8]),
            || writer.write_all(b"x").unwrap(),
        );
    });
}

#[test]
fn a_write_deadline_ends_a_write_that_waits_for_room() {
    bounded(|| {
        let (one, _other) = UnixDatagram::pair().unwrap();
        let blocked = one.try_clone().unwrap();
        let writer = go(move || {
            std::iter::repeat_with(|| blocked.send(&[0; 512])).find_map(Result::err).unwrap().kind()
        });
        settle();
        one.set_write_deadline(Some(Instant::now())).unwrap();
        assert_eq!(writer.join(), ErrorKind::TimedOut);
    });
}
