//! Channels that deliver each message to every receiver.
//!
//! [`channel`] makes one. Each receiver gets each message that is sent after it was made
//! ([`Sender::subscribe`]). The channel holds the latest messages, up to its capacity. A send never
//! waits: it replaces the oldest message if there is no room. A receiver that has not read that
//! message is told how many it has missed ([`RecvError::Lagged`]), and goes on with the oldest that
//! is left.
//!
//! Names are those of `tokio::sync::broadcast`, with calls that park. In a `select!` a receiver
//! stands with its [`channel`](Receiver::channel).
//!
//! # Examples
//! ```
//! use narrowboat::chan::broadcast;
//!
//! let (tx, mut one) = broadcast::channel(16);
//! let mut other = tx.subscribe();
//! tx.send("news").unwrap();
//! assert_eq!(one.recv(), Ok("news"));
//! assert_eq!(other.recv(), Ok("news"));
//! ```
//!
//! # How it works
//! One lock guards the messages, with their numbers, and the queue of those that wait. A message is
//! in an `Arc`, so that it is cloned without the lock. Each counts how many receivers have yet to
//! read it, and leaves the channel after the last. A receiver has the number of its next message. A
//! send wakes all that wait, and each looks again.

use crate::error::{RecvError as Closed, RecvTimeoutError as Missed, SendError, TryRecvError as Empty};
use crate::messages::{MessageSource, inner_receiver};
use crate::node::{NodeRef, Note};
use crate::shim::{Mutex, MutexGuard};
use crate::waiters::WakeList;
use narrowboat_runtime::park::{Outcome, Reason, Thing, WaitNode, WaitQueue, Waiter, checkpoint};
use std::collections::VecDeque;
use std::error::Error;
use std::fmt;
use std::ptr::NonNull;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

/// Makes a channel that holds the latest `capacity` messages, with a first receiver.
///
/// # Panics
/// If `capacity` is 0.
///
/// # Examples
/// See [the module](self).
pub fn channel<T: Clone + Send + Sync + 'static>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    assert!(capacity > 0, "a broadcast channel holds at least one message");
    let shared = Arc::new(Shared {
        capacity,
        state: Mutex::new(State {
            messages: VecDeque::new(),
            first: 0,
            senders: 1,
            receivers: 0,
            queue: WaitQueue::new(),
        }),
    });
    let sender = Sender { shared };
    let receiver = sender.subscribe();
    (sender, receiver)
}

/// The sending side. Clones send into the same channel; when the last one is dropped, receivers get
/// the messages that they have not read, and then an error.
///
/// # Examples
/// See [the module](self).
pub struct Sender<T: Clone + Send + Sync + 'static> {
    shared: Arc<Shared<T>>,
}

/// A receiver, which gets every message that was sent after it was made.
///
/// # Examples
/// See [the module](self).
pub struct Receiver<T: Clone + Send + Sync + 'static> {
    shared: Arc<Shared<T>>,
    /// It shares its position with this receiver, as clones of that do among each other.
    channel: crate::Receiver<Result<T, Lagged>>,
}

/// A receiver was too slow: so many messages were replaced before it has read them.
///
/// # Examples
/// See [`Receiver::channel`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lagged(pub u64);

/// Why a receive has no message.
///
/// # Examples
/// ```
/// use narrowboat::chan::broadcast::{self, RecvError};
///
/// let (tx, mut rx) = broadcast::channel(2);
/// (1..=5).for_each(|n| _ = tx.send(n));
/// assert_eq!(rx.recv(), Err(RecvError::Lagged(3)));
/// assert_eq!(rx.recv(), Ok(4));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RecvError {
    /// All senders are gone, and all messages have been read.
    Closed,
    /// So many messages were missed. The next receive gets the oldest that is left.
    Lagged(u64),
}

/// Why a receive that does not wait, or not for ever, has no message.
///
/// # Examples
/// See [`Receiver::try_recv`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TryRecvError {
    /// There is none yet.
    Empty,
    /// All senders are gone, and all messages have been read.
    Closed,
    /// So many messages were missed. The next receive gets the oldest that is left.
    Lagged(u64),
}

struct Shared<T> {
    capacity: usize,
    state: Mutex<State<T>>,
}

struct State<T> {
    messages: VecDeque<Message<T>>,
    /// The number of the first of them.
    first: u64,
    senders: usize,
    receivers: usize,
    queue: WaitQueue,
}

struct Message<T> {
    value: Arc<T>,
    /// How many receivers have yet to read it.
    unread: usize,
}

impl<T> State<T> {
    fn end(&self) -> u64 {
        self.first + self.messages.len() as u64
    }

