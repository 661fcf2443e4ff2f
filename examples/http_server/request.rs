//! The head of a request: what is asked for, and how its body will come.

use crate::body::Body;
use crate::response::{self, Action, Status};

/// The request line and the headers, together.
pub const MAX_HEAD: usize = 16 * 1024;
const MAX_HEADERS: usize = 64;

/// Owns what it says, so that it outlives the bytes that it was read from while its body comes.
pub struct Request {
    pub action: Action,
    pub head_only: bool,
    pub keep_alive: bool,
    /// The client sends its body when it is told to go on, or after a while.
    pub expects_continue: bool,
    pub body: Body,
}

impl Request {
    /// Reads the head at the start of `bytes`, and returns its length too. `None` if more must
    /// come.
    ///
    /// # Errors
    /// The refusing status. Where the request ends is then unknown, so the connection has to end,
    /// too.
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
            // With a length as well, or from a client too old for chunks, somebody before us may
            // see other requests in these bytes than we do.
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

/// The path in a request's target, which may be a whole address.
fn path(target: &str) -> &str {
    let path = match target.strip_prefix("http://") {
        Some(address) => address.find('/').map_or("/", |slash| &address[slash..]),
        None => target,
    };
    path.split(['?', '#']).next().unwrap_or_default()
}

/// What the headers say about the request's form.
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

/// Digits and nothing else: `parse` alone would let a sign pass. A number too large for us is the
/// largest that we know.
fn number(text: &[u8]) -> Option<usize> {
    let digits = str::from_utf8(text).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
    if digits.is_empty() { None } else { Some(digits.parse().unwrap_or(usize::MAX)) }
}
