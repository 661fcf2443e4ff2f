//! `resolver`, over datagrams that are lost, and over streams.

use super::{SECOND, each_twice, resolver};
use narrowboat::net::{TcpStream, UdpSocket};
use narrowboat::sim::net;
use narrowboat::sleep;
use resolver::Resolver;
use std::io::{Read, Write};

/// A query for the IPv4 addresses of a name.
fn query(name: &str) -> Vec<u8> {
    let mut query = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        query.push(label.len() as u8);
        query.extend(label.bytes());
    }
    query.extend([0, 0, 1, 0, 1]);
    query
}

/// The last four bytes are the address, if there is one.
fn address(reply: &[u8]) -> Option<[u8; 4]> {
    let answers = u16::from_be_bytes([reply[6], reply[7]]);
    (answers > 0).then(|| reply[reply.len() - 4..].try_into().unwrap())
}

fn start() {
    net::host("dns").program(|| {
        let names = Resolver::of(&["boat.test=192.0.2.7".into()]).unwrap();
        resolver::serve("0.0.0.0:53", names).unwrap();
    });
    net::host("lock.test").at("10.1.2.3".parse().unwrap());
    sleep(SECOND);
}

pub fn names_are_resolved_over_a_link_that_loses_and_doubles() {
    each_twice(0..10, || {
        start();
        net::link("main", "dns", net::Link::new().loss(0.3).duplication(0.3).reordering(0.3));
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        socket.connect("dns:53").unwrap();
        socket.set_read_timeout(Some(SECOND)).unwrap();
        let mut reply = [0; 512];
        for (name, expected) in
            [("boat.test", Some([192, 0, 2, 7])), ("lock.test", Some([10, 1, 2, 3])), ("no.test", None)]
        {
            let mut tries = 0;
            let found = loop {
                tries += 1;
                assert!(tries < 50);
                socket.send(&query(name)).unwrap();
                // The reply to an earlier query may come late.
                match socket.recv(&mut reply) {
                    Ok(length) if reply[12..].starts_with(&query(name)[12..]) => {
                        break address(&reply[..length]);
                    }
                    _ => {}
                }
            };
            assert_eq!(found, expected, "{name}");
        }
        net::crash("dns");
    });
}

pub fn a_silent_client_is_cut_off_in_its_time_and_others_are_answered() {
    each_twice(0..10, || {
        start();
        let mut silent = TcpStream::connect("dns:53").unwrap();
        let mut stream = TcpStream::connect("dns:53").unwrap();
        let query = query("boat.test");
        stream.write_all(&(query.len() as u16).to_be_bytes()).unwrap();
        stream.write_all(&query).unwrap();
        let mut length = [0; 2];
        stream.read_exact(&mut length).unwrap();
        let mut reply = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut reply).unwrap();
        assert_eq!(address(&reply), Some([192, 0, 2, 7]));
        let start = std::time::Instant::now();
        assert_eq!(silent.read(&mut [0; 8]).unwrap(), 0);
        assert!((8..11).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
        net::crash("dns");
    });
}
