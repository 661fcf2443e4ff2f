//! What can go wrong with a message.

use std::error::Error;
use std::fmt;

/// The service has ended. Has the message that it did not take.
///
/// ```
/// # use narrowboat::actor::*;
/// # struct Idler;
/// # impl Service for Idler {}
/// # impl Handle<&'static str> for Idler {
/// #     type Reply = ();
/// #     fn handle(_: &mut Turn<Self>, _: &'static str) {}
/// # }
/// let idler = System::new().spawn(Idler);
/// idler.kill();
/// assert_eq!(idler.send("wake up").unwrap_err().0, "wake up");
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SendError<M>(pub M);

impl<M> fmt::Debug for SendError<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SendError(..)")
    }
}

impl<M> fmt::Display for SendError<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the service has ended")
    }
}

impl<M> Error for SendError<M> {}

/// A call without a reply.
///
/// ```
/// use narrowboat::actor::CallError;
/// assert_eq!(CallError::Ended.to_string(), "the service has ended");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum CallError {
    /// The service had ended before the call.
    Ended,
    /// The service ended or failed before it replied. It may have handled a part of the message.
    Failed,
    /// The time was up. The service may still handle the message; its reply is dropped.
    Timeout,
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CallError::Ended => "the service has ended",
            CallError::Failed => "the service failed before it replied",
            CallError::Timeout => "the service did not reply in time",
        })
    }
}

impl Error for CallError {}

/// Another service of the system has this name.
///
/// ```
/// # use narrowboat::actor::*;
/// # struct Idler;
/// # impl Service for Idler {}
/// let system = System::new();
/// let _first = system.spawn_named("idler", Idler)?;
/// let error = system.spawn_named("idler", Idler).unwrap_err();
/// assert_eq!(error.to_string(), "another service has the name 'idler'");
/// # Ok::<(), NameTaken>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NameTaken(pub(crate) String);

impl fmt::Display for NameTaken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "another service has the name '{}'", self.0)
    }
}

impl Error for NameTaken {}
