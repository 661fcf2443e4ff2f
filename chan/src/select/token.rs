//! What a select holds between choosing an operation and completing it.

use crate::cell::{self, Words};
use crate::pairs::PairKey;
use crate::waiters::NodeRef;

/// The chosen operation's state. Only the arm that filled a token reads it, so the type of the
/// message is known.
///
/// A received message of up to four words lies in here: most messages, `String` and `Vec` among
/// them, go through a select that finds them ready without an allocation.
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
    /// A send: a place in the buffer was reserved.
    Reservation,
    /// A send: a receive waits for the message; its node is in the words.
    Partner,
    /// A send: a receive waits for the message, for a time; the key of the pair is in the words.
    Pair,
    /// Either: the channel is closed.
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

    /// Takes over the message in the cell of a node.
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

    /// Empties the token, and says what was in it. The words keep what they hold until the next
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
