//! A value that is watched: receivers see the latest one, and wait until it changes.
//!
//! [`channel`] makes one. A send replaces the value and never waits. A receiver that is slow sees
//! only the latest value, which is what configurations, states and progress need.
//!
//! Names are those of `tokio::sync::watch`, with calls that park. In a `select!` a receiver stands
//! with its [`channel`](Receiver::channel).
//!
//! # Examples
//! ```
//! use narrowboat::chan::watch;
//!
//! let (tx, mut rx) = watch::channel("starting");
//! let worker = narrowboat::spawn(move || {
//!     rx.wait_for(|state| *state == "ready").unwrap();
//!     "it is ready"
//! });
//! tx.send("ready").unwrap();
//! assert_eq!(worker.join().unwrap(), "it is ready");
//! ```
//!
//! # How it works
//! A lock of std's guards the value, so that a guard of it may be held across any call. A lock of
//! ours guards the version and the queue of those that wait. A change takes the first, sets the
//! value, and takes the second before it releases the first; so a reader that holds the first finds
//! the version of the value that it sees. Each receiver has the version that it has seen.

use crate::error::{RecvError, RecvTimeoutError, SendError};
use crate::messages::{MessageSource, inner_receiver};
use crate::node::{NodeRef, Note};
use crate::shim::{Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};
use crate::waiters::WakeList;
use narrowboat_runtime::park::{Outcome, Reason, Thing, WaitNode, WaitQueue, Waiter, checkpoint};
use std::fmt;
use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

/// Makes a channel with this value, which the receiver has seen.
///
/// # Examples
/// See [the module](self).
pub fn channel<T>(init: T) -> (Sender<T>, Receiver<T>) {
    let shared = Arc::new(Shared {
        value: RwLock::new(init),
        versions: Arc::new(Versions(Mutex::new(State {
            version: 0,
            senders: 1,
            receivers: 0,
            queue: WaitQueue::new(),
        }))),
    });
    let receiver = Receiver::new(&shared, 0);
    (Sender { shared }, receiver)
}

/// The side that changes the value. When the last clone is dropped, receivers that wait for a change
/// get an error.
///
/// # Examples
/// See [the module](self).
pub struct Sender<T> {
    shared: Arc<Shared<T>>,
}

/// The side that sees the value. A clone has seen what this one has seen, and goes on by itself.
///
/// # Examples
/// See [the module](self).
pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
    seen: Arc<Mutex<u64>>,
    channel: crate::Receiver<()>,
}

/// A borrow of the value. While it is there, the value cannot be changed: senders wait.
///
/// # Examples
/// See [`Receiver::borrow`].
pub struct Ref<'a, T> {
    value: RwLockReadGuard<'a, T>,
}

impl<T> Deref for Ref<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: fmt::Debug> fmt::Debug for Ref<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

struct Shared<T> {
    value: RwLock<T>,
    versions: Arc<Versions>,
}

/// What is known of the value without its type.
struct Versions(Mutex<State>);

struct State {
    /// Goes up with each change.
    version: u64,
    senders: usize,
    receivers: usize,
    queue: WaitQueue,
}

impl Versions {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics under the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn take_waiters(&mut self) -> WakeList {
        let mut waiters = WakeList::new();
        waiters.claim_from(&mut self.queue, Note::NONE);
        waiters
    }
}

impl<T> Shared<T> {
    /// A panic in a function that modifies the value leaves it as that function has left it.
    fn read(&self) -> RwLockReadGuard<'_, T> {
        self.value.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, T> {
        self.value.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Announces a change of the value that the guard guards.
    fn announce(&self, value: RwLockWriteGuard<'_, T>) {
        let mut state = self.versions.lock();
        state.version += 1;
        let waiters = state.take_waiters();
        drop(state);
        drop(value);
        waiters.wake();
    }
}

impl<T> Sender<T> {
    /// Replaces the value.
    ///
    /// # Errors
    /// The new value, if there is no receiver. The old one stays.
    ///
    /// # Examples
    /// ```
    /// let (tx, rx) = narrowboat::chan::watch::channel(1);
    /// tx.send(2).unwrap();
    /// assert_eq!(*rx.borrow(), 2);
    /// drop(rx);
    /// assert!(tx.send(3).is_err());
    /// ```
    pub fn send(&self, value: T) -> Result<(), SendError<T>> {
        if self.receiver_count() == 0 {
            return Err(SendError(value));
        }
        self.send_replace(value);
        Ok(())
    }

