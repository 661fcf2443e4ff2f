//! A load generator in the same process: clients of the server that are goroutines beside it.
//!
//! Each client has a connection of its own, requests `/` again and again, and compares every reply
//! with the expected one.

use hdrhistogram::Histogram;
use narrowboat::net::TcpStream;
use narrowboat::sync::{Group, Mutex};
use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: load\r\n\r\n";
const BODY: &[u8] = b"Hello from a goroutine!\n";
/// How long a client waits for a reply before it gives up.
const REPLY_TIMEOUT: Duration = Duration::from_secs(20);

/// The times of the correct replies.
pub struct Report {
    clients: usize,
    microseconds: Histogram<u64>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quantile = |q| self.microseconds.value_at_quantile(q) as f64 / 1e3;
        write!(
            f,
            "{} clients: {} replies, each of them right; half within {:.1} ms, 99 of 100 within {:.1} ms, the slowest {:.1} ms",
            self.clients,
            self.microseconds.len(),
            quantile(0.5),
            quantile(0.99),
            quantile(1.0)
        )
    }
}

/// Runs `clients` clients for `duration`.
///
/// # Errors
/// The first error of a client. A wrong reply is an error, too.
pub fn run(address: SocketAddr, clients: usize, duration: Duration) -> io::Result<Report> {
    let end = Instant::now() + duration;
    let longest = (duration + REPLY_TIMEOUT).as_micros() as u64;
    let microseconds = Histogram::new_with_max(longest, 2).expect("two digits of less than an hour are kept");
    let microseconds = Arc::new(Mutex::new(microseconds));
    let group = Group::new();
    for _ in 0..clients {
        let microseconds = microseconds.clone();
        group.spawn(move || {
            Client::connect(address)?.ask_until(end, |took| {
                microseconds.lock().expect("no holder of the lock panics").saturating_record(took);
            })
        });
    }
    group.wait()?;
    let microseconds = microseconds.lock().expect("no holder of the lock panics").clone();
    Ok(Report { clients, microseconds })
}

struct Client {
    stream: TcpStream,
    reply: Vec<u8>,
}

impl Client {
    fn connect(address: SocketAddr) -> io::Result<Client> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(REPLY_TIMEOUT))?;
        Ok(Client { stream, reply: Vec::new() })
    }

    fn ask_until(mut self, end: Instant, mut took: impl FnMut(u64)) -> io::Result<()> {
        while Instant::now() < end {
            let asked = Instant::now();
            self.stream.write_all(REQUEST)?;
            self.read_reply()?;
            took(asked.elapsed().as_micros() as u64);
        }
        Ok(())
    }

    /// Reads one reply. No bytes follow it, because the client sends one request at a time.
    fn read_reply(&mut self) -> io::Result<()> {
        self.reply.clear();
        loop {
            let before = self.reply.len();
            self.reply.resize(before + 512, 0);
            let received = self.stream.read(&mut self.reply[before..])?;
            self.reply.truncate(before + received);
            match is_complete(&self.reply) {
                Some(true) => return Ok(()),
                None if received > 0 => {}
                _ => {
                    let reply = String::from_utf8_lossy(&self.reply);
                    return Err(io::Error::new(ErrorKind::InvalidData, format!("a wrong reply: {reply:?}")));
                }
            }
        }
    }
}

/// Whether this is the expected reply; `None` if it is incomplete.
// Not inlined: the parser's frame is large, and the caller parks.
#[inline(never)]
fn is_complete(reply: &[u8]) -> Option<bool> {
    let mut headers = [httparse::EMPTY_HEADER; 16];
    let mut response = httparse::Response::new(&mut headers);
    match response.parse(reply) {
        Ok(httparse::Status::Complete(head)) if response.code == Some(200) => {
            let body = &reply[head..];
            if body.len() < BODY.len() && BODY.starts_with(body) { None } else { Some(body == BODY) }
        }
        Ok(httparse::Status::Partial) => None,
        _ => Some(false),
    }
}