    /// A receiver reads the message, or goes without it. Returns it, and those at the front that
    /// every receiver has read, which are dropped without the lock.
    fn read(&mut self, number: u64) -> (Arc<T>, Vec<Message<T>>) {
        let message = &mut self.messages[(number - self.first) as usize];
        message.unread -= 1;
        let value = message.value.clone();
        let mut read = Vec::new();
        while self.messages.front().is_some_and(|message| message.unread == 0) {
            read.extend(self.messages.pop_front());
            self.first += 1;
        }
        (value, read)
    }

    fn take_waiters(&mut self) -> WakeList {
        let mut waiters = WakeList::new();
        waiters.claim_from(&mut self.queue, Note::NONE);
        waiters
    }
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // Nothing panics under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Clone + Send + Sync + 'static> Sender<T> {
    /// Sends a message to all receivers there are, and returns their number. Never waits.
    ///
    /// # Errors
    /// The message, if there is no receiver.
    ///
    /// # Examples
    /// ```
    /// let (tx, rx) = narrowboat::chan::broadcast::channel(1);
    /// assert_eq!(tx.send(5), Ok(1));
    /// drop(rx);
    /// assert!(tx.send(6).is_err());
    /// ```
    pub fn send(&self, value: T) -> Result<usize, SendError<T>> {
        checkpoint();
        // Allocated without the lock.
        let value = Arc::new(value);
        let mut state = self.shared.lock();
        let receivers = state.receivers;
        if receivers == 0 {
            drop(state);
            let value = Arc::try_unwrap(value).unwrap_or_else(|_| unreachable!("it was not sent"));
            return Err(SendError(value));
        }
        let replaced = if state.messages.len() == self.shared.capacity {
            state.first += 1;
            state.messages.pop_front()
        } else {
            None
        };
        state.messages.push_back(Message { value, unread: receivers });
        let waiters = state.take_waiters();
        drop(state);
        waiters.wake();
        drop(replaced);
        Ok(receivers)
    }

    /// A new receiver, of the messages that are sent from now on.
    ///
    /// # Examples
    /// ```
    /// let (tx, _) = narrowboat::chan::broadcast::channel(4);
    /// let mut rx = tx.subscribe();
    /// tx.send(1).unwrap();
    /// assert_eq!(rx.recv(), Ok(1));
    /// ```
    #[must_use]
    pub fn subscribe(&self) -> Receiver<T> {
        Receiver::new(&self.shared)
    }

    /// How many receivers there are.
    ///
    /// # Examples
    /// ```
    /// let (tx, _rx) = narrowboat::chan::broadcast::channel::<i32>(4);
    /// assert_eq!(tx.receiver_count(), 1);
    /// ```
    #[must_use]
    pub fn receiver_count(&self) -> usize {
        checkpoint();
        self.shared.lock().receivers
    }

    /// How many messages some receiver has yet to read.
    ///
    /// # Examples
    /// ```
    /// let (tx, _rx) = narrowboat::chan::broadcast::channel(4);
    /// tx.send(1).unwrap();
    /// assert_eq!(tx.len(), 1);
    /// ```
    #[must_use]
    pub fn len(&self) -> usize {
        checkpoint();
        self.shared.lock().messages.len()
    }

    /// Whether every receiver has read all messages.
    ///
    /// # Examples
    /// ```
    /// let (tx, _rx) = narrowboat::chan::broadcast::channel::<i32>(4);
    /// assert!(tx.is_empty());
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T: Clone + Send + Sync + 'static> Receiver<T> {
    fn new(shared: &Arc<Shared<T>>) -> Receiver<T> {
        let next = {
            let mut state = shared.lock();
            state.receivers += 1;
            state.end()
        };
        let channel = inner_receiver(Subscription { shared: shared.clone(), next: Mutex::new(next) });
        Receiver { shared: shared.clone(), channel }
    }

    /// Receives the next message. Waits until there is one.
    ///
    /// # Errors
    /// `Lagged` if messages were missed, `Closed` if there will be none any more.
    ///
    /// # Examples
    /// See [`RecvError`].
    #[track_caller]
    pub fn recv(&mut self) -> Result<T, RecvError> {
        flatten(self.channel.recv())
    }

