//! One client: a goroutine that reads what has come, answers every request that is complete in it
//! with one write, and parks in the next read.
//!
//! It keeps its buffers on the heap, because a parked goroutine is as large as its live stack.

use crate::request::{MAX_HEAD, Request};
use crate::response::{self, Response, Status};
use crate::server::Server;
use narrowboat::net::TcpStream;
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::time::{Duration, Instant};

/// Returns when the connection has ended, or with what broke it.
pub fn serve(stream: TcpStream, server: &Server) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(server.options.idle_timeout))?;
    stream.set_write_timeout(Some(server.options.idle_timeout))?;
    let Some(_entry) = server.enter(&stream)? else { return refuse(stream, server) };
    Connection { stream, server, started: None, input: Input::default(), output: Vec::new() }.run()
}

/// Tells one client too many to come back. If too many are being told, it is simply closed.
fn refuse(mut stream: TcpStream, server: &Server) -> io::Result<()> {
    let Ok(_permit) = server.refusals.try_acquire() else { return Ok(()) };
    let mut output = Vec::new();
    Response::of(response::UNAVAILABLE).write(&mut output, false, false);
    stream.write_all(&output)?;
    hang_up(stream)
}

/// Closes, but not in the face of a client that is still sending: unread input would reset the
/// connection, and the reset could overtake our answer.
fn hang_up(mut stream: TcpStream) -> io::Result<()> {
    stream.shutdown(Shutdown::Write)?;
    stream.set_read_deadline(Some(Instant::now() + Duration::from_secs(1)))?;
    let mut rest = vec![0; 4096];
    while stream.read(&mut rest)? > 0 {}
    Ok(())
}

struct Connection<'a> {
    stream: TcpStream,
    server: &'a Server,
    /// When the request began to come that is not complete yet.
    started: Option<Instant>,
    input: Input,
    output: Vec<u8>,
}

impl Connection<'_> {
    fn run(mut self) -> io::Result<()> {
        loop {
            // Before the read and after any change of the deadline; see `Server::stop`.
            if self.server.is_stopping() && self.started.is_none() {
                return Ok(());
            }
            let open = match self.stream.read(self.input.room()) {
                Ok(0) => return Ok(()),
                Ok(received) => {
                    self.input.add(received);
                    self.answer()?
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    match self.started {
                        None => return Ok(()),
                        // The server is stopping, or a pause was longer than an idle connection's
                        // may be.
                        Some(started) if started.elapsed() < self.server.options.request_timeout => true,
                        Some(_) => self.refuse(response::REQUEST_TIMEOUT),
                    }
                }
                Err(error) => return Err(error),
            };
            self.flush()?;
            if !open {
                return hang_up(self.stream);
            }
            self.limit_the_next_read()?;
        }
    }

    /// Answers all that has come and can be answered; false if the connection is to be closed then.
    fn answer(&mut self) -> io::Result<bool> {
        let mut answered = 0;
        let open = loop {
            let request = match self.input.next_request() {
                Ok(Some(request)) => request,
                Ok(None) => break true,
                Err(status) => break self.refuse(status),
            };
            if request.action.is_slow() {
                self.flush()?;
            }
            let (keep_alive, head_only) = (request.keep_alive, request.head_only);
            let response = Response::to(request, self.server);
            let keep_alive = keep_alive && !self.server.is_stopping();
            response.write(&mut self.output, keep_alive, head_only);
            answered += 1;
            if !keep_alive {
                break false;
            }
        };
        if self.input.wants_to_be_asked() {
            self.output.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        if answered > 0 && self.started.is_some() {
            // What stands behind an answered request is another one, which has begun only now.
            self.started = Some(Instant::now());
        }
        self.server.stats.count(answered);
        Ok(open)
    }

    fn refuse(&mut self, status: Status) -> bool {
        Response::of(status).write(&mut self.output, false, false);
        false
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.output.is_empty() {
            self.stream.write_all(&self.output)?;
            self.output.clear();
            // What a large answer needed is not kept for the small ones after it.
            self.output.shrink_to(MAX_HEAD);
        }
        Ok(())
    }

    /// A request that has begun has to be complete in time, however steadily its bytes drip.
    fn limit_the_next_read(&mut self) -> io::Result<()> {
        match (self.input.is_empty(), self.started) {
            (true, None) => Ok(()),
            (true, Some(_)) => {
                self.started = None;
                self.stream.set_read_deadline(None)
            }
            (false, started) => {
                let started = *self.started.insert(started.unwrap_or_else(Instant::now));
                self.stream.set_read_deadline(started.checked_add(self.server.options.request_timeout))
            }
        }
    }
}

/// What has come and is not answered yet: `bytes[start..end]`, after what `current` says already.
#[derive(Default)]
struct Input {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    /// The request whose body is being read. In a box, because most connections have none most of
    /// the time.
    current: Option<Box<Request>>,
}

impl Input {
    /// Where the next bytes go. Starts at 512 bytes, since most connections idle, and doubles as
    /// far as a head may reach when a read has filled it.
    fn room(&mut self) -> &mut [u8] {
        if self.end == self.bytes.len() {
            self.bytes.resize((2 * self.end).clamp(512, MAX_HEAD), 0);
        }
        self.bytes.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        &mut self.bytes[self.end..]
    }

    fn add(&mut self, received: usize) {
        self.end += received;
    }

    fn is_empty(&self) -> bool {
        self.start == self.end && self.current.is_none()
    }

    /// Takes the next request out, once it is complete with its body.
    // Not inlined: the parser's frame is large, and the caller parks.
    #[inline(never)]
    fn next_request(&mut self) -> Result<Option<Request>, Status> {
        if let Some(request) = &mut self.current {
            self.start += request.body.take(&self.bytes[self.start..self.end])?;
            let complete = request.body.is_complete();
            return Ok(if complete { self.current.take().map(|request| *request) } else { None });
        }
        let Some((length, mut request)) = Request::parse(&self.bytes[self.start..self.end])? else {
            return Ok(None);
        };
        self.start += length;
        self.start += request.body.take(&self.bytes[self.start..self.end])?;
        if request.body.is_complete() {
            return Ok(Some(request));
        }
        self.current = Some(Box::new(request));
        Ok(None)
    }

    /// Whether a client waits for a word before it sends its body. True once; and not if the body
    /// comes already.
    fn wants_to_be_asked(&mut self) -> bool {
        let asks = self.current.as_mut().is_some_and(|it| std::mem::take(&mut it.expects_continue));
        asks && self.start == self.end
    }
}
