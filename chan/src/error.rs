//! The errors of channel operations. Errors of sends return the message.

use std::error::Error;
use std::fmt;

/// The message could not be sent: the channel is closed, or all its receivers are gone.
///
/// It carries the message.
///
/// # Examples
/// ```
/// let (tx, rx) = narrowboat::chan::unbounded();
/// drop(rx);
/// let error = tx.send("letter").unwrap_err();
/// assert_eq!(error.to_string(), "sending on a disconnected channel");
/// assert_eq!(error.into_inner(), "letter");
/// ```
#[derive(PartialEq, Eq, Clone, Copy)]
pub struct SendError<T>(pub T);

/// [`try_send`](crate::Sender::try_send) could not send the message, and returns it.
///
/// # Examples
/// ```
/// let (tx, rx) = narrowboat::chan::bounded(1);
/// tx.try_send(1).unwrap();
/// assert!(tx.try_send(2).unwrap_err().is_full());
/// drop(rx);
/// assert!(tx.try_send(3).unwrap_err().is_disconnected());
/// ```
#[derive(PartialEq, Eq, Clone, Copy)]
pub enum TrySendError<T> {
    /// The channel is full; if it has no buffer, no receiver is waiting.
    Full(T),
    /// The channel is closed, or all its receivers are gone.
    Disconnected(T),
}

/// A send with a time limit did not send the message, and returns it.
///
/// # Examples
/// ```
/// use std::time::Duration;
///
/// let (tx, rx) = narrowboat::chan::bounded(0);
/// let error = tx.send_timeout("letter", Duration::from_millis(1)).unwrap_err();
/// assert!(error.is_timeout());
/// assert_eq!(error.into_inner(), "letter");
/// # drop(rx);
/// ```
#[derive(PartialEq, Eq, Clone, Copy)]
pub enum SendTimeoutError<T> {
    /// The channel stayed full until the time was up.
    Timeout(T),
    /// The channel is closed, or all its receivers are gone.
    Disconnected(T),
}

/// No message will ever come: the channel is empty and closed, or all its senders are gone.
///
/// # Examples
/// ```
/// let (tx, rx) = narrowboat::chan::unbounded::<i32>();
/// drop(tx);
/// assert_eq!(rx.recv(), Err(narrowboat::chan::RecvError));
/// ```
#[derive(PartialEq, Eq, Clone, Copy, Debug)]
pub struct RecvError;

/// [`try_recv`](crate::Receiver::try_recv) found no message.
///
/// # Examples
/// ```
/// let (tx, rx) = narrowboat::chan::unbounded::<i32>();
/// assert!(rx.try_recv().unwrap_err().is_empty());
/// drop(tx);
/// assert!(rx.try_recv().unwrap_err().is_disconnected());
/// ```
#[derive(PartialEq, Eq, Clone, Copy, Debug)]
pub enum TryRecvError {
    /// The channel is empty; if it has no buffer, no sender is waiting.
    Empty,
    /// The channel is empty and closed, or all its senders are gone.
    Disconnected,
}

/// A receive with a time limit got no message.
///
/// # Examples
/// ```
/// use std::time::Duration;
///
/// let (tx, rx) = narrowboat::chan::unbounded::<i32>();
/// assert!(rx.recv_timeout(Duration::from_millis(1)).unwrap_err().is_timeout());
/// # drop(tx);
/// ```
#[derive(PartialEq, Eq, Clone, Copy, Debug)]
pub enum RecvTimeoutError {
    /// The channel stayed empty until the time was up.
    Timeout,
    /// The channel is empty and closed, or all its senders are gone.
    Disconnected,
}

/// [`Select::try_select`](crate::Select::try_select) found no operation that is possible.
///
/// # Examples
/// ```
/// let (_tx, rx) = narrowboat::chan::unbounded::<i32>();
/// let mut select = narrowboat::chan::Select::new();
/// select.recv(&rx);
/// assert_eq!(select.try_select().unwrap_err(), narrowboat::chan::TrySelectError);
/// ```
#[derive(PartialEq, Eq, Clone, Copy, Debug)]
pub struct TrySelectError;

