//! The client of a window: plain HTTP over a socket, a connection for each request.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// How long a connection may be silent. Figures come each second.
const PATIENCE: Duration = Duration::from_secs(10);
/// The most bytes of an answer.
const MOST: u64 = 64 << 20;

/// `6060`, `:6060`, `localhost:6060` or `http://127.0.0.1:6060/` as a host and a port.
pub(crate) fn address(text: &str) -> String {
    let text = text.trim_start_matches("http://").trim_end_matches('/');
    let port = text.strip_prefix(':').unwrap_or(text);
    if port.parse::<u16>().is_ok() { format!("127.0.0.1:{port}") } else { text.into() }
}

/// Asks for a path. The reader has the body of the answer.
fn ask(address: &str, path: &str) -> io::Result<BufReader<TcpStream>> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes())?;
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.by_ref().take(1 << 10).read_line(&mut line)?;
    let status = line.split(' ').nth(1).unwrap_or_default().to_owned();
    if status != "200" {
        return Err(io::Error::other(format!("the answer to {path} is: {}", line.trim_end())));
    }
    while line != "\r\n" {
        line.clear();
        if reader.by_ref().take(1 << 10).read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(reader)
}

/// The whole answer.
pub(crate) fn get(address: &str, path: &str) -> io::Result<String> {
    let mut text = String::new();
    ask(address, path)?.take(MOST).read_to_string(&mut text)?;
    Ok(text)
}

/// Calls `each` with the data of each event of a stream, until that ends or `each` returns false.
pub(crate) fn events(address: &str, path: &str, mut each: impl FnMut(&str) -> bool) -> io::Result<()> {
    let mut reader = ask(address, path)?;
    let mut line = String::new();
    loop {
        line.clear();
        if reader.by_ref().take(MOST).read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(data) = line.strip_prefix("data: ")
            && !each(data)
        {
            return Ok(());
        }
    }
}

/// A text as a part of a query.
pub(crate) fn encoded(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => char::from(byte).to_string(),
        _ => format!("%{byte:02x}"),
    };
    text.bytes().map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_be_short() {
        assert_eq!(address("6060"), "127.0.0.1:6060");
        assert_eq!(address(":6060"), "127.0.0.1:6060");
        assert_eq!(address("http://localhost:6060/"), "localhost:6060");
        assert_eq!(address("[::1]:1"), "[::1]:1");
    }

    #[test]
    fn a_text_is_encoded() {
        assert_eq!(encoded("a b=ü/1"), "a%20b%3d%c3%bc%2f1");
    }
}
