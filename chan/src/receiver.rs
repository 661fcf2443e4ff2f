//! The receiving side, and the kinds of channel behind it.

use crate::channel::Channel;
use crate::context::scope::Scope;
use crate::error::{RecvError, RecvTimeoutError, TryRecvError};
use crate::event::{self, Event, Never};
use crate::limit::{At, Limit};
use crate::messages::SourceChannel;
use crate::outside::EventChannel;
use crate::timer::Timer;
use narrowboat_runtime::park::checkpoint;
use std::fmt;
use std::panic::{Location, RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The receiving side of a channel.
///
/// Clones receive from the same channel; each message goes to one of them. When the last one is
/// dropped, the channel is closed and the messages in it are dropped.
///
/// # Examples
/// ```
/// let (tx, rx) = narrowboat::chan::bounded(0);
/// std::thread::spawn(move || {
///     tx.send("ahoy").unwrap();
/// });
/// assert_eq!(rx.recv(), Ok("ahoy"));
/// assert!(rx.recv().is_err(), "the sender is gone");
/// ```
pub struct Receiver<T> {
    pub(crate) flavor: Flavor<T>,
}

/// What a receiver receives from.
pub(crate) enum Flavor<T> {
    /// `bounded` and `unbounded`.
    Channel(Arc<Channel<T>>),
    /// `after`, `at` and `tick`; `Timer` and `Ticker`.
    Timer(Arc<Timer<T>>),
    /// `Context::done`.
    Done(Arc<Scope>),
    /// An event source of another crate.
    Event(Arc<EventChannel<T>>),
    /// A future or a stream; a broadcast, a watched value.
    Messages(Arc<SourceChannel<T>>),
    /// `never`.
    Never,
}

/// A channel that has senders, or an event that has none.
pub(crate) enum Source<'a, T> {
    Channel(&'a Channel<T>),
    Event(&'a dyn Event<T>),
}

impl<T> Flavor<T> {
    #[inline]
    pub(crate) fn source(&self) -> Source<'_, T> {
        match self {
            Flavor::Channel(channel) => Source::Channel(channel),
            Flavor::Timer(timer) => Source::Event(&**timer),
            Flavor::Done(scope) => Source::Event(&**scope),
            Flavor::Event(source) => Source::Event(&**source),
            Flavor::Messages(source) => Source::Event(&**source),
            Flavor::Never => Source::Event(&Never),
        }
    }
}

impl<T> Receiver<T> {
    #[inline]
    fn recv_within(&self, limit: Limit, at: At) -> Result<T, RecvTimeoutError> {
        match &self.flavor {
            Flavor::Channel(channel) => channel.recv(limit, at),
            flavor => Receiver::recv_event(flavor, limit, at),
        }
    }

    /// Not inline: a goroutine that is parked in a receive has the caller's frame on its stack, and
    /// the room that these need would be part of it.
    #[inline(never)]
    fn recv_event(flavor: &Flavor<T>, limit: Limit, at: At) -> Result<T, RecvTimeoutError> {
        match flavor {
            Flavor::Channel(_) => unreachable!("it has senders"),
            Flavor::Timer(timer) => event::recv(&**timer, limit, at),
            Flavor::Done(scope) => event::recv(&**scope, limit, at),
            Flavor::Event(source) => event::recv(&**source, limit, at),
            Flavor::Messages(source) => event::recv(&**source, limit, at),
            Flavor::Never => event::recv(&Never, limit, at),
        }
    }

    /// Receives a message. Waits until there is one.
    ///
    /// # Errors
    /// If the channel is empty and closed, or all senders are gone, also if that happens during the
    /// wait.
    ///
    /// # Examples
    /// ```
    /// let (tx, rx) = narrowboat::chan::unbounded();
    /// tx.send(5).unwrap();
    /// drop(tx);
    /// assert_eq!(rx.recv(), Ok(5));
    /// assert_eq!(rx.recv(), Err(narrowboat::chan::RecvError));
    /// ```
    #[inline]
    #[track_caller]
    pub fn recv(&self) -> Result<T, RecvError> {
        self.recv_within(Limit::None, Location::caller()).map_err(|_| RecvError)
    }

    /// Receives a message if there is one: in the buffer, or offered by a waiting sender.
    ///
    /// A `select!` evaluates the message of a send arm when the arm is chosen. If such an arm
    /// offers the message, this waits for the evaluation.
    ///
    /// # Errors
    /// `Empty` if there is no message at the moment, `Disconnected` if there will never be one
    /// again.
    ///
    /// # Examples
    /// ```
    /// use narrowboat::chan::TryRecvError;
    ///
    /// let (tx, rx) = narrowboat::chan::unbounded();
    /// assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
    /// tx.send(5).unwrap();
    /// drop(tx);
    /// assert_eq!(rx.try_recv(), Ok(5));
    /// assert_eq!(rx.try_recv(), Err(TryRecvError::Disconnected));
    /// ```
    #[inline]
    #[track_caller]
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        self.recv_within(Limit::Now, Location::caller()).map_err(|error| match error {
            RecvTimeoutError::Timeout => TryRecvError::Empty,
            RecvTimeoutError::Disconnected => TryRecvError::Disconnected,
        })
    }

    /// Receives a message, waiting for at most `timeout`. A message that is there is received even
    /// when `timeout` is zero.
    ///
    /// # Errors
    /// `Timeout` if the time was up, `Disconnected` if there will never be a message again.
    ///
    /// # Examples
    /// ```
    /// use narrowboat::chan::RecvTimeoutError;
    /// use std::time::Duration;
    ///
    /// let (tx, rx) = narrowboat::chan::unbounded();
    /// tx.send(5).unwrap();
    /// assert_eq!(rx.recv_timeout(Duration::ZERO), Ok(5));
    /// assert_eq!(rx.recv_timeout(Duration::from_millis(5)), Err(RecvTimeoutError::Timeout));
    /// ```
    #[track_caller]
    pub fn recv_timeout(&self, timeout: Duration) -> Result<T, RecvTimeoutError> {
        // Reads the clock only if the receive has to wait.
        match self.try_recv() {
            Ok(message) => Ok(message),
            Err(TryRecvError::Disconnected) => Err(RecvTimeoutError::Disconnected),
            Err(TryRecvError::Empty) => self.recv_within(Limit::within(timeout), Location::caller()),
        }
    }

    /// Receives a message, waiting no longer than until `deadline`. A message that is there is
    /// received even when `deadline` has passed.
    ///
    /// # Errors
    /// As for [`recv_timeout`](Receiver::recv_timeout).
    ///
    /// # Examples
    /// ```
    /// use std::time::{Duration, Instant};
    ///
    /// let (_tx, rx) = narrowboat::chan::unbounded::<i32>();
    /// let soon = Instant::now() + Duration::from_millis(5);
    /// assert!(rx.recv_deadline(soon).unwrap_err().is_timeout());
    /// ```
    #[track_caller]
    pub fn recv_deadline(&self, deadline: Instant) -> Result<T, RecvTimeoutError> {
        self.recv_within(Limit::Until(deadline), Location::caller())
    }

    /// Closes the channel, for all its senders and receivers. True if this call closed it, false if
    /// it was closed already.
    ///
    /// Messages in the buffer can still be received, then receivers get an error. Sends fail from
    /// now on, and the sends that are waiting fail too, each with its message. A channel of
    /// [`after`](crate::after), [`at`](crate::at), [`tick`](crate::tick) or
    /// [`never()`](crate::never) cannot be closed: false. Only the context closes the channel of a
    /// [`Context`](crate::context::Context): false, too.
    ///
    /// # Examples
    /// ```
    /// let (tx, rx) = narrowboat::chan::unbounded();
    /// tx.send(1).unwrap();
    /// assert!(rx.close());
    /// assert!(tx.send(2).is_err());
    /// assert_eq!(rx.iter().collect::<Vec<_>>(), [1]);
    /// ```
    pub fn close(&self) -> bool {
        checkpoint();
        match &self.flavor {
            Flavor::Channel(channel) => channel.close(),
            Flavor::Timer(_) | Flavor::Done(_) | Flavor::Event(_) | Flavor::Messages(_) | Flavor::Never => {
                false
            }
        }
    }

    /// Whether the channel is closed: by [`close`](Receiver::close), or because all its senders are
    /// gone. There may still be messages in it.
    ///
    /// # Examples
    /// ```
    /// let (tx, rx) = narrowboat::chan::unbounded::<i32>();
    /// assert!(!rx.is_closed());
    /// drop(tx);
    /// assert!(rx.is_closed());
    /// ```
    pub fn is_closed(&self) -> bool {
        checkpoint();
        match &self.flavor {
            Flavor::Channel(channel) => channel.is_closed(),
            Flavor::Done(scope) => scope.is_over(),
            Flavor::Messages(source) => source.is_closed(),
            Flavor::Timer(_) | Flavor::Event(_) | Flavor::Never => false,
        }
    }

    /// Whether no message is in the buffer. Always true for a channel without one.
    ///
    /// # Examples
    /// ```
    /// let (tx, rx) = narrowboat::chan::unbounded();
    /// assert!(rx.is_empty());
    /// tx.send(0).unwrap();
    /// assert!(!rx.is_empty());
    /// ```
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the buffer has no room. Always true for a channel without one.
    ///
    /// # Examples
    /// ```
    /// let (tx, rx) = narrowboat::chan::bounded(1);
    /// assert!(!rx.is_full());
    /// tx.send(0).unwrap();
    /// assert!(rx.is_full());
    /// ```
    pub fn is_full(&self) -> bool {
        checkpoint();
        match &self.flavor {
            Flavor::Channel(channel) => channel.is_full(),
            Flavor::Timer(timer) => timer.is_ready(),
            Flavor::Event(source) => source.is_ready(),
            Flavor::Messages(source) => source.is_ready(),
            Flavor::Done(_) | Flavor::Never => true,
        }
    }

    /// The number of messages in the buffer.
    ///
    /// # Examples
    /// ```
    /// let (tx, rx) = narrowboat::chan::unbounded();
    /// tx.send(1).unwrap();
    /// tx.send(2).unwrap();
    /// assert_eq!(rx.len(), 2);
    /// ```
    pub fn len(&self) -> usize {
        checkpoint();
        match &self.flavor {
            Flavor::Channel(channel) => channel.len(),
            Flavor::Timer(timer) => usize::from(timer.is_ready()),
            Flavor::Event(source) => usize::from(source.is_ready()),
            Flavor::Messages(source) => usize::from(source.is_ready()),
            Flavor::Done(_) | Flavor::Never => 0,
        }
    }

    /// The size of the buffer in messages, or `None` if it has no limit. The channels that tell the
    /// time hold one message at most.
    ///
    /// # Examples
    /// ```
    /// assert_eq!(narrowboat::chan::unbounded::<i32>().1.capacity(), None);
    /// assert_eq!(narrowboat::chan::bounded::<i32>(5).1.capacity(), Some(5));
    /// assert_eq!(narrowboat::chan::never::<i32>().capacity(), Some(0));
    /// ```
    pub fn capacity(&self) -> Option<usize> {
        checkpoint();
        match &self.flavor {
            Flavor::Channel(channel) => channel.capacity(),
            Flavor::Timer(_) | Flavor::Event(_) | Flavor::Messages(_) => Some(1),
            Flavor::Done(_) | Flavor::Never => Some(0),
        }
    }

    /// Whether both receive from the same channel. All channels of [`never()`](crate::never) are
    /// the same.
    ///
    /// # Examples
    /// ```
    /// let (_tx, rx) = narrowboat::chan::unbounded::<i32>();
    /// let (_tx2, other) = narrowboat::chan::unbounded::<i32>();
    /// assert!(rx.same_channel(&rx.clone()));
    /// assert!(!rx.same_channel(&other));
    /// ```
    pub fn same_channel(&self, other: &Receiver<T>) -> bool {
        checkpoint();
        match (&self.flavor, &other.flavor) {
            (Flavor::Channel(a), Flavor::Channel(b)) => Arc::ptr_eq(a, b),
            (Flavor::Timer(a), Flavor::Timer(b)) => Arc::ptr_eq(a, b),
            (Flavor::Done(a), Flavor::Done(b)) => Arc::ptr_eq(a, b),
            (Flavor::Event(a), Flavor::Event(b)) => Arc::ptr_eq(a, b),
            (Flavor::Messages(a), Flavor::Messages(b)) => Arc::ptr_eq(a, b),
            (Flavor::Never, Flavor::Never) => true,
            _ => false,
        }
    }
}

