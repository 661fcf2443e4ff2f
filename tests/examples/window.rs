//! The debug window of a server, asked for all that it has.

use crate::reader::Trace;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

pub struct Window(pub SocketAddr);

/// What is asked for by turns.
#[derive(Clone, Copy)]
pub struct Question {
    pub path: &'static str,
    is_right: fn(&[u8]) -> bool,
    /// Whether the answer has names of functions, for which a program reads its line tables: some
    /// 15 MiB for a moment.
    pub has_names: bool,
}

const fn plain(path: &'static str, is_right: fn(&[u8]) -> bool) -> Question {
    Question { path, is_right, has_names: false }
}

const fn with_names(path: &'static str, is_right: fn(&[u8]) -> bool) -> Question {
    Question { path, is_right, has_names: true }
}

pub const QUESTIONS: [Question; 7] = [
    plain("/", |page| page.starts_with(b"<!doctype html>")),
    with_names("/debug/pprof/goroutine?debug=2", |dump| has(dump, "goroutine")),
    with_names("/api/goroutines", |json| has(json, "\"groups\"")),
    with_names("/debug/pprof/profile?seconds=1", is_packed),
    plain("/debug/pprof/trace?recorded", |trace| {
        Trace::read(trace).is_ok_and(|trace| !trace.slices.is_empty() && trace.left_over == 0)
    }),
    with_names("/debug/pprof/block?seconds=1", is_packed),
    plain("/api/timeline", |json| json.starts_with(b"{")),
];

fn has(text: &[u8], part: &str) -> bool {
    String::from_utf8_lossy(text).contains(part)
}

fn is_packed(profile: &[u8]) -> bool {
    profile.starts_with(&[0x1f, 0x8b])
}

impl Window {
    /// The body of what is at this path. A reply other than 200 is an error of the kind
    /// `InvalidData`.
    pub fn get(&self, path: &str) -> io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect(self.0)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        stream.write_all(
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").as_bytes(),
        )?;
        let mut reply = Vec::new();
        stream.read_to_end(&mut reply)?;
        let Some(end) = reply.windows(4).position(|four| four == b"\r\n\r\n") else {
            return Err(ErrorKind::UnexpectedEof.into());
        };
        let body = reply.split_off(end + 4);
        let head = String::from_utf8_lossy(&reply);
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")?.parse().ok());
        if !head.starts_with("HTTP/1.1 200 ") {
            let what = format!("{path}: {head}{}", String::from_utf8_lossy(&body));
            return Err(io::Error::new(ErrorKind::InvalidData, what));
        }
        match length {
            Some(length) if body.len() == length => Ok(body),
            _ => Err(ErrorKind::UnexpectedEof.into()),
        }
    }

    /// A question, whose answer must be what it should be.
    pub fn ask(&self, Question { path, is_right, .. }: Question) -> io::Result<()> {
        let body = self.get(path)?;
        if is_right(&body) {
            return Ok(());
        }
        let what = format!("wrong reply: {path}: {:.2000}", String::from_utf8_lossy(&body));
        Err(io::Error::new(ErrorKind::InvalidData, what))
    }

    /// A figure that the page for Prometheus has once.
    pub fn figure(&self, name: &str) -> io::Result<usize> {
        let page = self.get("/metrics")?;
        let page = String::from_utf8_lossy(&page);
        let value = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
        value.ok_or_else(|| io::Error::new(ErrorKind::InvalidData, format!("no {name} in {page}")))
    }
}
