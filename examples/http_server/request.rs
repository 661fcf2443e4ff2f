//! The head of a request: what it asks for, and how its body is sent.

use super::body::Body;
use super::response::{self, Action, Status};

/// The maximum size of the request line and the headers together.
pub const MAX_HEAD: usize = 16 * 1024;
const MAX_HEADERS: usize = 64;

/// A parsed request. It owns its data, because its body may arrive after the bytes of the head are
/// gone.
pub struct Request {
    pub action: Action,
    pub head_only: bool,
    pub keep_alive: bool,
    /// The client sends its body after `100 Continue`, or after some time.
    pub expects_continue: bool,
    pub body: Body,
}

impl Request {
    /// Parses the head at the start of `bytes`, and also returns its length. `None` if the head is
    /// incomplete.
    ///
    /// # Errors
    /// The status of the refusal. The end of the request is then unknown, so the connection must be
    /// closed.
    pub fn parse(bytes: &[u8]) -> Result<Option<(usize, Request)>, Status> {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut head = httparse::Request::new(&mut headers);
        let length = match head.parse(bytes) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) if bytes.len() < MAX_HEAD => return Ok(None),
            Ok(httparse::Status::Partial) if !bytes.contains(&b'\n') => return Err(response::URI_TOO_LONG),
            Ok(_) | Err(httparse::Error::TooManyHeaders) => return Err(response::HEAD_TOO_LARGE),
            Err(httparse::Error::Version) => return Err(response::VERSION_NOT_SUPPORTED),
            Err(_) => return Err(response::BAD_REQUEST),
        };
        let modern = head.version == Some(1);
        let fields = Fields::read(head.headers)?;
        if modern && fields.hosts != 1 {
            return Err(response::BAD_REQUEST);
        }
        let mut body = match fields.length {
            // Refuses chunks together with a length, or from a client of HTTP/1.0: a proxy in front
            // of the server may parse these bytes as different requests (request smuggling).
            Some(_) if fields.chunked => return Err(response::BAD_REQUEST),
            None if fields.chunked && !modern => return Err(response::BAD_REQUEST),
            None if fields.chunked => Body::in_chunks(),
            length => Body::of_length(length.unwrap_or(0))?,
        };
        let (method, target) = (head.method.unwrap_or_default(), head.path.unwrap_or_default());
        let action = Action::of(method, path(target));
        if action.wants_body() {
            body.keep();
        }
        let request = Request {
            action,
            head_only: method == "HEAD",
            keep_alive: !fields.close && (modern || fields.keep_alive),
            expects_continue: modern && fields.expects_continue && !body.is_complete(),
            body,
        };
        Ok(Some((length, request)))
    }
}

/// The path in a request's target, which may be a whole URL.
fn path(target: &str) -> &str {
    let path = match target.strip_prefix("http://") {
        Some(address) => address.find('/').map_or("/", |slash| &address[slash..]),
        None => target,
    };
    path.split(['?', '#']).next().unwrap_or_default()
}

/// The headers that decide the form of the request.
#[derive(Default)]
struct Fields {
    hosts: usize,
    length: Option<usize>,
    chunked: bool,
    close: bool,
    keep_alive: bool,
    expects_continue: bool,
}

impl Fields {
    fn read(headers: &[httparse::Header<'_>]) -> Result<Fields, Status> {
        let mut fields = Fields::default();
        for header in headers {
            let is = |name| header.name.eq_ignore_ascii_case(name);
            if is("Host") {
                fields.hosts += 1;
            } else if is("Content-Length") {
                let number = number(header.value).ok_or(response::BAD_REQUEST)?;
                if fields.length.replace(number).is_some_and(|other| other != number) {
                    return Err(response::BAD_REQUEST);
                }
            } else if is("Transfer-Encoding") {
                if fields.chunked || !header.value.eq_ignore_ascii_case(b"chunked") {
                    return Err(response::NOT_IMPLEMENTED);
                }
                fields.chunked = true;
            } else if is("Expect") {
                if !header.value.eq_ignore_ascii_case(b"100-continue") {
                    return Err(response::EXPECTATION_FAILED);
                }
                fields.expects_continue = true;
            } else if is("Connection") {
                for option in header.value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
                    fields.close |= option.eq_ignore_ascii_case(b"close");
                    fields.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
                }
            }
        }
        Ok(fields)
    }
}

/// Parses digits only, because `parse` alone would accept a sign. A number that is too large
/// becomes `usize::MAX`.
fn number(text: &[u8]) -> Option<usize> {
    let digits = str::from_utf8(text).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
    if digits.is_empty() { None } else { Some(digits.parse().unwrap_or(usize::MAX)) }
}
