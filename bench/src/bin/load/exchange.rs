//! What is asked and what must come back, without any socket: one request under way, checked byte by byte as the
//! reply comes in.

use narrowboat_bench::http::{BODY, HEAD_END, REQUEST};

/// Bytes of an echo round trip.
pub const ECHO: usize = 64;

/// Longest HTTP reply accepted.
const LONGEST_REPLY: usize = 4096;

/// What the server does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Sends back 64 bytes.
    Echo,
    /// Answers a GET.
    Http,
}

/// Where a reply stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Right so far, and not at its end.
    Partial,
    /// Right, and at its end.
    Complete,
    /// Not what was to come.
    Wrong,
}

/// The exchanges of one connection, one after the other.
#[derive(Debug)]
pub struct Exchange {
    kind: Kind,
    connection: u64,
    sequence: u64,
    request: Vec<u8>,
    received: Vec<u8>,
}

impl Exchange {
    /// For connection number `connection`.
    pub fn new(kind: Kind, connection: u64) -> Exchange {
        Exchange { kind, connection, sequence: 0, request: Vec::new(), received: Vec::new() }
    }

    /// The next request.
    pub fn next_request(&mut self) -> &[u8] {
        self.sequence += 1;
        self.received.clear();
        self.request.clear();
        match self.kind {
            Kind::Http => self.request.extend_from_slice(REQUEST),
            Kind::Echo => self.request.extend_from_slice(&echo_message(self.connection, self.sequence)),
        }
        &self.request
    }

    /// Takes what has come in.
    pub fn receive(&mut self, bytes: &[u8]) -> Reply {
        self.received.extend_from_slice(bytes);
        match self.kind {
            Kind::Echo if self.received == self.request => Reply::Complete,
            Kind::Echo if self.request.starts_with(&self.received) => Reply::Partial,
            Kind::Echo => Reply::Wrong,
            Kind::Http => http_reply(&self.received),
        }
    }
}

/// The echo request with that number on that connection. No two are alike, so that a reply of another connection, or an
/// old one, shows.
pub fn echo_message(connection: u64, sequence: u64) -> [u8; ECHO] {
    let mut message = [0; ECHO];
    let mut word = connection << 40 ^ sequence;
    for part in message.chunks_exact_mut(size_of::<u64>()) {
        part.copy_from_slice(&word.to_le_bytes());
        word = word.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(17).wrapping_add(1);
    }
    message
}

/// A success whose announced length is the body's, and the body. Other fields may say what they like: a full server
/// adds a date.
fn http_reply(received: &[u8]) -> Reply {
    const STATUS: &[u8] = b"HTTP/1.1 200 OK\r\n";
    let common = received.len().min(STATUS.len());
    if received[..common] != STATUS[..common] || received.len() > LONGEST_REPLY {
        return Reply::Wrong;
    }
    let Some(end) = received.windows(HEAD_END.len()).position(|window| window == HEAD_END) else {
        return Reply::Partial;
    };
    let (head, body) = received.split_at(end + HEAD_END.len());
    let length = String::from_utf8_lossy(head).lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    match () {
        () if length != Some(BODY.len()) => Reply::Wrong,
        () if body == BODY => Reply::Complete,
        () if BODY.starts_with(body) => Reply::Partial,
        () => Reply::Wrong,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use narrowboat_bench::http::REPLY;

    #[test]
    fn an_echo_is_right_however_it_is_cut() {
        for cut in 1..ECHO {
            let mut exchange = Exchange::new(Kind::Echo, 7);
            let sent = exchange.next_request().to_vec();
            assert_eq!(exchange.receive(&sent[..cut]), Reply::Partial);
            assert_eq!(exchange.receive(&sent[cut..]), Reply::Complete);
        }
    }

    #[test]
    fn one_wrong_or_surplus_byte_is_seen() {
        for at in 0..ECHO {
            let mut exchange = Exchange::new(Kind::Echo, 7);
            let mut sent = exchange.next_request().to_vec();
            sent[at] ^= 1;
            assert_eq!(exchange.receive(&sent), Reply::Wrong);
        }
        let mut exchange = Exchange::new(Kind::Echo, 7);
        let sent = [exchange.next_request(), b"x"].concat();
        assert_eq!(exchange.receive(&sent), Reply::Wrong);
    }

    #[test]
    fn requests_differ_between_connections_and_in_time() {
        let (mut one, mut other) = (Exchange::new(Kind::Echo, 1), Exchange::new(Kind::Echo, 2));
        let first = one.next_request().to_vec();
        assert_ne!(first, other.next_request());
        assert_ne!(first, one.next_request());
    }

    #[test]
    fn an_http_reply_is_right_however_it_is_cut_and_wrong_with_a_wrong_body() {
        for cut in 1..REPLY.len() {
            assert_eq!(http_reply(&REPLY[..cut]), Reply::Partial, "cut at {cut}");
        }
        assert_eq!(http_reply(REPLY), Reply::Complete);
        assert_eq!(http_reply(&[REPLY, b"x"].concat()), Reply::Wrong);
        let mut wrong = REPLY.to_vec();
        *wrong.last_mut().unwrap() ^= 1;
        assert_eq!(http_reply(&wrong), Reply::Wrong);
        assert_eq!(http_reply(b"HTTP/1.1 500 "), Reply::Wrong);
    }
}
