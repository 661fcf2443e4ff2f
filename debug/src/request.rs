//! What a client asks for: the head of a request, as far as the window looks at it.

use crate::connection::MAX_HEAD;
use crate::reply::Status;
use std::net::IpAddr;

/// The most lines in a head.
const MAX_HEADERS: usize = 64;

/// A request without a body.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) path: String,
    query: Vec<(String, String)>,
    /// `HEAD`: the client wants no body.
    pub(crate) head_only: bool,
    /// Whether the client may send another one on this connection.
    pub(crate) keep_alive: bool,
    host: Option<String>,
    /// A browser sends it for a page of another site.
    cross_site: bool,
}

pub(crate) enum Head {
    /// A request, and its length.
    Complete(Request, usize),
    Partial,
}

/// Parses the head at the beginning of `input`.
pub(crate) fn parse(input: &[u8]) -> Result<Head, Status> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut parsed = httparse::Request::new(&mut headers);
    let length = match parsed.parse(input) {
        Ok(httparse::Status::Complete(length)) if length <= MAX_HEAD => length,
        Ok(httparse::Status::Partial) => return Ok(Head::Partial),
        Ok(_) | Err(httparse::Error::TooManyHeaders) => return Err(Status::HeadTooLarge),
        Err(_) => return Err(Status::Bad),
    };
    let (Some(method), Some(target), Some(version)) = (parsed.method, parsed.path, parsed.version) else {
        return Err(Status::Bad);
    };
    let header = |name: &str| {
        let found = parsed.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        found.and_then(|header| std::str::from_utf8(header.value).ok()).map(str::trim)
    };
    let head_only = match method {
        "GET" => false,
        "HEAD" => true,
        _ => return Err(Status::NotAllowed),
    };
    if header("Transfer-Encoding").is_some() || header("Content-Length").is_some_and(|length| length != "0") {
        return Err(Status::Bad);
    }
    let connection = header("Connection").unwrap_or_default().to_ascii_lowercase();
    let keep_alive =
        if version == 0 { connection.contains("keep-alive") } else { !connection.contains("close") };
    let host = header("Host").map(str::to_owned);
    if version == 1 && host.is_none() {
        return Err(Status::Bad);
    }
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let query = pairs.map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        Some((decode(name)?, decode(value)?))
    });
    let query = query.collect::<Option<_>>().ok_or(Status::Bad)?;
    let path = decode(path).filter(|path| path.starts_with('/')).ok_or(Status::Bad)?;
    let cross_site = header("Sec-Fetch-Site") == Some("cross-site");
    Ok(Head::Complete(Request { path, query, head_only, keep_alive, host, cross_site }, length))
}

impl Request {
    /// A parameter of the query.
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// A parameter that is a number of seconds, within reason.
    pub(crate) fn seconds(&self, default: u64) -> Result<u64, Status> {
        self.number("seconds", default, 600)
    }

    /// A parameter that is a number from 1 to `most`.
    pub(crate) fn number(&self, name: &str, default: u64, most: u64) -> Result<u64, Status> {
        match self.parameter(name).unwrap_or_default() {
            "" => Ok(default),
            text => text.parse().ok().filter(|number| (1..=most).contains(number)).ok_or(Status::Bad),
        }
    }

    /// Whether a browser may have been made to send it by a page of another site: by a link or a
    /// script there, or by a name that has been pointed at this machine.
    pub(crate) fn may_be_from_elsewhere(&self) -> bool {
        self.cross_site || self.host.as_deref().is_some_and(|host| !is_local(host))
    }
}

/// Whether no name service has a say in this `HOST[:PORT]`.
fn is_local(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok()
}

/// Resolves `%20` and `+`. `None` if the result is no text.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, mut after)) = rest.split_first() {
        bytes.push(match first {
            b'+' => b' ',
            b'%' => {
                let (digits, others) = after.split_at_checked(2)?;
                after = others;
                let digit = |at: usize| char::from(digits[at]).to_digit(16);
                (digit(0)? << 4 | digit(1)?) as u8
            }
            other => other,
        });
        rest = after;
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(text: &str) -> Request {
        match parse(text.as_bytes()).unwrap() {
            Head::Complete(request, length) => {
                assert_eq!(length, text.len());
                request
            }
            Head::Partial => panic!("{text} is complete"),
        }
    }

    #[test]
    fn a_head_is_read() {
        let found = request("GET /a%20b?q=x+%C3%BC&seconds=3&debug HTTP/1.1\r\nHost: localhost:1\r\n\r\n");
        assert_eq!(found.path, "/a b");
        assert_eq!(found.parameter("q"), Some("x ü"));
        assert_eq!(found.parameter("debug"), Some(""));
        assert_eq!((found.seconds(1), found.parameter("no")), (Ok(3), None));
        assert!(found.keep_alive && !found.head_only && !found.may_be_from_elsewhere());
        assert!(!request("GET / HTTP/1.0\r\n\r\n").keep_alive);
        assert!(!request("HEAD / HTTP/1.1\r\nHost: [::1]\r\nConnection: close\r\n\r\n").keep_alive);
        assert!(matches!(parse(b"GET / HTTP/1.1\r\nHost: a"), Ok(Head::Partial)));
    }

    #[test]
    fn what_is_no_request_has_a_status() {
        let status = |text: &str| parse(text.as_bytes()).err();
        assert_eq!(status("GET / HTTP/1.1\r\n\r\n"), Some(Status::Bad));
        assert_eq!(status("\x01\x02\r\n\r\n"), Some(Status::Bad));
        assert_eq!(status("GET /%zz HTTP/1.0\r\n\r\n"), Some(Status::Bad));
        assert_eq!(status("GET /%f HTTP/1.0\r\n\r\n"), Some(Status::Bad));
        assert_eq!(status("GET /%ff HTTP/1.0\r\n\r\n"), Some(Status::Bad));
        assert_eq!(status("GET * HTTP/1.0\r\n\r\n"), Some(Status::Bad));
        assert_eq!(status("POST / HTTP/1.1\r\nHost: a\r\n\r\n"), Some(Status::NotAllowed));
        assert_eq!(status("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n"), Some(Status::Bad));
        let many = "X: y\r\n".repeat(MAX_HEADERS + 1);
        assert_eq!(status(&format!("GET / HTTP/1.1\r\n{many}\r\n")), Some(Status::HeadTooLarge));
        let long = "x".repeat(MAX_HEAD);
        assert_eq!(status(&format!("GET /{long} HTTP/1.0\r\n\r\n")), Some(Status::HeadTooLarge));
        assert_eq!(request("GET /?seconds=0 HTTP/1.0\r\n\r\n").seconds(1), Err(Status::Bad));
        assert_eq!(request("GET /?seconds=x HTTP/1.0\r\n\r\n").seconds(1), Err(Status::Bad));
    }

    #[test]
    fn names_that_others_can_point_here_are_told_from_addresses() {
        for host in ["localhost", "LOCALHOST:80", "127.0.0.1", "127.0.0.1:6060", "[::1]:6060", "[::1]"] {
            assert!(is_local(host), "{host}");
        }
        for host in ["example.org", "localhost.example.org:80", "127.0.0.1.example.org", "", "[::1"] {
            assert!(!is_local(host), "{host}");
        }
        let cross = "GET / HTTP/1.1\r\nHost: localhost\r\nSec-Fetch-Site: cross-site\r\n\r\n";
        assert!(request(cross).may_be_from_elsewhere());
    }
}
