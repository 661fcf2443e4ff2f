//! The sending side.

use crate::channel::Channel;
use crate::error::{SendError, SendTimeoutError, TrySendError};
use crate::limit::Limit;
use narrowboat_runtime::park::checkpoint;
use std::fmt;
use std::panic::{Location, RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The sending side of a channel.
///
/// Clones send into the same channel. When the last one is dropped, the channel is closed:
/// receivers get what is in it, then an error.
///
/// # Examples
/// ```
/// let (tx, rx) = narrowboat::chan::unbounded();
/// let second = tx.clone();
/// std::thread::spawn(move || tx.send("one").unwrap());
/// std::thread::spawn(move || second.send("two").unwrap());
///
/// let mut messages: Vec<_> = rx.iter().collect();
/// messages.sort();
/// assert_eq!(messages, ["one", "two"]);
/// ```
pub struct Sender<T> {
    pub(crate) channel: Arc<Channel<T>>,
}

impl<T> Sender<T> {
    /// Sends a message. Waits until there is room, or, in a channel without buffer, until a
    /// receiver takes the message.
    ///
    /// # Errors
    /// The message, if the channel is closed or all receivers are gone, also if that happens during
    /// the wait.
    ///
    /// # Examples
    /// ```
    /// let (tx, rx) = narrowboat::chan::bounded(1);
    /// assert!(tx.send(1).is_ok());
    /// drop(rx);
    /// assert_eq!(tx.send(2), Err(narrowboat::chan::SendError(2)));
    /// ```
    #[inline]
    #[track_caller]
    pub fn send(&self, msg: T) -> Result<(), SendError<T>> {
        self.channel.send(msg, Limit::None, Location::caller()).map_err(|e| SendError(e.into_inner()))
    }

    /// Sends a message if that is possible at once.
    ///
    /// # Errors
    /// The message: as `Full` if there is no room (without a buffer: no waiting receiver), as
    /// `Disconnected` if the channel is closed or all receivers are gone.
    ///
    /// # Examples
    /// ```
    /// use narrowboat::chan::TrySendError;
    ///
    /// let (tx, _rx) = narrowboat::chan::bounded(1);
    /// assert_eq!(tx.try_send(1), Ok(()));
    /// assert_eq!(tx.try_send(2), Err(TrySendError::Full(2)));
    /// ```
    #[inline]
    #[track_caller]
    pub fn try_send(&self, msg: T) -> Result<(), TrySendError<T>> {
        self.channel.send(msg, Limit::Now, Location::caller()).map_err(|error| match error {
            SendTimeoutError::Timeout(msg) => TrySendError::Full(msg),
            SendTimeoutError::Disconnected(msg) => TrySendError::Disconnected(msg),
        })
    }

    /// Sends a message, waiting for at most `timeout`. If the message can be sent at once it is,
    /// even when `timeout` is zero.
    ///
    /// # Errors
    /// The message: as `Timeout` if the time was up, as `Disconnected` if the channel is closed or
    /// all receivers are gone.
    ///
    /// # Examples
    /// ```
    /// use narrowboat::chan::SendTimeoutError;
    /// use std::time::Duration;
    ///
    /// let (tx, _rx) = narrowboat::chan::bounded(1);
    /// assert_eq!(tx.send_timeout(1, Duration::ZERO), Ok(()));
    /// assert_eq!(tx.send_timeout(2, Duration::from_millis(5)), Err(SendTimeoutError::Timeout(2)));
    /// ```
    #[track_caller]
    pub fn send_timeout(&self, msg: T, timeout: Duration) -> Result<(), SendTimeoutError<T>> {
        // Reads the clock only if the send has to wait.
        match self.try_send(msg) {
            Ok(()) => Ok(()),
            Err(TrySendError::Disconnected(msg)) => Err(SendTimeoutError::Disconnected(msg)),
            Err(TrySendError::Full(msg)) => {
                self.channel.send(msg, Limit::within(timeout), Location::caller())
            }
        }
    }

    /// Sends a message, waiting no longer than until `deadline`. If the message can be sent at once
    /// it is, even when `deadline` has passed.
    ///
    /// # Errors
    /// As for [`send_timeout`](Sender::send_timeout).
    ///
    /// # Examples
    /// ```
    /// use std::time::{Duration, Instant};
    ///
    /// let (tx, _rx) = narrowboat::chan::bounded(0);
    /// let soon = Instant::now() + Duration::from_millis(5);
    /// assert!(tx.send_deadline(1, soon).unwrap_err().is_timeout());
    /// ```
    #[track_caller]
    pub fn send_deadline(&self, msg: T, deadline: Instant) -> Result<(), SendTimeoutError<T>> {
        self.channel.send(msg, Limit::Until(deadline), Location::caller())
    }

    /// Closes the channel, for all its senders and receivers. True if this call closed it, false if
    /// it was closed already.
    ///
    /// Messages in the buffer can still be received, then receivers get an error. Sends fail from
    /// now on, and the sends that are waiting fail too, each with its message. Dropping the last
    /// sender does the same.
    ///
    /// # Examples
    /// ```
    /// let (tx, rx) = narrowboat::chan::unbounded();
    /// tx.send(1).unwrap();
    /// assert!(tx.close());
    /// assert!(!tx.close());
    /// assert_eq!(tx.send(2).unwrap_err().into_inner(), 2);
    /// assert_eq!(rx.recv(), Ok(1));
    /// assert!(rx.recv().is_err());
    /// ```
    pub fn close(&self) -> bool {
        checkpoint();
        self.channel.close()
    }

    /// Whether the channel is closed: by [`close`](Sender::close), or because all its receivers are
    /// gone.
    ///
    /// # Examples
    /// ```
    /// let (tx, rx) = narrowboat::chan::bounded::<i32>(1);
    /// assert!(!tx.is_closed());
    /// drop(rx);
    /// assert!(tx.is_closed());
    /// ```
    pub fn is_closed(&self) -> bool {
        checkpoint();
        self.channel.is_closed()
    }

    /// Whether no message is in the buffer. Always true for a channel without one.
    ///
    /// # Examples
    /// ```
    /// let (tx, _rx) = narrowboat::chan::unbounded();
    /// assert!(tx.is_empty());
    /// tx.send(0).unwrap();
    /// assert!(!tx.is_empty());
    /// ```
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the buffer has no room. Always true for a channel without one.
    ///
    /// # Examples
    /// ```
    /// let (tx, _rx) = narrowboat::chan::bounded(1);
    /// assert!(!tx.is_full());
    /// tx.send(0).unwrap();
    /// assert!(tx.is_full());
    /// ```
    pub fn is_full(&self) -> bool {
        checkpoint();
        self.channel.is_full()
    }

    /// The number of messages in the buffer.
    ///
    /// # Examples
    /// ```
    /// let (tx, _rx) = narrowboat::chan::unbounded();
    /// tx.send(1).unwrap();
    /// tx.send(2).unwrap();
    /// assert_eq!(tx.len(), 2);
    /// ```
    pub fn len(&self) -> usize {
        checkpoint();
        self.channel.len()
    }

    /// The size of the buffer in messages, or `None` if it has no limit.
    ///
    /// # Examples
    /// ```
    /// assert_eq!(narrowboat::chan::unbounded::<i32>().0.capacity(), None);
    /// assert_eq!(narrowboat::chan::bounded::<i32>(5).0.capacity(), Some(5));
    /// assert_eq!(narrowboat::chan::bounded::<i32>(0).0.capacity(), Some(0));
    /// ```
    pub fn capacity(&self) -> Option<usize> {
        checkpoint();
        self.channel.capacity()
    }

    /// Whether both send into the same channel.
    ///
    /// # Examples
    /// ```
    /// let (tx, _rx) = narrowboat::chan::unbounded::<i32>();
    /// let (other, _rx2) = narrowboat::chan::unbounded::<i32>();
    /// assert!(tx.same_channel(&tx.clone()));
    /// assert!(!tx.same_channel(&other));
    /// ```
    pub fn same_channel(&self, other: &Sender<T>) -> bool {
        checkpoint();
        Arc::ptr_eq(&self.channel, &other.channel)
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        let channel = self.channel.clone();
        channel.add_sender();
        Sender { channel }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.channel.drop_sender();
    }
}

// Wherever a panic happens, a message is either in the channel or out of it.
impl<T> UnwindSafe for Sender<T> {}
impl<T> RefUnwindSafe for Sender<T> {}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("Sender { .. }")
    }
}