    /// Replaces the value, also if there is no receiver, and returns the old one.
    ///
    /// # Examples
    /// ```
    /// let (tx, _) = narrowboat::chan::watch::channel(1);
    /// assert_eq!(tx.send_replace(2), 1);
    /// assert_eq!(*tx.borrow(), 2);
    /// ```
    pub fn send_replace(&self, value: T) -> T {
        checkpoint();
        let mut current = self.shared.write();
        let old = std::mem::replace(&mut *current, value);
        self.shared.announce(current);
        old
    }

    /// Changes the value in place.
    ///
    /// # Panics
    /// If `modify` does. Receivers are then not told of a change.
    ///
    /// # Examples
    /// ```
    /// let (tx, rx) = narrowboat::chan::watch::channel(1);
    /// tx.send_modify(|value| *value += 1);
    /// assert_eq!(*rx.borrow(), 2);
    /// ```
    pub fn send_modify(&self, modify: impl FnOnce(&mut T)) {
        self.send_if_modified(|value| {
            modify(value);
            true
        });
    }

    /// Changes the value in place, or not, which `modify` says. Returns what it says.
    ///
    /// # Panics
    /// If `modify` does. Receivers are then not told of a change.
    ///
    /// # Examples
    /// ```
    /// let (tx, rx) = narrowboat::chan::watch::channel(1);
    /// assert!(!tx.send_if_modified(|value| *value > 5));
    /// assert_eq!(rx.has_changed(), Ok(false));
    /// ```
    pub fn send_if_modified(&self, modify: impl FnOnce(&mut T) -> bool) -> bool {
        checkpoint();
        let mut current = self.shared.write();
        let modified = modify(&mut current);
        if modified {
            self.shared.announce(current);
        }
        modified
    }

    /// The value.
    ///
    /// # Examples
    /// See [`send_replace`](Sender::send_replace).
    #[must_use]
    pub fn borrow(&self) -> Ref<'_, T> {
        checkpoint();
        Ref { value: self.shared.read() }
    }

    /// A new receiver, which has seen the present value.
    ///
    /// # Examples
    /// ```
    /// let (tx, _) = narrowboat::chan::watch::channel(1);
    /// let rx = tx.subscribe();
    /// assert_eq!((*rx.borrow(), rx.has_changed()), (1, Ok(false)));
    /// ```
    #[must_use]
    pub fn subscribe(&self) -> Receiver<T> {
        let version = self.shared.versions.lock().version;
        Receiver::new(&self.shared, version)
    }

    /// How many receivers there are.
    ///
    /// # Examples
    /// ```
    /// let (sender, receiver) = narrowboat::chan::watch::channel(1);
    /// assert_eq!(sender.receiver_count(), 1);
    /// drop(receiver);
    /// assert_eq!(sender.receiver_count(), 0);
    /// ```
    #[must_use]
    pub fn receiver_count(&self) -> usize {
        checkpoint();
        self.shared.versions.lock().receivers
    }
}

impl<T> Receiver<T> {
    fn new(shared: &Arc<Shared<T>>, seen: u64) -> Receiver<T> {
        shared.versions.lock().receivers += 1;
        let seen = Arc::new(Mutex::new(seen));
        let watcher = Watcher { versions: shared.versions.clone(), seen: seen.clone() };
        Receiver { shared: shared.clone(), seen, channel: inner_receiver(watcher) }
    }

