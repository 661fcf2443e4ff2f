//! `proxy`, before `redis_like`.

use super::{Client, SECOND, each_twice, proxy, redis};
use narrowboat::net::{TcpListener, TcpStream};
use narrowboat::sim::net;
use narrowboat::{go, sleep};
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;

fn start(target: &'static str) {
    net::host("proxy").program(move || proxy::listen("0.0.0.0:9000", target.into()).unwrap());
    sleep(SECOND);
}

pub fn a_relay_passes_on_what_comes_its_ends_and_its_breaks() {
    each_twice(0..10, || {
        redis::start();
        start("redis:6379");
        let mut client = Client::connect("proxy:9000").unwrap();
        assert_eq!(client.command(&["SET", "by", "relay"]).unwrap(), "+OK");
        assert_eq!(client.command(&["GET", "by"]).unwrap(), "relay");
        client.stream.get_ref().shutdown(Shutdown::Write).unwrap();
        assert_eq!(client.line().unwrap_err().kind(), ErrorKind::UnexpectedEof);

        let mut client = Client::connect("proxy:9000").unwrap();
        assert_eq!(client.command(&["GET", "by"]).unwrap(), "relay");
        net::reset("proxy", "redis");
        client.line().unwrap_err();
        net::crash("redis");
        let mut client = Client::connect("proxy:9000").unwrap();
        let start = std::time::Instant::now();
        client.stream.get_ref().set_read_timeout(None).unwrap();
        client.line().unwrap_err();
        // As long as TCP tries to connect.
        assert!((100..200).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
        net::crash("proxy");
    });
}

/// Half of a stream's bytes are on their way when the target is cut off.
pub fn back_pressure_passes_through_a_partition() {
    each_twice(0..5, || {
        net::host("sink").program(|| {
            let listener = TcpListener::bind("0.0.0.0:1").unwrap();
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                go!(move || {
                    let mut all = Vec::new();
                    stream.read_to_end(&mut all).unwrap();
                    stream.write_all(&all.len().to_be_bytes()).unwrap();
                });
            }
        });
        start("sink:1");
        let mut stream = TcpStream::connect("proxy:9000").unwrap();
        net::partition("proxy", "sink");
        stream.set_write_timeout(Some(10 * SECOND)).unwrap();
        let mut written = 0;
        let stopped = loop {
            match stream.write(&[1; 10_000]) {
                Ok(more) => written += more,
                Err(error) => break error,
            }
        };
        assert_eq!(stopped.kind(), ErrorKind::WouldBlock);
        assert!(written < 400_000, "{written}: nothing reads any more");
        net::heal("proxy", "sink");
        stream.shutdown(Shutdown::Write).unwrap();
        let mut length = [0; 8];
        stream.read_exact(&mut length).unwrap();
        assert_eq!(usize::from_be_bytes(length), written);
        net::crash("proxy");
        net::crash("sink");
    });
}
