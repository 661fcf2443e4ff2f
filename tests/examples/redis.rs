//! `redis_like`, byte for byte and by redis-cli and redis-benchmark.

use crate::output_of;
use crate::server::Server;
use narrowboat_testing::{eventually, python_with, sized, tool};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

/// A connection that sends commands as a library would.
pub struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    pub fn connect(server: &Server) -> Client {
        Client { stream: BufReader::new(server.connect()) }
    }

    pub fn send(&mut self, command: &str) {
        let words: Vec<_> = command.split(' ').collect();
        let mut bytes = format!("*{}\r\n", words.len());
        for word in words {
            bytes += &format!("${}\r\n{word}\r\n", word.len());
        }
        self.send_bytes(bytes.as_bytes());
    }

    pub fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).expect("takes a command");
    }

    /// A reply in one line: arrays in brackets, RESP3's maps in braces, its sets in `~[]` and its
    /// messages in `>[]`; `nil` for what is not there.
    pub fn receive(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).expect("a reply comes");
        let line = line.trim_end();
        let number = || line[1..].parse::<i64>().expect("a number");
        match line.bytes().next() {
            Some(b'$' | b'*') if number() < 0 => "nil".into(),
            Some(b'$') => {
                let mut string = vec![0; number() as usize + 2];
                self.stream.read_exact(&mut string).expect("the whole string comes");
                String::from_utf8_lossy(&string[..string.len() - 2]).into_owned()
            }
            Some(b'_') => "nil".into(),
            Some(kind @ (b'*' | b'~' | b'>' | b'%')) => {
                let length = if kind == b'%' { 2 * number() } else { number() };
                let elements: Vec<_> = (0..length).map(|_| self.receive()).collect();
                let elements = elements.join(" ");
                match kind {
                    b'*' => format!("[{elements}]"),
                    b'%' => format!("{{{elements}}}"),
                    kind => format!("{}[{elements}]", kind as char),
                }
            }
            Some(b'+' | b':') => line[1..].into(),
            Some(b'-') => line.into(),
            _ => panic!("no reply: {line:?}"),
        }
    }

    #[track_caller]
    pub fn expect(&mut self, command: &str, reply: &str) {
        self.send(command);
        assert_eq!(self.receive(), reply, "{command}");
    }

    fn is_closed(&mut self) -> bool {
        self.stream.fill_buf().map_or(true, |rest| rest.is_empty())
    }
}