    /// Receives the next message, if there is one.
    ///
    /// # Errors
    /// `Empty` if there is none yet; otherwise as for [`recv`](Receiver::recv).
    ///
    /// # Examples
    /// ```
    /// use narrowboat::chan::broadcast::{self, TryRecvError};
    ///
    /// let (tx, mut rx) = broadcast::channel(4);
    /// assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
    /// tx.send(1).unwrap();
    /// drop(tx);
    /// assert_eq!(rx.try_recv(), Ok(1));
    /// assert_eq!(rx.try_recv(), Err(TryRecvError::Closed));
    /// ```
    #[track_caller]
    pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
        match self.channel.try_recv() {
            Ok(Ok(message)) => Ok(message),
            Ok(Err(Lagged(n))) => Err(TryRecvError::Lagged(n)),
            Err(Empty::Empty) => Err(TryRecvError::Empty),
            Err(Empty::Disconnected) => Err(TryRecvError::Closed),
        }
    }

    /// Receives the next message, waiting for at most `timeout`.
    ///
    /// # Errors
    /// `Empty` if the time was up; otherwise as for [`recv`](Receiver::recv).
    ///
    /// # Examples
    /// ```
    /// use narrowboat::chan::broadcast::{self, TryRecvError};
    /// use std::time::Duration;
    ///
    /// let (_tx, mut rx) = broadcast::channel::<i32>(4);
    /// assert_eq!(rx.recv_timeout(Duration::from_millis(5)), Err(TryRecvError::Empty));
    /// ```
    #[track_caller]
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<T, TryRecvError> {
        limited(self.channel.recv_timeout(timeout))
    }

    /// Receives the next message, waiting no longer than until `deadline`.
    ///
    /// # Errors
    /// As for [`recv_timeout`](Receiver::recv_timeout).
    ///
    /// # Examples
    /// ```
    /// use std::time::Instant;
    ///
    /// let (tx, mut rx) = narrowboat::chan::broadcast::channel(4);
    /// tx.send(1).unwrap();
    /// assert_eq!(rx.recv_deadline(Instant::now()), Ok(1));
    /// ```
    #[track_caller]
    pub fn recv_deadline(&mut self, deadline: Instant) -> Result<T, TryRecvError> {
        limited(self.channel.recv_deadline(deadline))
    }

    /// Receives the next message, as a future: for async tasks. It may be dropped at any time, and no
    /// message is lost.
    ///
    /// # Errors
    /// As for [`recv`](Receiver::recv).
    ///
    /// # Examples
    /// ```
    /// use narrowboat::{chan::broadcast, future::block_on};
    ///
    /// let (tx, mut rx) = broadcast::channel(4);
    /// tx.send(1).unwrap();
    /// // In a task of tokio as here.
    /// assert_eq!(block_on(async { rx.recv_async().await }), Ok(1));
    /// ```
    pub async fn recv_async(&mut self) -> Result<T, RecvError> {
        flatten(self.channel.recv_async().await)
    }

    /// The receiver for a `select!`, for iterators and streams. What it receives, this receiver does
    /// not receive any more. An error in a message says that messages before it were missed.
    ///
    /// # Examples
    /// ```
    /// use narrowboat::chan::{broadcast, select, unbounded};
    ///
    /// let (tx, events) = broadcast::channel(4);
    /// let (_orders, orders) = unbounded::<()>();
    /// tx.send("event").unwrap();
    /// select! {
    ///     recv(events.channel()) -> event => match event {
    ///         Ok(Ok(event)) => assert_eq!(event, "event"),
    ///         Ok(Err(broadcast::Lagged(missed))) => println!("{missed} events missed"),
    ///         Err(_) => println!("no more events"),
    ///     },
    ///     recv(orders) -> _ => unreachable!(),
    /// }
    /// ```
    #[must_use]
    pub fn channel(&self) -> &crate::Receiver<Result<T, Lagged>> {
        &self.channel
    }

    /// A new receiver, of the messages that are sent from now on.
    ///
    /// # Examples
    /// ```
    /// let (tx, rx) = narrowboat::chan::broadcast::channel(4);
    /// tx.send(1).unwrap();
    /// assert!(rx.resubscribe().try_recv().is_err());
    /// ```
    #[must_use]
    pub fn resubscribe(&self) -> Receiver<T> {
        Receiver::new(&self.shared)
    }
}

fn flatten<T>(received: Result<Result<T, Lagged>, Closed>) -> Result<T, RecvError> {
    match received {
        Ok(Ok(message)) => Ok(message),
        Ok(Err(Lagged(n))) => Err(RecvError::Lagged(n)),
        Err(Closed) => Err(RecvError::Closed),
    }
}

fn limited<T>(received: Result<Result<T, Lagged>, Missed>) -> Result<T, TryRecvError> {
    match received {
        Ok(Ok(message)) => Ok(message),
        Ok(Err(Lagged(n))) => Err(TryRecvError::Lagged(n)),
        Err(Missed::Timeout) => Err(TryRecvError::Empty),
        Err(Missed::Disconnected) => Err(TryRecvError::Closed),
    }
}

