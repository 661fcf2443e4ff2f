//! Which system call a thread is blocked in, where the system shows that.

pub(crate) use super::system::call_of;

/// A system call that a thread is in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Call {
    pub(crate) number: i64,
    /// If it is one of the common ones.
    pub(crate) name: Option<&'static str>,
    pub(crate) kind: Kind,
}

/// What a call waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Socket,
    Lock,
    Time,
    Descriptors,
    File,
    Other,
}