/// No operation of a select with a time limit became possible before the time was up.
///
/// # Examples
/// ```
/// use std::time::Duration;
///
/// let (_tx, rx) = narrowboat::chan::unbounded::<i32>();
/// let mut select = narrowboat::chan::Select::new();
/// select.recv(&rx);
/// let error = select.select_timeout(Duration::from_millis(1)).unwrap_err();
/// assert_eq!(error, narrowboat::chan::SelectTimeoutError);
/// ```
#[derive(PartialEq, Eq, Clone, Copy, Debug)]
pub struct SelectTimeoutError;

/// [`Select::try_ready`](crate::Select::try_ready) found no operation that is possible.
///
/// # Examples
/// ```
/// let (_tx, rx) = narrowboat::chan::unbounded::<i32>();
/// let mut select = narrowboat::chan::Select::new();
/// select.recv(&rx);
/// assert_eq!(select.try_ready(), Err(narrowboat::chan::TryReadyError));
/// ```
#[derive(PartialEq, Eq, Clone, Copy, Debug)]
pub struct TryReadyError;

/// No operation of a select became possible before the time was up.
///
/// # Examples
/// ```
/// use std::time::Duration;
///
/// let (_tx, rx) = narrowboat::chan::unbounded::<i32>();
/// let mut select = narrowboat::chan::Select::new();
/// select.recv(&rx);
/// let error = select.ready_timeout(Duration::from_millis(1)).unwrap_err();
/// assert_eq!(error, narrowboat::chan::ReadyTimeoutError);
/// ```
#[derive(PartialEq, Eq, Clone, Copy, Debug)]
pub struct ReadyTimeoutError;

// The texts are those of crossbeam-channel, because programs may search for them.
const SEND_CLOSED: &str = "sending on a disconnected channel";
const RECV_CLOSED: &str = "receiving on an empty and disconnected channel";

impl<T> fmt::Debug for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("SendError(..)")
    }
}

impl<T> fmt::Display for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(SEND_CLOSED)
    }
}

impl<T> Error for SendError<T> {}

impl<T> SendError<T> {
    /// The message.
    ///
    /// ```
    /// let (tx, rx) = narrowboat::chan::bounded(0);
    /// drop(rx);
    /// assert_eq!(tx.send(7).unwrap_err().into_inner(), 7);
    /// ```
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> fmt::Debug for TrySendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            TrySendError::Full(_) => "Full(..)",
            TrySendError::Disconnected(_) => "Disconnected(..)",
        })
    }
}

impl<T> fmt::Display for TrySendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            TrySendError::Full(_) => "sending on a full channel",
            TrySendError::Disconnected(_) => SEND_CLOSED,
        })
    }
}

impl<T> Error for TrySendError<T> {}

impl<T> From<SendError<T>> for TrySendError<T> {
    fn from(error: SendError<T>) -> Self {
        TrySendError::Disconnected(error.0)
    }
}

impl<T> TrySendError<T> {
    /// The message.
    ///
    /// ```
    /// let (tx, _rx) = narrowboat::chan::bounded(0);
    /// assert_eq!(tx.try_send(7).unwrap_err().into_inner(), 7);
    /// ```
    pub fn into_inner(self) -> T {
        match self {
            TrySendError::Full(value) | TrySendError::Disconnected(value) => value,
        }
    }

    /// Whether the channel was full.
    ///
    /// ```
    /// let (tx, _rx) = narrowboat::chan::bounded(0);
    /// assert!(tx.try_send(7).unwrap_err().is_full());
    /// ```
    pub fn is_full(&self) -> bool {
        matches!(self, TrySendError::Full(_))
    }

    /// Whether the channel was closed.
    ///
    /// ```
    /// let (tx, rx) = narrowboat::chan::bounded(0);
    /// drop(rx);
    /// assert!(tx.try_send(7).unwrap_err().is_disconnected());
    /// ```
    pub fn is_disconnected(&self) -> bool {
        matches!(self, TrySendError::Disconnected(_))
    }
}

impl<T> fmt::Debug for SendTimeoutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("SendTimeoutError(..)")
    }
}

impl<T> fmt::Display for SendTimeoutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            SendTimeoutError::Timeout(_) => "timed out waiting on send operation",
            SendTimeoutError::Disconnected(_) => SEND_CLOSED,
        })
    }
}

impl<T> Error for SendTimeoutError<T> {}

impl<T> From<SendError<T>> for SendTimeoutError<T> {
    fn from(error: SendError<T>) -> Self {
        SendTimeoutError::Disconnected(error.0)
    }
}

