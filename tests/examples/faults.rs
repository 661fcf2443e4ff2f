//! What real networks do to servers: clients that die, reset, stall and send garbage, descriptors that run out. And the
//! soak: all of it for an hour, after which nothing may have been left behind.

use crate::http::{HELLO, read_reply};
use crate::redis;
use crate::server::Server;
use narrowboat_testing::{Dice, eventually, number_from_env, sized};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// A server, and how to have a word with it.
struct Subject {
    server: Server,
    request: &'static [u8],
    /// What a reply to `request` ends with.
    tail: &'static [u8],
    goroutines: fn(&Server) -> usize,
    /// How many sockets it has without any connection.
    sockets: usize,
}

impl Subject {
    fn http() -> Subject {
        let server = Server::start("http_server");
        // The listener, and a pair by which its signal handler wakes a thread.
        let sockets = 3;
        Subject { server, request: HELLO, tail: b"a goroutine!\n", goroutines: http_goroutines, sockets }
    }

    fn redis() -> Subject {
        let server = Server::start("redis_like");
        let request = b"*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$5\r\nvalue\r\n";
        Subject { server, request, tail: b"+OK\r\n", goroutines: redis_goroutines, sockets: 1 }
    }

    /// Waits for a free port if there is none: closed connections hold theirs for a while.
    fn connect(&self) -> TcpStream {
        let start = Instant::now();
        loop {
            match TcpStream::connect(self.server.address) {
                Ok(stream) => {
                    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a socket takes a timeout");
                    return stream;
                }
                Err(error) if error.kind() == ErrorKind::AddrNotAvailable => {
                    assert!(start.elapsed() < Duration::from_secs(120), "no port becomes free");
                    std::thread::sleep(Duration::from_millis(50));
                }
                Err(error) => panic!("cannot connect: {error}"),
            }
        }
    }

    #[track_caller]
    fn read_reply(&self, stream: &mut TcpStream) {
        let (mut reply, mut buffer) = (Vec::new(), [0; 512]);
        while !reply.ends_with(self.tail) {
            let received = stream.read(&mut buffer).expect("a reply comes");
            assert_ne!(received, 0, "closed after {:?}", String::from_utf8_lossy(&reply));
            reply.extend_from_slice(&buffer[..received]);
        }
    }

    #[track_caller]
    fn converse(&self, stream: &mut TcpStream) {
        stream.write_all(self.request).expect("takes a request");
        self.read_reply(stream);
    }

    /// What the process holds on to while no connection is open but the one that asks.
    fn holdings(&self) -> Holdings {
        let sockets = || {
            let descriptors = self.server.descriptors();
            descriptors.iter().filter(|link| link.starts_with("socket:")).count()
        };
        eventually("the connections are closed", || sockets() <= self.sockets);
        let mut goroutines = usize::MAX;
        // Some need a moment to end. The fewest that are seen in a row of looks is what is there to stay.
        for _ in 0..20 {
            goroutines = goroutines.min((self.goroutines)(&self.server));
            std::thread::sleep(Duration::from_millis(10));
        }
        eventually("those that asked are closed as well", || sockets() <= self.sockets);
        // A look of the runtime's at /proc takes a moment, too.
        let looks =
            (0..5).map(|_| (self.server.descriptors(), std::thread::sleep(Duration::from_millis(2))).0);
        let descriptors = looks.min_by_key(Vec::len).expect("looked");
        Holdings { descriptors, goroutines, kilobytes: self.server.resident() }
    }
}

