//! What a select holds between choosing an operation and completing it.

use crate::cell::{self, Words};
use crate::node::NodeRef;
use crate::pairs::PairKey;

/// The state of the chosen operation. Only the arm that filled a token reads it, so the type of the
/// message is known.
///
/// It has room for a received message of up to four words. So a select that finds a message ready
/// does not allocate for most types, including `String` and `Vec`.
pub(crate) struct Token {
    holds: Holds,
    words: Words<4>,
}

/// What is in a token.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Holds {
    Nothing,
    /// A received message, in the words.
    Message,
    /// For a send: a place in the buffer is reserved.
    Reservation,
    /// For a send: a receive waits for the message; its node is in the words.
    Partner,
    /// For a send: a receive waits for the message for a limited time; the key of the pair is in
    /// the words.
    Pair,
    /// For both: the channel is closed.
    Closed,
}

impl Token {
    pub(crate) fn new() -> Token {
        Token { holds: Holds::Nothing, words: Words::uninit() }
    }

    pub(crate) fn holds(&self) -> Holds {
        self.holds
    }

    pub(crate) fn set(&mut self, holds: Holds) {
        debug_assert_eq!(self.holds, Holds::Nothing);
        self.holds = holds;
    }

    #[inline]
    pub(crate) fn set_message<T>(&mut self, message: T) {
        self.set(Holds::Message);
        cell::store(&mut self.words, message);
    }

    /// Moves the message in the cell of a node into the token.
    ///
    /// # Safety
    /// As for [`cell::load`] on `from`.
    pub(crate) unsafe fn set_message_from<T>(&mut self, from: &Words<2>) {
        self.set(Holds::Message);
        // SAFETY: by contract.
        unsafe { cell::rewrap::<T, 2, 4>(from, &mut self.words) }
    }

    pub(crate) fn set_partner(&mut self, partner: NodeRef) {
        self.set(Holds::Partner);
        cell::store(&mut self.words, partner);
    }

    pub(crate) fn set_pair(&mut self, key: PairKey) {
        self.set(Holds::Pair);
        cell::store(&mut self.words, key);
    }

    /// Empties the token, and returns what it held. The words keep their content until the next
    /// `set`.
    #[inline]
    pub(crate) fn take(&mut self) -> Holds {
        std::mem::replace(&mut self.holds, Holds::Nothing)
    }

    /// # Safety
    /// [`take`](Token::take) has just returned `Message`, for a message of this type; called once.
    #[inline]
    pub(crate) unsafe fn message<T>(&self) -> T {
        // SAFETY: by contract.
        unsafe { cell::load(&self.words) }
    }

    /// # Safety
    /// [`take`](Token::take) has just returned `Partner`; called once.
    #[inline]
    pub(crate) unsafe fn partner(&self) -> NodeRef {
        // SAFETY: by contract.
        unsafe { cell::load(&self.words) }
    }

    /// # Safety
    /// [`take`](Token::take) has just returned `Pair`.
    pub(crate) unsafe fn pair(&self) -> PairKey {
        // SAFETY: by contract.
        unsafe { cell::load(&self.words) }
    }
}
