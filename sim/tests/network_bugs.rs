//! Classic bugs of programs on a network, each with a corrected twin. Each bug is found, and no twin
//! is reported.

use narrowboat::net::{TcpListener, TcpStream, UdpSocket};
use narrowboat::sim::{Check, Strategy, net};
use narrowboat::sync::Mutex;
use narrowboat::{go, sleep};
use std::collections::BTreeSet;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

struct Bug {
    name: &'static str,
    what: &'static str,
    wrong: fn(),
    right: fn(),
}

macro_rules! bug {
    ($name:literal, $what:literal, $program:ident) => {
        Bug { name: $name, what: $what, wrong: $program::<false>, right: $program::<true> }
    };
}

const BUGS: &[Bug] = &[
    bug!("two leaders over a partition", "a leader that is cut off goes on leading", two_leaders),
    bug!("lost update over a partition", "what was read before it is written after it", lost_update),
    bug!("retry without idempotence", "the answer was lost, and not the request", retried),
    bug!("half-open connection", "nothing says that the other end is gone", half_open),
    bug!("a read taken for a message", "two writes arrive as one", coalesced),
    bug!("late answer", "a datagram that was overtaken answers the next question", late_answer),
    bug!(
        "written is not done",
        "a write that has returned has reached the system, and nothing else",
        written
    ),
    bug!("one attempt to connect", "a request for a connection is lost", one_attempt),
    bug!("a lease by the wrong clock", "two hosts compare dates", skewed_lease),
    bug!("a holder that was away", "what it has sent arrives after its lease", unfenced),
];

/// A number below `n`, which the seed decides.
fn chance(n: u64) -> u64 {
    RandomState::new().build_hasher().finish() % n
}

fn cell<T>(value: T) -> Arc<Mutex<T>> {
    Arc::new(Mutex::new(value))
}

/// A host that answers each line with a line.
fn serve(host: &str, answer: impl Fn(&str) -> String + Send + Sync + 'static) {
    let answer = Arc::new(answer);
    net::host(host).program(move || {
        let listener = TcpListener::bind("0.0.0.0:1").unwrap();
        for stream in listener.incoming() {
            let (answer, stream) = (answer.clone(), stream.unwrap());
            go!(move || {
                for line in BufReader::new(&stream).lines() {
                    let Ok(line) = line else { return };
                    if writeln!(&stream, "{}", answer(&line)).is_err() {
                        return;
                    }
                }
            });
        }
    });
    sleep(MS);
}

struct Client(BufReader<TcpStream>);

impl Client {
    fn connect(host: &str) -> io::Result<Client> {
        Ok(Client(BufReader::new(TcpStream::connect((host, 1))?)))
    }

    fn patience(&self, patience: Duration) {
        self.0.get_ref().set_read_timeout(Some(patience)).unwrap();
    }

    fn send(&self, line: &str) -> io::Result<()> {
        self.0.get_ref().write_all(format!("{line}\n").as_bytes())
    }

    fn receive(&mut self) -> io::Result<String> {
        let mut line = String::new();
        match self.0.read_line(&mut line)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(line.trim_end().to_owned()),
        }
    }

    fn ask(&mut self, line: &str) -> io::Result<String> {
        self.send(line)?;
        self.receive()
    }
}

/// The first leads and says so; the second takes over when it hears nothing for a second.
fn two_leaders<const FIXED: bool>() {
    let leads = cell([true, false]);
    net::host("second");
    let first = leads.clone();
    net::host("first").program(move || {
        let socket = UdpSocket::bind("0.0.0.0:1").unwrap();
        socket.set_read_timeout(Some(100 * MS)).unwrap();
        let mut answered = Instant::now();
        while first.lock().unwrap()[0] {
            socket.send_to(b"I lead", "second:1").unwrap();
            let start = Instant::now();
            if socket.recv(&mut [0; 8]).is_ok() {
                answered = Instant::now();
                sleep((100 * MS).saturating_sub(start.elapsed()));
            } else if FIXED && answered.elapsed() > SECOND / 2 {
                first.lock().unwrap()[0] = false;
            }
        }
    });
    let second = leads.clone();
    net::host("second").program(move || {
        let socket = UdpSocket::bind("0.0.0.0:1").unwrap();
        socket.set_read_timeout(Some(SECOND)).unwrap();
        while let Ok((_, from)) = socket.recv_from(&mut [0; 8]) {
            socket.send_to(b"heard", from).unwrap();
        }
        second.lock().unwrap()[1] = true;
    });
    sleep(MS * chance(1000) as u32);
    net::partition("first", "second");
    let heals = Instant::now() + MS * chance(2000) as u32;
    for _ in 0..200 {
        sleep(20 * MS);
        if Instant::now() > heals {
            net::heal("first", "second");
        }
        assert_ne!(*leads.lock().unwrap(), [true, true], "two lead");
    }
    net::crash("first");
    net::crash("second");
}

