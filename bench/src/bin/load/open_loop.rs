//! The open loop: requests go out at a fixed rate, on all connections in turn, whether earlier ones are answered or not,
//! and a latency counts from the moment at which its request was to go out. So a server that stands still for 20 ms is charged for
//! every request that fell into them, not for one on each connection (no "coordinated omission"). What the client itself is
//! late by is in it, too, the same for every server; it is printed as well.
//!
//! Several requests may be under way on one connection. Echoes come back in order, so each connection knows the bytes that
//! are to come next.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use narrowboat_bench::epoll::{Epoll, Events};

use crate::client::{BUFFER, SILENCE, STALLED};
use crate::exchange::{ECHO, echo_message};
use crate::latency::Latencies;

/// What a run came to.
#[derive(Debug, Default)]
pub struct Outcome {
    /// One for each right reply to a request after the warm-up, from when the request was to go out.
    pub latencies: Latencies,
    /// How much later than that it did.
    pub late: Latencies,
    /// Wrong replies, connections lost, and requests without an answer.
    pub errors: usize,
}

/// When requests are to go out.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    /// Requests per second, on all connections together.
    pub rate: f64,
    /// How long at the beginning they do not count.
    pub warm_up: Duration,
    /// How long they count.
    pub measured: Duration,
}

impl Schedule {
    /// When request number `index` goes out, after the beginning.
    fn due(&self, index: usize) -> Duration {
        Duration::from_secs_f64(index as f64 / self.rate)
    }
}

#[derive(Debug)]
struct Connection {
    number: u64,
    stream: TcpStream,
    /// Requests under way, oldest first: when each was to go out.
    asked: VecDeque<Instant>,
    sent: u64,
    answered: u64,
    /// The part of the next echo that is there.
    partial: Vec<u8>,
}

impl Connection {
    fn open(address: SocketAddr, number: u64) -> io::Result<Connection> {
        let stream = TcpStream::connect_timeout(&address, SILENCE)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let partial = Vec::with_capacity(ECHO);
        Ok(Connection { number, stream, asked: VecDeque::new(), sent: 0, answered: 0, partial })
    }

    /// Sends the next request. A socket whose buffer takes no 64 bytes more is an error: so far behind no server is to be.
    fn ask(&mut self, due: Instant) -> io::Result<()> {
        self.sent += 1;
        self.asked.push_back(due);
        self.stream.write_all(&echo_message(self.number, self.sent))
    }

    /// Reads what is there, and notes the latency of every echo that is complete. Those of requests that were to go out
    /// before `counted` are not noted.
    fn hear(&mut self, buffer: &mut [u8], counted: Instant, latencies: &mut Latencies) -> io::Result<()> {
        let mut bytes = match self.stream.read(buffer) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(read) => &buffer[..read],
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        let now = Instant::now();
        while !bytes.is_empty() {
            let (taken, rest) = bytes.split_at(bytes.len().min(ECHO - self.partial.len()));
            self.partial.extend_from_slice(taken);
            bytes = rest;
            if self.partial.len() < ECHO {
                continue;
            }
            self.answered += 1;
            let right = self.partial == echo_message(self.number, self.answered);
            self.partial.clear();
            match self.asked.pop_front() {
                Some(due) if right => {
                    if due >= counted {
                        latencies.add(now - due);
                    }
                }
                _ => return Err(ErrorKind::InvalidData.into()),
            }
        }
        Ok(())
    }
}

/// Opens the connections and keeps to the schedule.
///
/// # Errors
///
/// If a connection cannot be opened. What becomes of one later is among the outcome's errors.
pub fn run(address: SocketAddr, open: usize, schedule: Schedule) -> io::Result<Outcome> {
    let epoll = Epoll::new()?;
    let mut connections = Vec::with_capacity(open);
    for number in 0..open as u64 {
        let connection = Connection::open(address, number)?;
        epoll.watch(&connection.stream, number)?;
        connections.push(Some(connection));
    }
    let requests = ((schedule.warm_up + schedule.measured).as_secs_f64() * schedule.rate) as usize;
    let mut outcome = Outcome::default();
    let mut events = Events::new();
    let mut buffer = [0; BUFFER];
    let begun = Instant::now();
    let counted = begun + schedule.warm_up;
    let end = begun + schedule.due(requests) + STALLED;
    let mut next = 0;
    loop {
        let mut now = Instant::now();
        while next < requests && begun + schedule.due(next) <= now {
            let due = begun + schedule.due(next);
            let connection = &mut connections[next % open];
            if let Some(asked) = connection.as_mut().map(|connection| connection.ask(due)) {
                lose_if_broken(connection, asked, &mut outcome.errors);
            }
            if due >= counted {
                outcome.late.add(now - due);
            }
            next += 1;
            now = Instant::now();
        }
        let is_waiting = |connection: &Connection| !connection.asked.is_empty();
        if now >= end || next == requests && !connections.iter().flatten().any(is_waiting) {
            break;
        }
        let until = if next < requests { begun + schedule.due(next) } else { end };
        for token in epoll.wait(&mut events, Some(until.saturating_duration_since(now)))? {
            let connection = &mut connections[token as usize];
            let latencies = &mut outcome.latencies;
            let heard = connection.as_mut().map(|known| known.hear(&mut buffer, counted, latencies));
            if let Some(heard) = heard {
                lose_if_broken(connection, heard, &mut outcome.errors);
            }
        }
    }
    outcome.errors += connections.iter().flatten().map(|connection| connection.asked.len()).sum::<usize>();
    Ok(outcome)
}

/// Gives a broken connection up. Whatever was under way on it is an error, and so is the break.
fn lose_if_broken(connection: &mut Option<Connection>, result: io::Result<()>, errors: &mut usize) {
    if result.is_err()
        && let Some(broken) = connection.take()
    {
        *errors += 1 + broken.asked.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::thread;

    /// A server of one connection, and what the open loop made of it.
    fn against(serve: impl FnOnce(TcpStream) + Send + 'static) -> Outcome {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = thread::spawn(move || serve(listener.accept().unwrap().0));
        let (warm_up, measured) = (Duration::from_millis(50), Duration::from_millis(400));
        let outcome = run(address, 1, Schedule { rate: 500.0, warm_up, measured }).unwrap();
        server.join().unwrap();
        outcome
    }

    fn echo(stream: &mut TcpStream, buffer: &mut [u8], spoil: u8) -> bool {
        let read = stream.read(buffer).unwrap_or(0);
        buffer[0] ^= spoil;
        read > 0 && stream.write_all(&buffer[..read]).is_ok()
    }

    #[test]
    fn a_pause_is_charged_to_every_request_that_fell_into_it() {
        let mut outcome = against(|mut stream| {
            let begun = Instant::now();
            let mut paused = false;
            while echo(&mut stream, &mut [0; 4096], 0) {
                if !paused && begun.elapsed() > Duration::from_millis(100) {
                    paused = true;
                    thread::sleep(Duration::from_millis(200));
                }
            }
        });
        assert_eq!((outcome.latencies.count(), outcome.errors), (200, 0));
        // Half of the 200 requests fell into the pause; the one in the middle of them waited for half of it.
        assert!(outcome.latencies.quantile(0.74) >= Duration::from_millis(80));
        assert!(outcome.latencies.quantile(0.99) >= Duration::from_millis(180));
    }

    #[test]
    fn a_wrong_byte_ends_the_connection_and_counts() {
        let outcome = against(|mut stream| while echo(&mut stream, &mut [0; 4096], 1) {});
        assert!(outcome.errors > 0);
        assert_eq!(outcome.latencies.count(), 0);
    }
}
