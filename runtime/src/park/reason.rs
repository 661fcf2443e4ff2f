//! Why a party is waiting, for diagnostics.

/// What a blocked goroutine waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
#[non_exhaustive]
pub enum Reason {
    /// It runs, or waits for its turn to.
    None,
    /// A message from a channel.
    Receive,
    /// Room in a channel, or a receiver.
    Send,
    /// One of several channel operations.
    Select,
    /// A point in time.
    Sleep,
    /// The end of another goroutine.
    Join,
    /// Input on a descriptor.
    Read,
    /// Room for output on a descriptor.
    Write,
    /// An incoming connection.
    Accept,
    /// An outgoing connection.
    Connect,
    /// The addresses of a host name.
    Resolve,
}