impl<T> SendTimeoutError<T> {
    /// The message.
    ///
    /// ```
    /// use std::time::Duration;
    /// let (tx, _rx) = narrowboat::chan::bounded(0);
    /// assert_eq!(tx.send_timeout(7, Duration::ZERO).unwrap_err().into_inner(), 7);
    /// ```
    pub fn into_inner(self) -> T {
        match self {
            SendTimeoutError::Timeout(value) | SendTimeoutError::Disconnected(value) => value,
        }
    }

    /// Whether the time was up.
    ///
    /// ```
    /// use std::time::Duration;
    /// let (tx, _rx) = narrowboat::chan::bounded(0);
    /// assert!(tx.send_timeout(7, Duration::ZERO).unwrap_err().is_timeout());
    /// ```
    pub fn is_timeout(&self) -> bool {
        matches!(self, SendTimeoutError::Timeout(_))
    }

    /// Whether the channel was closed.
    ///
    /// ```
    /// use std::time::Duration;
    /// let (tx, rx) = narrowboat::chan::bounded(0);
    /// drop(rx);
    /// assert!(tx.send_timeout(7, Duration::ZERO).unwrap_err().is_disconnected());
    /// ```
    pub fn is_disconnected(&self) -> bool {
        matches!(self, SendTimeoutError::Disconnected(_))
    }
}

impl fmt::Display for RecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(RECV_CLOSED)
    }
}

impl Error for RecvError {}

impl fmt::Display for TryRecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            TryRecvError::Empty => "receiving on an empty channel",
            TryRecvError::Disconnected => RECV_CLOSED,
        })
    }
}

impl Error for TryRecvError {}

impl From<RecvError> for TryRecvError {
    fn from(_: RecvError) -> Self {
        TryRecvError::Disconnected
    }
}

impl TryRecvError {
    /// Whether the channel was empty.
    ///
    /// ```
    /// let (_tx, rx) = narrowboat::chan::unbounded::<i32>();
    /// assert!(rx.try_recv().unwrap_err().is_empty());
    /// ```
    pub fn is_empty(&self) -> bool {
        matches!(self, TryRecvError::Empty)
    }

    /// Whether the channel was closed.
    ///
    /// ```
    /// let (tx, rx) = narrowboat::chan::unbounded::<i32>();
    /// drop(tx);
    /// assert!(rx.try_recv().unwrap_err().is_disconnected());
    /// ```
    pub fn is_disconnected(&self) -> bool {
        matches!(self, TryRecvError::Disconnected)
    }
}

impl fmt::Display for RecvTimeoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            RecvTimeoutError::Timeout => "timed out waiting on receive operation",
            RecvTimeoutError::Disconnected => "channel is empty and disconnected",
        })
    }
}

impl Error for RecvTimeoutError {}

impl From<RecvError> for RecvTimeoutError {
    fn from(_: RecvError) -> Self {
        RecvTimeoutError::Disconnected
    }
}

impl RecvTimeoutError {
    /// Whether the time was up.
    ///
    /// ```
    /// use std::time::Duration;
    /// let (_tx, rx) = narrowboat::chan::unbounded::<i32>();
    /// assert!(rx.recv_timeout(Duration::ZERO).unwrap_err().is_timeout());
    /// ```
    pub fn is_timeout(&self) -> bool {
        matches!(self, RecvTimeoutError::Timeout)
    }

    /// Whether the channel was closed.
    ///
    /// ```
    /// use std::time::Duration;
    /// let (tx, rx) = narrowboat::chan::unbounded::<i32>();
    /// drop(tx);
    /// assert!(rx.recv_timeout(Duration::ZERO).unwrap_err().is_disconnected());
    /// ```
    pub fn is_disconnected(&self) -> bool {
        matches!(self, RecvTimeoutError::Disconnected)
    }
}

impl fmt::Display for TrySelectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("all operations in select would block")
    }
}

impl Error for TrySelectError {}

impl fmt::Display for SelectTimeoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("timed out waiting on select")
    }
}

impl Error for SelectTimeoutError {}

impl fmt::Display for TryReadyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("no operation of the select is possible now")
    }
}

impl Error for TryReadyError {}

impl fmt::Display for ReadyTimeoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("timed out waiting for an operation of the select to become possible")
    }
}

impl Error for ReadyTimeoutError {}
