//! The least that a keep-alive HTTP server does, the same in every peer: find the end of each request's head, write
//! one fixed reply.

/// The body of the reply.
pub const BODY: &[u8] = b"Hello, world!";

/// The whole reply.
pub const REPLY: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\nHello, world!";

/// The request that the load generator sends.
pub const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// The end of a head.
pub const HEAD_END: &[u8; 4] = b"\r\n\r\n";

/// Counts the heads that end in a stream of bytes, however it is cut into reads.
#[derive(Clone, Copy, Debug, Default)]
pub struct RequestCounter {
    matched: usize,
}

impl RequestCounter {
    /// Reads on, and returns how many requests became complete.
    pub fn feed(&mut self, bytes: &[u8]) -> usize {
        let mut complete = 0;
        for &byte in bytes {
            self.matched = match byte {
                _ if byte == HEAD_END[self.matched] => self.matched + 1,
                b'\r' => 1,
                _ => 0,
            };
            if self.matched == HEAD_END.len() {
                self.matched = 0;
                complete += 1;
            }
        }
        complete
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_cut_anywhere_counts_once() {
        for cut in 0..=REQUEST.len() {
            let mut counter = RequestCounter::default();
            assert_eq!(counter.feed(&REQUEST[..cut]) + counter.feed(&REQUEST[cut..]), 1, "cut at {cut}");
        }
    }

    #[test]
    fn the_length_announced_is_the_length_of_the_body() {
        assert!(REPLY.ends_with(BODY));
        let head = String::from_utf8_lossy(REPLY);
        assert!(head.contains(&format!("Content-Length: {}\r\n", BODY.len())));
    }
}
