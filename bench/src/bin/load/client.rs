//! The closed loop: on each busy connection the next request goes out when the last one is answered.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use narrowboat_bench::epoll::{Epoll, Events};

use crate::exchange::{Exchange, Kind, Reply};
use crate::latency::Latencies;

/// Longest wait for any reply at all.
pub const SILENCE: Duration = Duration::from_secs(5);

/// A request still unanswered at the end after this long is an error: the loop went on without its connection.
pub const STALLED: Duration = Duration::from_secs(2);

/// Most bytes taken from a socket at once.
pub const BUFFER: usize = 4096;

/// When the measurement ends.
#[derive(Clone, Copy, Debug)]
pub enum Until {
    /// After that much time.
    Elapsed(Duration),
    /// After that many replies.
    Requests(usize),
}

/// What a run came to.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Measured time.
    pub elapsed: Duration,
    /// One for each right reply.
    pub latencies: Latencies,
    /// Wrong replies, connections lost, and requests that stalled.
    pub errors: usize,
}

/// Open connections, some of them to be kept busy.
#[derive(Debug)]
pub struct Load {
    epoll: Epoll,
    connections: Vec<Connection>,
    busy: usize,
    early_errors: usize,
}

#[derive(Debug)]
struct Connection {
    /// `None` once it is given up.
    stream: Option<TcpStream>,
    exchange: Exchange,
    asked: Instant,
}

impl Load {
    /// Opens `open` connections and makes one checked round trip on each.
    ///
    /// The round trip keeps the server's accept queue short, and gives every connection, idle ones too, whatever the
    /// server allocates for one that has spoken.
    pub fn connect(kind: Kind, address: SocketAddr, open: usize, busy: usize) -> io::Result<Load> {
        let epoll = Epoll::new()?;
        let mut connections = Vec::with_capacity(open);
        for number in 0..open {
            let mut connection = Connection::open(kind, address, number as u64)?;
            connection.first_round_trip()?;
            let stream = connection.stream()?;
            stream.set_nonblocking(true)?;
            epoll.watch(stream, number as u64)?;
            connections.push(connection);
        }
        Ok(Load { epoll, connections, busy, early_errors: 0 })
    }

    /// Starts all busy connections, and keeps them busy for a while without measuring.
    pub fn start(&mut self, warm_up: Duration) -> io::Result<()> {
        for number in self.busy_ones() {
            self.connections[number].ask()?;
        }
        let mut ignored = Outcome::default();
        self.turn(Until::Elapsed(warm_up), &mut ignored)?;
        self.early_errors = ignored.errors;
        Ok(())
    }

    /// Keeps them busy until the end. Errors of the warm-up count.
    pub fn measure(&mut self, until: Until) -> io::Result<Outcome> {
        let mut outcome = Outcome { errors: self.early_errors, ..Outcome::default() };
        let begun = Instant::now();
        self.turn(until, &mut outcome)?;
        outcome.elapsed = begun.elapsed();
        let stalled =
            |connection: &Connection| connection.stream.is_some() && connection.asked.elapsed() > STALLED;
        let busy_ones = self.busy_ones();
        outcome.errors += busy_ones.filter(|&number| stalled(&self.connections[number])).count();
        Ok(outcome)
    }

    fn busy_ones(&self) -> impl Iterator<Item = usize> + use<> {
        let (open, busy) = (self.connections.len(), self.busy);
        (0..busy).map(move |i| i * open / busy)
    }

    fn turn(&mut self, until: Until, outcome: &mut Outcome) -> io::Result<()> {
        let begun = Instant::now();
        let mut heard = begun;
        let mut events = Events::new();
        let mut buffer = [0; BUFFER];
        let is_over = |count, now: Instant| match until {
            Until::Elapsed(limit) => now - begun >= limit,
            Until::Requests(limit) => count >= limit,
        };
        while !is_over(outcome.latencies.count(), Instant::now()) {
            for token in self.epoll.wait(&mut events, Some(Duration::from_millis(100)))? {
                let connection = &mut self.connections[token as usize];
                heard = Instant::now();
                match connection.hear(&mut buffer) {
                    Ok(Reply::Partial) => {}
                    Ok(Reply::Complete) => {
                        outcome.latencies.add(connection.asked.elapsed());
                        if connection.ask().is_err() {
                            outcome.errors += connection.lose();
                        }
                    }
                    Ok(Reply::Wrong) | Err(_) => outcome.errors += connection.lose(),
                }
            }
            if heard.elapsed() > SILENCE {
                return Err(io::Error::new(ErrorKind::TimedOut, "the server has stopped answering"));
            }
        }
        Ok(())
    }
}

impl Connection {
    fn open(kind: Kind, address: SocketAddr, number: u64) -> io::Result<Connection> {
        let stream = TcpStream::connect_timeout(&address, SILENCE)?;
        stream.set_nodelay(true)?;
        Ok(Connection { stream: Some(stream), exchange: Exchange::new(kind, number), asked: Instant::now() })
    }

    fn stream(&self) -> io::Result<&TcpStream> {
        self.stream.as_ref().ok_or_else(|| ErrorKind::NotConnected.into())
    }

    fn first_round_trip(&mut self) -> io::Result<()> {
        self.stream()?.set_read_timeout(Some(SILENCE))?;
        self.ask()?;
        loop {
            match self.hear(&mut [0; BUFFER])? {
                Reply::Partial => {}
                Reply::Complete => return Ok(()),
                Reply::Wrong => {
                    return Err(io::Error::new(ErrorKind::InvalidData, "the first reply is wrong"));
                }
            }
        }
    }

    /// Sends the next request: short enough to fit any socket's buffer, since the last one was answered.
    fn ask(&mut self) -> io::Result<()> {
        self.asked = Instant::now();
        let mut stream = self.stream.as_ref().ok_or(ErrorKind::NotConnected)?;
        stream.write_all(self.exchange.next_request())
    }

    fn hear(&mut self, buffer: &mut [u8]) -> io::Result<Reply> {
        match self.stream()?.read(buffer) {
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            Ok(n) => Ok(self.exchange.receive(&buffer[..n])),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(Reply::Partial),
            Err(error) => Err(error),
        }
    }

    /// Gives the connection up, closing it, which also ends its readiness; returns the number of errors that makes.
    fn lose(&mut self) -> usize {
        usize::from(self.stream.take().is_some())
    }
}
