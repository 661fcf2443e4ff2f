//! `resolver`, byte for byte and by dig.

use crate::example;
use crate::server::Server;
use narrowboat_testing::tool;
use std::io::{Read, Write};
use std::net::UdpSocket;
use std::process::Command;
use std::time::Duration;

/// A resolver that knows some names. It takes its own address first, so it is started by a shell that turns them around.
fn resolver(names: &[&str]) -> Server {
    let mut command = Command::new("sh");
    command.args(["-c", "exec \"$0\" \"$2\" $1"]).arg(example("resolver").get_program()).arg(names.join(" "));
    Server::start_as(&mut command)
}

fn client(server: &Server) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port is free");
    socket.connect(server.address).expect("has an address");
    socket.set_read_timeout(Some(Duration::from_secs(30))).expect("a socket takes a timeout");
    socket
}

fn query(id: u16, name: &str, kind: u16) -> Vec<u8> {
    let mut query = id.to_be_bytes().to_vec();
    query.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.') {
        query.push(label.len() as u8);
        query.extend(label.as_bytes());
    }
    query.push(0);
    query.extend(kind.to_be_bytes());
    query.extend([0, 1]);
    query
}

fn ask(socket: &UdpSocket, query: &[u8]) -> Vec<u8> {
    socket.send(query).expect("takes a query");
    let mut reply = vec![0; 1_500];
    let length = socket.recv(&mut reply).expect("answers");
    reply.truncate(length);
    assert_eq!(reply[..2], query[..2], "the answer to another query");
    assert_eq!(reply[2] & 0x80, 0x80);
    reply
}

/// The reply's code, and how many answers it has.
fn outcome(reply: &[u8]) -> (u8, u16) {
    (reply[3] & 0xf, u16::from_be_bytes([reply[6], reply[7]]))
}

#[test]
fn names_are_answered_as_they_were_given() {
    let server = resolver(&["boat.test=192.0.2.7", "Boat.TEST=2001:db8::7", "boat.test=192.0.2.8"]);
    let socket = client(&server);
    let asked = query(7, "bOAt.test", 1);
    let reply = ask(&socket, &asked);
    let mut expected = asked.clone();
    expected[2..8].copy_from_slice(&[0x81, 0x80, 0, 1, 0, 2]);
    for last in [7, 8] {
        expected.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, last]);
    }
    assert_eq!(reply, expected);
    let reply = ask(&socket, &query(8, "boat.test", 28));
    assert_eq!(outcome(&reply), (0, 1));
    assert_eq!(reply[reply.len() - 2..], [0, 7]);
    // It has a name of this kind, and nothing of another.
    assert_eq!(outcome(&ask(&socket, &query(9, "boat.test", 16))), (0, 0));
}

#[test]
fn other_names_are_asked_of_the_system() {
    let server = resolver(&[]);
    let reply = ask(&client(&server), &query(1, "localhost", 1));
    assert_eq!(outcome(&reply), (0, 1));
    assert!(reply.ends_with(&[127, 0, 0, 1]));
}