fn lost_update<const FIXED: bool>() {
    // A value and how many times it was written.
    let store = cell((0, 0));
    let value = store.clone();
    serve("store", move |line| {
        let (mut stored, words) = (value.lock().unwrap(), line.split(' ').collect::<Vec<_>>());
        match words[..] {
            ["get"] => {}
            ["put", value, version] if !FIXED || version == stored.1.to_string() => {
                *stored = (value.parse().unwrap(), stored.1 + 1);
                return "done".into();
            }
            _ => return "no".into(),
        }
        format!("{} {}", stored.0, stored.1)
    });
    let adding: Vec<_> = ["ann", "bob"]
        .map(|name| {
            net::host(name).spawn(|| {
                let mut client = Client::connect("store").unwrap();
                for _ in 0..3 {
                    sleep(SECOND * (1 + chance(10) as u32));
                    loop {
                        let read = client.ask("get").unwrap();
                        let (value, version) = read.split_once(' ').unwrap();
                        let value = value.parse::<u32>().unwrap() + 1;
                        if client.ask(&format!("put {value} {version}")).unwrap() == "done" {
                            break;
                        }
                    }
                }
            })
        })
        .into_iter()
        .collect();
    for _ in 0..10 {
        sleep(SECOND);
        net::partition("ann", "store");
        sleep(5 * SECOND);
        net::heal("ann", "store");
    }
    adding.into_iter().for_each(|one| one.join().unwrap());
    assert_eq!(store.lock().unwrap().0, 6);
    net::crash("store");
}

fn retried<const FIXED: bool>() {
    let account = cell((0, BTreeSet::new()));
    let state = account.clone();
    serve("bank", move |id| {
        sleep(SECOND / 2);
        let mut state = state.lock().unwrap();
        if state.1.insert(id.to_owned()) || !FIXED {
            state.0 += 1;
        }
        "done".into()
    });
    let paying = net::host("client").spawn(|| {
        for payment in 0..5 {
            loop {
                let mut client = Client::connect("bank").unwrap();
                client.patience(SECOND);
                if client.ask(&payment.to_string()).is_ok() {
                    break;
                }
            }
            sleep(SECOND);
        }
    });
    sleep(MS * chance(6000) as u32);
    net::partition_oneway("bank", "client");
    sleep(3 * SECOND);
    net::heal_oneway("bank", "client");
    paying.join().unwrap();
    assert_eq!(account.lock().unwrap().0, 5);
    net::crash("bank");
}

fn half_open<const FIXED: bool>() {
    net::host("news").program(|| {
        let listener = TcpListener::bind("0.0.0.0:1").unwrap();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            go!(move || {
                for word in ["some", "some", "some", "end"] {
                    sleep(SECOND);
                    let _ = writeln!(stream, "{word}");
                }
            });
        }
    });
    sleep(MS);
    let reading = net::host("reader").spawn(|| {
        loop {
            let Ok(mut client) = Client::connect("news") else { continue };
            if FIXED {
                client.patience(3 * SECOND);
            }
            while let Ok(word) = client.receive() {
                if word == "end" {
                    return;
                }
            }
        }
    });
    sleep(MS * chance(8000) as u32);
    net::crash("news");
    sleep(SECOND);
    net::restart("news");
    reading.join().unwrap();
    net::crash("news");
}

fn coalesced<const FIXED: bool>() {
    net::host("writer").program(|| {
        let (mut stream, _) = TcpListener::bind("0.0.0.0:1").unwrap().accept().unwrap();
        stream.write_all(b"one").unwrap();
        sleep(MS * chance(3) as u32);
        stream.write_all(b"two").unwrap();
    });
    sleep(MS);
    let mut stream = TcpStream::connect("writer:1").unwrap();
    let mut message = [0; 16];
    for expected in [b"one", b"two"] {
        let length = if FIXED {
            stream.read_exact(&mut message[..3]).unwrap();
            3
        } else {
            stream.read(&mut message).unwrap()
        };
        assert_eq!(&message[..length], expected);
    }
}

fn late_answer<const FIXED: bool>() {
    net::link("main", "oracle", net::Link::new().jitter(6 * MS).reordering(0.2));
    net::host("oracle").program(|| {
        let socket = UdpSocket::bind("0.0.0.0:1").unwrap();
        let mut question = [0; 1];
        while let Ok((_, from)) = socket.recv_from(&mut question) {
            socket.send_to(&question, from).unwrap();
        }
    });
    sleep(MS);
    let socket = UdpSocket::bind("0.0.0.0:2").unwrap();
    socket.set_read_timeout(Some(20 * MS)).unwrap();
    for question in 0..10 {
        socket.send_to(&[question], "oracle:1").unwrap();
        let mut answer = [0; 1];
        while socket.recv(&mut answer).is_ok() {
            if !FIXED || answer[0] == question {
                assert_eq!(answer[0], question);
                break;
            }
        }
    }
    net::crash("oracle");
}