impl Receiver<Instant> {
    /// A receiver of a new timer that can be set.
    pub(crate) fn settable(first: Instant, period: Option<Duration>) -> Receiver<Instant> {
        Receiver { flavor: Flavor::Timer(Arc::new(Timer::settable(first, period))) }
    }

    /// The timer of a channel that `settable` made.
    pub(crate) fn timer(&self) -> &Timer<Instant> {
        let Flavor::Timer(timer) = &self.flavor else { unreachable!("made by `settable`") };
        timer
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        let flavor = match &self.flavor {
            Flavor::Channel(channel) => {
                let channel = channel.clone();
                channel.add_receiver();
                Flavor::Channel(channel)
            }
            Flavor::Timer(timer) => Flavor::Timer(timer.clone()),
            Flavor::Done(scope) => Flavor::Done(scope.clone()),
            Flavor::Event(source) => Flavor::Event(source.clone()),
            Flavor::Messages(source) => Flavor::Messages(source.clone()),
            Flavor::Never => Flavor::Never,
        };
        Receiver { flavor }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        if let Flavor::Channel(channel) = &self.flavor {
            channel.drop_receiver();
        }
    }
}

// Wherever a panic happens, a message is either in the channel or out of it.
impl<T> UnwindSafe for Receiver<T> {}
impl<T> RefUnwindSafe for Receiver<T> {}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("Receiver { .. }")
    }
}
