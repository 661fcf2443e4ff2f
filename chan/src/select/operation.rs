//! The operation that a select has chosen, until it is completed.

use super::arm::Arm;
use super::handle::Handle;
use super::token::{Holds, Token};
use crate::error::{RecvError, SendError};
use crate::{Receiver, Sender};
use std::fmt;
use std::panic::{Location, RefUnwindSafe, UnwindSafe};

/// An operation that a [`Select`](crate::Select) has chosen. It must be completed.
///
/// Until then it holds what it needs: a received message, a place in a buffer, or a waiting
/// receiver. So complete it at once.
///
/// # Panics
/// If it is dropped instead. The received message is then dropped, and the place or the receiver is
/// released.
///
/// # Examples
/// ```
/// let (tx, rx) = narrowboat::chan::bounded(1);
/// let mut select = narrowboat::chan::Select::new();
/// let send = select.send(&tx);
/// let receive = select.recv(&rx);
/// for expected in [send, receive] {
///     let chosen = select.select();
///     assert_eq!(chosen.index(), expected);
///     match chosen.index() {
///         i if i == send => chosen.send(&tx, "letter").unwrap(),
///         _ => assert_eq!(chosen.recv(&rx), Ok("letter")),
///     }
/// }
/// ```
#[must_use = "a selected operation must be completed"]
pub struct SelectedOperation<'a> {
    arm: Arm<'a>,
    token: Token,
    /// Whether dropping it without completing it is an error. In a `select!` it is not: the message
    /// expression may leave the arm with `?` or `return`.
    strict: bool,
    /// Whether this may be another thread than that of the message, see
    /// [`AddedOn`](super::AddedOn).
    foreign: bool,
}

impl<'a> SelectedOperation<'a> {
    /// The operation that a `Select` has chosen.
    pub(super) fn of_list(arm: Arm<'a>, token: Token, foreign: bool) -> SelectedOperation<'a> {
        SelectedOperation { arm, token, strict: true, foreign }
    }

    /// The operation that a `select!` has chosen. Its arms were made on this thread just now.
    #[inline]
    pub(super) fn of_macro(arm: Arm<'a>, token: Token) -> SelectedOperation<'a> {
        SelectedOperation { arm, token, strict: false, foreign: false }
    }

    /// The index of the operation, as [`Select::send`](crate::Select::send) or
    /// [`Select::recv`](crate::Select::recv) returned it.
    ///
    /// ```
    /// let (tx, rx) = narrowboat::chan::bounded(1);
    /// tx.send(0).unwrap();
    /// let mut select = narrowboat::chan::Select::new();
    /// let receive = select.recv(&rx);
    /// let chosen = select.select();
    /// assert_eq!(chosen.index(), receive);
    /// chosen.recv(&rx).unwrap();
    /// ```
    #[inline]
    pub fn index(&self) -> usize {
        self.arm.index
    }

    /// Completes a send, with the sender that was added.
    ///
    /// # Errors
    /// The message, if the channel is closed or all receivers are gone.
    ///
    /// # Panics
    /// If the chosen operation is not a send into this sender's channel.
    ///
    /// ```
    /// let (tx, rx) = narrowboat::chan::bounded(1);
    /// let mut select = narrowboat::chan::Select::new();
    /// select.send(&tx);
    /// select.select().send(&tx, 10).unwrap();
    /// assert_eq!(rx.recv(), Ok(10));
    /// ```
    #[inline]
    #[track_caller]
    pub fn send<T>(mut self, s: &Sender<T>, msg: T) -> Result<(), SendError<T>> {
        assert!(self.arm.handle.id() == s.id(), "passed a sender that wasn't selected");
        // SAFETY: our token was filled by the arm with this id.
        unsafe { s.complete(&mut self.token, msg, Location::caller()) }
    }

    /// Completes a receive, with the receiver that was added.
    ///
    /// # Errors
    /// If the channel is empty and closed, or all senders are gone.
    ///
    /// # Panics
    /// If the chosen operation is not a receive from this receiver's channel.
    ///
    /// ```
    /// let (tx, rx) = narrowboat::chan::bounded(1);
    /// tx.send(10).unwrap();
    /// let mut select = narrowboat::chan::Select::new();
    /// select.recv(&rx);
    /// assert_eq!(select.select().recv(&rx), Ok(10));
    /// ```
    #[inline]
    pub fn recv<T>(mut self, r: &Receiver<T>) -> Result<T, RecvError> {
        assert!(self.arm.handle.id() == r.id(), "passed a receiver that wasn't selected");
        // SAFETY: our token was filled by the arm with this id.
        unsafe { r.complete(&mut self.token) }
    }

    #[cold]
    fn drop_uncompleted(&mut self) {
        self.arm.handle.abandon(&mut self.token, self.foreign);
        if self.strict && !narrowboat_runtime::panicking() {
            panic!("dropped `SelectedOperation` without completing the operation");
        }
    }
}

impl Drop for SelectedOperation<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.token.holds() != Holds::Nothing {
            self.drop_uncompleted();
        }
    }
}

// As for senders and receivers: wherever a panic happens, the message is in one place.
impl UnwindSafe for SelectedOperation<'_> {}
impl RefUnwindSafe for SelectedOperation<'_> {}

impl fmt::Debug for SelectedOperation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("SelectedOperation { .. }")
    }
}