fn written<const FIXED: bool>() {
    let store = cell(BTreeSet::new());
    let durable = store.clone();
    serve("store", move |line| {
        durable.lock().unwrap().insert(line.to_owned());
        "done".into()
    });
    let writing = net::host("client").spawn(|| {
        let mut client = Client::connect("store").unwrap();
        for n in 0..10 {
            let line = n.to_string();
            loop {
                client.patience(SECOND);
                let done = if FIXED { client.ask(&line).map(drop) } else { client.send(&line) };
                if done.is_ok() {
                    break;
                }
                if let Ok(again) = Client::connect("store") {
                    client = again;
                }
            }
            sleep(SECOND / 2);
        }
    });
    sleep(MS * chance(4000) as u32);
    net::crash("store");
    sleep(SECOND);
    net::restart("store");
    writing.join().unwrap();
    sleep(10 * SECOND);
    assert_eq!(store.lock().unwrap().len(), 10, "each write has succeeded");
    net::crash("store");
}

fn one_attempt<const FIXED: bool>() {
    serve("server", str::to_owned);
    net::link("main", "server", net::Link::new().loss(0.2));
    let address = (net::host("server").address(), 1).into();
    let stream = loop {
        match TcpStream::connect_timeout(&address, 500 * MS) {
            Ok(stream) => break stream,
            Err(error) => assert!(FIXED, "{error}"),
        }
    };
    drop(stream);
    sleep(60 * SECOND);
    net::crash("server");
}

fn skewed_lease<const FIXED: bool>() {
    // Until when the lock is taken: by the date, and by the time of the host that keeps it.
    let lock = cell((SystemTime::UNIX_EPOCH, Instant::now()));
    let held = cell(0);
    let working: Vec<_> = ["ann", "bob"]
        .map(|name| {
            let (lock, held) = (lock.clone(), held.clone());
            let host = net::host(name).date_ahead(Duration::from_millis(chance(8000)));
            host.spawn(move || {
                for _ in 0..3 {
                    loop {
                        let mut lock = lock.lock().unwrap();
                        let free = if FIXED { lock.1 < Instant::now() } else { lock.0 < SystemTime::now() };
                        if free {
                            *lock = (SystemTime::now() + 5 * SECOND, Instant::now() + 5 * SECOND);
                            break;
                        }
                        drop(lock);
                        sleep(100 * MS);
                    }
                    *held.lock().unwrap() += 1;
                    sleep(SECOND);
                    assert_eq!(*held.lock().unwrap(), 1, "two hold it");
                    *held.lock().unwrap() -= 1;
                    sleep(3 * SECOND);
                }
            })
        })
        .into_iter()
        .collect();
    working.into_iter().for_each(|one| one.join().unwrap());
}

fn unfenced<const FIXED: bool>() {
    // The text that is stored, and the highest number of a lease that was seen.
    let file = cell((String::new(), 0));
    let stored = file.clone();
    serve("storage", move |line| {
        let (lease, text) = line.split_once(' ').unwrap();
        let (lease, mut stored) = (lease.parse::<u32>().unwrap(), stored.lock().unwrap());
        if !FIXED || lease >= stored.1 {
            *stored = (text.to_owned(), lease);
        }
        "done".into()
    });
    let write = |host: &str, lease: u32| {
        let text = format!("{lease} by the holder of lease {lease}");
        net::host(host).spawn(move || Client::connect("storage").unwrap().ask(&text).unwrap())
    };
    let first = write("ann", 1);
    sleep(MS * chance(4) as u32);
    net::hold("ann", "storage");
    // The lease of the first one ends.
    sleep(5 * SECOND);
    write("bob", 2).join().unwrap();
    net::release("ann", "storage");
    first.join().unwrap();
    assert_eq!(file.lock().unwrap().0, "by the holder of lease 2");
    net::crash("storage");
}

fn check(strategy: Strategy, seed: u64, iterations: u64) -> Check {
    Check::new()
        .seed(seed)
        .environment(false)
        .shorten(false)
        .worlds(2)
        .strategy(strategy)
        .iterations(iterations)
        .max_turns(100_000)
        .max_time(Duration::from_secs(3600))
}

/// How many schedules it takes to find the bug: the median of some series. `None` if one finds nothing.
fn median(bug: &Bug, strategy: Strategy) -> Option<u64> {
    const SERIES: u64 = 11;
    let found = |series| {
        let failure = check(strategy, series * 1_000_000, 2_000).explore(bug.wrong).err()?;
        let _ = failure.trace_file().map(std::fs::remove_file);
        Some(failure.found_by())
    };
    let mut all = (0..SERIES).map(found).collect::<Option<Vec<_>>>()?;
    all.sort_unstable();
    Some(all[all.len() / 2])
}

#[test]
fn each_bug_is_found_and_no_twin_is_reported() {
    let mut wrong = Vec::new();
    println!("| bug | what | uniform | PCT |\n| --- | --- | --- | --- |");
    for bug in BUGS {
        let mut row = format!("| {} | {} |", bug.name, bug.what);
        for strategy in [Strategy::Uniform, Strategy::Pct { depth: 3 }] {
            match median(bug, strategy) {
                Some(median) => row += &format!(" {median} |"),
                None => wrong.push(format!("{} is not found by {strategy:?}", bug.name)),
            }
            if let Err(failure) = check(strategy, 7, 60).explore(bug.right) {
                wrong.push(format!("the twin of {} is reported by {strategy:?}: {failure}", bug.name));
            }
        }
        println!("{row}");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