#[test]
fn more_answers_than_fit_are_cut_and_marked() {
    let names: Vec<_> = (0..100).map(|i| format!("boat.test=192.0.2.{i}")).collect();
    let server = resolver(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let reply = ask(&client(&server), &query(1, "boat.test", 1));
    assert!(reply.len() <= 512 && reply[2] & 2 == 2);
    assert_eq!(outcome(&reply), (0, 30));
}

#[test]
fn garbage_is_refused_or_not_answered_and_hurts_no_other() {
    let server = resolver(&["boat.test=192.0.2.7"]);
    let socket = client(&server);
    // Too short, and an answer: nothing comes back, or two servers would go on for ever.
    let good = query(1, "boat.test", 1);
    for silent in [&good[..11], &[&good[..2], &[0x81], &good[3..]].concat()] {
        socket.send(silent).expect("takes it");
    }
    // Cut at each byte: the reply to the next one is the first that comes, so none has stopped it.
    for end in 12..good.len() {
        assert_eq!(outcome(&ask(&socket, &good[..end])), (1, 0), "cut at {end}");
    }
    let status = [&good[..2], &[0x10], &good[3..]].concat();
    assert_eq!(outcome(&ask(&socket, &status)), (4, 0));
    let pointer = [&good[..12], &[0xc0, 12, 0, 1, 0, 1]].concat();
    assert_eq!(outcome(&ask(&socket, &pointer)), (1, 0));
    // Longer than any query, and no end to the name.
    let endless = [&good[..12], &[63; 1_388]].concat();
    assert_eq!(outcome(&ask(&socket, &endless)), (1, 0));
    assert_eq!(outcome(&ask(&socket, &good)), (0, 1));
}

#[test]
fn what_cannot_be_answered_says_why() {
    let server = resolver(&["boat.test=192.0.2.7"]);
    let socket = client(&server);
    // 255 bytes are the longest name that there is; this one has one more.
    let label = "x".repeat(63);
    let long = format!("{label}.{label}.{label}.{}", "x".repeat(62));
    assert_eq!(outcome(&ask(&socket, &query(1, &long, 1))), (1, 0));
    // Mail servers are nothing that the system's resolver knows; those of its own names there are none.
    assert_eq!(outcome(&ask(&socket, &query(2, "localhost", 15))), (4, 0));
    assert_eq!(outcome(&ask(&socket, &query(3, "boat.test", 15))), (0, 0));
    let mut chaos = query(4, "boat.test", 1);
    *chaos.last_mut().expect("has a class") = 3;
    assert_eq!(outcome(&ask(&socket, &chaos)), (5, 0));
    let root = [&query(5, "x", 1)[..12], &[0, 0, 1, 0, 1]].concat();
    assert_eq!(outcome(&ask(&socket, &root)), (0, 0));
}

#[test]
fn over_tcp_all_answers_fit_and_queries_follow_each_other() {
    let names: Vec<_> = (0..100).map(|i| format!("boat.test=192.0.2.{i}")).collect();
    let server = resolver(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let mut stream = server.connect();
    let mut bytes = Vec::new();
    for id in 0..10 {
        let query = query(id, if id % 2 == 0 { "boat.test" } else { "localhost" }, 1);
        bytes.extend((query.len() as u16).to_be_bytes());
        bytes.extend(query);
    }
    stream.write_all(&bytes).expect("takes queries");
    for id in 0..10u16 {
        let mut length = [0; 2];
        stream.read_exact(&mut length).expect("answers");
        let mut reply = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut reply).expect("answers all of it");
        assert_eq!(reply[..2], id.to_be_bytes());
        assert_eq!((outcome(&reply), reply[2] & 2), ((0, if id % 2 == 0 { 100 } else { 1 }), 0));
    }
    // An answer is no query, and ends the connection.
    stream.write_all(&[&[0, 12, 0, 1, 0x80][..], &[0; 9]].concat()).expect("takes it");
    assert_eq!(stream.read(&mut [0]).expect("ends"), 0);
}

#[test]
fn many_clients_are_answered_at_once() {
    let server = resolver(&["boat.test=192.0.2.7"]);
    let clients: Vec<_> = (0..100).map(|_| client(&server)).collect();
    for round in 0..5u16 {
        for (i, socket) in clients.iter().enumerate() {
            let name = if i % 2 == 0 { "boat.test" } else { "localhost" };
            socket.send(&query(round << 8 | i as u16, name, 1)).expect("takes a query");
        }
        for (i, socket) in clients.iter().enumerate() {
            let mut reply = [0; 512];
            let length = socket.recv(&mut reply).expect("answers");
            assert_eq!(reply[..2], (round << 8 | i as u16).to_be_bytes());
            assert_eq!(outcome(&reply[..length]), (0, 1));
        }
    }
}

#[test]
fn it_talks_to_dig() {
    let server = resolver(&["boat.test=192.0.2.7", "boat.test=2001:db8::7"]);
    for (arguments, expected) in [
        (&["boat.test"][..], "192.0.2.7\n"),
        (&["boat.test", "AAAA"], "2001:db8::7\n"),
        (&["localhost"], "127.0.0.1\n"),
        (&["boat.test", "TXT"], ""),
    ] {
        let Some(mut dig) = tool("dig") else { return };
        let port = server.address.port().to_string();
        let output =
            dig.args(["@127.0.0.1", "-p", &port, "+short"]).args(arguments).output().expect("starts");
        assert!(output.status.success(), "{output:?}");
        assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
    }
}

#[test]
fn dig_asks_again_over_tcp_for_what_was_cut() {
    let names: Vec<_> = (0..100).map(|i| format!("boat.test=192.0.2.{i}")).collect();
    let server = resolver(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let Some(mut dig) = tool("dig") else { return };
    let port = server.address.port().to_string();
    let output = dig.args(["@127.0.0.1", "-p", &port, "+short", "boat.test"]).output().expect("starts");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(
        String::from_utf8_lossy(&output.stdout).lines().filter(|line| !line.starts_with(';')).count(),
        100
    );
}
