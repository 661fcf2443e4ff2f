//! The protocol: commands as arrays of strings, or as lines that a user types; and the kinds of
//! reply, of RESP2 and of RESP3.

use std::io::Write;

/// The maximum size of a string in a command. Redis allows 512 MB. Here a client must not be able
/// to allocate that much.
const MAX_STRING: usize = 16 << 20;
pub const MAX_COMMAND: usize = 64 << 20;
const MAX_WORDS: usize = 1 << 20;
const MAX_LINE: usize = 64 << 10;

/// What is wrong with the bytes. The client gets this text before the connection is closed.
pub type ProtocolError = &'static str;

/// Puts the words of the command at the start of `input` into `words`, and returns its length in
/// bytes. `None` if the command is incomplete. A command may have no words: an empty line is such a
/// command, and has no effect.
///
/// # Errors
/// What is wrong, if this is not a command.
pub fn parse<'a>(input: &'a [u8], words: &mut Vec<&'a [u8]>) -> Result<Option<usize>, ProtocolError> {
    words.clear();
    let Some((first, mut at)) = line(input)? else { return Ok(None) };
    let Some(count) = first.strip_prefix(b"*") else {
        words.extend(first.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()));
        return Ok(Some(at));
    };
    let count = number(count).filter(|&it| it <= MAX_WORDS as i64).ok_or("invalid multibulk length")?;
    for _ in 0..count {
        let Some((header, length)) = line(&input[at..])? else { return Ok(None) };
        at += length;
        let size = header.strip_prefix(b"$").ok_or("expected '$'")?;
        let size = number(size).and_then(|size| usize::try_from(size).ok()).filter(|&it| it <= MAX_STRING);
        let end = at + size.ok_or("invalid bulk length")?;
        if end > MAX_COMMAND {
            return Err("too big a command");
        }
        match input.get(end..end + 2) {
            Some(b"\r\n") => {}
            Some(_) => return Err("expected a line end after a string"),
            None => return Ok(None),
        }
        words.push(&input[at..end]);
        at = end + 2;
    }
    Ok(Some(at))
}

/// The first line without its line end, and its length with the line end.
fn line(input: &[u8]) -> Result<Option<(&[u8], usize)>, ProtocolError> {
    match input.iter().take(MAX_LINE).position(|&byte| byte == b'\n') {
        Some(end) => {
            let line = &input[..end];
            Ok(Some((line.strip_suffix(b"\r").unwrap_or(line), end + 1)))
        }
        None if input.len() < MAX_LINE => Ok(None),
        None => Err("too big inline request"),
    }
}

/// Parses a whole number. The only sign that it accepts is `-`.
pub fn number(text: &[u8]) -> Option<i64> {
    if text.starts_with(b"+") { None } else { str::from_utf8(text).ok()?.parse().ok() }
}

/// Which version of the protocol a client speaks. Commands are the same in both; RESP3 has more
/// kinds of reply.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Protocol {
    Resp2,
    Resp3,
}

/// The replies to one client, encoded as its protocol says.
pub struct Replies {
    pub protocol: Protocol,
    pub bytes: Vec<u8>,
}

impl Replies {
    pub fn new(protocol: Protocol) -> Replies {
        Replies { protocol, bytes: Vec::new() }
    }

    pub fn status(&mut self, text: &str) {
        self.bytes.push(b'+');
        self.bytes.extend_from_slice(text.as_bytes());
        self.bytes.extend_from_slice(b"\r\n");
    }

    pub fn error(&mut self, text: &str) {
        self.bytes.push(b'-');
        // The text may contain a word from the client, and a line end in it would end the reply.
        self.bytes.extend(text.bytes().map(|byte| if byte.is_ascii_control() { b' ' } else { byte }));
        self.bytes.extend_from_slice(b"\r\n");
    }

    pub fn integer(&mut self, value: i64) {
        self.header(':', value);
    }

    pub fn count(&mut self, value: usize) {
        self.integer(i64::try_from(value).unwrap_or(i64::MAX));
    }

    pub fn string(&mut self, bytes: &[u8]) {
        self.header('$', bytes.len() as i64);
        self.bytes.extend_from_slice(bytes);
        self.bytes.extend_from_slice(b"\r\n");
    }

    /// The reply for a string that does not exist.
    pub fn nil(&mut self) {
        self.absent("$-1\r\n");
    }

    /// A string, or the reply for one that does not exist.
    pub fn optional(&mut self, bytes: Option<&[u8]>) {
        match bytes {
            Some(bytes) => self.string(bytes),
            None => self.nil(),
        }
    }

    /// The start of an array. The elements follow.
    pub fn array(&mut self, length: usize) {
        self.header('*', length as i64);
    }

    pub fn nil_array(&mut self) {
        self.absent("*-1\r\n");
    }

    /// An array of strings.
    pub fn strings<'a>(&mut self, strings: impl ExactSizeIterator<Item = &'a [u8]>) {
        self.array(strings.len());
        strings.for_each(|string| self.string(string));
    }

    /// The start of a map. As many pairs of key and value follow.
    pub fn map(&mut self, pairs: usize) {
        match self.protocol {
            Protocol::Resp2 => self.array(2 * pairs),
            Protocol::Resp3 => self.header('%', pairs as i64),
        }
    }

    /// The start of a set. The elements follow.
    pub fn set(&mut self, length: usize) {
        match self.protocol {
            Protocol::Resp2 => self.array(length),
            Protocol::Resp3 => self.header('~', length as i64),
        }
    }

    /// The start of a message that is no reply to a command. The elements follow.
    pub fn push(&mut self, length: usize) {
        match self.protocol {
            Protocol::Resp2 => self.array(length),
            Protocol::Resp3 => self.header('>', length as i64),
        }
    }

    fn absent(&mut self, in_resp2: &str) {
        let nil = if self.protocol == Protocol::Resp3 { "_\r\n" } else { in_resp2 };
        self.bytes.extend_from_slice(nil.as_bytes());
    }

    fn header(&mut self, kind: char, number: i64) {
        write!(self.bytes, "{kind}{number}\r\n").expect("a vector takes everything");
    }
}
