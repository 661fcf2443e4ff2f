//! What a client gets: a status, and a body of some kind.

use crate::connection::Client;
use std::io;

/// How a request has gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Fine,
    Moved,
    Bad,
    Forbidden,
    NotFound,
    NotAllowed,
    Timeout,
    Conflict,
    HeadTooLarge,
    Failed,
    Unavailable,
}

impl Status {
    fn line(self) -> &'static str {
        match self {
            Status::Fine => "200 OK",
            Status::Moved => "301 Moved Permanently",
            Status::Bad => "400 Bad Request",
            Status::Forbidden => "403 Forbidden",
            Status::NotFound => "404 Not Found",
            Status::NotAllowed => "405 Method Not Allowed",
            Status::Timeout => "408 Request Timeout",
            Status::Conflict => "409 Conflict",
            Status::HeadTooLarge => "431 Request Header Fields Too Large",
            Status::Failed => "500 Internal Server Error",
            Status::Unavailable => "503 Service Unavailable",
        }
    }
}

pub(crate) const TEXT: &str = "text/plain; charset=utf-8";
pub(crate) const HTML: &str = "text/html; charset=utf-8";
pub(crate) const JSON: &str = "application/json";
pub(crate) const BINARY: &str = "application/octet-stream";

/// A reply whose body is in memory.
#[derive(Debug)]
pub(crate) struct Reply {
    status: Status,
    kind: &'static str,
    body: Vec<u8>,
    /// Further lines of the head.
    lines: String,
}

impl Reply {
    pub(crate) fn new(kind: &'static str, body: impl Into<Vec<u8>>) -> Reply {
        Reply { status: Status::Fine, kind, body: body.into(), lines: String::new() }
    }

    /// A status that says all.
    pub(crate) fn of(status: Status) -> Reply {
        Reply::because(status, status.line())
    }

    /// A status, with the reason in words.
    pub(crate) fn because(status: Status, reason: &str) -> Reply {
        let mut reply = Reply::new(TEXT, format!("{reason}\n"));
        reply.status = status;
        if status == Status::NotAllowed {
            reply.line("Allow: GET, HEAD");
        }
        reply
    }

    pub(crate) fn moved(to: &str) -> Reply {
        let mut reply = Reply::because(Status::Moved, to);
        reply.line(&format!("Location: {to}"));
        reply
    }

    /// Makes a browser save the body under this name.
    pub(crate) fn saved_as(mut self, name: &str) -> Reply {
        self.line(&attachment(name));
        self
    }

    fn line(&mut self, line: &str) {
        self.lines += line;
        self.lines += "\r\n";
    }

    pub(crate) fn send(&self, client: &Client, head_only: bool, keep_alive: bool) -> io::Result<()> {
        let length = format!("Content-Length: {}\r\n{}", self.body.len(), self.lines);
        let mut bytes = head(self.status, self.kind, &length, keep_alive).into_bytes();
        if !head_only {
            bytes.extend(&self.body);
        }
        client.send(&bytes)
    }
}

/// The line by which a browser saves a body under this name.
pub(crate) fn attachment(name: &str) -> String {
    format!("Content-Disposition: attachment; filename=\"{name}\"")
}

/// The head of a reply. `lines` end each with a line break.
///
/// The page is all in one file, so nothing from elsewhere may be loaded or run in it.
pub(crate) fn head(status: Status, kind: &str, lines: &str, keep_alive: bool) -> String {
    let connection = if keep_alive { "" } else { "Connection: close\r\n" };
    format!(
        "HTTP/1.1 {}\r\nContent-Type: {kind}\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n\
         X-Frame-Options: DENY\r\nReferrer-Policy: no-referrer\r\n\
         Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; \
         connect-src 'self'; img-src data:\r\n{lines}{connection}\r\n",
        status.line()
    )
}
