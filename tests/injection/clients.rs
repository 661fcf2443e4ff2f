//! The clients of the servers: plain threads and sockets. They look at every answer.

use narrowboat_testing::Dice;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(8);

/// What became of the clients.
#[derive(Default)]
pub struct Used {
    /// How many of them ended with an error.
    pub refused: usize,
    /// How many of them waited for nothing.
    pub late: usize,
    /// Whether one that came last was served.
    pub last: bool,
}

type Conversation<'a> = dyn Fn(usize, &mut BufReader<TcpStream>) -> Result<(), Failure> + Sync + 'a;

pub enum Failure {
    Io(io::Error),
    Wrong(String),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::Io(error)
    }
}

/// Some connections at once, each with a conversation.
fn converse(address: SocketAddr, clients: usize, conversation: &Conversation<'_>) -> Result<Used, String> {
    let mut used = Used::default();
    let results: Vec<_> = std::thread::scope(|scope| {
        let client = |n| {
            scope.spawn(move || {
                let stream = connect(address)?;
                conversation(n, &mut BufReader::new(stream))
            })
        };
        let all: Vec<_> = (0..clients).map(client).collect();
        all.into_iter().map(|client| client.join().expect("a client does not panic")).collect()
    });
    for result in results {
        match result {
            Ok(()) => {}
            Err(Failure::Wrong(what)) => return Err(what),
            Err(Failure::Io(error)) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut => used.late += 1,
                _ => used.refused += 1,
            },
        }
    }
    Ok(used)
}

fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Whether a conversation succeeds in one of some attempts.
fn last(address: SocketAddr, conversation: &Conversation<'_>) -> Result<bool, String> {
    for _ in 0..3 {
        let result = connect(address).map_err(Failure::Io);
        match result.and_then(|stream| conversation(99, &mut BufReader::new(stream))) {
            Ok(()) => return Ok(true),
            Err(Failure::Wrong(what)) => return Err(what),
            Err(Failure::Io(_)) => {}
        }
    }
    Ok(false)
}

fn expect(stream: &mut BufReader<TcpStream>, expected: &[u8]) -> Result<(), Failure> {
    let mut got = vec![0; expected.len()];
    stream.read_exact(&mut got)?;
    if got == expected { Ok(()) } else { Err(Failure::Wrong(format!("{:?}", String::from_utf8_lossy(&got)))) }
}

pub fn use_http(address: SocketAddr) -> Result<Used, String> {
    let conversation: &Conversation<'_> = &|seed, stream| {
        let mut dice = Dice::new(seed);
        for _ in 0..6 {
            let size: usize = [0, 10, 3_000, 100_000][dice.roll(4_usize)];
            let body: Vec<u8> = (0..size).map(|_| dice.roll(256_u32) as u8).collect();
            if size == 0 {
                stream.get_mut().write_all(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")?;
                reply(stream, b"Hello from a goroutine!\n")?;
                continue;
            }
            let head = format!("POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: {size}\r\n\r\n");
            stream.get_mut().write_all(head.as_bytes())?;
            for part in body.chunks(40_000) {
                stream.get_mut().write_all(part)?;
                std::thread::sleep(Duration::from_millis(1));
            }
            reply(stream, &body)?;
        }
        Ok(())
    };
    let mut used = converse(address, 6, conversation)?;
    used.last = last(address, conversation)?;
    Ok(used)
}

fn reply(stream: &mut BufReader<TcpStream>, body: &[u8]) -> Result<(), Failure> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head)? == 0 {
            return Err(Failure::Io(ErrorKind::UnexpectedEof.into()));
        }
    }
    let length =
        head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let length: usize = length.ok_or_else(|| Failure::Wrong(head.clone()))?;
    if !head.starts_with("HTTP/1.1 200 ") {
        // Another answer than one's own would be wrong. That the server is at its end is not.
        let refuses = head.starts_with("HTTP/1.1 503 ") || head.starts_with("HTTP/1.1 408 ");
        return Err(if refuses { Failure::Io(ErrorKind::Other.into()) } else { Failure::Wrong(head) });
    }
    if length != body.len() {
        return Err(Failure::Wrong(format!("{length} bytes for {}", body.len())));
    }
    expect(stream, body)
}

/// Writers, a pair that hands elements over, and at the end one that looks for everything that was
/// acknowledged.
pub fn use_redis(address: SocketAddr) -> Result<Used, String> {
    const ROUNDS: usize = 30;
    // Each use has keys of its own.
    static USES: AtomicUsize = AtomicUsize::new(0);
    let nth_use = USES.fetch_add(1, Ordering::Relaxed);
    let list = format!("list{nth_use}");
    let acknowledged = std::sync::Mutex::new(Vec::new());
    let conversation: &Conversation<'_> = &|n, stream| {
        for round in 0..ROUNDS {
            let (key, value) = (format!("key{nth_use}:{n}:{round}"), "v".repeat(1 + round * round));
            command(stream, &["SET", &key, &value])?;
            expect(stream, b"+OK\r\n")?;
            acknowledged.lock().expect("no client panics").push((key.clone(), value.clone()));
            command(stream, &["INCR", &format!("counter{nth_use}:{n}")])?;
            expect(stream, format!(":{}\r\n", round + 1).as_bytes())?;
            if round % 10 == 0 {
                std::thread::sleep(Duration::from_millis(2));
            }
        }
        // One waits for what the other brings.
        match n {
            0 => {
                command(stream, &["BLPOP", &list, "2"])?;
                let mut line = String::new();
                stream.read_line(&mut line)?;
                // The one that brings it may have failed.
                if line != "*2\r\n" {
                    return Ok(());
                }
                expect(stream, format!("${}\r\n{list}\r\n$7\r\nelement\r\n", list.len()).as_bytes())
            }
            1 => {
                std::thread::sleep(Duration::from_millis(10));
                command(stream, &["RPUSH", &list, "element"])?;
                expect(stream, b":1\r\n")
            }
            _ => Ok(()),
        }
    };
    let mut used = converse(address, 5, conversation)?;
    let acknowledged = acknowledged.lock().expect("no client panics").clone();
    used.last = last(address, &|_, stream| {
        for (key, value) in &acknowledged {
            command(stream, &["GET", key])?;
            expect(stream, format!("${}\r\n{value}\r\n", value.len()).as_bytes())?;
        }
        command(stream, &["PING"])?;
        expect(stream, b"+PONG\r\n")
    })?;
    Ok(used)
}

fn command(stream: &mut BufReader<TcpStream>, words: &[&str]) -> io::Result<()> {
    let words: String = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len())).collect();
    let count = words.matches('$').count();
    stream.get_mut().write_all(format!("*{count}\r\n{words}").as_bytes())
}