    fn seen(&self) -> MutexGuard<'_, u64> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The value. It does not count as seen, so that [`changed`](Receiver::changed) returns if it is
    /// new.
    ///
    /// # Examples
    /// ```
    /// let (_tx, rx) = narrowboat::chan::watch::channel(String::from("value"));
    /// assert_eq!(rx.borrow().len(), 5);
    /// ```
    #[must_use]
    pub fn borrow(&self) -> Ref<'_, T> {
        checkpoint();
        Ref { value: self.shared.read() }
    }

    /// The value, which from now on counts as seen.
    ///
    /// # Examples
    /// ```
    /// let (tx, mut rx) = narrowboat::chan::watch::channel(1);
    /// tx.send(2).unwrap();
    /// assert_eq!(*rx.borrow_and_update(), 2);
    /// assert_eq!(rx.has_changed(), Ok(false));
    /// ```
    #[must_use]
    pub fn borrow_and_update(&mut self) -> Ref<'_, T> {
        checkpoint();
        let value = self.shared.read();
        let version = self.shared.versions.lock().version;
        *self.seen() = version;
        Ref { value }
    }

    /// Whether the value is one that this receiver has not seen.
    ///
    /// # Errors
    /// If all senders are gone.
    ///
    /// # Examples
    /// ```
    /// let (tx, rx) = narrowboat::chan::watch::channel(1);
    /// assert_eq!(rx.has_changed(), Ok(false));
    /// drop(tx);
    /// assert!(rx.has_changed().is_err());
    /// ```
    pub fn has_changed(&self) -> Result<bool, RecvError> {
        checkpoint();
        let seen = *self.seen();
        let state = self.shared.versions.lock();
        if state.senders == 0 { Err(RecvError) } else { Ok(state.version != seen) }
    }

    /// Waits until there is a value that this receiver has not seen, which then counts as seen.
    ///
    /// # Errors
    /// If all senders are gone, and the last value has been seen.
    ///
    /// # Examples
    /// ```
    /// let (tx, mut rx) = narrowboat::chan::watch::channel(1);
    /// tx.send(2).unwrap();
    /// rx.changed().unwrap();
    /// assert_eq!(*rx.borrow(), 2);
    /// ```
    #[track_caller]
    pub fn changed(&mut self) -> Result<(), RecvError> {
        self.channel.recv()
    }

    /// As [`changed`](Receiver::changed), for at most `timeout`.
    ///
    /// # Errors
    /// `Timeout` if the time was up, `Disconnected` as `changed`.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    ///
    /// let (_tx, mut rx) = narrowboat::chan::watch::channel(1);
    /// assert!(rx.changed_timeout(Duration::from_millis(5)).unwrap_err().is_timeout());
    /// ```
    #[track_caller]
    pub fn changed_timeout(&mut self, timeout: Duration) -> Result<(), RecvTimeoutError> {
        self.channel.recv_timeout(timeout)
    }

    /// As [`changed`](Receiver::changed), until `deadline`.
    ///
    /// # Errors
    /// As for [`changed_timeout`](Receiver::changed_timeout).
    ///
    /// # Examples
    /// ```
    /// use std::time::Instant;
    ///
    /// let (tx, mut rx) = narrowboat::chan::watch::channel(1);
    /// tx.send(2).unwrap();
    /// assert!(rx.changed_deadline(Instant::now()).is_ok());
    /// ```
    #[track_caller]
    pub fn changed_deadline(&mut self, deadline: Instant) -> Result<(), RecvTimeoutError> {
        self.channel.recv_deadline(deadline)
    }

    /// As [`changed`](Receiver::changed), as a future: for async tasks. It may be dropped at any
    /// time, and no change is lost.
    ///
    /// # Errors
    /// As `changed`.
    ///
    /// # Examples
    /// ```
    /// use narrowboat::{chan::watch, future::block_on};
    ///
    /// let (tx, mut rx) = watch::channel(1);
    /// tx.send(2).unwrap();
    /// // In a task of tokio as here.
    /// block_on(async { rx.changed_async().await }).unwrap();
    /// ```
    pub async fn changed_async(&mut self) -> Result<(), RecvError> {
        self.channel.recv_async().await
    }

    /// Waits until the value is such a one, be it new or not, and returns it. It then counts as seen.
    ///
    /// # Errors
    /// If all senders are gone, and the last value is not such a one.
    ///
    /// # Panics
    /// If `condition` does.
    ///
    /// # Examples
    /// See [the module](self).
    #[track_caller]
    pub fn wait_for(&mut self, mut condition: impl FnMut(&T) -> bool) -> Result<Ref<'_, T>, RecvError> {
        loop {
            // The guard that is returned is taken last, and the value may have changed again by then.
            let version = {
                let value = self.shared.read();
                let version = self.shared.versions.lock().version;
                *self.seen() = version;
                if condition(&value) { Some(version) } else { None }
            };
            if version.is_some() {
                let value = self.shared.read();
                let now = self.shared.versions.lock().version;
                if Some(now) == version || condition(&value) {
                    *self.seen() = now;
                    return Ok(Ref { value });
                }
                continue;
            }
            self.channel.recv()?;
        }
    }

    /// The receiver for a `select!`: it receives when there is a value that has not been seen, which
    /// then counts as seen.
    ///
    /// # Examples
    /// ```
    /// use narrowboat::chan::{select, unbounded, watch};
    ///
    /// let (tx, settings) = watch::channel(1);
    /// let (_orders, orders) = unbounded::<()>();
    /// tx.send(2).unwrap();
    /// select! {
    ///     recv(settings.channel()) -> changed => {
    ///         changed.unwrap();
    ///         assert_eq!(*settings.borrow(), 2);
    ///     }
    ///     recv(orders) -> _ => unreachable!(),
    /// }
    /// ```
    #[must_use]
    pub fn channel(&self) -> &crate::Receiver<()> {
        &self.channel
    }
}