#[test]
fn strings_counters_and_lists_do_what_redis_says() {
    let server = Server::start("redis_like");
    let mut client = Client::connect(&server);
    for (command, reply) in [
        ("PING", "PONG"),
        ("ping hello", "hello"),
        ("ECHO hello", "hello"),
        ("GET a", "nil"),
        ("SET a 1", "OK"),
        ("get a", "1"),
        ("SET a 2 NX", "nil"),
        ("SET b 2 XX", "nil"),
        ("SET a 2 XX", "OK"),
        ("SET a 2 XX NX", "-ERR syntax error"),
        ("SET a 2 EX 0", "-ERR invalid expire time in 'set' command"),
        ("SET a 2 EX", "-ERR syntax error"),
        ("INCR a", "3"),
        ("INCRBY a 10", "13"),
        ("DECR a", "12"),
        ("DECRBY a 13", "-1"),
        ("DECRBY a -9223372036854775808", "-ERR increment or decrement would overflow"),
        ("SET big 9223372036854775807", "OK"),
        ("INCR big", "-ERR increment or decrement would overflow"),
        ("SET word abc", "OK"),
        ("INCR word", "-ERR value is not an integer or out of range"),
        ("APPEND word def", "6"),
        ("STRLEN word", "6"),
        ("MSET x 1 y 2", "OK"),
        ("MGET x nothing y", "[1 nil 2]"),
        ("EXISTS x y z", "2"),
        ("DEL x y z", "2"),
        ("RPUSH list b c", "2"),
        ("LPUSH list a", "3"),
        ("LLEN list", "3"),
        ("LRANGE list 0 -1", "[a b c]"),
        ("LRANGE list -2 1", "[b]"),
        ("LRANGE list 5 9", "[]"),
        ("LRANGE list 2 1", "[]"),
        ("LRANGE list 0 -9", "[]"),
        ("LPOP list", "a"),
        ("RPOP list 5", "[c b]"),
        ("LPOP list", "nil"),
        ("EXISTS list", "0"),
        ("GET list", "nil"),
        ("RPUSH list x", "1"),
        ("GET list", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
        ("TYPE list", "list"),
        ("LPUSH word x", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
        ("KEYS w?r[a-d]", "[word]"),
        ("KEYS w?r[^a-d]", "[]"),
        ("DBSIZE", "4"),
        ("FLUSHALL", "OK"),
        ("DBSIZE", "0"),
        ("NONSENSE", "-ERR unknown command 'NONSENSE'"),
        ("GET", "-ERR wrong number of arguments for 'get' command"),
        ("SELECT 0", "OK"),
        ("QUIT", "OK"),
    ] {
        client.expect(command, reply);
    }
    assert!(client.is_closed());
}

#[test]
fn keys_expire_whether_or_not_a_client_asks() {
    let server = Server::start("redis_like");
    let mut client = Client::connect(&server);
    let start = Instant::now();
    client.expect("SET asked 1 PX 200", "OK");
    client.expect("SET silent 1", "OK");
    client.expect("PEXPIRE silent 200", "1");
    client.expect("SET kept 1 EX 100", "OK");
    client.expect("TTL kept", "100");
    client.expect("SET long 1 PX 100000000000", "OK");
    client.expect("PERSIST kept", "1");
    client.expect("TTL kept", "-1");
    client.expect("TTL nothing", "-2");
    client.expect("EXPIRE nothing 1", "0");
    client.expect("DBSIZE", "4");
    loop {
        client.send("GET asked");
        if client.receive() == "nil" {
            break;
        }
    }
    assert!(start.elapsed() >= Duration::from_millis(200));
    eventually("the silent one is dropped", || {
        client.send("DBSIZE");
        client.receive() == "2"
    });
    client.expect("GET kept", "1");
    client.expect("EXPIRE kept -1", "1");
    client.expect("GET kept", "nil");
}

#[test]
fn commands_may_come_in_one_piece_in_bytes_or_as_lines() {
    let server = Server::start("redis_like");
    let mut client = Client::connect(&server);
    client.send_bytes(
        b"PING\r\n\r\nset a  b\nGET a\r\n*1\r\n$4\r\nPING\r\n*0\r\n*-1\r\n*2\r\n$3\r\nGET\r\n$1\r\na\r\n",
    );
    let replies: Vec<_> = (0..5).map(|_| client.receive()).collect();
    assert_eq!(replies, ["PONG", "OK", "b", "PONG", "b"]);

    client.stream.get_mut().set_nodelay(true).expect("a socket takes options");
    for byte in b"*3\r\n$3\r\nSET\r\n$1\r\nb\r\n$4\r\n\r\n\0x\r\n" {
        client.send_bytes(&[*byte]);
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(client.receive(), "OK");
    client.expect("GET b", "\r\n\0x");

    // Thousands at once, and a value that is far larger than a buffer.
    client.send_bytes("INCR n\r\n".repeat(10_000).as_bytes());
    for n in 1..=10_000 {
        assert_eq!(client.receive(), n.to_string());
    }
    let large = "x".repeat(4 << 20);
    client.expect(&format!("SET large {large}"), "OK");
    client.send("GET large");
    assert!(client.receive() == large);
}

#[test]
fn garbage_is_refused_and_hurts_no_other() {
    let server = Server::start("redis_like");
    let mut bystander = Client::connect(&server);
    for (garbage, error) in [
        (&b"*x\r\n"[..], "-ERR Protocol error: invalid multibulk length"),
        (b"*99999999999\r\n", "-ERR Protocol error: invalid multibulk length"),
        (b"*1\r\nPING\r\n", "-ERR Protocol error: expected '$'"),
        (b"*1\r\n$-5\r\n", "-ERR Protocol error: invalid bulk length"),
        (b"*1\r\n$999999999999\r\n", "-ERR Protocol error: invalid bulk length"),
        (b"*1\r\n$4\r\nPINGPONG\r\n", "-ERR Protocol error: expected a line end after a string"),
        (&[b'x'; 100_000], "-ERR Protocol error: too big inline request"),
    ] {
        let mut client = Client::connect(&server);
        // The server may have closed before it has all of it.
        let _ = client.stream.get_mut().write_all(garbage);
        assert_eq!(client.receive(), error);
        assert!(client.is_closed());
        bystander.expect("PING", "PONG");
    }
}

#[test]
fn a_blocking_pop_waits_for_its_element_or_its_time() {
    let server = Server::start("redis_like");
    let (mut first, mut second, mut pusher) =
        (Client::connect(&server), Client::connect(&server), Client::connect(&server));
    pusher.expect("RPUSH a 1", "1");
    first.expect("BLPOP none a 0", "[a 1]");
    first.expect("BLPOP none a 0.05", "nil");
    first.expect("BLPOP a x", "-ERR timeout is not a float or out of range");

    let waiting = |count: usize| {
        // Nothing outside tells which waits; a moment is enough unless the machine is very busy; then the order differs.
        std::thread::sleep(Duration::from_millis(50 * count as u64));
    };
    first.send("BLPOP a b 0");
    waiting(1);
    second.send("BRPOP b 0");
    waiting(1);
    pusher.expect("RPUSH b 1 2 3", "3");
    let popped = [first.receive(), second.receive()];
    assert!(
        popped == ["[b 1]", "[b 3]"] || popped == ["[b 2]", "[b 3]"] || popped == ["[b 1]", "[b 2]"],
        "{popped:?}"
    );
    pusher.expect("LLEN b", "1");
    pusher.expect("DEL b", "1");

    // One that has gone takes nothing with it.
    first.send("BLPOP a 0");
    waiting(2);
    drop(first);
    waiting(2);
    pusher.expect("RPUSH a precious", "1");
    eventually("the element is there", || {
        pusher.send("LLEN a");
        pusher.receive() == "1"
    });
    // What comes behind a pop is carried out after it.
    second.send("BLPOP c 0");
    second.send("PING");
    waiting(1);
    pusher.expect("LPUSH c x", "1");
    assert_eq!([second.receive(), second.receive()], ["[c x]", "PONG"]);
}

#[test]
fn messages_reach_those_that_listen() {
    let server = Server::start("redis_like");
    let mut publisher = Client::connect(&server);
    publisher.expect("PUBLISH news unheard", "0");
    let mut listeners: Vec<_> = (0..50).map(|_| Client::connect(&server)).collect();
    for listener in &mut listeners {
        listener.expect("SUBSCRIBE news sport", "[subscribe news 1]");
        assert_eq!(listener.receive(), "[subscribe sport 2]");
    }
    for round in 0..20 {
        publisher.expect(&format!("PUBLISH news {round}"), "50");
    }
    for listener in &mut listeners {
        for round in 0..20 {
            assert_eq!(listener.receive(), format!("[message news {round}]"));
        }
        listener.expect("PING", "[pong ]");
        listener.send("GET a");
        assert!(listener.receive().starts_with("-ERR only (P|S)SUBSCRIBE"));
        listener.expect("UNSUBSCRIBE news", "[unsubscribe news 1]");
        listener.expect("UNSUBSCRIBE", "[unsubscribe sport 0]");
        listener.expect("UNSUBSCRIBE", "[unsubscribe nil 0]");
        listener.expect("PING", "PONG");
    }
    publisher.expect("PUBLISH news late", "0");
    listeners[0].expect("SUBSCRIBE news", "[subscribe news 1]");
    drop(listeners);
    eventually("those that left are forgotten", || {
        publisher.send("PUBLISH news late");
        publisher.receive() == "0"
    });
}

#[test]
fn a_listener_that_does_not_read_stalls_no_other() {
    let server = Server::start("redis_like");
    let (mut publisher, mut slow, mut quick) =
        (Client::connect(&server), Client::connect(&server), Client::connect(&server));
    slow.expect("SUBSCRIBE news", "[subscribe news 1]");
    quick.expect("SUBSCRIBE news", "[subscribe news 1]");
    // Far more than sockets and backlogs hold; one listener reads along.
    let message = "x".repeat(8 << 10);
    let mut reached = String::new();
    for _ in 0..20_000 {
        publisher.send(&format!("PUBLISH news {message}"));
        reached = publisher.receive();
        assert!(quick.receive().ends_with("xxx]"));
        if reached == "1" {
            break;
        }
    }
    assert_eq!(reached, "1", "the slow one should have been cut off");
}

#[test]
fn a_client_that_sends_and_does_not_read_is_not_stored_without_end() {
    let server = Server::start("redis_like");
    let mut client = Client::connect(&server);
    client.expect(&format!("SET big {}", "x".repeat(1 << 20)), "OK");
    client.send_bytes("GET big\r\n".repeat(150).as_bytes());
    let mut other = Client::connect(&server);
    for _ in 0..50 {
        other.expect("PING", "PONG");
        std::thread::sleep(Duration::from_millis(2));
    }
    assert!(server.resident() < 80 << 10, "{} KiB resident", server.resident());
    client.stream.get_mut().shutdown(Shutdown::Write).expect("half-closes");
    for _ in 0..150 {
        assert_eq!(client.receive().len(), 1 << 20);
    }
    assert!(client.is_closed());
}

#[test]
fn it_talks_to_redis_cli() {
    let server = Server::start("redis_like");
    let port = server.address.port().to_string();
    let cli = |arguments: &[&str]| Some(output_of(tool("redis-cli")?.args(["-p", &port]).args(arguments)));
    let Some(pong) = cli(&["ping"]) else { return };
    assert_eq!(pong, "PONG\n");
    assert_eq!(cli(&["set", "greeting", "hello there", "ex", "10"]).expect("is there"), "OK\n");
    assert_eq!(cli(&["get", "greeting"]).expect("is there"), "hello there\n");
    assert_eq!(cli(&["-r", "3", "incr", "n"]).expect("is there"), "1\n2\n3\n");
    assert_eq!(cli(&["rpush", "list", "a", "b"]).expect("is there"), "2\n");
    assert_eq!(cli(&["lrange", "list", "0", "-1"]).expect("is there"), "a\nb\n");
    assert!(cli(&["info"]).expect("is there").contains("redis_version:"));
}

#[test]
fn it_talks_to_redis_py() {
    let server = Server::start("redis_like");
    let Some(mut python) = python_with("redis") else { return };
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/examples/redis_client.py");
    let said = output_of(python.arg(script).arg(server.address.port().to_string()));
    assert!(said.starts_with("redis-py is content with default"), "{said}");
}

#[test]
fn it_stands_up_to_redis_benchmark() {
    let server = Server::start("redis_like");
    let Some(mut benchmark) = tool("redis-benchmark") else { return };
    let requests = sized(100_000, 10_000).max(8_000).to_string();
    let report = output_of(benchmark.args(["-p", &server.address.port().to_string()]).args([
        "-t",
        "ping,set,get,incr,lpush,lpop,mset",
        "-P",
        "16",
        "-c",
        "500",
        "-n",
        &requests,
        "-q",
    ]));
    for test in ["PING_INLINE", "PING_MBULK", "SET", "GET", "INCR", "LPUSH", "LPOP", "MSET (10 keys)"] {
        let done = report.split(['\r', '\n']).any(|line| {
            line.trim().strip_prefix(test).is_some_and(|rest| rest.contains("requests per second"))
        });
        assert!(done, "{test} is missing:\n{report}");
    }
    assert!(!report.contains("ERR") && !report.contains("WARN"), "{report}");
    assert!(server.threads() < 64, "{} threads", server.threads());
}
