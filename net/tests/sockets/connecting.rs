//! Finding and reaching the other side.

use crate::loopback::listener;
use narrowboat_net::{TcpListener, TcpStream, lookup_host};
use narrowboat_testing::{bounded, one_site::go, settle};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

#[test]
fn every_way_to_write_a_name_leads_there() {
    bounded(|| {
        // localhost may stand for both families, and then one of them refuses.
        let listener = listener();
        let port = listener.local_addr().unwrap().port();
        let joined = format!("localhost:{port}");
        TcpStream::connect(&joined).unwrap();
        TcpStream::connect(joined.as_str()).unwrap();
        TcpStream::connect(&joined[..]).unwrap();
        TcpStream::connect(("localhost", port)).unwrap();
        TcpStream::connect((String::from("localhost"), port)).unwrap();
        TcpStream::connect(("127.0.0.1", port)).unwrap();
        TcpStream::connect(joined).unwrap();
        let found: Vec<SocketAddr> = lookup_host(&format!("localhost:{port}")).unwrap().collect();
        TcpStream::connect(&found[..]).unwrap();
        for _ in 0..8 {
            listener.accept().unwrap();
        }
        TcpListener::bind("localhost:0").unwrap();
        TcpListener::bind(("localhost", 0)).unwrap();
        assert_eq!(TcpStream::connect("no port").unwrap_err().kind(), ErrorKind::InvalidInput);
        assert!(TcpStream::connect("no.such.name.invalid:1").is_err());
    });
}

/// A listener whose queue is full drops what comes, as a host that is not there would.
#[test]
fn an_address_that_does_not_answer_delays_the_others_but_little() {
    bounded(|| {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
        socket.listen(0).unwrap();
        let dead = socket.local_addr().unwrap().as_socket().unwrap();
        let mut queued = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&dead, Duration::from_millis(60)) {
            queued.push(stream);
            assert!(queued.len() < 100, "the queue never fills");
        }
        let listener = listener();
        let alive = listener.local_addr().unwrap();
        let began = Instant::now();
        let stream = TcpStream::connect(&[dead, dead, alive][..]).unwrap();
        assert_eq!(stream.peer_addr().unwrap(), alive);
        // TCP itself would have tried the first for two minutes.
        assert!(began.elapsed() < Duration::from_secs(60));
        assert_eq!(listener.accept().unwrap().1, stream.local_addr().unwrap());
    });
}

#[test]
fn all_refuse_and_the_last_says_why() {
    bounded(|| {
        let refusing = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let error = TcpStream::connect(&[refusing; 5][..]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    });
}

#[test]
fn many_connect_by_name_at_once() {
    bounded(|| {
        const CLIENTS: usize = 40;
        let listener = listener();
        let port = listener.local_addr().unwrap().port();
        let clients: Vec<_> =
            (0..CLIENTS).map(|_| go(move || TcpStream::connect(("localhost", port)).unwrap())).collect();
        settle();
        for _ in 0..CLIENTS {
            listener.accept().unwrap();
        }
        clients.into_iter().for_each(|client| drop(client.join()));
    });
}
