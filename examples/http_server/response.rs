//! What this server does, and how it answers.

use super::request::Request;
use super::server::Server;
use narrowboat::time;
use std::borrow::Cow;
use std::cell::Cell;
use std::io::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A status code and its reason, as in the first line of a response.
pub type Status = &'static str;

pub const OK: Status = "200 OK";
pub const BAD_REQUEST: Status = "400 Bad Request";
pub const NOT_FOUND: Status = "404 Not Found";
pub const METHOD_NOT_ALLOWED: Status = "405 Method Not Allowed";
pub const REQUEST_TIMEOUT: Status = "408 Request Timeout";
pub const CONTENT_TOO_LARGE: Status = "413 Content Too Large";
pub const URI_TOO_LONG: Status = "414 URI Too Long";
pub const EXPECTATION_FAILED: Status = "417 Expectation Failed";
pub const HEAD_TOO_LARGE: Status = "431 Request Header Fields Too Large";
pub const NOT_IMPLEMENTED: Status = "501 Not Implemented";
pub const UNAVAILABLE: Status = "503 Service Unavailable";
pub const VERSION_NOT_SUPPORTED: Status = "505 HTTP Version Not Supported";

/// What a request asks for.
#[derive(Clone, Copy)]
pub enum Action {
    Hello,
    Stats,
    Sleep(Duration),
    Drop,
    Echo,
    NotFound,
    /// With the methods that are allowed.
    NotAllowed(&'static str),
}

impl Action {
    pub fn of(method: &str, path: &str) -> Action {
        let reads = matches!(method, "GET" | "HEAD");
        let writes = matches!(method, "POST" | "PUT");
        let naps = || path.strip_prefix("/sleep/")?.parse().ok().filter(|&ms| ms <= 60_000);
        match path {
            "/" if reads => Action::Hello,
            "/" if writes => Action::Drop,
            "/" => Action::NotAllowed("GET, HEAD, POST, PUT"),
            "/stats" if reads => Action::Stats,
            "/stats" => Action::NotAllowed("GET, HEAD"),
            "/echo" if writes => Action::Echo,
            "/echo" => Action::NotAllowed("POST, PUT"),
            _ => match naps() {
                Some(ms) if reads => Action::Sleep(Duration::from_millis(ms)),
                Some(_) => Action::NotAllowed("GET, HEAD"),
                None => Action::NotFound,
            },
        }
    }

    /// Whether the action needs the content of the request's body.
    pub fn wants_body(self) -> bool {
        matches!(self, Action::Echo)
    }

    /// Whether the answer may take long.
    pub fn is_slow(self) -> bool {
        matches!(self, Action::Sleep(_))
    }
}

pub struct Response {
    status: Status,
    allow: Option<&'static str>,
    text: Cow<'static, [u8]>,
}

impl Response {
    /// Carries out the request. This may park, like any code of a server that queries a database or
    /// another server.
    pub fn to(request: Request, server: &Server) -> Response {
        let ok = |text: Cow<'static, [u8]>| Response { status: OK, allow: None, text };
        match request.action {
            Action::Hello => ok(b"Hello from a goroutine!\n".into()),
            Action::Stats => {
                ok(format!("{}, {} connections\n", server.stats, server.open()).into_bytes().into())
            }
            Action::Sleep(duration) => {
                time::sleep(duration);
                ok(format!("slept {duration:?}\n").into_bytes().into())
            }
            Action::Drop => ok(format!("dropped {} bytes\n", request.body.len()).into_bytes().into()),
            Action::Echo => ok(request.body.into_kept().into()),
            Action::NotFound => Response::of(NOT_FOUND),
            Action::NotAllowed(allow) => Response { allow: Some(allow), ..Response::of(METHOD_NOT_ALLOWED) },
        }
    }

    /// A response that contains only its status.
    pub fn of(status: Status) -> Response {
        Response { status, allow: None, text: format!("{status}\n").into_bytes().into() }
    }

    pub fn write(&self, output: &mut Vec<u8>, keep_alive: bool, head_only: bool) {
        // Copies the pieces, and formats only the length, because this runs for every request.
        let mut put = |piece: &[u8]| output.extend_from_slice(piece);
        put(b"HTTP/1.1 ");
        put(self.status.as_bytes());
        put(if keep_alive { b"\r\nConnection: keep-alive" } else { b"\r\nConnection: close" });
        put(b"\r\nDate: ");
        put(&date());
        if let Some(allow) = self.allow {
            put(b"\r\nAllow: ");
            put(allow.as_bytes());
        }
        if self.status == UNAVAILABLE {
            put(b"\r\nRetry-After: 1");
        }
        write!(output, "\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n", self.text.len())
            .expect("a vector takes everything");
        if !head_only {
            output.extend_from_slice(&self.text);
        }
    }
}

/// The time in HTTP's format, formatted once a second.
///
/// A goroutine keeps its thread-locals for life, and two goroutines that share them never run at
/// the same time. So this needs no lock, as on a thread.
fn date() -> [u8; 29] {
    thread_local!(static LAST: Cell<(u64, [u8; 29])> = const { Cell::new((0, [0; 29])) });
    let now = SystemTime::now();
    let second = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (last, text) = LAST.get();
    if last == second && last > 0 {
        return text;
    }
    let mut text = [b' '; 29];
    let _ = write!(&mut text[..], "{}", httpdate::HttpDate::from(now));
    LAST.set((second, text));
    text
}
