//! Both ends of a channel, for tests in which an operation is by turns that of an async task: in a
//! mixed run every second send and receive is a future, dropped if its time is up, and served among
//! those of goroutines, threads and selects.

use narrowboat::future::{FutureExt, block_on};
use narrowboat_chan::{IntoIter, Iter, RecvError, RecvTimeoutError, SendError};
use narrowboat_testing::as_task;
use std::ops::Deref;
use std::time::{Duration, Instant};

/// A sender; what is not here is as in the crate.
#[derive(Debug)]
pub struct Sender<T>(narrowboat_chan::Sender<T>);

/// A receiver; what is not here is as in the crate.
#[derive(Debug)]
pub struct Receiver<T>(narrowboat_chan::Receiver<T>);

pub fn bounded<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let (tx, rx) = narrowboat_chan::bounded(capacity);
    (Sender(tx), Receiver(rx))
}

pub fn unbounded<T>() -> (Sender<T>, Receiver<T>) {
    let (tx, rx) = narrowboat_chan::unbounded();
    (Sender(tx), Receiver(rx))
}

pub fn after(delay: Duration) -> Receiver<Instant> {
    Receiver(narrowboat_chan::after(delay))
}

pub fn at(when: Instant) -> Receiver<Instant> {
    Receiver(narrowboat_chan::at(when))
}

pub fn tick(period: Duration) -> Receiver<Instant> {
    Receiver(narrowboat_chan::tick(period))
}

pub fn never<T>() -> Receiver<T> {
    Receiver(narrowboat_chan::never())
}

impl<T: Send + 'static> Sender<T> {
    pub fn send(&self, message: T) -> Result<(), SendError<T>> {
        if as_task() { block_on(self.0.send_async(message)) } else { self.0.send(message) }
    }
}

impl<T: Send + 'static> Receiver<T> {
    pub fn recv(&self) -> Result<T, RecvError> {
        if as_task() { block_on(self.0.recv_async()) } else { self.0.recv() }
    }

    pub fn recv_timeout(&self, timeout: Duration) -> Result<T, RecvTimeoutError> {
        if !as_task() {
            return self.0.recv_timeout(timeout);
        }
        let end = self.0.recv_async().wait_timeout(timeout);
        end.map_or(Err(RecvTimeoutError::Timeout), |end| end.map_err(|_| RecvTimeoutError::Disconnected))
    }

    pub fn recv_deadline(&self, deadline: Instant) -> Result<T, RecvTimeoutError> {
        if !as_task() {
            return self.0.recv_deadline(deadline);
        }
        let end = self.0.recv_async().wait_deadline(deadline);
        end.map_or(Err(RecvTimeoutError::Timeout), |end| end.map_err(|_| RecvTimeoutError::Disconnected))
    }
}

impl<T> Deref for Sender<T> {
    type Target = narrowboat_chan::Sender<T>;

    fn deref(&self) -> &narrowboat_chan::Sender<T> {
        &self.0
    }
}

impl<T> Deref for Receiver<T> {
    type Target = narrowboat_chan::Receiver<T>;

    fn deref(&self) -> &narrowboat_chan::Receiver<T> {
        &self.0
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Sender(self.0.clone())
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        Receiver(self.0.clone())
    }
}

impl<'a, T> IntoIterator for &'a Receiver<T> {
    type Item = T;
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        self.0.iter()
    }
}

impl<T> IntoIterator for Receiver<T> {
    type Item = T;
    type IntoIter = IntoIter<T>;

    fn into_iter(self) -> IntoIter<T> {
        self.0.into_iter()
    }
}
