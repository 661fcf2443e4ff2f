//! One client: its requests, one after the other, and the time that each may take.

use crate::reply::{Reply, Status};
use crate::request::{self, Head, Request};
use crate::routes;
use crate::server::{Limits, Server};
use narrowboat_net::TcpStream;
use narrowboat_runtime::sleep;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::time::{Duration, Instant};

/// The most bytes in the head of a request.
pub(crate) const MAX_HEAD: usize = 8 << 10;
/// Replies are sent in pieces of this size.
const PIECE: usize = 64 << 10;
/// How long, and how many bytes, to listen to a client that has been told that it is wrong.
const LINGER: Duration = Duration::from_secs(1);
const MOST_IGNORED: usize = 256 << 10;

/// The connection of one client.
pub(crate) struct Client {
    stream: TcpStream,
    limits: Limits,
}

impl Client {
    pub(crate) fn new(stream: TcpStream, limits: Limits) -> Client {
        Client { stream, limits }
    }

    /// Serves the client until it has gone, is too slow, or sends something that is no request.
    pub(crate) fn serve(&self, server: &Server) -> io::Result<()> {
        let mut input = Vec::new();
        while !server.is_closed() {
            let request = match self.next(&mut input)? {
                Ok(Some(request)) => request,
                Ok(None) => return Ok(()),
                Err(status) => {
                    Reply::of(status).send(self, false, false)?;
                    return self.linger();
                }
            };
            if !routes::answer(&request, self, server)? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Tells the client that there are too many.
    pub(crate) fn refuse(&self) {
        // So short a reply fits the socket's buffer, and does not wait.
        let _ = Reply::of(Status::Unavailable).send(self, false, false);
    }

    /// Reads the next request. `input` keeps what the client has sent beyond it. `None` if the
    /// client has gone; a status if it has to be told that this is no request.
    fn next(&self, input: &mut Vec<u8>) -> io::Result<Result<Option<Request>, Status>> {
        self.stream.set_read_deadline(Some(Instant::now() + self.limits.head))?;
        let mut piece = [0; 1024];
        loop {
            match request::parse(input) {
                Ok(Head::Complete(request, length)) => {
                    input.drain(..length);
                    return Ok(Ok(Some(request)));
                }
                Ok(Head::Partial) if input.len() >= MAX_HEAD => return Ok(Err(Status::HeadTooLarge)),
                Ok(Head::Partial) => {}
                Err(status) => return Ok(Err(status)),
            }
            let room = piece.len().min(MAX_HEAD - input.len());
            match { &self.stream }.read(&mut piece[..room]) {
                Ok(0) => return Ok(Ok(None)),
                Ok(n) => input.extend(&piece[..n]),
                Err(e) if e.kind() == io::ErrorKind::TimedOut && !input.is_empty() => {
                    return Ok(Err(Status::Timeout));
                }
                Err(e) => return Err(e),
            }
        }
    }

    /// Sends bytes. The client may be slow, but not for ever.
    pub(crate) fn send(&self, bytes: &[u8]) -> io::Result<()> {
        for piece in bytes.chunks(PIECE) {
            self.stream.set_write_deadline(Some(Instant::now() + self.limits.send))?;
            { &self.stream }.write_all(piece)?;
        }
        Ok(())
    }

    /// Waits for so long. True if the client has gone before.
    pub(crate) fn goes_within(&self, length: Duration) -> bool {
        let until = Instant::now() + length;
        let looked = self.stream.set_read_deadline(Some(until)).and_then(|()| self.stream.peek(&mut [0]));
        match looked {
            Ok(0) => true,
            Err(e) => e.kind() != io::ErrorKind::TimedOut,
            // It has sent its next request already.
            Ok(_) => {
                sleep(until.saturating_duration_since(Instant::now()));
                false
            }
        }
    }

    /// Reads what the client is still sending, for a moment: a connection that is closed with
    /// unread input is reset, and the client may lose the reply.
    fn linger(&self) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Write)?;
        self.stream.set_read_deadline(Some(Instant::now() + LINGER))?;
        let (mut piece, mut ignored) = ([0; 1024], 0);
        while ignored < MOST_IGNORED {
            match { &self.stream }.read(&mut piece)? {
                0 => break,
                n => ignored += n,
            }
        }
        Ok(())
    }
}