#[derive(Debug)]
struct Holdings {
    /// What each of them is.
    descriptors: Vec<String>,
    goroutines: usize,
    kilobytes: usize,
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

type Fault = (&'static str, fn(&Subject));

const FAULTS: [Fault; 7] = [
    ("leaves without a word", |subject| drop(subject.connect())),
    ("dies in the middle of a request", |subject| {
        let mut stream = subject.connect();
        let _ = stream.write_all(&subject.request[..subject.request.len() / 2]);
    }),
    ("resets", |subject| {
        let mut stream = subject.connect();
        let _ = stream.write_all(subject.request);
        // A connection that is closed with something unread is reset.
        let _ = stream.peek(&mut [0]);
    }),
    ("closes its half", |subject| {
        let mut stream = subject.connect();
        stream.write_all(subject.request).expect("takes a request");
        stream.shutdown(Shutdown::Write).expect("half-closes");
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).expect("is answered to the end");
        assert!(rest.ends_with(subject.tail), "{:?}", String::from_utf8_lossy(&rest));
    }),
    ("sends garbage", |subject| {
        let mut stream = subject.connect();
        let _ = stream.write_all(&[0xff; 300]).and_then(|()| stream.write_all(b"\n\r\n"));
        let _ = stream.shutdown(Shutdown::Write);
        let _ = stream.read_to_end(&mut Vec::new());
    }),
    ("sends byte by byte", |subject| {
        let mut stream = subject.connect();
        stream.set_nodelay(true).expect("a socket takes options");
        for byte in subject.request {
            stream.write_all(&[*byte]).expect("takes a byte");
        }
        subject.read_reply(&mut stream);
    }),
    ("asks for much and reads nothing", |subject| {
        let mut stream = subject.connect();
        let _ = stream.write_all(&subject.request.repeat(500));
    }),
];

#[test]
fn clients_that_misbehave_hurt_no_other_and_leave_nothing_behind() {
    for subject in [Subject::http(), Subject::redis()] {
        subject.converse(&mut subject.connect());
        let before = subject.holdings();
        let mut bystander = subject.connect();
        for (what, misbehave) in FAULTS {
            for _ in 0..20 {
                misbehave(&subject);
            }
            subject.converse(&mut bystander);
            println!("one that {what}: no other noticed");
        }
        drop(bystander);
        let after = subject.holdings();
        assert!(
            after.goroutines <= before.goroutines && after.descriptors.len() <= before.descriptors.len(),
            "{before:?} became {after:?}"
        );
    }
}

#[test]
fn servers_outlive_connections_by_the_thousand() {
    for subject in [Subject::http(), Subject::redis()] {
        subject.converse(&mut subject.connect());
        let before = subject.holdings();
        let mut bystander = subject.connect();
        for i in 0..sized(4_000, 1_000) {
            let mut stream = subject.connect();
            match i % 10 {
                0 => subject.converse(&mut stream),
                1 => stream.write_all(subject.request).expect("takes a request"),
                _ => {}
            }
        }
        subject.converse(&mut bystander);
        drop(bystander);
        let after = subject.holdings();
        assert!(
            after.goroutines <= before.goroutines && after.descriptors.len() <= before.descriptors.len(),
            "{before:?} became {after:?}"
        );
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

/// All faults and much ordinary traffic, an hour long or for `NARROWBOAT_SOAK_SECONDS`; `.ci/soak.sh` runs it.
#[test]
#[ignore = "takes an hour, or as many seconds as NARROWBOAT_SOAK_SECONDS says"]
fn soak() {
    let seconds = number_from_env("NARROWBOAT_SOAK_SECONDS").unwrap_or(3600);
    let whole = Duration::from_secs(seconds as u64);
    let subjects = [Subject::http(), Subject::redis()];
    // What a server grows to under this load (slots, buffers of the allocator) it may keep. After that: no more.
    let first = soak_for(&subjects, whole / 5);
    let before = subjects.each_ref().map(Subject::holdings);
    let second = soak_for(&subjects, whole - whole / 5);
    for (subject, before) in subjects.iter().zip(&before) {
        let after = subject.holdings();
        println!("{} connections; {before:?} became {after:?}", first + second);
        assert!(after.descriptors.len() <= before.descriptors.len(), "{before:?} became {after:?}");
        assert!(after.goroutines <= before.goroutines, "{before:?} became {after:?}");
        let grown = after.kilobytes.saturating_sub(before.kilobytes);
        assert!(grown <= before.kilobytes / 10 + 2048, "{before:?} became {after:?}");
    }
    assert!(seconds < 600 || first + second >= 100_000, "only {} connections", first + second);
}

/// Two clients for each subject, one of which keeps a connection and expects to be served on it all the time. Returns how
/// many connections there were.
fn soak_for(subjects: &[Subject], duration: Duration) -> usize {
    let (over, connections) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for (seed, subject) in subjects.iter().enumerate() {
            let (over, connections) = (&over, &connections);
            scope.spawn(move || {
                let mut bystanders: Vec<_> = (0..50).map(|_| subject.connect()).collect();
                connections.fetch_add(bystanders.len(), Ordering::Relaxed);
                while !over.load(Ordering::Relaxed) {
                    for bystander in &mut bystanders {
                        subject.converse(bystander);
                    }
                    std::thread::sleep(Duration::from_millis(20));
                }
            });
            scope.spawn(move || {
                let mut dice = Dice::new(seed as u64);
                while !over.load(Ordering::Relaxed) {
                    // Mostly short lives; the others cost more.
                    let (_, misbehave) = FAULTS[if dice.roll(4) == 0 { dice.roll(FAULTS.len()) } else { 0 }];
                    misbehave(subject);
                    connections.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        std::thread::sleep(duration);
        over.store(true, Ordering::Relaxed);
    });
    connections.into_inner()
}
