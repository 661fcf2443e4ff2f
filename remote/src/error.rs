//! What can go wrong on a bus.

use std::error;
use std::fmt;

/// An error of a bus.
///
/// ```
/// use narrowboat::remote::{Bus, Error};
///
/// let refused = Bus::local().sender::<u8>("two words").unwrap_err();
/// assert_eq!(refused, Error::Subject("two words".into()));
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Error {
    /// The subject, or the name of a stream, is not one.
    Subject(String),
    /// The message cannot be serialised.
    Encode(String),
    /// A message has arrived that is not of the receiver's type.
    Decode(String),
    /// The message has more bytes than the bus takes.
    TooLarge {
        /// How many it has.
        size: usize,
        /// How many it may have.
        limit: usize,
    },
    /// The receiver was too slow, and so many messages were dropped.
    Lost(u64),
    /// Nothing receives requests of this subject.
    NoReceiver,
    /// The receiver of the request has dropped it.
    NoReply,
    /// The time was up. Whether the message has arrived is not known.
    Timeout,
    /// The stream has as many messages as it may have.
    Full,
    /// The bus is closed.
    Closed,
    /// Whatever else the server or the connection to it says.
    Transport(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Subject(subject) => write!(f, "{subject:?} is no subject"),
            Error::Encode(error) => write!(f, "the message cannot be serialised: {error}"),
            Error::Decode(error) => write!(f, "a message is not of the receiver's type: {error}"),
            Error::TooLarge { size, limit } => {
                write!(f, "the message has {size} bytes and may have {limit}")
            }
            Error::Lost(count) => write!(f, "{count} messages were dropped because the receiver is slow"),
            Error::NoReceiver => f.write_str("nothing receives such requests"),
            Error::NoReply => f.write_str("the request was dropped without a reply"),
            Error::Timeout => f.write_str("the time was up"),
            Error::Full => f.write_str("the stream is full"),
            Error::Closed => f.write_str("the bus is closed"),
            Error::Transport(error) => write!(f, "the bus failed: {error}"),
        }
    }
}

impl error::Error for Error {}
