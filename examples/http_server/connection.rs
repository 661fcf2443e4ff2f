//! One client: a goroutine that reads the available bytes, answers all complete requests in them
//! with one write, and parks in the next read.
//!
//! It keeps its buffers on the heap, because a parked goroutine is as large as its live stack.

use super::request::{MAX_HEAD, Request};
use super::response::{self, Response, Status};
use super::server::Server;
use narrowboat::net::TcpStream;
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::time::{Duration, Instant};

/// Returns when the connection has ended, or with the error that broke it.
pub fn serve(stream: TcpStream, server: &Server) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(server.options.idle_timeout))?;
    stream.set_write_timeout(Some(server.options.idle_timeout))?;
    let Some(_entry) = server.enter(&stream)? else { return refuse(stream, server) };
    Connection { stream, server, started: None, input: Input::default(), output: Vec::new() }.run()
}

/// Tells a client beyond the limit to come back later. If too many refusals are in progress, the
/// connection is closed without one.
fn refuse(mut stream: TcpStream, server: &Server) -> io::Result<()> {
    let Ok(_permit) = server.refusals.try_acquire() else { return Ok(()) };
    let mut output = Vec::new();
    Response::of(response::UNAVAILABLE).write(&mut output, false, false);
    stream.write_all(&output)?;
    close_after_input(stream)
}

/// Closes the connection when the client has stopped sending, or after a second: unread input would
/// reset the connection, and the reset could overtake our answer.
fn close_after_input(mut stream: TcpStream) -> io::Result<()> {
    stream.shutdown(Shutdown::Write)?;
    stream.set_read_deadline(Some(Instant::now() + Duration::from_secs(1)))?;
    let mut rest = vec![0; 4096];
    while stream.read(&mut rest)? > 0 {}
    Ok(())
}

struct Connection<'a> {
    stream: TcpStream,
    server: &'a Server,
    /// When the first bytes of the incomplete request arrived.
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
                        // The server is stopping, or the client paused longer than the idle
                        // timeout.
                        Some(started) if started.elapsed() < self.server.options.request_timeout => true,
                        Some(_) => self.refuse(response::REQUEST_TIMEOUT),
                    }
                }
                Err(error) => return Err(error),
            };
            self.flush()?;
            if !open {
                return close_after_input(self.stream);
            }
            self.set_request_deadline()?;
        }
    }

    /// Answers all complete requests. False if the connection must be closed then.
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
        if self.input.expects_continue() {
            self.output.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        if answered > 0 && self.started.is_some() {
            // The bytes after an answered request belong to the next request, which begins now.
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
            // The memory of a large answer is not kept for the small ones after it.
            self.output.shrink_to(MAX_HEAD);
        }
        Ok(())
    }

    /// Sets a deadline for a request that has begun. It must be complete in time, even if bytes
    /// keep arriving.
    fn set_request_deadline(&mut self) -> io::Result<()> {
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

/// Input that is not answered yet: `current`, which has been parsed, followed by
/// `bytes[start..end]`.
#[derive(Default)]
struct Input {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    /// The request for which the body is being read. In a box, because most connections have none
    /// most of the time.
    current: Option<Box<Request>>,
}

impl Input {
    /// The free part of the buffer. The buffer starts at 512 bytes, because most connections are
    /// idle. When a read has filled it, it doubles, up to the limit of a head.
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

    /// Takes the next request out, if its head and body are complete.
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

    /// Whether the client waits for `100 Continue` before it sends its body. True once, and never
    /// if the body is already arriving.
    fn expects_continue(&mut self) -> bool {
        let asks = self.current.as_mut().is_some_and(|it| std::mem::take(&mut it.expects_continue));
        asks && self.start == self.end
    }
}
