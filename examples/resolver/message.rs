//! The part of DNS messages that the server needs (RFC 1035): one question in, some addresses out.

use std::net::IpAddr;

/// Record types.
pub const A: u16 = 1;
pub const AAAA: u16 = 28;
const INTERNET: u16 = 1;

/// The maximum number of bytes of a reply over UDP, unless both sides agree on more.
pub const LONGEST_OVER_UDP: usize = 512;
/// Over TCP, where two bytes before the message say how long it is.
pub const LONGEST_OVER_TCP: usize = 65_535;
/// The maximum number of bytes of a name, with a byte before each label and one at the end.
const LONGEST_NAME: usize = 255;
const HEADER: usize = 12;
/// How many seconds a client may cache an answer.
const TIME_TO_LIVE: u32 = 60;

/// The response code of a reply.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Code {
    NoError = 0,
    FormatError = 1,
    ServerFailure = 2,
    NotImplemented = 4,
    Refused = 5,
}

pub struct Question {
    /// In lower case, without a dot at the end.
    pub name: String,
    pub kind: u16,
    /// Where the question ends in the query.
    end: usize,
}

/// Whether the message looks like a query. Replies must not be answered: two servers would answer
/// each other for ever.
pub fn is_query(message: &[u8]) -> bool {
    message.len() >= HEADER && message[2] & 0x80 == 0
}

/// Parses the question, or returns the code for the reply if that is impossible.
pub fn question(query: &[u8]) -> Result<Question, Code> {
    if query[2] & 0x78 != 0 {
        return Err(Code::NotImplemented);
    }
    let (question, class) = read_question(query).ok_or(Code::FormatError)?;
    if class == INTERNET { Ok(question) } else { Err(Code::Refused) }
}

/// The question and its class.
fn read_question(query: &[u8]) -> Option<(Question, u16)> {
    if query[4..6] != [0, 1] {
        return None;
    }
    let mut name = String::new();
    let mut at = HEADER;
    loop {
        let length = usize::from(*query.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        // With one of the two highest bits set it is not a label.
        let label = query.get(at..at + length).filter(|_| length < 64)?;
        at += length;
        if at - HEADER >= LONGEST_NAME {
            return None;
        }
        if !name.is_empty() {
            name.push('.');
        }
        name.push_str(std::str::from_utf8(label).ok().filter(|label| !label.contains('.'))?);
    }
    let &[kind_high, kind_low, class_high, class_low] = query.get(at..at + 4)? else { return None };
    name.make_ascii_lowercase();
    let question = Question { name, kind: u16::from_be_bytes([kind_high, kind_low]), end: at + 4 };
    Some((question, u16::from_be_bytes([class_high, class_low])))
}

/// Makes a reply with the addresses of the kind that was asked for, as many as fit in `longest`
/// bytes. A reply with some missing says so, and the client asks again over TCP.
pub fn reply(
    query: &[u8],
    question: Option<&Question>,
    code: Code,
    addresses: &[IpAddr],
    longest: usize,
) -> Vec<u8> {
    let mut reply = query[..question.map_or(HEADER, |question| question.end)].to_vec();
    // Sets the bits for a reply and for available recursion, and keeps the opcode and the recursion
    // bit of the query.
    reply[2] = 0x80 | reply[2] & 0x79;
    reply[3] = 0x80 | code as u8;
    reply[4..HEADER].fill(0);
    let Some(question) = question else { return reply };
    reply[5] = 1;
    let (mut answers, mut cut) = (0u16, false);
    for address in addresses {
        let data = match (address, question.kind) {
            (IpAddr::V4(address), A) => address.octets().to_vec(),
            (IpAddr::V6(address), AAAA) => address.octets().to_vec(),
            _ => continue,
        };
        if reply.len() + HEADER + data.len() > longest {
            cut = true;
            break;
        }
        // A pointer to the name at the start of the question.
        reply.extend([0xc0, HEADER as u8]);
        reply.extend(question.kind.to_be_bytes());
        reply.extend(INTERNET.to_be_bytes());
        reply.extend(TIME_TO_LIVE.to_be_bytes());
        reply.extend((data.len() as u16).to_be_bytes());
        reply.extend(data);
        answers += 1;
    }
    reply[6..8].copy_from_slice(&answers.to_be_bytes());
    reply[2] |= u8::from(cut) << 1;
    reply
}
