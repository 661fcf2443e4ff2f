//! What real networks do to servers: clients that die, reset, stall and send garbage, descriptors
//! that run out.

use crate::holdings::Holdings;
use crate::http::{HELLO, read_reply};
use crate::redis;
use crate::server::Server;
use crate::subject::Subject;
use narrowboat_testing::sized;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::Shutdown;

/// What the process holds on to while no connection is open but the one that asks.
fn holdings(subject: &Subject, server: &Server) -> Holdings {
    match subject.name {
        // The listener, and a pair by which its signal handler wakes a thread.
        "http_server" => Holdings::of(server, 3, || http_goroutines(server)),
        _ => Holdings::of(server, 1, || redis_goroutines(server)),
    }
}

fn http_goroutines(server: &Server) -> usize {
    let mut stream = BufReader::new(server.connect());
    let request = b"GET /stats HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
    stream.get_mut().write_all(request).expect("takes a request");
    let stats = read_reply(&mut stream).body;
    let words: Vec<_> = stats.split(' ').collect();
    let at = words.iter().position(|word| word.starts_with("goroutines")).expect("says it");
    words[at - 1].parse().expect("is a number")
}

fn redis_goroutines(server: &Server) -> usize {
    let mut client = redis::Client::connect(server);
    client.send("INFO");
    let info = client.receive();
    let line = info.lines().find_map(|line| line.strip_prefix("goroutines:")).expect("says it");
    line.trim().parse().expect("is a number")
}

/// What a client may do.
pub struct Fault {
    pub what: &'static str,
    /// Whether it needs a reply whose end is known.
    is_answered: bool,
    /// Fails if it cannot connect, or gets no reply where there should be one.
    pub commit: fn(&Subject) -> io::Result<()>,
}

impl Fault {
    pub fn applies_to(&self, subject: &Subject) -> bool {
        subject.tail.is_some() || !self.is_answered
    }
}

pub const FAULTS: [Fault; 7] = [
    Fault {
        what: "leaves without a word",
        is_answered: false,
        commit: |subject| subject.connect().map(drop),
    },
    Fault {
        what: "dies in the middle of a request",
        is_answered: false,
        commit: |subject| {
            let mut stream = subject.connect()?;
            let _ = stream.write_all(&subject.request[..subject.request.len() / 2]);
            Ok(())
        },
    },
    Fault {
        what: "resets",
        is_answered: false,
        commit: |subject| {
            let mut stream = subject.connect()?;
            let _ = stream.write_all(subject.request);
            // A connection that is closed with something unread is reset.
            if subject.tail.is_some() {
                let _ = stream.peek(&mut [0]);
            }
            Ok(())
        },
    },
    Fault {
        what: "closes its half",
        is_answered: true,
        commit: |subject| {
            let mut stream = subject.connect()?;
            stream.write_all(subject.request)?;
            stream.shutdown(Shutdown::Write)?;
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest)?;
            match rest.ends_with(subject.tail.expect("is known")) {
                true => Ok(()),
                false => {
                    let what = format!("half a reply: {:?}", String::from_utf8_lossy(&rest));
                    Err(io::Error::new(io::ErrorKind::UnexpectedEof, what))
                }
            }
        },
    },
    Fault {
        what: "sends garbage",
        is_answered: false,
        commit: |subject| {
            let mut stream = subject.connect()?;
            let _ = stream.write_all(&[0xff; 300]).and_then(|()| stream.write_all(b"\n\r\n"));
            let _ = stream.shutdown(Shutdown::Write);
            let _ = stream.read_to_end(&mut Vec::new());
            Ok(())
        },
    },
    Fault {
        what: "sends byte by byte",
        is_answered: true,
        commit: |subject| {
            let mut stream = subject.connect()?;
            for byte in subject.request {
                stream.write_all(&[*byte])?;
            }
            subject.read_reply(&mut stream)
        },
    },
    Fault {
        what: "asks for much and reads nothing",
        is_answered: false,
        commit: |subject| {
            let mut stream = subject.connect()?;
            let _ = stream.write_all(&subject.request.repeat(500));
            Ok(())
        },
    },
];

#[test]
fn clients_that_misbehave_hurt_no_other_and_leave_nothing_behind() {
    for (subject, server) in ["http_server", "redis_like"].map(Subject::start) {
        subject.converse(&mut server.connect()).expect("is answered");
        let before = holdings(&subject, &server);
        let mut bystander = server.connect();
        for fault in FAULTS {
            for _ in 0..20 {
                (fault.commit)(&subject).expect(fault.what);
            }
            subject.converse(&mut bystander).expect("is answered");
            println!("one that {}: no other noticed", fault.what);
        }
        drop(bystander);
        assert_eq!(holdings(&subject, &server).left_since(&before), Vec::<String>::new());
    }
}

#[test]
fn servers_outlive_connections_by_the_thousand() {
    for (subject, server) in ["http_server", "redis_like"].map(Subject::start) {
        subject.converse(&mut server.connect()).expect("is answered");
        let before = holdings(&subject, &server);
        let mut bystander = server.connect();
        for i in 0..sized(4_000, 1_000) {
            let mut stream = subject.connect().expect("accepts");
            match i % 10 {
                0 => subject.converse(&mut stream).expect("is answered"),
                1 => stream.write_all(subject.request).expect("takes a request"),
                _ => {}
            }
        }
        subject.converse(&mut bystander).expect("is answered");
        drop(bystander);
        assert_eq!(holdings(&subject, &server).left_since(&before), Vec::<String>::new());
    }
}

#[test]
fn servers_survive_running_out_of_descriptors() {
    for name in ["echo_server", "http_server", "redis_like"] {
        let server = Server::start_limited(name, 256);
        // The kernel completes the handshakes; the server can accept only the first of them.
        let mut streams: Vec<_> = (0..400).map(|_| BufReader::new(server.connect())).collect();
        for stream in &mut streams {
            stream.get_mut().write_all(HELLO).expect("takes a request");
        }
        assert!(
            streams[0].fill_buf().is_ok_and(|reply| !reply.is_empty()),
            "{name} serves those that it has"
        );
        // Each one that goes makes room for one that waits, to the last.
        for mut stream in streams {
            assert!(stream.fill_buf().is_ok_and(|reply| !reply.is_empty()), "{name} serves all in the end");
        }
    }
}