/// The position of a receiver.
struct Watcher {
    versions: Arc<Versions>,
    /// The version that was seen. Locked before the state.
    seen: Arc<Mutex<u64>>,
}

impl Watcher {
    fn seen(&self) -> MutexGuard<'_, u64> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// SAFETY: the queue and its nodes are touched under the lock of the state, and each waiter that is
// taken out is woken.
unsafe impl MessageSource<()> for Watcher {
    fn reason(&self) -> Reason {
        Reason::Receive
    }

    fn try_recv(&self) -> Option<Result<(), RecvError>> {
        let mut seen = self.seen();
        let state = self.versions.lock();
        if *seen != state.version {
            *seen = state.version;
            return Some(Ok(()));
        }
        (state.senders == 0).then_some(Err(RecvError))
    }

    fn is_ready(&self) -> bool {
        let seen = self.seen();
        let state = self.versions.lock();
        *seen != state.version || state.senders == 0
    }

    fn is_closed(&self) -> bool {
        self.versions.lock().senders == 0
    }

    unsafe fn enter(&self, node: NonNull<WaitNode>, me: Waiter, outcome: Outcome, sole: bool) -> bool {
        let seen = self.seen();
        let mut state = self.versions.lock();
        if *seen != state.version || state.senders == 0 {
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
        unsafe { self.versions.lock().queue.remove(node) };
    }

    fn describe(&self) -> Thing {
        let state = self.versions.lock();
        Thing {
            operation: "receive from",
            address: Arc::as_ptr(&self.versions).addr(),
            kind: "watched value",
            details: format!("{} senders, {} receivers", state.senders, state.receivers),
            held_by: None,
        }
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Sender<T> {
        self.shared.versions.lock().senders += 1;
        Sender { shared: self.shared.clone() }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let mut state = self.shared.versions.lock();
        state.senders -= 1;
        let waiters = if state.senders == 0 { state.take_waiters() } else { WakeList::new() };
        drop(state);
        waiters.wake();
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Receiver<T> {
        let seen = *self.seen();
        Receiver::new(&self.shared, seen)
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.shared.versions.lock().receivers -= 1;
    }
}

impl<T: fmt::Debug> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("watch::Sender { .. }")
    }
}

impl<T: fmt::Debug> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("watch::Receiver { .. }")
    }
}