/// The position of a receiver.
struct Subscription<T> {
    shared: Arc<Shared<T>>,
    /// The number of the next message. Locked before the state of the channel.
    next: Mutex<u64>,
}

impl<T> Subscription<T> {
    fn next(&self) -> MutexGuard<'_, u64> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// SAFETY: the queue and its nodes are touched under the lock of the state, and each waiter that is
// taken out is woken.
unsafe impl<T: Clone + Send + Sync> MessageSource<Result<T, Lagged>> for Subscription<T> {
    fn reason(&self) -> Reason {
        Reason::Receive
    }

    fn try_recv(&self) -> Option<Result<Result<T, Lagged>, Closed>> {
        let mut next = self.next();
        let mut state = self.shared.lock();
        if *next < state.first {
            let missed = state.first - *next;
            *next = state.first;
            return Some(Ok(Err(Lagged(missed))));
        }
        if *next == state.end() {
            return (state.senders == 0).then_some(Err(Closed));
        }
        let (value, read) = state.read(*next);
        *next += 1;
        drop(state);
        drop(next);
        // The last receiver of a message takes it as it is.
        drop(read);
        Some(Ok(Ok(Arc::try_unwrap(value).unwrap_or_else(|value| T::clone(&value)))))
    }

    fn is_ready(&self) -> bool {
        let next = self.next();
        let state = self.shared.lock();
        *next < state.end() || state.senders == 0
    }

    fn is_closed(&self) -> bool {
        self.shared.lock().senders == 0
    }

    unsafe fn enter(&self, node: NonNull<WaitNode>, me: Waiter, outcome: Outcome, sole: bool) -> bool {
        let next = self.next();
        let mut state = self.shared.lock();
        if *next < state.end() || state.senders == 0 {
            return false;
        }
        // SAFETY: by contract.
        unsafe {
            NodeRef::new(node).prepare(me, outcome, sole);
            state.queue.push(node);
        }
        true
    }

    unsafe fn leave(&self, node: NonNull<WaitNode>) {
        // SAFETY: by contract.
        unsafe { self.shared.lock().queue.remove(node) };
    }

    fn describe(&self) -> Thing {
        let state = self.shared.lock();
        Thing {
            operation: "receive from",
            address: Arc::as_ptr(&self.shared).addr(),
            kind: "broadcast channel",
            details: format!(
                "capacity {}, {} senders, {} receivers",
                self.shared.capacity, state.senders, state.receivers
            ),
            held_by: None,
        }
    }
}

impl<T> Drop for Subscription<T> {
    fn drop(&mut self) {
        let next = *self.next();
        let mut unread = Vec::new();
        let mut state = self.shared.lock();
        state.receivers -= 1;
        for number in next.max(state.first)..state.end() {
            // One that every other receiver has read is followed by none that it has not.
            if number >= state.first {
                unread.push(state.read(number));
            }
        }
        drop(state);
        drop(unread);
    }
}

impl<T: Clone + Send + Sync + 'static> Clone for Sender<T> {
    fn clone(&self) -> Sender<T> {
        self.shared.lock().senders += 1;
        Sender { shared: self.shared.clone() }
    }
}

impl<T: Clone + Send + Sync + 'static> Drop for Sender<T> {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.senders -= 1;
        let waiters = if state.senders == 0 { state.take_waiters() } else { WakeList::new() };
        drop(state);
        waiters.wake();
    }
}

impl<T: Clone + Send + Sync + 'static> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("broadcast::Sender { .. }")
    }
}

impl<T: Clone + Send + Sync + 'static> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("broadcast::Receiver { .. }")
    }
}

fn lagged(f: &mut fmt::Formatter<'_>, n: u64) -> fmt::Result {
    write!(f, "the receiver has missed {n} message{}", if n == 1 { "" } else { "s" })
}

impl fmt::Display for Lagged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        lagged(f, self.0)
    }
}

impl fmt::Display for RecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RecvError::Closed => f.write_str("receiving on a closed broadcast channel"),
            RecvError::Lagged(n) => lagged(f, *n),
        }
    }
}

impl fmt::Display for TryRecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TryRecvError::Empty => f.write_str("no message yet"),
            TryRecvError::Closed => RecvError::Closed.fmt(f),
            TryRecvError::Lagged(n) => lagged(f, *n),
        }
    }
}

impl Error for Lagged {}
impl Error for RecvError {}
impl Error for TryRecvError {}
